"""The cap on what a day may cost: a run that meets it waits, and goes on when the cap is raised, a person says so, or the day is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import TYPE_CHECKING

import structlog

from reconvene.agents.providers import Providers
from reconvene.agents.spending import Spending
from reconvene.errors import ReconveneError
from reconvene.sessions.state import SessionState

if TYPE_CHECKING:
    from reconvene.runs.journal import Journal

_log = structlog.get_logger(__name__)
DAILY_CAP = "daily_cap"
"""Why a run waits, as its `waiting` says."""
CAP = "cap"
"""Questions about it are `{run}.cap-1`, -2, …"""
BY_CAP = "the daily cap"
"""Who answered, when it was the cap or the day that changed."""
LOOK = 2.0
"""Seconds between two looks at whether runs that wait can go on."""


async def afford(journal: Journal, state: SessionState, providers: Providers, spending: Spending) -> None:
    """
    Raises:
        ReconveneError: `budget_exceeded`: the day's money is spent, and nobody let this run go on over it.
    """
    answers = [state.settled.get(q) for q in journal.questions(CAP)]
    if any(a is not None and a[0] == "continue" and a[1] != BY_CAP for a in answers):
        return
    if providers.daily_cap is None:  # as with most, and one look at a file of our own is no work for a thread
        return
    cap, today = await asyncio.to_thread(_figures, providers, spending)
    if cap is not None and today >= cap:
        sentence = (
            f"The runs of today have cost ${today:.2f}, and the cap is ${cap:.2f} a day. This one goes on by itself when the cap is "
            "raised (reconvene model --daily-cap, or on the page), or at midnight UTC."
        )
        raise ReconveneError("budget_exceeded", sentence, limit=DAILY_CAP, cap=cap, spent=round(today, 4))


async def affordable(providers: Providers, spending: Spending) -> bool:
    cap, today = await asyncio.to_thread(_figures, providers, spending)
    return cap is None or today < cap


def over_cap(e: ReconveneError) -> bool:
    return e.code == "budget_exceeded" and e.details.get("limit") == DAILY_CAP


def _figures(providers: Providers, spending: Spending) -> tuple[float | None, float]:
    cap = providers.daily_cap
    return cap, 0.0 if cap is None else spending.today()


class Capped:
    """The sessions whose run waits for money. Looked after while there are any, by one task.

    Args:
        affordable: whether there is money now.
        go_on: lets a session's run go on.
    """

    def __init__(self, affordable: Callable[[], Awaitable[bool]], go_on: Callable[[str], Awaitable[None]]) -> None:
        self._affordable, self._go_on = affordable, go_on
        self._waiting: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        return [self._task] if self._task else []

    def add(self, session_id: str) -> None:
        self._waiting.add(session_id)
        if self._task is None or self._task.done():
            # It waits for all sessions, so what it logs is of none.
            self._task = asyncio.create_task(self._watch(), name="daily cap", context=Context())

    async def _watch(self) -> None:
        while self._waiting:
            await asyncio.sleep(LOOK)
            try:
                if not await self._affordable():
                    continue
                for session_id in sorted(self._waiting):
                    try:
                        await self._go_on(session_id)
                    except ReconveneError as e:
                        if e.code != "no_such_session":
                            raise
                    self._waiting.discard(session_id)
            except ReconveneError as e:  # a store or a file that refuses now is asked again
                _log.warning("runs that wait for the daily cap could not go on", code=e.code, message=e.message)
