"""The `reconvene` command. What each command takes stands in `*_commands.py`; they import what they need when they are called."""

from __future__ import annotations

import io
import os
import sys
import time
import traceback
from typing import Annotated

import typer

from reconvene.cli import (
    ask_commands,
    code_commands,
    peer_commands,
    people_commands,
    places,
    serve_commands,
    session_commands,
    setup_commands,
)
from reconvene.cli.exits import FAILED, exit_code
from reconvene.cli.options_read import read_plainly
from reconvene.cli.terminal import safe, say
from reconvene.errors import ReconveneError

read_plainly()
app = typer.Typer(
    name="reconvene",
    help="An agent server for your code whose sessions cannot be lost.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 cannot start, 4 the run failed, 5 waiting for an answer, 130 detached.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(serve_commands.serve)
app.command()(serve_commands.stop)
app.command()(serve_commands.restart)
app.command("open")(serve_commands.open_)
app.command()(ask_commands.ask)
app.command()(ask_commands.attach)
app.add_typer(session_commands.sessions_app, name="sessions")
app.command()(ask_commands.patch)
app.command()(ask_commands.undo)
app.command()(ask_commands.rewind)
app.command()(ask_commands.retry)
app.command()(ask_commands.plan)
app.command("map")(code_commands.map_)
app.command()(code_commands.search)
app.command()(code_commands.index)
app.command()(setup_commands.model)
app.command()(setup_commands.commands)
app.command()(setup_commands.doctor)
app.command()(setup_commands.backup)
app.command()(setup_commands.restore)
app.command("migrate-store")(setup_commands.migrate_store)
app.add_typer(people_commands.users_app, name="users")
app.command()(people_commands.share)
app.command()(people_commands.audit)
app.command()(peer_commands.acp)
app.command()(peer_commands.mcp)
app.command()(peer_commands.config)
app.add_typer(peer_commands.servers_app, name="mcp-servers")


def _version(wanted: bool) -> None:
    if wanted:
        from reconvene import __version__

        typer.echo(f"reconvene {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point: every error is a sentence; what is unforeseen is written to the log."""
    # Started without one of them (`>&-`), there is nobody to read what is written.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8 shows escapes instead of ending the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except ReconveneError as e:
        say(f"reconvene: {safe(e.message)}")
        sys.exit(exit_code(e))
    except Exception as e:
        say(f"reconvene: Something unforeseen: {safe(f'{type(e).__name__}: {e}'[:300])}. {_written_down()}")
        sys.exit(FAILED)


def _written_down() -> str:
    path = places.log_file()
    try:
        places.made(path.parent.parent)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {' '.join(sys.argv[1:2])}\n{traceback.format_exc()}\n")
    except (OSError, ReconveneError) as e:
        return f"Its details could not be written to {path} ({e})."
    return f"Its details are in {path}."


if __name__ == "__main__":
    main()
