"""The indexes of a server: one for each root, opened when first asked for, shared by all sessions, looked after until it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.index.root import RootIndex, end
from reconvene.index.state import IndexState
from reconvene.index.upkeep import Upkeep
from reconvene.index.watch import Hint, Watcher
from reconvene.index.workers import Workers
from reconvene.workspace import Workspace
from reconvene.workspace.git_files import find_repository

WISH_SECONDS = 1.0
"""What takes longer goes on behind the answer."""
Wish = Literal["refresh", "pause", "resume", "rebuild"]


class Indexes:
    """
    Args:
        data_dir: where `indexes/` is kept.
        kept: look after them: read what is new behind, watch, sweep, rest. Without, they are as their last `refresh` left them.
        alive: whether a session of a root is open or runs; only then it is swept and watched.
    """

    def __init__(
        self, data_dir: Path, limits: Limits, *, kept: bool = False, alive: Callable[[str], bool] = lambda root: True
    ) -> None:
        self.listeners: list[Callable[[IndexState], None]] = []
        """Called in the loop with each new state of any of them."""
        self._data_dir = data_dir
        self._limits = limits
        self._kept = kept
        self._alive = alive
        self._workers = Workers()
        self._open: dict[str, asyncio.Task[RootIndex]] = {}
        self._upkeep: dict[str, Upkeep] = {}
        self._closed = False

    @property
    def open_count(self) -> int:
        return len(self._open)

    @property
    def reading(self) -> bool:
        """Whether any of them is taking in files now."""
        return any(upkeep.index.progress is not None for upkeep in self._upkeep.values())

    async def get(self, workspace: Workspace) -> RootIndex:
        """The index of a workspace's root; all callers get the same one.

        Raises:
            ReconveneError: `search_failed` when it can neither be opened nor made; `draining` when the server stops.
        """
        if self._closed:
            raise ReconveneError("draining", "The server is stopping; ask again when it is back.")
        key = str(workspace.root)
        if key not in self._open:
            self._open[key] = asyncio.create_task(self._opened(key, workspace))
        opening = self._open[key]
        try:
            index = await asyncio.shield(opening)
        except BaseException:
            # A failure is not kept: the next caller tries again.
            if opening.done() and (opening.cancelled() or opening.exception()) and self._open.get(key) is opening:
                del self._open[key]
            raise
        if (upkeep := self._upkeep.get(key)) is not None:
            upkeep.used()
        await index.wake()
        return index

    def touch(self, root: str) -> None:
        """A session of this root was opened."""
        if (upkeep := self._upkeep.get(root)) is not None:
            upkeep.touch()

    def states(self) -> list[IndexState]:
        """Of those that are open and looked after, in the order in which they were opened."""
        return [upkeep.state() for upkeep in self._upkeep.values()]

    def state_of(self, index: RootIndex) -> IndexState:
        """How an open index is, whether it is looked after or not."""
        upkeep = self._upkeep.get(str(index.workspace.root))
        return (upkeep or Upkeep(index, alive=lambda: False, report=self._report, watcher=None)).state()

    async def wish(self, workspace: Workspace, wish: Wish) -> IndexState:
        """Do what a person asks of an index, and return how it is then; what takes long goes on behind.

        Raises:
            ReconveneError: as `get`, `RootIndex.rebuild`.
        """
        index = await self.get(workspace)
        upkeep = self._upkeep[str(workspace.root)]
        if wish == "pause":
            await index.pause()
        elif wish == "resume":
            await index.resume()
        elif wish == "rebuild":
            await index.rebuild()
        if wish != "pause":
            upkeep.look()
        if wish == "refresh" and not index.resting:
            await index.refresh_within(WISH_SECONDS)
        upkeep.say()
        return upkeep.state()

    async def close(self) -> None:
        """Close all of them and end the workers. Idempotent."""
        self._closed = True
        await end(self._workers)
        opening, self._open = list(self._open.values()), {}
        upkeeps, self._upkeep = list(self._upkeep.values()), {}
        closing = [upkeep.close() for upkeep in upkeeps]
        indexes = await asyncio.gather(*opening, return_exceptions=True)
        closing += [index.close() for index in indexes if isinstance(index, RootIndex)]
        await asyncio.gather(*closing, return_exceptions=True)

    async def _opened(self, key: str, workspace: Workspace) -> RootIndex:
        index = await RootIndex.open(workspace, self._data_dir, self._limits, self._workers)
        if self._kept:
            upkeep = self._upkeep[key] = Upkeep(
                index,
                alive=lambda: self._alive(key),
                report=self._report,
                watcher=lambda hint: watcher_of(workspace, hint),
            )
            upkeep.start()
        return index

    def _report(self, state: IndexState) -> None:
        for listener in self.listeners:
            listener(state)


def watcher_of(workspace: Workspace, hint: Callable[[Hint], None]) -> Watcher:
    """Blocking: asks the disk where the repository is."""
    root = str(workspace.root)
    repository = find_repository(root)
    return Watcher(workspace.root, hint, git_dir=repository[0] if repository is not None else None)
