"""Events as they happen: one session with 500 clients, and 100 sessions with 5 each."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.machine import Fsyncs, Others
from bench.plan import Plan
from bench.stage import Place, Stage
from bench.table import Row, percentile, ratio


@dataclass(slots=True)
class _Figures:
    """Of one of the two servers under one load. A list has a figure for each round."""

    us: list[float] = field(default_factory=list)
    """CPU for each event delivered."""
    a_second: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    """ms from append to frame, sampled."""
    disk_p50: list[float] = field(default_factory=list)
    disk_p99: list[float] = field(default_factory=list)
    """ms of a fsync beside."""
    late_ms: float = 0.0
    events_a_commit: float = 0.0
    others: list[float] = field(default_factory=list)
    """Cores that other programs used."""


def measure(stage: Stage, plan: Plan) -> list[Row]:
    rows: list[Row] = []
    for sessions, clients in plan.live:
        ours, floor = _Figures(), _Figures()
        for _ in range(plan.rounds):
            _round(stage, stage.ours, plan, sessions, clients, ours)
            _round(stage, stage.floor, plan, sessions, clients, floor)
        rows += _rows(plan, sessions, clients, ours, floor)
    return rows


def _round(stage: Stage, place: Place, plan: Plan, sessions: int, clients: int, figures: _Figures) -> None:
    ids = place.child.call("sessions", number=sessions) if place is stage.ours else [f"g{n}" for n in range(sessions)]
    stage.meet(place)
    stage.clients.call("open", hellos=place.hellos(ids, clients))
    of_each = round(plan.rate * plan.seconds)
    load = {"sessions": ids, "rate": plan.rate, "seconds": plan.seconds, "size": plan.size}

    def run() -> tuple[Any, Any]:
        stage.clients.call("expect", events=of_each)
        stage.clients.start("arrived", patience=plan.seconds + 30)
        driven = place.child.call("load", **load)
        return driven, stage.clients.answer()

    others = Others()
    with Fsyncs(stage.folder) as disk:
        us, (driven, got) = place.cpu_us(run)
    figures.others.append(others.cores())
    stage.clients.call("leave")
    if got["missing"] or got["repeated"]:
        raise RuntimeError(f"{place.name}: {got['missing']} events are missing, {got['repeated']} came twice")
    figures.us.append(us / got["events"])
    figures.a_second.append(got["events"] / got["seconds"])
    ms = [ns / 1e6 for ns in got["latencies"]]
    figures.p50.append(percentile(ms, 0.5))
    figures.p99.append(percentile(ms, 0.99))
    figures.disk_p50.append(percentile(disk.ms, 0.5))
    figures.disk_p99.append(percentile(disk.ms, 0.99))
    figures.late_ms = max(figures.late_ms, driven["late_ms"])
    if commits := driven.get("commits"):
        figures.events_a_commit = of_each * sessions / commits


def _rows(plan: Plan, sessions: int, clients: int, ours: _Figures, floor: _Figures) -> list[Row]:
    name = f"live, {sessions} × {clients}"
    cost = ratio(ours.us, floor.us)
    over = [p99 - disk for p99, disk in zip(ours.p99, ours.disk_p99, strict=True)]
    offered = plan.rate * sessions * clients
    return [
        Row(
            f"{name}: events/s delivered",
            f"{median(ours.a_second):,.0f}",
            f"{median(floor.a_second):,.0f}",
            note=f"{offered:,.0f} offered, {sessions * plan.rate:,.0f} of them different; all arrived, once. "
            f"{ours.events_a_commit:.1f} events a commit. Their making was late by at most (p99) {ours.late_ms:.1f} ms, "
            f"the floor's {floor.late_ms:.1f} ms.",
        ),
        Row(
            f"{name}: CPU µs/event delivered",
            f"{median(ours.us):.1f}",
            f"{median(floor.us):.1f}",
            f"{cost:.2f}",
            "≤ 2.5 × floor",
            cost <= 2.5,
            f"rounds {_rounds(ours.us)}, floor {_rounds(floor.us)}. Writing the events is in it.",
        ),
        Row(
            f"{name}: p50 append to frame, ms",
            f"{median(ours.p50):.1f}",
            f"{median(floor.p50):.1f}",
            note=f"until the client's kernel has it; p50 of the fsyncs beside {median(ours.disk_p50):.1f}.",
        ),
        Row(
            f"{name}: p99 append to frame, ms",
            f"{median(ours.p99):.1f}",
            f"{median(floor.p99):.1f}",
        ),
        Row(
            f"{name}: p99 − fsync p99, ms",
            f"{median(over):.1f}",
            target="≤ 10 ms",
            met=median(over) <= 10,
            note=f"rounds {_rounds(over)}; p99 of the fsyncs (4 kB, 50 a second, same file system) {_rounds(ours.disk_p99)}; "
            f"the floor's p99, which waits for no disk, {_rounds(floor.p99)}. Other programs used {_rounds(ours.others)} cores.",
        ),
    ]


def _rounds(values: list[float]) -> str:
    return " ".join(f"{value:.1f}" for value in values)
