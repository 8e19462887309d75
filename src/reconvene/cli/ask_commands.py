"""`ask` and `attach`, and what is done with what came of it, as typer knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reconvene.cli import places
from reconvene.cli.options import DataDir, Json, Root, Session, Yes, complete_session


def ask(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to ask; `-` reads all of it from stdin.")],
    root: Root = None,
    session: Annotated[
        str | None,
        typer.Option(
            "-s",
            "--session",
            metavar="SESSION",
            help="Go on with a session: an id, the start of one, or `last`.",
            autocompletion=complete_session,
        ),
    ] = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Ask one question and stream the answer. What is piped in is appended to the prompt.

    A server is started in the background when none runs. Ctrl-C detaches: the run goes on.
    """
    from reconvene.cli.asking import ask as run

    raise typer.Exit(run(prompt, places.data_dir(data_dir), root=root, session=session, as_json=json))


def attach(session: Session, json: Json = False, data_dir: DataDir = None) -> None:
    """Follow a session live, until Ctrl-C.

    A server is started in the background when none runs.
    """
    from reconvene.cli.asking import attach as run

    raise typer.Exit(run(session, places.data_dir(data_dir), as_json=json))


def patch(
    session: Session = "last",
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: stdout.")] = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Print what a session changed as one patch.

    Everything that was written and not taken back, for `git apply`.
    """
    from reconvene.cli.changes import patch as run

    run(places.data_dir(data_dir), session, output, as_json=json)


def undo(session: Session = "last", yes: Yes = False, json: Json = False, data_dir: DataDir = None) -> None:
    """Take back the last change of a session.

    A file that was changed since is not touched: that is a conflict, and is said.
    """
    from reconvene.cli.changes import undo as run

    raise typer.Exit(run(places.data_dir(data_dir), session, sure=yes, as_json=json))


def rewind(
    session: Session = "last",
    prompts: Annotated[int, typer.Option("--prompts", "-n", help="How many of the last prompts.", min=1)] = 1,
    keep_files: Annotated[bool, typer.Option("--keep-files", help="Only the conversation goes back.")] = False,
    yes: Yes = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Take a session back to before a prompt.

    The conversation, and the files that were changed since.
    """
    from reconvene.cli.changes import rewind as run

    raise typer.Exit(run(places.data_dir(data_dir), session, prompts, files=not keep_files, sure=yes, as_json=json))


def retry(session: Session = "last", json: Json = False, data_dir: DataDir = None) -> None:
    """Run a run that failed or was stopped again.

    The last one of the session.
    """
    from reconvene.cli.changes import retry as run

    raise typer.Exit(run(places.data_dir(data_dir), session, as_json=json))


def plan(
    session: Session = "last",
    edit: Annotated[bool, typer.Option("--edit", help="Change it in your editor.")] = False,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the new plan from stdin, as it is printed.")] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Print a session's plan, or change it.

    The agent is told of a change, and keeps to it.
    """
    from reconvene.cli.changes import plan as run

    run(places.data_dir(data_dir), session, edit=edit, stdin=stdin, as_json=json)
