"""The database file is taken away under the running server: noticed within 5 s, nothing is acknowledged any more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from pathlib import Path

import pytest
from faulty_disk import commit_that_fails_after_it_happened, on_a_faulty_disk
from log_words import E, a_session

from reconvene.errors import ReconveneError
from reconvene.log.sqlite import SqliteLog
from reconvene.log.watchdog import INTERVAL
from reconvene.log.writer import Writer


def replace(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    os.rename(path.with_name("copy"), path)


def overwrite(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"\0" * 100)


LOSSES = {
    "bad128-unlinked": os.unlink,
    "bad128-replaced": replace,
    "bad128-renamed": lambda path: os.rename(path, path.with_name("elsewhere")),
    "bad128-emptied": lambda path: os.truncate(path, 0),
    "bad128-cut": lambda path: os.truncate(path, path.stat().st_size - 4096),
    "bad128-overwritten": overwrite,
    "bad128-wal-unlinked": lambda path: os.unlink(f"{path}-wal"),
    "bad128-wal-emptied": lambda path: os.truncate(f"{path}-wal", 0),
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_loss_is_noticed_while_nothing_happens(tmp_path, loss):
    path = tmp_path / "reconvene.db"
    log = await SqliteLog.open(path, watch_interval=0.03)
    lost: asyncio.Future[ReconveneError] = asyncio.get_running_loop().create_future()
    log.on_lost = lost.set_result
    await a_session(log, "s_a")
    await asyncio.sleep(0.1)  # several rounds see nothing wrong
    assert not lost.done()
    LOSSES[loss](path)
    error = await asyncio.wait_for(lost, 5)
    assert error.code == "store_lost" and str(path) in error.message
    started = time.monotonic()
    for call in (log.append("s_a", [E("x")]), log.claim("n"), log.put("a", "b")):
        with pytest.raises(ReconveneError, match="store_lost"):
            await call
    assert time.monotonic() - started < 2
    await log.close()


def test_two_rounds_fit_into_five_seconds():
    assert 2 * INTERVAL < 4


async def append_after(tmp_path: Path, loss: str) -> None:
    log = await SqliteLog.open(tmp_path / "reconvene.db", watch_interval=3600)
    await a_session(log, "s_a")
    LOSSES[loss](tmp_path / "reconvene.db")
    try:
        await log.append("s_a", [E("x")])
    finally:
        await log.close()


@pytest.mark.parametrize("loss", ["bad128-unlinked", "bad128-replaced", "bad128-wal-unlinked"])
async def test_what_goes_to_an_unlinked_file_is_never_acknowledged(tmp_path, loss):
    with pytest.raises(ReconveneError, match="store_lost"):
        await append_after(tmp_path, loss)


async def test_control_without_looking_it_is_acknowledged_and_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(Writer, "refuse_if_lost", lambda self: None)
    await append_after(tmp_path, "bad128-unlinked")
    assert not (tmp_path / "reconvene.db").exists()


async def test_the_files_of_a_successor_are_left_alone(tmp_path):
    """Somebody puts another database in place; closing the lost one must not delete the other's -wal."""
    path = tmp_path / "reconvene.db"
    log = await SqliteLog.open(path, watch_interval=0.03)
    await a_session(log, "s_a")
    for name in ("reconvene.db", "reconvene.db-wal"):
        os.unlink(tmp_path / name)
        (tmp_path / name).write_bytes(b"another")
    with pytest.raises(ReconveneError, match="store_lost"):
        await log.append("s_a", [E("x")])
    await log.close()
    assert path.read_bytes() == (tmp_path / "reconvene.db-wal").read_bytes() == b"another"


async def test_long_work_with_checkpoints_alarms_nobody(tmp_path):
    log = await SqliteLog.open(tmp_path / "reconvene.db", watch_interval=0.001)
    log._writer._checkpoint_pages = 5
    lost: list[ReconveneError] = []
    log.on_lost = lost.append
    await a_session(log, "s_a")
    for n in range(150):
        await log.append("s_a", [E("x" * 3000, n=n) for _ in range(3)])
    await log.delete("s_a", reason="deleted", at=1.0)
    await log.close()
    assert lost == []


async def looked_at_while_it_is_checkpointed(folder: Path) -> int:
    """The watchdog looks twice before each write of a checkpoint, as when the disk takes seconds for each. How often it did."""
    looks = 0
    async with on_a_faulty_disk(folder) as (log, disk):
        log._writer._checkpoint_pages = 5

        def look(op: str, path: str) -> None:
            nonlocal looks
            if path.endswith(".db") and op == "write":
                looks += 2
                with contextlib.suppress(ReconveneError):
                    log._watchdog.look()
                    log._watchdog.look()

        disk.before = look
        for n in range(20):
            await log.append("s_a", [E("x" * 3000, n=n) for _ in range(3)])
        disk.before = lambda op, path: None
        log._writer.refuse_if_lost()
    return looks


async def test_a_file_that_is_being_checkpointed_is_not_taken_for_a_cut_one(tmp_path):
    assert await looked_at_while_it_is_checkpointed(tmp_path) > 100


async def test_control_without_knowing_of_the_checkpoint_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(Writer, "_checkpointing", lambda self: contextlib.nullcontext())
    with pytest.raises(ReconveneError, match="cut short"):
        await looked_at_while_it_is_checkpointed(tmp_path)


async def test_a_wal_that_was_emptied_after_a_failed_commit_is_not_taken_for_a_cut_one(tmp_path):
    async with on_a_faulty_disk(tmp_path) as (log, _disk):
        await log.append("s_a", [E("x")])
        before = log._writer.wal_pages
        assert before > 0
        answer = await commit_that_fails_after_it_happened(log)
        assert answer.status == "accepted"
        for _ in range(3):
            log._watchdog.look()
        # The control: by what was in it before, it is short.
        log._writer.wal_pages = before
        log._watchdog.look()
        with pytest.raises(ReconveneError, match="-wal"):
            log._watchdog.look()
