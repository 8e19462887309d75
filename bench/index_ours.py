"""A child process that has an index: opened, built, asked and told of edits as by the server, each with what it cost.

`python -m bench.index_ours FD`. Each command answers `wall` and `cpu` in ms: of this process with all its threads, and its workers.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.control import Command, obey
from bench.machine import memory_kb, nanoseconds_of_children
from reconvene.config import Limits
from reconvene.index import RootIndex
from reconvene.repomap import repo_map
from reconvene.search import search
from reconvene.workspace import Workspace
from reconvene.workspace.names import parse_path

TOKENS = 1024


class Ours:
    """One index; its methods are the commands."""

    def __init__(self) -> None:
        self._index: RootIndex | None = None
        self._data = Path()

    @property
    def index(self) -> RootIndex:
        assert self._index is not None
        return self._index

    async def open(self, root: str, data: str) -> dict[str, Any]:
        """What is stored of it, nothing looked at."""

        async def work() -> dict[str, Any]:
            limits, self._data = Limits(), Path(data)
            workspace = Workspace.open(root, data_dir=self._data, limits=limits)
            self._index = await RootIndex.open(workspace, self._data, limits)
            return {"files": self.index.files}

        return await _cost(work)

    async def look(self) -> dict[str, Any]:
        """A look at every file; of a new index that is its building."""

        async def work() -> dict[str, Any]:
            found = await self.index.refresh()
            await self.index.take_in_history()
            size = sum(file.stat().st_size for file in (self._data / "indexes").iterdir())
            return {
                "files": self.index.files,
                "symbols": self.index.symbols,
                "parsed": found.parsed,
                "changed": len(found.changed),
                "bytes": size,
            }

        return await _cost(work)

    async def map(self, query: str | None = None) -> dict[str, Any]:
        """`paths` as shown."""

        async def work() -> dict[str, Any]:
            made = await repo_map(self.index, tokens=TOKENS, query=query)
            paths = list(dict.fromkeys(parse_path(row.path) for row in made.rows))
            return {"tokens": made.tokens, "paths": paths, "names": [row.name for row in made.rows]}

        return await _cost(work)

    async def search(self, query: str) -> dict[str, Any]:
        async def work() -> dict[str, Any]:
            found = await search(self.index, query)
            return {"snippets": len(found.snippets), "truncated": found.truncated}

        return await _cost(work)

    async def told(self, path: str, name: str) -> dict[str, Any]:
        """An edit that we are told of, until map and search are right: the new name is in both."""

        async def work() -> dict[str, Any]:
            await self.index.refresh([path])
            return await self._has(path, name)

        return await _cost(work)

    async def found(self, path: str, name: str) -> dict[str, Any]:
        """The same when nobody tells: every file is looked at."""

        async def work() -> dict[str, Any]:
            await self.index.refresh()
            return await self._has(path, name)

        return await _cost(work)

    async def _has(self, path: str, name: str) -> dict[str, Any]:
        made = await repo_map(self.index, tokens=TOKENS, query=name)
        found = await search(self.index, name)
        in_map = any((parse_path(row.path), row.name) == (path, name) for row in made.rows)
        return {"right": in_map and any(parse_path(s.path) == path and name in s.text for s in found.snippets)}

    async def memory(self) -> dict[str, int]:
        """kB: now, and at most so far; `workers` together, now."""
        return memory_kb(os.getpid())

    async def close(self) -> None:
        await self.index.close()


async def _cost(work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    children, own, wall = nanoseconds_of_children(), time.process_time_ns(), time.perf_counter_ns()
    done = await work()
    wall = time.perf_counter_ns() - wall  # at once: to read what the workers used takes a third of a millisecond
    cpu = time.process_time_ns() - own + nanoseconds_of_children() - children
    return {**done, "wall": wall / 1e6, "cpu": cpu / 1e6}


async def main() -> None:
    ours = Ours()
    commands: dict[str, Command] = {
        name: getattr(ours, name) for name in ("open", "look", "map", "search", "told", "found", "memory", "close")
    }
    obey(int(sys.argv[1]), commands)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
