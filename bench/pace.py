"""When events are due: a fixed rate for each session, sessions spread over the period. Ours and the floor share it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

SLOTS = 32
"""Of a period: about 1 ms each at 30 events a second, which is what an event loop's clock can tell apart. Every session has its place
in one of them, so that 100 sessions do not speak in chorus, which would spare the log most of its commits."""


def slots(sessions: int) -> list[range]:
    """Which sessions are due in each slot of a period.

    >>> slots(1), slots(100)[:2], len(slots(100))
    ([range(0, 1)], [range(0, 100, 32), range(1, 100, 32)], 32)
    """
    number = min(SLOTS, sessions)
    return [range(first, sessions, number) for first in range(number)]


async def keep_pace(
    sessions: int, rate: float, seconds: float, emit: Callable[[Sequence[int]], Awaitable[None]]
) -> float:
    """Call `emit` with the sessions that are due, `rate` times a second for each. What is late is not left out.

    Returns the 99th percentile of how late a slot was, in ms: beyond some ms the process could not keep up.
    """
    due = slots(sessions)
    pause = 1 / (rate * len(due))
    loop = asyncio.get_running_loop()
    started = loop.time()
    late: list[float] = []
    for n in count():
        if n >= round(rate * seconds) * len(due):
            break
        wait = started + n * pause - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        late.append(max(0.0, loop.time() - started - n * pause))
        await emit(due[n % len(due)])
    return 1000 * sorted(late)[int(0.99 * (len(late) - 1))]
