"""Coming back: a session of 10,000 events of which 100 were missed, and the replay of 1,000."""

from __future__ import annotations

import json
from functools import partial
from statistics import median

from bench.plan import Plan
from bench.stage import Stage
from bench.table import Row, percentile, ratio
from bench.wire import hello

LONG, SHORT, MISSED, REPLAYED = 10_000, 101, 100, 1000
"""The short session has one event more than is missed: the start of a log has a tag that is known without reading it."""


class _Attaching:
    """One kind of return: what our client says, what the floor's says, and what each round gave."""

    def __init__(self, hello: str, missed: int) -> None:
        self.hellos = {"ours": hello, "floor": json.dumps({"group": "g", "missed": missed})}
        self.missed = missed
        self.ms: dict[str, list[float]] = {"ours": [], "floor": []}
        self.every_ms: list[float] = []
        self.us: dict[str, list[float]] = {"ours": [], "floor": []}
        self.read: dict[str, int] = {}

    def go(self, stage: Stage, times: int) -> None:
        for place in stage.both:
            stage.meet(place)
            attach = partial(stage.clients.call, "attach", hello=self.hellos[place.name], times=times)
            if place.name == "ours":
                stage.ours.child.call("rows_read")
            us, found = place.cpu_us(attach)
            if set(found["events"]) != {self.missed}:
                raise RuntimeError(f"{place.name} sent {sorted(set(found['events']))} events instead of {self.missed}")
            if place.name == "ours":
                self.every_ms += found["ms"]
                self.read = {name: rows // times for name, rows in stage.ours.child.call("rows_read").items()}
            self.ms[place.name].append(median(found["ms"]))
            self.us[place.name].append(us / times / self.missed)


def measure(stage: Stage, plan: Plan) -> list[Row]:
    serve = stage.ours.child
    long = serve.call("long_session", events=LONG, size=plan.size)
    short = serve.call("long_session", events=SHORT, size=plan.size)

    def missing(session_id: str, missed: int) -> _Attaching:
        return _Attaching(hello("c", session_id, serve.call("cursor", session_id=session_id, missed=missed)), missed)

    resume, resume_short, replay = missing(long, MISSED), missing(short, MISSED), missing(long, REPLAYED)
    for _ in range(plan.rounds):
        for kind in (resume, resume_short, replay):
            kind.go(stage, plan.times)
    return [*_resume_rows(resume, resume_short), *_replay_rows(replay)]


def _resume_rows(long: _Attaching, short: _Attaching) -> list[Row]:
    constant, same = long.read["other"], long.read == short.read
    ms, floor = median(long.ms["ours"]), median(long.ms["floor"])
    return [
        Row(
            f"resume, {LONG:,} events, {MISSED} missed: ms",
            f"{ms:.1f}",
            f"{floor:.1f}",
            f"{ratio(long.ms['ours'], long.ms['floor']):.2f}",
            note=f"from the first frame to `synced`, median; p99 {percentile(long.every_ms, 0.99):.1f} ms; "
            f"of a session of {SHORT} events {median(short.ms['ours']):.1f} ms.",
        ),
        Row(
            "resume: rows read",
            f"{long.read['events']} + {constant}",
            target=f"missed + constant, {LONG:,} as {SHORT} events",
            met=same and long.read["events"] == MISSED,
            note=f"a session of {SHORT} events: {short.read['events']} + {short.read['other']}. Beside that the store sums up the sizes of "
            f"{long.read['summed']} rows ({short.read['summed']}) to decide between resume and snapshot.",
        ),
    ]


def _replay_rows(replay: _Attaching) -> list[Row]:
    pace = ratio(replay.us["ours"], replay.us["floor"])
    return [
        Row(
            f"replay of {REPLAYED:,} events: ms",
            f"{median(replay.ms['ours']):.1f}",
            f"{median(replay.ms['floor']):.1f}",
            f"{ratio(replay.ms['ours'], replay.ms['floor']):.2f}",
        ),
        Row(
            "replay: CPU µs/event",
            f"{median(replay.us['ours']):.1f}",
            f"{median(replay.us['floor']):.1f}",
            f"{pace:.2f}",
            "≤ 2.5 × floor",
            pace <= 2.5,
            "handshake, attaching and leaving are in it, for both.",
        ),
    ]
