"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reconvene.errors import ReconveneError


def complete_session(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """For the shell's completion: the sessions there are, which starts no server. A shell that asks is never told of an error."""
    from reconvene.cli import places
    from reconvene.cli.looking import known_now

    try:
        known = known_now(places.data_dir(ctx.params.get("data_dir")))[:50]
    except (ReconveneError, OSError):
        return []
    found = [("last", "the one used last"), *((s["session_id"], " ".join(s["title"].split())[:60]) for s in known)]
    return [(id, title) for id, title in found if id.startswith(incomplete)]


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
Session = Annotated[
    str, typer.Argument(metavar="SESSION", help="An id, the start of one, or `last`.", autocompletion=complete_session)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
