"""The indexes of a server: one per root, opened when first asked for, with worker processes that all share."""

from __future__ import annotations

import asyncio
from pathlib import Path

from reconvene.config import Limits
from reconvene.index.root import RootIndex
from reconvene.index.workers import Workers
from reconvene.workspace import Workspace


class Indexes:
    """
    Args:
        data_dir: where `indexes/` is kept.
    """

    def __init__(self, data_dir: Path, limits: Limits) -> None:
        self._data_dir = data_dir
        self._limits = limits
        self._workers = Workers()
        self._open: dict[str, asyncio.Task[RootIndex]] = {}

    @property
    def open_count(self) -> int:
        return len(self._open)

    async def get(self, workspace: Workspace) -> RootIndex:
        """The index of a workspace's root; all callers get the same one.

        Raises:
            ReconveneError: `search_failed` when it can neither be opened nor made.
        """
        key = str(workspace.root)
        if key not in self._open:
            self._open[key] = asyncio.create_task(
                RootIndex.open(workspace, self._data_dir, self._limits, self._workers)
            )
        opening = self._open[key]
        try:
            return await asyncio.shield(opening)
        except BaseException:
            # A failure is not kept: the next caller tries again.
            if opening.done() and (opening.cancelled() or opening.exception()) and self._open.get(key) is opening:
                del self._open[key]
            raise

    async def close(self) -> None:
        """Close all of them and end the workers. Idempotent."""
        self._workers.close()
        opening, self._open = list(self._open.values()), {}
        for index in await asyncio.gather(*opening, return_exceptions=True):
            if isinstance(index, RootIndex):
                await index.close()
