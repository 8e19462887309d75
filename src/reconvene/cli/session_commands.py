"""`sessions …`, as typer knows them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconvene.cli import places
from reconvene.cli.options import DataDir, Json, Session

sessions_app = typer.Typer(
    help="List, read and tidy sessions. SESSION is an id, the start of one, or `last`.", no_args_is_help=True
)


class ExportFormat(StrEnum):
    jsonl = "jsonl"
    markdown = "markdown"
    html = "html"


@sessions_app.command("list")
def sessions_list(
    all_: Annotated[bool, typer.Option("--all", help="Archived ones too.")] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """List sessions, the one used last first."""
    from reconvene.cli import sessions

    sessions.print_list(places.data_dir(data_dir), archived=all_, as_json=json)


@sessions_app.command("show")
def sessions_show(session: Session, json: Json = False, data_dir: DataDir = None) -> None:
    """Print a session's conversation (`--json`: its events)."""
    from reconvene.cli import sessions

    sessions.print_session(places.data_dir(data_dir), session, as_json=json)


@sessions_app.command("export")
def sessions_export(
    session: Session,
    format: Annotated[ExportFormat, typer.Option("--format", "-f")] = ExportFormat.jsonl,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: stdout.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Export a session: JSONL (every event), Markdown or HTML."""
    from reconvene.cli import sessions

    sessions.export(places.data_dir(data_dir), session, format.value, output)


@sessions_app.command("rename")
def sessions_rename(session: Session, title: str, data_dir: DataDir = None) -> None:
    """Give a session another title."""
    from reconvene.cli import sessions

    sessions.change(places.data_dir(data_dir), session, {"title": title})


@sessions_app.command("archive")
def sessions_archive(
    session: Session,
    undo: Annotated[bool, typer.Option("--undo", help="Take it out of the archive.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Archive a session; a prompt wakes it."""
    from reconvene.cli import sessions

    sessions.change(places.data_dir(data_dir), session, {"archived": not undo})


@sessions_app.command("fork")
def sessions_fork(
    session: Session,
    upto: Annotated[
        int | None, typer.Option(metavar="SEQ", help="The last event to take over (default: all).", min=1)
    ] = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Make a new session that begins with a copy of this one; prints its id."""
    from reconvene.cli import sessions

    sessions.fork(places.data_dir(data_dir), session, upto, as_json=json)


@sessions_app.command("rm")
def sessions_rm(
    session: Session,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete a session for good."""
    from reconvene.cli import sessions

    sessions.remove(places.data_dir(data_dir), session, sure=yes)
