"""Defences, broken on purpose inside a forked server: the crash test has to notice each of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any


def none() -> None:
    """The product as it is."""


def send_before_commit() -> None:
    """What was appended is sent and acknowledged a moment before it is on disk."""
    from reconvene.log.writer import Writer

    commit = Writer._commit

    def early(self: Writer, db: Any, tx: Any, answers: list[Any]) -> None:
        self._post(self._deliver, list(answers), list(tx.commits))
        time.sleep(0.01)
        commit(self, db, tx, answers)
        answers.clear()
        tx.commits.clear()

    Writer._commit = early  # type: ignore[method-assign]


def subscribe_after_replay() -> None:
    """A connection hears of new events only a moment after it has read the old ones."""
    from reconvene.log.feed import Feed

    watch = Feed.watch

    def late(self: Feed, session_id: str, wake: Callable[[], None]) -> Any:
        deaf = True

        def heard() -> None:
            if not deaf:
                wake()

        def listen() -> None:
            nonlocal deaf
            deaf = False

        watched = watch(self, session_id, heard)
        asyncio.get_running_loop().call_later(1.5, listen)
        return watched

    Feed.watch = late  # type: ignore[method-assign]


def no_idempotency_key() -> None:
    """A command that is sent again is a new command."""
    from reconvene.log.sqlite import SqliteLog
    from reconvene.sessions.service import Sessions

    append = SqliteLog.append

    async def known(self: Any, command: Any) -> None:
        return None

    async def forgetful(self: Any, session_id: str, events: Any, *, command: Any = None, **rest: Any) -> Any:
        return await append(self, session_id, events, **rest)

    Sessions._known = known  # type: ignore[method-assign,assignment]
    SqliteLog.append = forgetful  # type: ignore[method-assign]


MUTATIONS: dict[str, Callable[[], None]] = {
    f.__name__: f for f in (none, send_before_commit, subscribe_after_replay, no_idempotency_key)
}
