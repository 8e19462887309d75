"""A node that is cut off from the database, and comes back when another has taken over, writes nothing; see `partition`."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from partition import BlackHole, partitioned
from postgres import fresh_url

SEED = random.randrange(2**32)


@pytest.fixture
async def hole() -> AsyncIterator[BlackHole]:
    hole = BlackHole(fresh_url())
    yield hole
    await hole.stop()


async def test_a_node_that_is_cut_off_writes_nothing_when_it_is_back(hole: BlackHole, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    assert await partitioned(hole, tmp_path, resets=False, seed=SEED) > 0


async def test_control_without_fences_it_does(hole: BlackHole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.log.decisions.Decisions.check", lambda self, fence: None)
    with pytest.raises(AssertionError):
        await partitioned(hole, tmp_path, resets=True, seed=SEED)
