"""A child process that is the real server, with a watch on its event loop: how long it runs at a stretch, not looking at its sockets.

`python -m bench.index_loop FD DATA_DIR ROOT`, a small root. The one that is built comes over the API when the first prompt ever, which
sets up the agents, has been answered. CPU time of the loop's thread is what counts: on a busy machine, and while other threads hold
Python's lock, the clock says more of those than of what the loop does. It is told too.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.control import Command, obey
from reconvene.config import Settings
from reconvene.index import RootIndex
from reconvene.server.lifecycle import Ready, Server


class Watched:
    """Stands for a loop's selector: a stretch is what passes between two calls of `select`."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self.reset()

    def reset(self) -> None:
        self.cpu: list[int] = []
        self.wall = 0
        """ns, of the longest."""
        self.longest: tuple[int, str] = (0, "")
        """ns of CPU, and of which call."""
        self.collections = 0
        """ns of CPU in the longest garbage collection that the loop's thread was made to do."""
        self._began = time.thread_time_ns(), time.perf_counter_ns()

    def select(self, timeout: float | None = None) -> Any:
        self.cpu.append(time.thread_time_ns() - self._began[0])
        self.wall = max(self.wall, time.perf_counter_ns() - self._began[1])
        found = self._selector.select(timeout)
        self._began = time.thread_time_ns(), time.perf_counter_ns()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)


def watch(loop: Any) -> Watched:
    """From now on, until the process ends."""
    watched = loop._selector = Watched(loop._selector)
    run: Callable[[asyncio.Handle], None] = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time_ns()
        run(handle)
        took = time.thread_time_ns() - began
        if took > watched.longest[0]:
            watched.longest = took, _named(handle)

    asyncio.Handle._run = timed  # type: ignore[method-assign,assignment]
    thread, began_at = threading.get_ident(), [0]

    def collected(phase: str, _: dict[str, int]) -> None:
        if threading.get_ident() != thread:
            return
        if phase == "start":
            began_at[0] = time.thread_time_ns()
        else:
            watched.collections = max(watched.collections, time.thread_time_ns() - began_at[0])

    gc.callbacks.append(collected)
    return watched


def _named(handle: asyncio.Handle) -> str:
    callback: Any = getattr(handle, "_callback", None)
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return f"{task.get_name()}: {task.get_coro()!r}"[:200]
    return repr(callback)[:200]


class Driver:
    """What the bench asks of the server from inside."""

    def __init__(self, server: Server, watched: Watched) -> None:
        self._server = server
        self._watched = watched
        self._port = 0

    def ready(self, ready: Ready) -> None:
        self._port = ready.port
        commands: dict[str, Command] = {
            "ready": self.warmed_up,
            "begin": self.begin,
            "partial": self.partial,
            "stretches": self.stretches,
        }
        obey(int(sys.argv[1]), commands)

    async def warmed_up(self) -> dict[str, Any]:
        """Once what runs need is imported."""
        async with asyncio.timeout(120):
            await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "start runs"))
        token = (self._server.settings.data_dir / "owner.token").read_text().strip()
        return {"port": self._port, "token": token}

    async def begin(self) -> None:
        self._watched.reset()

    async def partial(self, root: str) -> bool:
        """Whether files of a root are still missing in its index."""
        return (await self._index(root)).partial

    async def stretches(self) -> dict[str, Any]:
        """ms of the stretches since `begin`."""
        cpu = sorted(self._watched.cpu)
        return {
            "stretches": len(cpu),
            "most": cpu[-1] / 1e6,
            "p999": cpu[-1 - len(cpu) // 1000] / 1e6,
            "over": sum(one > 20e6 for one in cpu),
            "wall": self._watched.wall / 1e6,
            "collection": self._watched.collections / 1e6,
            "longest": [self._watched.longest[0] / 1e6, self._watched.longest[1]],
        }

    async def _index(self, root: str) -> RootIndex:
        assert self._server.services is not None and self._server._indexes is not None
        workspace = self._server.services.sessions.roots.by_root(root)
        assert workspace is not None
        return await self._server._indexes.get(workspace)


async def main() -> None:
    _, _, data_dir, root = sys.argv
    settings = Settings(data_dir=Path(data_dir), port=0)
    watched = watch(asyncio.get_running_loop())
    driver: Driver
    server = Server(settings, [root], on_ready=lambda ready: driver.ready(ready))
    driver = Driver(server, watched)
    await server.run()


if __name__ == "__main__":
    asyncio.run(main())
