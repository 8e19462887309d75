"""`map`, `search`, `index`: a code base itself, as typer knows them."""

from __future__ import annotations

from typing import Annotated

import typer

from reconvene.cli import places
from reconvene.cli.options import Cursor, DataDir, Json, Root


def map_(
    root: Root = None,
    tokens: Annotated[int, typer.Option(help="Size of the map.", min=64, max=32_000)] = 2048,
    focus: Annotated[
        list[str] | None, typer.Option(metavar="WORDS|PATH", help="What the map is about; may be repeated.")
    ] = None,
    cursor: Cursor = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Print the repo map.

    The definitions that matter most, in a budget of tokens.
    """
    from reconvene.cli.code import print_map

    print_map(places.data_dir(data_dir), root, tokens=tokens, focus=focus or [], cursor=cursor, as_json=json)


def search(
    words: Annotated[list[str], typer.Argument(metavar="QUERY", help="One argument or several words.")],
    root: Root = None,
    k: Annotated[int, typer.Option("-k", help="How many places.", min=1, max=200)] = 10,
    files: Annotated[bool, typer.Option("--files", help="One line a file.")] = False,
    cursor: Cursor = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Search the code and print ranked snippets."""
    from reconvene.cli.code import print_search

    print_search(places.data_dir(data_dir), root, " ".join(words), k=k, files=files, cursor=cursor, as_json=json)


def index(
    root: Root = None,
    status: Annotated[bool, typer.Option("--status", help="Only say how far it is.")] = False,
    pause: Annotated[
        bool, typer.Option("--pause", help="Read nothing more until --resume, also after a restart.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it was paused.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw it away and build it from nothing.")] = False,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Build or refresh the index.

    Prints files, symbols and seconds. A server that serves the code base does the work itself.
    """
    from reconvene.cli.indexing import Wish
    from reconvene.cli.indexing import index as run

    wishes: dict[Wish, bool] = {"status": status, "pause": pause, "resume": resume, "rebuild": rebuild}
    chosen = [name for name, given in wishes.items() if given]
    if len(chosen) > 1:
        raise typer.BadParameter("Give one of --status, --pause, --resume and --rebuild.")
    wish: Wish = chosen[0] if chosen else "refresh"
    raise typer.Exit(run(places.data_dir(data_dir), root, wish, as_json=json))
