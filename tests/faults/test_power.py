"""The power goes in the middle of a session: log, kept contents and code base are what they were said to be. See `power_cuts`."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from power_cuts import Cuts

from proof import report

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
MODES = ["drop", "subset", "torn"]
CONTROLS = {
    "synchronous=NORMAL": {"synchronous": "normal"},
    "names_are_not_synced": {"mutation": "names_are_not_synced"},
    "contents_are_not_synced": {"mutation": "contents_are_not_synced"},
}


async def campaign(cuts: int, mode: str, seed: int, **more: Any) -> Cuts:
    job = {"cuts": cuts, "mode": mode, "seed": seed, **more}
    print(f"\n{job}")
    program = [sys.executable, str(Path(__file__).with_name("power_cuts.py")), json.dumps(job)]
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    told = await process.stdout.read()
    assert await process.wait() == 0, "the campaign itself broke; its output is above"
    return Cuts(**json.loads(told))


@pytest.mark.timeout(180)
async def test_bad101_bad102_cuts_of_every_kind_lose_nothing() -> None:
    found = await asyncio.gather(*(campaign(50, mode, SEED) for mode in MODES))
    for cuts in found:
        assert not cuts.violations, "\n".join(cuts.violations)
    assert sum(cuts.in_writing for cuts in found) > 0


@pytest.mark.timeout(180)
async def test_control_names_that_are_not_synced_are_noticed() -> None:
    assert (await campaign(300, "drop", SEED, until_violation=True, **CONTROLS["names_are_not_synced"])).violations


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("mode", MODES)
async def test_five_thousand_cuts_lose_nothing(mode: str) -> None:
    began = time.monotonic()
    found = await campaign(int(os.environ.get("CUTS", "5000")), mode, SEED)
    assert not found.violations, "\n".join(found.violations)
    counts = {name: getattr(found, name) for name in ("cuts", "in_writing", "whole", "acknowledged")}
    figure = (
        "{cuts:,} cuts ({in_writing:,} while files were written; {whole:,} gone on from to the end), {acknowledged:,} inputs had been "
        "acknowledged: 0 lost, 0 damaged, every file old or new as the log says"
    )
    report(
        f"Power: a whole session, {mode}",
        figure,
        counts=counts,
        seed=SEED,
        seconds=time.monotonic() - began,
        cpu=found.cpu,
    )


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("control", CONTROLS)
async def test_control_a_broken_defence_is_caught_by_power_cuts(control: str, mode: str) -> None:
    began = time.monotonic()
    found = await campaign(2000, mode, SEED, until_violation=True, **CONTROLS[control])
    assert found.violations, f"{control} was not noticed"
    told = f"{control}: noticed within {found.cuts:,} cuts"
    report(f"Power: a whole session, {mode}", control=told, seed=SEED, seconds=time.monotonic() - began)
