"""The server is killed at random points and nothing is lost, doubled or stuck. Each defence is broken once to see this test fail."""

from __future__ import annotations

import os
import random

import pytest
from kills import campaign
from mutations import MUTATIONS

from proof import report

PROOF = "Crash: a whole server and its client over WebSocket"
SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))


@pytest.mark.timeout(400)
async def test_thirty_kills_lose_nothing() -> None:
    tally = await campaign(30, SEED)
    print(tally)
    assert not tally.violations, "\n".join(tally.violations)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_hundreds_of_kills_lose_nothing() -> None:
    tally = await campaign(int(os.environ.get("KILLS", "300")), SEED)
    print(tally)
    assert not tally.violations, "\n".join(tally.violations)
    figure = (
        "{kills:,} kills at random moments in {trials:,} runs, followed over {connections:,} connections: 0 inputs lost or doubled, "
        "0 finished calls repeated, 0 stuck, the client shows exactly the log; {repeated_in_flight:,} steps in flight done again"
    )
    counts = {name: getattr(tally, name) for name in ("kills", "trials", "connections", "repeated_in_flight")}
    report(PROOF, figure, counts=counts, seed=SEED, seconds=tally.seconds)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if m != "none"])
async def test_control_a_broken_defence_is_caught(mutation: str) -> None:
    tally = await campaign(300, SEED, mutation, until_violation=True)
    print(tally, tally.violations[:1])
    assert tally.violations, f"{mutation} was not noticed"
    report(PROOF, control=f"{mutation}: noticed after {tally.kills} kills", seed=SEED, seconds=tally.seconds)
