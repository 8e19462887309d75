"""The server is killed at random points and nothing is lost, doubled or stuck. Each defence is broken once to see this test fail."""

from __future__ import annotations

import os
import random

import pytest
from kills import campaign
from mutations import MUTATIONS

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


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if m != "none"])
async def test_control_a_broken_defence_is_caught(mutation: str) -> None:
    tally = await campaign(300, SEED, mutation, until_violation=True)
    print(tally, tally.violations[:1])
    assert tally.violations, f"{mutation} was not noticed"
