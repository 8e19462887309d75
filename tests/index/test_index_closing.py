"""Closing an index waits for processes to be gone: not in the event loop, and not behind those who wait for these processes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from codebase import CodeBase
from reconvene.config import Limits
from reconvene.index import Indexes, RootIndex
from reconvene.index.workers import Workers


@contextlib.asynccontextmanager
async def no_thread_free(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """All threads of the loop's own pool wait, as for a parser, until workers are closed."""
    free, closing_in = threading.Event(), []
    close = Workers.close

    def closed(self: Workers) -> None:
        close(self)
        closing_in.append(threading.current_thread())
        free.set()

    monkeypatch.setattr(Workers, "close", closed)
    waiting = [asyncio.get_running_loop().run_in_executor(None, free.wait, 60) for _ in range(64)]
    try:
        async with asyncio.timeout(30):
            yield
    finally:
        free.set()
        await asyncio.gather(*waiting)
    assert closing_in and threading.current_thread() not in closing_in


async def gone(workers: Workers) -> None:
    """All were killed; one that was at work is waited for by whoever had asked it, which a busy machine may put off."""
    async with asyncio.timeout(30):
        while workers.pids():
            await asyncio.sleep(0.01)


async def test_the_workers_of_one_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = CodeBase(tmp_path / "code", {"a.py": "def brand_new():\n    return 1\n"})
    index = await RootIndex.open(code.workspace(), tmp_path / "own", Limits())
    await index.refresh()
    assert index._workers.pids()
    async with no_thread_free(monkeypatch):
        await index.close()
    await gone(index._workers)


async def test_the_workers_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = CodeBase(tmp_path / "code", {"a.py": "def brand_new():\n    return 1\n"})
    indexes = Indexes(tmp_path / "data", Limits())
    await (await indexes.get(code.workspace())).refresh()
    assert indexes._workers.pids()
    async with no_thread_free(monkeypatch):
        await indexes.close()
    await gone(indexes._workers)
