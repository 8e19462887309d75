"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Data folder (default: $RECONVENE_DATA_DIR, else the platform's)."),
]
Cursor = Annotated[str | None, typer.Option("--cursor", help="The page after the one that printed it.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root", metavar="DIR", help="Code base (default: the served one you are in, else the current folder)."
    ),
]
Session = Annotated[str, typer.Argument(metavar="SESSION", help="An id, the start of one, or `last`.")]
AnySession = Annotated[str, typer.Argument(metavar="SESSION", help="An id, the start of one, or `last`.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
