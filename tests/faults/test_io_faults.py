"""The disk fails in one call, or from one call on: typed errors, reading goes on, it heals by itself. See `io_faults`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from io_faults import Found
from shares import share

from proof import report

WORKERS = int(os.environ.get("WORKERS", "2"))
EVERY = int(os.environ.get("EVERY", "1"))


async def campaign(**job: Any) -> Found:
    """Shared by the workers."""
    sum = Found()

    async def one(n: int) -> None:
        program = [
            sys.executable,
            str(Path(__file__).with_name("io_faults.py")),
            json.dumps(job | {"share": share(n, WORKERS)}),
        ]
        process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        found = json.loads(await process.stdout.read())
        assert await process.wait() == 0, "the campaign itself broke; its output is above"
        sum.calls += found["calls"]
        sum.refused.update(found["refused"])
        sum.runs += found["runs"]
        sum.unfinished += found["unfinished"]
        sum.tools += found["tools"]
        sum.violations += found["violations"]
        sum.cpu += found["cpu"]

    await asyncio.gather(*(one(n) for n in range(WORKERS)))
    return sum


@pytest.mark.timeout(180)
async def test_bad101_some_calls_fail_with_a_full_disk() -> None:
    found = await campaign(every=60, errors=["ENOSPC"])
    print(found)
    assert not found.violations, "\n".join(found.violations)
    assert found.calls > 500 // 60 and found.refused["disk_full"] > 3


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_bad101_bad125_every_call_fails_once_and_for_ever() -> None:
    began = time.monotonic()
    found = await campaign(every=EVERY)
    assert not found.violations, "\n".join(found.violations)
    assert found.calls > 500 // EVERY // share(0, 1)[1]
    assert found.tools or share(0, 1)[1] > 1, "no call of the index was among those that failed"
    figure = (
        "{calls:,} of a run's calls that change a disk, each failed once and for good, with EIO and ENOSPC: {runs:,} runs, 0 lost, "
        "doubled or stuck; each refusal typed ({disk_full:,} disk_full, {store_error:,} store_error, {data_dir_unusable:,} "
        "data_dir_unusable, {others:,} others); reading went on in each; {tools:,} tool calls failed, each typed and in the moment in "
        "which the disk did; healed by itself in each, code is found again, {unfinished:,} without the change and with every file as it was"
    )
    counts = {name: found.refused[name] for name in ("disk_full", "store_error", "data_dir_unusable")}
    counts |= {"others": found.refused.total() - sum(counts.values())}
    counts |= {"calls": found.calls, "runs": found.runs, "unfinished": found.unfinished, "tools": found.tools}
    report("I/O faults", figure, counts=counts, seconds=time.monotonic() - began, cpu=found.cpu)


CONTROLS: dict[str, dict[str, Any]] = {
    "believes_a_failed_commit": {"errors": ["EIO"]},
    "untyped_failures": {"errors": ["EIO"]},
    "an_index_that_failed_is_kept": {"errors": ["ENOSPC"], "kinds": [True]},
}


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutation", CONTROLS)
async def test_control_a_broken_defence_is_caught_by_faults(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHARE", raising=False)
    began = time.monotonic()
    found = await campaign(every=7, mutation=mutation, until_violation=True, **CONTROLS[mutation])
    print(found.violations[:1])
    assert found.violations, f"{mutation} was not noticed"
    report("I/O faults", control=f"{mutation}: noticed in {found.runs} runs", seconds=time.monotonic() - began)
