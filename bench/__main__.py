"""`python -m bench [--quick] [--seed N] [--folder DIR]`: measure, print the table."""

from __future__ import annotations

import argparse
import random
import shutil
import string
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import attaching, commands, idle, live, machine, restart, steps
from bench.plan import FULL, QUICK, Plan
from bench.stage import Stage
from bench.table import Row, render


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a check that it works: a minute instead of five")
    parser.add_argument("--seed", type=int, default=1, help="of the events' text")
    parser.add_argument(
        "--folder", type=Path, default=Path("build"), help="where the data folders are made: the disk that is measured"
    )
    parser.add_argument(
        "--only", choices=["attaching", "live", "idle", "restart", "steps", "commands"], help="one part of it"
    )
    args = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("The bench reads Linux's /proc; it does not run here.")
    plan = QUICK if args.quick else FULL
    args.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=args.folder)).resolve()
    try:
        started, others = time.perf_counter(), machine.Others()
        about = machine.description(folder)
        rows = run(folder, plan, args.seed, args.only)
        print(
            f"Bench of {time.strftime('%Y-%m-%d %H:%M %Z')}, seed {args.seed}{', quick: figures mean little' if args.quick else ''}"
        )
        print("\n".join(about))
        print(raised())
        print(f"{plan.rounds} rounds, ours and the floor in turn; medians of rounds. {busy(others.cores())}\n")
        print(render(rows))
        print(f"\n{time.perf_counter() - started:.0f} s.")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(folder: Path, plan: Plan, seed: int, only: str | None) -> list[Row]:
    padding = "".join(random.Random(seed).choices(string.ascii_letters + " ", k=plan.size))
    number = 0

    def stage() -> Stage:
        nonlocal number
        number += 1
        return Stage(folder / f"stage{number}", padding)

    def part(measure: Callable[[Stage, Plan], list[Row]]) -> list[Row]:
        with stage() as opened:
            return measure(opened, plan)

    parts: dict[str, Callable[[], list[Row]]] = {
        "attaching": lambda: part(attaching.measure),
        "live": lambda: part(live.measure),
        "idle": lambda: idle.measure(stage, plan),
        "restart": lambda: restart.measure(folder / "restart", padding, plan),
        "steps": lambda: steps.measure(folder / "steps", plan),
        "commands": lambda: commands.measure(folder / "commands", plan),
    }
    rows: list[Row] = []
    for name, measure in parts.items():
        if only in (None, name):
            print(f"· {name}", file=sys.stderr, flush=True)
            rows += measure()
    return rows


def busy(cores: float) -> str:
    """How quiet the machine was: an event passes two threads and a disk, and waits for a core at each."""
    said = f"Other programs used {cores:.1f} cores meanwhile"
    return (
        f"{said}: figures in ms, p99 above all, are theirs too. Run it on a quiet machine."
        if cores > 0.2
        else f"{said}."
    )


def raised() -> str:
    from bench.served import RAISED
    from reconvene.config import Limits

    usual = Limits()
    changes = ", ".join(f"{name} {getattr(usual, name):g} → {value:g}" for name, value in RAISED.items())
    return (
        f"Limits raised for one client that is thousands: {changes}. "
        f"Messages a second ({usual.messages_per_second:g}) and all others as they are; none raised for restart."
    )


if __name__ == "__main__":
    main()
