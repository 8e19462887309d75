"""The commands of `reconvene.cli.people`, as typer knows them."""

from __future__ import annotations

from typing import Annotated

import typer

from reconvene.cli import places
from reconvene.cli.options import DataDir, Json, Session

users_app = typer.Typer(
    help="People who may use this server besides you. Each has sessions of their own.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the person; any case.")]


@users_app.command("list")
def users_list(json: Json = False, data_dir: DataDir = None) -> None:
    """List who was added.

    With how many sessions, but never what is in them.
    """
    from reconvene.cli import people

    people.print_users(places.data_dir(data_dir), as_json=json)


@users_app.command("add")
def users_add(name: Name, json: Json = False, data_dir: DataDir = None) -> None:
    """Add somebody; prints a token, this once."""
    from reconvene.cli import people

    people.add(places.data_dir(data_dir), name, as_json=json)


@users_app.command("token")
def users_token(name: Name, json: Json = False, data_dir: DataDir = None) -> None:
    """Give somebody another token.

    The one before opens nothing from now on.
    """
    from reconvene.cli import people

    people.renew(places.data_dir(data_dir), name, as_json=json)


@users_app.command("link")
def users_link(name: Name, json: Json = False, data_dir: DataDir = None) -> None:
    """Print a link that signs somebody in.

    Once, one browser, within five minutes.
    """
    from reconvene.cli import people

    people.link(places.data_dir(data_dir), name, as_json=json)


@users_app.command("disable")
def users_disable(
    name: Name,
    undo: Annotated[bool, typer.Option("--undo", help="Let them in again.")] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Let somebody in no more.

    What they have open ends; their sessions are kept.
    """
    from reconvene.cli import people

    people.disable(places.data_dir(data_dir), name, not undo, as_json=json)


def share(
    session: Session,
    days: Annotated[float, typer.Option("--days", help="How long it opens.", min=0.01, max=3650)] = 7,
    for_ever: Annotated[bool, typer.Option("--for-ever", help="As long as the session is there.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="The links there are.")] = False,
    revoke: Annotated[str | None, typer.Option("--revoke", metavar="ID", help="Take a link back.")] = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Print a link to look at a session.

    With it anybody sees the session live, and changes nothing.
    """
    from reconvene.cli import people

    folder = places.data_dir(data_dir)
    if revoke is not None:
        people.unshare(folder, session, revoke, as_json=json)
    elif list_:
        people.print_links(folder, session, as_json=json)
    else:
        people.share(folder, session, None if for_ever else days, as_json=json)


def audit(
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many, the newest first.", min=1, max=10_000)] = 50,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Print who did what to the server.

    Sign-ins, people, links, settings and deletions: by whom, when and from where.
    """
    from reconvene.cli import people

    people.print_audit(places.data_dir(data_dir), limit, as_json=json)
