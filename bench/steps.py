"""What a step of a run costs beside pydantic-ai alone, and how soon a long run goes on after a crash."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from bench.control import Child
from bench.plan import Plan
from bench.table import Row, ratio

STEPS = 10
LONG = 200
MOST_RATIO = 1.4
MOST_MS = 100.0


def measure(folder: Path, plan: Plan) -> list[Row]:
    child = Child("bench.stepping", str(folder))
    try:
        for command in ("ours", "plain"):  # what only a first run costs
            child.call(command, steps=STEPS)
        ours: list[float] = []
        plain: list[float] = []
        # One of each in turn, as other programs' caches and the clock of the processor change from second to second.
        for _ in range(plan.rounds * plan.times):
            ours.append(child.call("ours", steps=STEPS))
            plain.append(child.call("plain", steps=STEPS))
        child.call("interrupted", steps=LONG)
        recovered = [child.call("recovered") for _ in range(plan.restarts)]
        assert child.call("finish") == LONG
    finally:
        child.stop()
    times = ratio(ours, plain)
    cpu, wall = median(r["cpu"] for r in recovered), median(r["wall"] for r in recovered)
    name = f"recovery of a run of {LONG} steps"
    return [
        Row(
            "CPU of a step, ms",
            f"{median(ours) / STEPS:.2f}",
            f"{median(plain) / STEPS:.2f}",
            f"{times:.2f}",
            f"≤ {MOST_RATIO} × pydantic-ai",
            times <= MOST_RATIO,
            f"a scripted run of {STEPS} steps: a file is read in each, the last is an answer. Ours writes every step to the disk and "
            "delivers it; the floor is pydantic-ai alone, with the same model and tool.",
        ),
        Row(
            f"{name}: ms",
            f"{wall:.0f}",
            target=f"≤ {MOST_MS:g} ms",
            met=wall <= MOST_MS,
            note=f"from when the server is ready to when the run's model is asked for step {LONG}; {cpu:.0f} ms of CPU.",
        ),
    ]
