"""Nodes are cut off from PostgreSQL in the middle of a run, again and again, and write nothing when they are back: see `partition`."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from partition import BlackHole, partitioned
from postgres import fresh_url
from proof import report

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
PROOF = "Nodes: cut off from PostgreSQL, back as a zombie"


async def cut_off(folder: Path, seed: int) -> int:
    folder.mkdir()
    hole = BlackHole(fresh_url())
    try:
        return await partitioned(hole, folder, resets=seed % 2 == 1, seed=seed)
    finally:
        await hole.stop()


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_zombies_write_nothing(tmp_path: Path) -> None:
    times, began, held = int(os.environ.get("CUT_OFFS", "30")), time.monotonic(), 0
    print(f"\nseed {SEED}")
    for n in range(times):
        held += await cut_off(tmp_path / str(n), SEED + n)
    assert held > 0
    figure = (
        "{times:,} times nothing passed any more between a node with a run and PostgreSQL, in neither direction and without a word; "
        "another took over, and the first came back: {stale:,} of its stale rows in the log, though it had sent {held:,} bytes, which "
        "arrived late or were cut with their connections"
    )
    counts = {"times": times, "stale": 0, "held": held}
    report(PROOF, figure, counts=counts, seed=SEED, seconds=time.monotonic() - began)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_control_without_fences_a_zombie_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    monkeypatch.setattr("reconvene.log.decisions.Decisions.check", lambda self, fence: None)
    with pytest.raises(AssertionError):
        await cut_off(tmp_path / "control", 1)
    report(PROOF, control="without the owner's generation its rows are in the log", seconds=time.monotonic() - began)
