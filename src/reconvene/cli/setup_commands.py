"""`model`, `commands`, `doctor`: how this machine is set up, as typer knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reconvene.cli import places
from reconvene.cli.options import DataDir, Json, Root, Yes


def model(
    name: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="provider:name, or `offline`; leave it out to see what holds.")
    ] = None,
    key: Annotated[bool, typer.Option("--key", help="Ask for the provider's key, or read it from stdin.")] = False,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url", metavar="URL", help="An OpenAI-compatible server, such as http://localhost:11434/v1."
        ),
    ] = None,
    constrained: Annotated[
        bool,
        typer.Option(
            "--constrained", help="Write every step by a JSON schema: for small models on a server of your own."
        ),
    ] = False,
    forget: Annotated[
        str | None, typer.Option("--forget", metavar="PROVIDER", help="Remove its key and address.")
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option("--fallback", metavar="MODEL", help="The one that takes over when it fails; `none` for none."),
    ] = None,
    daily_cap: Annotated[
        str | None,
        typer.Option("--daily-cap", metavar="USD", help="What all runs of a day may cost; `none` for no cap."),
    ] = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Choose the model that answers, and give its key.

    Kept in the data folder, readable by you alone. No restart is needed.
    """
    from reconvene.cli.model import model as run

    run(
        places.data_dir(data_dir),
        name,
        key=key,
        base_url=base_url,
        forget=forget,
        constrained=constrained,
        fallback=fallback,
        daily_cap=daily_cap,
        as_json=json,
    )


def commands(
    wanted: Annotated[str | None, typer.Argument(metavar="on|off", help="Leave it out to see what holds.")] = None,
    root: Root = None,
    network: Annotated[bool, typer.Option("--network", help="With `on`: they may reach the network.")] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Let agents ask to run tests and builds.

    Or any other program, in one code base. Off by default. You are asked before each command; it runs in a sandbox where the
    machine has one.
    """
    from reconvene.cli.leave import commands as run

    run(places.data_dir(data_dir), root, wanted, network=network, as_json=json)


def migrate_store(
    database: Annotated[
        str,
        typer.Argument(
            metavar="URL", envvar="RECONVENE_DATABASE", show_envvar=False, help="Of an empty database: postgresql://…"
        ),
    ],
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Move the sessions to PostgreSQL.

    They are copied and compared by digest; the data folder keeps its own. The server must be stopped.

    RECONVENE_DATABASE can name the database, so that its password is in no process list.
    """
    from reconvene.cli.migrate_store import migrate_store as run

    run(places.data_dir(data_dir), database, as_json=json)


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend permissions and a damaged database; nothing is deleted.")
    ] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Check what can go wrong; a fix stands under every ✗.

    Machine, settings, data folder, database, model, index and server.
    """
    from reconvene.cli.doctor import doctor as run

    raise typer.Exit(run(places.data_dir(data_dir), repair=repair, as_json=json))


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; nothing is overwritten.")],
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Write a copy of the data folder to one file.

    It is of one moment; the server may go on meanwhile.
    """
    from reconvene.cli.backing_up import backup as run

    run(places.data_dir(data_dir), file.expanduser(), as_json=json)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.")],
    yes: Yes = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Go back to what `backup` wrote.

    The sessions that are there are kept aside. Stop the server first.
    """
    from reconvene.cli.backing_up import restore as run

    run(places.data_dir(data_dir), file.expanduser(), sure=yes, as_json=json)
