"""A code base looked at in this process, without a server. The index in the data folder is the one that a server uses."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reconvene.agents.redact import redact
from reconvene.cli import places, terminal
from reconvene.config import Settings
from reconvene.index import Indexes, RootIndex
from reconvene.repomap import repo_map
from reconvene.search import search
from reconvene.workspace.names import display_path
from reconvene.workspace.roots import Roots

REDRAW = 0.2
"""Seconds between two states of the progress bar."""


def map_here(data_dir: Path, root: Path, *, tokens: int, focus: Sequence[str], cursor: str | None) -> dict[str, Any]:
    """What `GET /api/code/map` answers."""

    async def run() -> dict[str, Any]:
        async with opened_index(data_dir, root) as index:
            made = await repo_map(index, tokens=tokens, focus=focus, cursor=cursor)
            rows = [asdict(row) for row in made.rows]
            return {**asdict(made), "rows": rows, "text": redact(made.text), "partial": index.partial}

    return asyncio.run(run())


def search_here(data_dir: Path, root: Path, query: str, *, k: int, cursor: str | None) -> dict[str, Any]:
    """What `GET /api/code/search` answers."""

    async def run() -> dict[str, Any]:
        async with opened_index(data_dir, root) as index:
            found = await search(index, query, limit=k, cursor=cursor)
            shown = [{**asdict(s), "path": display_path(s.path), "text": redact(s.text)} for s in found.snippets]
            told = {"truncated": found.truncated, "partial": found.partial, "next": found.next, "moved": found.moved}
            return {"places": shown, "total": found.total, "further": list(found.further), **told}

    return asyncio.run(run())


@contextlib.asynccontextmanager
async def opened_index(data_dir: Path, root: Path) -> AsyncIterator[RootIndex]:
    """The up-to-date index of a code base, with a progress bar while it is built."""
    terminal.quiet_logs()
    settings = Settings.load({"data_dir": data_dir})
    workspace = Roots(data_dir=places.made(data_dir), limits=settings.limits).add(root)
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
            await refreshing
        finally:
            if shown:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            refreshing.cancel()  # Ctrl-C: what it would have said is of no interest any more
            await asyncio.gather(refreshing, return_exceptions=True)
        yield index
    finally:
        await indexes.close()
