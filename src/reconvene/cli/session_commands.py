"""`sessions …`, as typer knows them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconvene.cli import places
from reconvene.cli.options import DataDir, Json, Session, Yes

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


@sessions_app.command("search")
def sessions_search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS…", help="All of them at one place; beginnings count.")],
    k: Annotated[int, typer.Option("-k", help="How many sessions.", min=1, max=50)] = 20,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Find sessions by what was said in them."""
    from reconvene.cli import sessions

    sessions.search(places.data_dir(data_dir), " ".join(words), limit=k, as_json=json)


@sessions_app.command("export")
def sessions_export(
    session: Session,
    format: Annotated[ExportFormat, typer.Option("--format", "-f")] = ExportFormat.jsonl,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: stdout.")] = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Export a session: JSONL (every event), Markdown or HTML."""
    from reconvene.cli import sessions

    sessions.export(places.data_dir(data_dir), session, format.value, output, as_json=json)


@sessions_app.command("rename")
def sessions_rename(session: Session, title: str, json: Json = False, data_dir: DataDir = None) -> None:
    """Give a session another title."""
    from reconvene.cli import sessions

    sessions.change(places.data_dir(data_dir), session, {"title": title}, as_json=json)


@sessions_app.command("archive")
def sessions_archive(
    session: Session,
    undo: Annotated[bool, typer.Option("--undo", help="Take it out of the archive.")] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Archive a session; a prompt wakes it."""
    from reconvene.cli import sessions

    sessions.change(places.data_dir(data_dir), session, {"archived": not undo}, as_json=json)


@sessions_app.command("fork")
def sessions_fork(
    session: Session,
    upto: Annotated[
        int | None, typer.Option(metavar="SEQ", help="The last event to take over (default: all).", min=1)
    ] = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Begin a new session with a copy of this one.

    Prints its id.
    """
    from reconvene.cli import sessions

    sessions.fork(places.data_dir(data_dir), session, upto, as_json=json)


@sessions_app.command("rm")
def sessions_rm(
    session: Session,
    yes: Yes = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Delete a session for good."""
    from reconvene.cli import sessions

    sessions.remove(places.data_dir(data_dir), session, sure=yes, as_json=json)


@sessions_app.command("prune")
def sessions_prune(
    older: Annotated[str, typer.Option("--older", metavar="TIME", help="Unused for so long, such as 30d or 12h.")],
    archived: Annotated[bool, typer.Option("--archived", help="Only archived ones.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    yes: Yes = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Delete old sessions for good. What runs, waits for an answer or is pinned stays."""
    from reconvene.cli import sessions

    sessions.prune(places.data_dir(data_dir), older, archived=archived, sure=yes, dry=dry_run, as_json=json)
