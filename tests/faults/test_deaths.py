"""A server without sockets dies thousands of times, in every kind of call that changes a disk and at random moments: see `deaths`."""

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
from deaths import Tally
from shares import share

from proof import report

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
WORKERS = int(os.environ.get("WORKERS", "2"))
MUTATIONS = [
    "send_before_commit",
    "no_idempotency_key",
    "forgetful_tools",
    "forgetful_sub_agents",
    "writes_without_a_journal",
    "no_recovery",
]
OF_EVERY_CALL = [
    "no_idempotency_key",
    "forgetful_sub_agents",
    "writes_without_a_journal",
    "no_recovery",
    "an_index_of_the_dead_is_useless",
]
"""One death is enough to notice these, in the right call."""


async def campaign(deaths: int, seed: int, **more: Any) -> Tally:
    """So many deaths, shared by the workers."""
    print(f"\nseed {seed} {more or ''}")
    tally = Tally()

    async def one(n: int) -> None:
        job = {"deaths": -(-deaths // WORKERS), "seed": seed + n, "share": share(n, WORKERS), **more}
        program = [sys.executable, str(Path(__file__).with_name("deaths.py")), json.dumps(job)]
        process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        told = await process.stdout.read()
        assert await process.wait() == 0, "the campaign itself broke; its output is above"
        tally.add(Tally(**json.loads(told)))

    await asyncio.gather(*(one(n) for n in range(WORKERS)))
    return tally


FIGURE = (
    "{deaths:,} deaths ({in_calls:,} in a call that changes a disk), {recovering:,} of them while recovering, {trials:,} runs, "
    "{acknowledged:,} inputs acknowledged: {wrong:,} lost, doubled, stuck or written twice; {again:,} model requests in flight asked again"
)


def counts(tally: Tally) -> dict[str, int]:
    names = ("deaths", "in_calls", "recovering", "trials", "acknowledged", "points", "again")
    return {name: getattr(tally, name) for name in names} | {"wrong": len(tally.violations)}


@pytest.mark.timeout(180)
async def test_two_hundred_deaths_lose_nothing() -> None:
    tally = await campaign(200, SEED)
    print(FIGURE.format(**counts(tally)))
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.deaths >= 200 and tally.recovering > 20


@pytest.mark.timeout(180)
async def test_control_a_forgetful_server_is_noticed() -> None:
    tally = await campaign(1000, SEED, mutation="forgetful_tools", until_violation=True)  # it ends at the first
    assert tally.violations


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_twenty_thousand_deaths_lose_nothing() -> None:
    began = time.monotonic()
    deaths = int(os.environ.get("DEATHS", "20000"))
    tally = await campaign(deaths, SEED)
    print(dict(tally.calls.most_common()))
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.recovering >= deaths // 4
    seconds = time.monotonic() - began
    report("Crash: deaths of a server", FIGURE, counts=counts(tally), seed=SEED, seconds=seconds, cpu=tally.cpu)


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_a_death_in_every_call_that_changes_a_disk() -> None:
    began = time.monotonic()
    every = int(os.environ.get("EVERY", "1"))
    tally = await campaign(0, SEED, every=every)
    print(dict(tally.calls.most_common()))
    assert not tally.violations, "\n".join(tally.violations)
    assert tally.points > 500 // every // share(0, 1)[1]
    which = "each of" if every == 1 else f"each {every}th of"
    figure = (
        f"a death in {which} the writes, syncs, renames … of a run, {{points:,}} calls, and after each eighth another in the recovery from "
        "it: {deaths:,} deaths, {wrong:,} lost, doubled, stuck or written twice"
    )
    seconds = time.monotonic() - began
    report("Crash: in every call", figure, counts=counts(tally), seed=SEED, seconds=seconds, cpu=tally.cpu)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutation", MUTATIONS)
async def test_control_a_broken_defence_is_caught_by_deaths(mutation: str) -> None:
    began = time.monotonic()
    patience = 8 if mutation == "no_recovery" else 30  # a run that is stuck must not be taken for another kind of fault
    tally = await campaign(2000, SEED, mutation=mutation, until_violation=True, patience=patience)
    print(tally.deaths, tally.violations[:1])
    assert tally.violations, f"{mutation} was not noticed"
    report(
        "Crash: deaths of a server",
        control=f"{mutation}: noticed after {tally.deaths} deaths",
        seed=SEED,
        seconds=time.monotonic() - began,
    )


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutation", OF_EVERY_CALL)
async def test_control_a_broken_defence_is_caught_in_some_call(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHARE", raising=False)
    began = time.monotonic()
    patience = 8 if mutation == "no_recovery" else 30
    tally = await campaign(0, SEED, every=3, mutation=mutation, until_violation=True, patience=patience)
    print(tally.deaths, tally.violations[:1])
    assert tally.violations, f"{mutation} was not noticed"
    told = f"{mutation}: noticed after deaths in {tally.deaths} calls"
    report("Crash: in every call", control=told, seed=SEED, seconds=time.monotonic() - began)
