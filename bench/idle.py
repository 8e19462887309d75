"""Connections that do nothing: what each costs in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from statistics import median

from bench.machine import proportional_kb
from bench.plan import Plan
from bench.stage import Place, Stage
from bench.table import Row, ratio

FIRST = 200
"""Connections before the first look, so that what every server needs once is not counted."""
SETTLE = 1.5


def measure(new_stage: Callable[[], AbstractContextManager[Stage]], plan: Plan) -> list[Row]:
    """Each round with new processes: memory that was freed and kept would be used again."""
    ours: list[float] = []
    floor: list[float] = []
    for _ in range(plan.idle_rounds):
        with new_stage() as stage:
            ours.append(_each(stage, stage.ours, plan.idle))
            floor.append(_each(stage, stage.floor, plan.idle))
    kb = median(ours)
    return [
        Row(
            f"{plan.idle:,} idle connections: kB each",
            f"{kb:.1f}",
            f"{median(floor):.1f}",
            f"{ratio(ours, floor):.2f}",
            "≤ 40 kB",
            kb <= 40,
            f"PSS of the server, each connection on a session of its own, after {FIRST} others; the kernel's socket buffers are not in it.",
        )
    ]


def _each(stage: Stage, place: Place, number: int) -> float:
    stage.meet(place)
    sessions = place.child.call("sessions", number=FIRST + number) if place is stage.ours else ["g"] * (FIRST + number)
    hellos = place.hellos(sessions, 1)
    stage.clients.call("open", hellos=hellos[:FIRST])
    before = _settled(place)
    stage.clients.call("open", hellos=hellos[FIRST:])
    kb = (_settled(place) - before) / number
    stage.clients.call("leave")
    return kb


def _settled(place: Place) -> int:
    time.sleep(SETTLE)
    return proportional_kb(place.child.pid)
