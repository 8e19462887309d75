"""Deciding anew what was decided by a state that another process had moved on from."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from reconvene.log.port import Moved

P = ParamSpec("P")
T = TypeVar("T")
TRIES = 20
"""Each time somebody else got something done; then it is told as `store_busy`."""


def again_when_moved(change: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """A change of a session that is tried again when it was `Moved`: what moved it has been told by then, and nothing was written."""

    @functools.wraps(change)
    async def changed(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            try:
                return await change(*args, **kwargs)
            except Moved:
                continue
        return await change(*args, **kwargs)

    return changed
