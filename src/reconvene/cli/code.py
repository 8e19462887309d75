"""`map` and `search`: a code base looked at in this process. The index in the data folder is the one the server uses."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path

from reconvene.cli import places, terminal
from reconvene.cli.places import root_of
from reconvene.client.local import find
from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.index import Indexes, Refresh, RootIndex
from reconvene.workspace.names import display_path
from reconvene.workspace.roots import Roots

REDRAW = 0.2
"""Seconds between two states of the progress bar."""


def print_map(
    data_dir: Path, root: Path | None, *, tokens: int, focus: Sequence[str], as_json: bool, cursor: str | None = None
) -> None:
    """Print the repo map; `focus`: words to rank by, files to begin with, folders to stay in."""
    from reconvene.repomap import repo_map

    async def run() -> None:
        async with opened_index(data_dir, root) as (index, _):
            made = await repo_map(index, tokens=tokens, focus=focus, cursor=cursor)
            if as_json:
                for row in made.rows:
                    terminal.emit(asdict(row))
            else:
                terminal.out(terminal.safe(made.text.rstrip("\n")) + "\n")
            terminal.say(
                terminal.dim(f"· {made.files:,} files, {made.symbols:,} symbols, about {made.tokens:,} tokens")
            )
            _say_more(made.next, moved=made.moved)

    asyncio.run(run())


def print_search(
    data_dir: Path, root: Path | None, query: str, *, k: int, files: bool, as_json: bool, cursor: str | None = None
) -> None:
    """Print ranked snippets: `path:start-end score` and their lines; or (`files`) each file once."""
    from reconvene.search import search

    async def run() -> None:
        async with opened_index(data_dir, root) as (index, _):
            found = await search(index, query, limit=k, cursor=cursor)
            listed: set[str] = set()
            for snippet in found.snippets:
                path = display_path(snippet.path)
                if files:
                    if snippet.path not in listed:
                        terminal.emit({"path": path, "score": snippet.score}) if as_json else print(path)
                    listed.add(snippet.path)
                elif as_json:
                    place = {"path": path, "start": snippet.start, "end": snippet.end, "score": snippet.score}
                    terminal.emit({**place, "symbol": snippet.symbol, "text": snippet.text})
                else:
                    print(f"{path}:{snippet.start}-{snippet.end} {snippet.score:.3f}")
                    terminal.out("".join(f"    {line}\n" for line in terminal.safe(snippet.text).splitlines()))
            if not found.snippets:
                terminal.say("Nothing was found. Try other words, or fewer.")
            if found.truncated:
                terminal.say("Not everything could be looked through in time: there may be more.")
            _say_more(found.next, moved=found.moved)

    asyncio.run(run())


def _say_more(cursor: str | None, *, moved: bool) -> None:
    if moved:
        terminal.say("What the pages before showed has changed since, so this begins again.")
    if cursor is not None:
        terminal.say(terminal.dim(f"· there is more: the same with --cursor {cursor}"))


@contextlib.asynccontextmanager
async def opened_index(data_dir: Path, root: Path | None) -> AsyncIterator[tuple[RootIndex, Refresh]]:
    """The up-to-date index of a code base, with a progress bar while it is built."""
    terminal.quiet_logs()
    settings = Settings.load({"data_dir": data_dir})
    served: list[str] = []
    if root is None and (server := find(data_dir)) is not None:
        with contextlib.suppress(ReconveneError):
            served = [r["root"] for r in server.call("GET", "/api/roots")["roots"]]
    workspace = Roots(data_dir=places.made(data_dir), limits=settings.limits).add(root_of(root, served))
    indexes = Indexes(data_dir, settings.limits)
    try:
        index = await indexes.get(workspace)
        refreshing = asyncio.create_task(index.refresh())
        shown = False
        try:
            while not (await asyncio.wait({refreshing}, timeout=REDRAW))[0]:
                if index.progress is not None and sys.stderr.isatty():
                    shown = True
                    print(f"\r{terminal.bar(*index.progress)}", end="", file=sys.stderr, flush=True)
            refreshed = await refreshing
        finally:
            if shown:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            refreshing.cancel()  # Ctrl-C: what it would have said is of no interest any more
            await asyncio.gather(refreshing, return_exceptions=True)
        yield index, refreshed
    finally:
        await indexes.close()
