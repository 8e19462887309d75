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


@pytest.mark.parametrize("bounded", [True, False])
async def test_one_that_is_cut_off_in_the_middle_of_a_statement_holds_up_nobody_for_long(
    hole: BlackHole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bounded: bool
) -> None:
    """It holds the session's row, and the database waits for the rest of the statement. Control: without a limit, for ever."""
    monkeypatch.setattr("reconvene.log.postgres.address.TRANSACTION_TIME", 1.0 if bounded else 0.0)
    monkeypatch.setattr("nodes.PATIENCE", 60.0 if bounded else 6.0)
    if bounded:
        assert await partitioned(hole, tmp_path, resets=True, seed=SEED, halfway=True) > 0
    else:
        with pytest.raises(AssertionError, match="not reached"):
            await partitioned(hole, tmp_path, resets=True, seed=SEED, halfway=True)
