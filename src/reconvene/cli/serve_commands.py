"""`serve`, `stop`, `restart`, `open`: the server of a data folder, as typer knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reconvene.cli import places
from reconvene.cli.exits import CANNOT_START, FAILED, exit_code
from reconvene.cli.options import DataDir, Json
from reconvene.cli.terminal import safe, say
from reconvene.errors import ReconveneError


def serve(
    roots: Annotated[
        list[Path] | None,
        typer.Argument(metavar="ROOT", help="Code bases to serve (default: the current folder)."),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port on loopback; 0 takes a free one (default: 8000).")] = None,
    data_dir: DataDir = None,
    model: Annotated[
        str | None, typer.Option(help="A pydantic-ai model name such as anthropic:…, or `offline`.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
    public_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A further address under which the page is reached (tunnel, proxy)."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="postgresql://… for several nodes on one database; RECONVENE_DATABASE keeps it out of the process list.",
        ),
    ] = None,
    idle_exit: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop after so long without a connection or a run.")
    ] = None,
    json: Json = False,
) -> None:
    """Serve code bases and print one sign-in URL.

    With a server already running on the data folder, the code bases are added to that one.
    """
    from reconvene.cli.serving import serve as run

    flags = {
        "port": port,
        "data_dir": places.data_dir(data_dir),
        "model": model,
        "public_url": public_url,
        "database": database,
        "idle_exit": idle_exit,
    }
    try:
        code = run(roots or [Path()], flags, browser=not no_browser, as_json=json)
    except ReconveneError as e:
        if exit_code(e) != FAILED:
            raise
        say(f"reconvene: {safe(e.message)}")
        code = CANNOT_START
    raise typer.Exit(code)


def stop(json: Json = False, data_dir: DataDir = None) -> None:
    """Stop the server of the data folder. Runs go on when it is started again."""
    from reconvene.cli.control import stop as run

    run(places.data_dir(data_dir), as_json=json)


def restart(json: Json = False, data_dir: DataDir = None) -> None:
    """Restart the server of the data folder.

    It comes back on its port and with its code bases; runs go on.
    """
    from reconvene.cli.control import restart as run

    run(places.data_dir(data_dir), as_json=json)


def open_(
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print it.")] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Print (and open) a fresh one-time sign-in URL."""
    from reconvene.cli.control import open_page

    open_page(places.data_dir(data_dir), browser=not no_browser, as_json=json)
