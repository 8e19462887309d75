"""Power cuts: what was answered is on the platter. Simulated under SQLite, at random writes, with the unsynced ones lost or torn."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from faulty_disk import Disk
from log_words import a_session

from proof import report
from reconvene.log import database
from reconvene.log.port import Command, NewEvent
from reconvene.log.sqlite import SqliteLog
from reconvene.log.writer import Writer

WRITERS, APPENDS, CUTS = 5, 60, 100


MODES = ["drop", "subset", "torn"]


async def cut_often(
    folder: Path, seed: int, synchronous: str, modes: Sequence[str]
) -> list[tuple[dict[str, bytes], dict[str, int]]]:
    """Write from several sides; at random moments note what a power cut would leave, and what had been answered until then."""
    rng = random.Random(seed)
    log = await SqliteLog.open(folder / "reconvene.db")
    for w in range(WRITERS):
        await a_session(log, f"s_{w}")
    await log.close()
    answered: dict[str, int] = {}
    cuts: list[tuple[dict[str, bytes], dict[str, int]]] = []
    with Disk() as disk, pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "VFS", disk.name)
        log = await SqliteLog.open(folder / "reconvene.db", synchronous=synchronous)
        log._writer._checkpoint_pages = 20  # so that cuts fall into checkpoints too

        def before(op: str, path: str) -> None:
            if rng.random() < 0.3 and len(cuts) < CUTS:
                cuts.append((disk.power_cut(rng, rng.choice(modes)), dict(answered)))

        disk.before = before

        async def writer(w: int) -> None:
            for i in range(1, APPENDS + 1):
                event = NewEvent("x", '"' + "y" * rng.choice([20, 300, 5000]) + '"')
                done = await log.append(f"s_{w}", [event], command=Command("o", f"{w}-{i}", "h"))
                assert done.last == i
                answered[f"s_{w}"] = i

        await asyncio.gather(*(writer(w) for w in range(WRITERS)))
        disk.before = lambda op, path: None
        await log.close()
    return cuts


def lost(folder: Path, image: dict[str, bytes], answered: dict[str, int]) -> int:
    """Start on what is left: how many answered events are missing. Anything but a prefix of each log fails."""
    folder.mkdir()
    for name, content in image.items():
        (folder / name).write_bytes(content)
    db, _ = database.open_installed(folder / "reconvene.db", "full", 1000, 2**40)
    missing = 0
    for w in range(WRITERS):
        seqs = [
            row[0]
            for row in db.execute(
                "select e.seq from event e join session s on s.n = e.session where s.id = ? order by place", (f"s_{w}",)
            )
        ]
        assert seqs == list(range(1, len(seqs) + 1)), "a gap"
        commands = db.execute("select count(*) from command where session_id = ?", (f"s_{w}",)).get
        assert commands == len(seqs), "an event without its command, or the reverse"
        missing += max(0, answered.get(f"s_{w}", 0) - len(seqs))
    db.close()
    return missing


async def lost_in_cuts(folder: Path, seed: int, synchronous: str = "full", modes: Sequence[str] = MODES) -> list[int]:
    print("seed", seed)
    cuts = await cut_often(folder, seed, synchronous, modes)
    assert len(cuts) >= CUTS // 2
    return [lost(folder / f"cut{i}", image, answered) for i, (image, answered) in enumerate(cuts)]


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_nothing_answered_is_lost(tmp_path, seed):
    assert sum(await lost_in_cuts(tmp_path, seed)) == 0


async def test_control_synchronous_normal_loses(tmp_path):
    assert sum(await lost_in_cuts(tmp_path, 3, "normal")) > 0


async def test_control_answering_before_the_commit_loses(tmp_path, monkeypatch):
    commit = Writer._commit

    def early(self: Writer, db: Any, tx: Any, answers: Any) -> None:
        told = threading.Event()
        self._post(self._deliver, answers, [])
        self._post(told.set)
        told.wait(5)
        commit(self, db, tx, answers)

    monkeypatch.setattr(Writer, "_commit", early)
    assert sum(await lost_in_cuts(tmp_path, 4)) > 0


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", MODES)
async def test_thousands_of_cuts_lose_nothing(tmp_path, mode):
    """Five writers at once, in each way an unsynced write can be lost."""
    began, cpu, seed = time.monotonic(), time.process_time(), int(os.environ.get("SEED", random.randrange(1 << 32)))
    wanted, cuts = int(os.environ.get("CUTS", "5000")), 0
    for n in itertools.count():
        folder = tmp_path / f"round{n}"
        folder.mkdir()
        found = await lost_in_cuts(folder, seed + n, modes=[mode])
        assert sum(found) == 0, f"lost with seed {seed + n}"
        cuts += len(found)
        shutil.rmtree(folder)
        if cuts >= wanted:
            break
    figure = "{cuts:,} cuts under 5 writers: 0 acknowledged events lost, 0 damaged files, 0 gaps"
    spent = time.process_time() - cpu
    report(
        f"Power: the log, {mode}", figure, counts={"cuts": cuts}, seed=seed, seconds=time.monotonic() - began, cpu=spent
    )


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
async def test_control_synchronous_normal_loses_in_each_way(tmp_path, mode):
    began = time.monotonic()
    found = await lost_in_cuts(tmp_path, 3, "normal", [mode])
    assert sum(found) > 0
    told = f"synchronous=NORMAL: {sum(found):,} acknowledged events lost in {sum(n > 0 for n in found)} of {len(found)} cuts"
    report(f"Power: the log, {mode}", control=told, seed=3, seconds=time.monotonic() - began)
