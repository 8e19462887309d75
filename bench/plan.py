"""How much is measured. Everything else about a run of the bench follows from one of these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """`rounds`: ours and the floor in turn, so often. `seconds`: of each live load. `times`: attachments in a round."""

    rounds: int
    times: int
    seconds: float
    idle: int
    idle_rounds: int
    restarts: int
    commands: int
    """Starts of each command."""
    live: tuple[tuple[int, int], ...] = ((1, 500), (100, 5))
    """(sessions, clients of each)."""
    rate: float = 30.0
    """Events a second of each session."""
    size: int = 200
    """Bytes of an event's text."""


FULL = Plan(rounds=3, times=20, seconds=8.0, idle=2000, idle_rounds=2, restarts=5, commands=9)
QUICK = Plan(rounds=1, times=5, seconds=2.0, idle=300, idle_rounds=1, restarts=1, commands=2, live=((1, 100), (20, 5)))
"""A check that everything works; its figures mean little."""
