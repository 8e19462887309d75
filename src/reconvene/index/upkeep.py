"""Keeps one root's index true while somebody uses it: hints are followed at once, and everything is swept again and again.

The watcher is a help, never the truth: events get lost. While a session is open everything is looked at every `SWEEP_SECONDS`, and each
run begins with a look of its own. When nobody used it for `IDLE_SECONDS`, memory and watches are given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

import structlog

from reconvene.errors import ReconveneError
from reconvene.index.root import RootIndex
from reconvene.index.state import IndexState, Phase, Watch
from reconvene.index.watch import Hint, Watcher

SWEEP_SECONDS = 60.0
IDLE_SECONDS = 15 * 60.0
REPORT_SECONDS = 0.25
"""Between two reports of progress."""
AGAIN_SECONDS = 10.0
"""After a failure."""
SHARE = 10.0
"""Sweeps that hints ask for may take one part in so many of the time."""
MOST_PATHS = 200
"""Of hints; when more files are said to have changed, everything is looked at."""
MOST_UNLISTED = 10_000
_NOTHING = Hint(frozenset())
_log = structlog.get_logger("reconvene.index")


class Upkeep:
    """`start` it in a running loop; `close` it before its index.

    Args:
        alive: whether a session of this root is open or runs.
        report: called with each new state.
        watcher: makes the watcher, given what to call with hints; None for no watching.
    """

    def __init__(
        self,
        index: RootIndex,
        *,
        alive: Callable[[], bool],
        report: Callable[[IndexState], None],
        watcher: Callable[[Callable[[Hint], None]], Watcher] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.index = index
        self.failure: ReconveneError | None = None
        self.sweeps = 0
        """Looks at everything that this made."""
        self._alive, self._report, self._make_watcher, self._clock = alive, report, watcher, clock
        self._watcher: Watcher | None = None
        self._watched_epoch: int | None = None
        self._hinted = _NOTHING
        self._unlisted: set[str] = set()
        """Paths of hints that turned out not to be the code base's: an ignored log file changes all the time."""
        self._swept: float | None = None
        self._used = clock()
        self._due = 0.0
        self._asked = False
        self._said: IndexState | None = None
        self._changed = asyncio.Event()
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        name = f"index {self.index.workspace.name}"
        # In a context of its own: what it logs for ever after is not of the run that happened to open the index.
        self._task = asyncio.create_task(self._keep(), name=name, context=Context())

    async def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._stop_watching()

    def used(self) -> None:
        """Somebody took the index."""
        self._used = self._clock()
        if self.index.resting:
            self.look()

    def touch(self) -> None:
        """A session of this root was opened: watch, and sweep if that is due. Coming back is no work."""
        self._changed.set()

    def look(self) -> None:
        """Look at everything soon, and say how it goes."""
        self._asked = True
        self._due = 0.0
        self._swept = None
        self._changed.set()

    def hint(self, hint: Hint) -> None:
        """Something may have changed. In the loop's thread."""
        self._hinted = self._hinted | hint
        self._changed.set()

    def state(self) -> IndexState:
        index = self.index
        done, of = index.progress or (0, 0)
        watching = self._watcher.state if self._watcher is not None else None
        mode: Watch = watching.mode if watching is not None else "off"
        return IndexState(
            root=str(index.workspace.root),
            name=index.workspace.name,
            phase=self._phase(),
            files=index.files,
            symbols=index.symbols,
            done=done,
            of=of,
            partial=index.partial,
            verified=index.verified,
            truncated=index.truncated,
            skipped=index.skipped,
            watching=mode,
            folders=watching.folders if watching is not None else 0,
            notes=tuple(self._notes(watching.why if watching is not None else None)),
        )

    def _phase(self) -> Phase:
        index = self.index
        if index.paused:
            return "paused"
        if index.resting:
            return "resting"
        if self.failure is not None:
            return "failed"
        if index.partial:
            return "building"
        return "ready" if index.verified and index.progress is None and not self._asked else "verifying"

    def _notes(self, unwatched: str | None) -> list[str]:
        index = self.index
        notes = [] if self.failure is None else [self.failure.message]
        if index.shared:
            notes.append("Another process keeps the stored index; what is found here is not kept.")
        if unwatched is not None and index.verified:
            notes.append(f"Changes are found by sweeps: {unwatched}")
        if index.remark is not None:
            notes.append(index.remark)
        return notes

    def say(self) -> None:
        """Report the state, if it is another one."""
        state = self.state()
        if state != self._said:
            self._said = state
            self._report(state)

    # -- what is due

    async def tend(self) -> float:
        """Do what is due now. Returns the seconds until there is something to do again, if nothing happens before."""
        now = self._clock()
        alive = self._alive()
        if alive:
            self._used = now
        if now - self._used >= IDLE_SECONDS:
            await self._rest()
            return IDLE_SECONDS
        if alive and self._watcher is None and self._swept is not None and not self.index.resting:
            await self._watch()
        hinted = self._hinted
        wanted = hinted.everything or len(hinted.paths) > MOST_PATHS or self._swept is None
        if now >= self._due and (wanted or (alive and now - (self._swept or 0) >= SWEEP_SECONDS)):
            self._hinted = _NOTHING
            await self._do(self._sweep())
            self._due = self._clock() + SHARE * self.index.looked_ms / 1000
        elif self.failure is None and len(hinted.paths) <= MOST_PATHS:
            self._hinted = Hint(frozenset(), hinted.everything)
            if paths := hinted.paths - self._unlisted:
                await self._do(self._follow(paths))
        if self.failure is not None:
            self._hinted |= Hint(frozenset(), everything=True)
            self._due = self._clock() + AGAIN_SECONDS
        now = self._clock()
        if self._swept is None or self._hinted.everything or self._hinted.paths:
            return max(0.0, self._due - now)
        return max(0.0, self._swept + SWEEP_SECONDS - now) if alive else SWEEP_SECONDS

    async def _keep(self) -> None:
        while True:
            try:
                wait = await self.tend()
            except Exception:
                _log.exception("an index could not be looked after", root=str(self.index.workspace.root))
                wait = AGAIN_SECONDS
            self.say()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            self._changed.clear()

    async def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it, and report how it goes meanwhile."""
        doing = asyncio.create_task(work)
        try:
            while not doing.done():
                self.say()
                await asyncio.wait({doing}, timeout=REPORT_SECONDS)
        finally:
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)
        try:
            doing.result()
            self.failure = None
        except ReconveneError as e:
            if e.code == "draining":
                return
            if self.failure is None or self.failure.code != e.code:
                _log.warning("an index cannot be kept up to date", code=e.code, message=e.message)
            self.failure = e

    async def _sweep(self) -> None:
        self._swept = self._clock()
        self.sweeps += 1
        self._unlisted.clear()
        try:
            found = await self.index.refresh()
        finally:
            self._asked = self._swept is None  # it was asked for once more meanwhile
        if not found.paused:
            await self._watch()

    async def _follow(self, paths: frozenset[str]) -> None:
        if self.index.paused:
            return
        await self.index.refresh_paths(paths)
        if len(self._unlisted) < MOST_UNLISTED:
            # One that is not there may come back as one of ours.
            there = await asyncio.to_thread(lambda: {p for p in paths if self.index.workspace.stat(p) is not None})
            view = self.index.view  # not held while somebody else may replace it
            self._unlisted |= {path for path in there if view.find(path) is None}

    async def _watch(self) -> None:
        """Watch the folders of what is there now."""
        if self._make_watcher is None or self._closed or not self._alive():
            return
        if self._watcher is None:
            loop = asyncio.get_running_loop()

            def hinted(hint: Hint) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self.hint, hint)

            self._watcher = await asyncio.to_thread(self._make_watcher, hinted)
            self._watched_epoch = None
        if self._watched_epoch != self.index.epoch:
            self._watched_epoch = self.index.epoch
            # The view is taken there, and let go there: once it has been replaced, whoever lets it go last gives back all its memory.
            await asyncio.to_thread(lambda watcher: watcher.watch(self.index.view.paths()), self._watcher)

    async def _stop_watching(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            await asyncio.to_thread(watcher.close)

    async def _rest(self) -> None:
        await self._stop_watching()
        if not self.index.resting:
            with contextlib.suppress(ReconveneError):
                await self.index.rest()
