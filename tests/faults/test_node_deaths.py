"""Nodes and their database die; nobody who was connected elsewhere is told a gap, a repeat, or nothing at all: see `node_deaths`."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path

import pytest
from node_people import Tally

from proof import report
from reconvene.config import Settings

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))


async def campaign(**job: object) -> Tally:
    print(f"\nseed {SEED} {job}")
    program = [sys.executable, str(Path(__file__).with_name("node_deaths.py")), json.dumps({"seed": SEED, **job})]
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    told = await process.stdout.read()
    assert await process.wait() == 0, "the campaign itself broke; its output is above"
    return Tally(**json.loads(told))


def at(share: float, seconds: list[float]) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_nodes_are_killed_and_runs_go_on_at_another():
    kills, began = int(os.environ.get("KILLS", "300")), time.monotonic()
    tally = await campaign(kills=kills, longest=6000)
    assert tally.violations == [] and tally.kills >= kills and tally.working > 0
    assert tally.attached == tally.runs > 0 and tally.takeovers
    p50, p99 = at(0.5, tally.takeovers), at(0.99, tally.takeovers)
    figure = (
        "{kills:,} deaths of a node ({working:,} with runs on it), {runs:,} runs of several tools with a question and two decisions, each "
        "followed at another node over a page's connection and with `attach`: {wrong:,} gaps, repeats, stuck or wrong files; "
        f"{len(tally.takeovers):,} times a run was taken over, in {p50:.1f} s (p50), {p99:.1f} s (p99), where the setting is 1.5 s"
    )
    counts = {"kills": tally.kills, "working": tally.working, "runs": tally.attached, "wrong": len(tally.violations)}
    report("Nodes: killed while they work", figure, counts=counts, seed=SEED, seconds=time.monotonic() - began)


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_how_long_a_takeover_takes_with_the_default_setting():
    kills, began = int(os.environ.get("TAKEOVERS", "20")), time.monotonic()
    setting = Settings(data_dir=Path("unused")).takeover
    tally = await campaign(kills=kills, takeover=setting, longest=3600)
    assert tally.violations == [] and tally.kills >= kills and tally.takeovers
    p50, p99 = at(0.5, tally.takeovers), at(0.99, tally.takeovers)
    assert p50 <= setting
    figure = (
        f"{{kills:,}} deaths of a node with {{runs:,}} runs, none lost; {len(tally.takeovers):,} times a run went on at another node, "
        f"after {p50:.1f} s (p50), {p99:.1f} s (p99), where the setting is {setting:.0f} s"
    )
    counts = {"kills": tally.kills, "runs": tally.attached}
    report("Nodes: the time of a takeover", figure, counts=counts, seed=SEED, seconds=time.monotonic() - began)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_control_a_node_that_waits_for_longer_than_the_setting_is_noticed():
    setting, began = 3.0, time.monotonic()
    tally = await campaign(kills=4, takeover=setting, mutation="patient", longest=900)
    p50 = at(0.5, tally.takeovers)
    assert tally.takeovers and p50 > setting
    control = (
        f"silence that counts only after five times as long: {p50:.1f} s (p50), where the setting is {setting:.0f} s"
    )
    report("Nodes: the time of a takeover", control=control, seed=SEED, seconds=time.monotonic() - began)


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_postgresql_is_killed_and_nothing_acknowledged_is_lost():
    kills, began = int(os.environ.get("DATABASE_KILLS", "50")), time.monotonic()
    tally = await campaign(database_kills=kills, longest=6000)
    assert tally.violations == [] and tally.database_kills >= kills and tally.attached == tally.runs > 0
    figure = (
        "{kills:,} deaths of PostgreSQL under two nodes at work, {runs:,} runs, {acknowledged:,} inputs acknowledged: "
        "{wrong:,} lost, doubled or stuck"
    )
    counts = {"kills": tally.database_kills, "runs": tally.runs, "acknowledged": tally.acknowledged, "wrong": 0}
    report(
        "Nodes: PostgreSQL killed and started again", figure, counts=counts, seed=SEED, seconds=time.monotonic() - began
    )


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_control_what_is_answered_before_it_is_written_is_noticed():
    began = time.monotonic()
    tally = await campaign(kills=30, mutation="answers_before_commit", longest=900)
    assert tally.violations
    control = f"some commits answered and not made: noticed after {tally.kills} deaths"
    report("Nodes: killed while they work", control=control, seconds=time.monotonic() - began)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_control_commits_that_are_not_on_the_disk_are_noticed_when_postgresql_dies():
    began = time.monotonic()
    tally = await campaign(database_kills=60, mutation="asynchronous_commit", longest=900)
    assert tally.violations
    control = f"synchronous_commit = off: noticed after {tally.database_kills} deaths"
    report("Nodes: PostgreSQL killed and started again", control=control, seconds=time.monotonic() - began)
