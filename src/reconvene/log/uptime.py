"""The server's total uptime: the clock of all lifetimes. Downtime, sleep and a wall clock that jumps age nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from reconvene.log.port import Log

_NAME = "uptime"


class Uptime:
    """Seconds this data folder has been served, over all its servers. Never goes back.

    Args:
        before: what earlier servers add up to, in seconds.
        clock: any clock in seconds that only goes forward.
    """

    def __init__(self, log: Log, before: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._before = before
        self._clock = clock
        self._started = clock()

    @classmethod
    async def load(cls, log: Log, clock: Callable[[], float] = time.monotonic) -> Uptime:
        """Go on from what was saved, or from the last activity that was stored later: a crash loses the time since then, no more."""
        try:
            stored = float(await log.get(_NAME) or 0.0)
        except ValueError:  # of a repaired database: too young is harmless
            stored = 0.0
        newest = await log.sessions(limit=1)
        return cls(log, max([stored, *(s.last_active for s in newest)]), clock)

    def now(self) -> float:
        return self._before + self._clock() - self._started

    async def keep_step(self) -> None:
        """Of several servers of one log: go on from the one that is furthest, and be known by the others."""
        with contextlib.suppress(ValueError):
            self._before += max(0.0, float(await self._log.get(_NAME) or 0.0) - self.now())
        await self.save()

    async def save(self) -> None:
        """Called at every sweep and at the end. Raises what the store raises."""
        await self._log.put(_NAME, f"{self.now():.3f}")
