"""The disk fails, is full, or is held by somebody else: everybody gets an answer, and the answer is true."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import apsw
import pytest
from faulty_disk import Disk, S, commit_that_fails_after_it_happened, on_a_faulty_disk, outcome
from log_words import E, a_session, seqs

from reconvene.log.port import Command, NewEvent
from reconvene.log.requests import Claim
from reconvene.log.sqlite import SqliteLog
from reconvene.log.transaction import Transaction

IOERR = {"write": apsw.SQLITE_IOERR_WRITE, "sync": apsw.SQLITE_IOERR_FSYNC, "truncate": apsw.SQLITE_IOERR_TRUNCATE}


def fail(times: int, matching: Callable[[str, str], bool]) -> Callable[[str, str], None]:
    """Fail the next so many operations that match."""
    left = [times]

    def before(op: str, path: str) -> None:
        if left[0] and matching(op, path):
            left[0] -= 1
            raise apsw.exception_for(IOERR[op])

    return before


def wal_sync(op: str, path: str) -> bool:
    return op == "sync" and path.endswith("-wal")


async def test_a_sync_that_fails_once_is_looked_into_and_made_good(tmp_path):
    async with on_a_faulty_disk(tmp_path) as (log, disk):
        told: list[int] = []
        log.on_commit = lambda _, rows: told.extend(seqs(rows))
        disk.before = fail(1, wal_sync)
        answers = await asyncio.gather(*(outcome(log.append(S, [E("x", n=i)])) for i in range(20)))
        assert [a.first for a in answers] == list(range(1, 21)) == told
        assert seqs(await log.read(S, 0)) == told


async def test_a_disk_that_fails_for_good_answers_everybody_and_heals(tmp_path):
    async with on_a_faulty_disk(tmp_path) as (log, disk):
        await log.append(S, [E("before")])
        disk.before = fail(-1, lambda op, path: op == "sync")
        commands = [Command("o", f"c{i}", "h") for i in range(10)]
        answers = await asyncio.gather(*(outcome(log.append(S, [E("x")], command=c)) for c in commands))
        assert answers == ["store_error"] * 10
        assert seqs(await log.read(S, 0)) in ([1], list(range(1, 12))), "all of a commit or nothing; reading goes on"
        assert await outcome(log.append(S, [E("x")])) == "store_error"
        disk.before = lambda op, path: None
        answers = await asyncio.gather(*(outcome(log.append(S, [E("x")], command=c)) for c in commands))
        assert {a.status for a in answers} <= {"accepted", "duplicate"}
        rows = await log.read(S, 0)
        assert seqs(rows) == list(range(1, 12)), "repeated by its id, each is there once"


async def test_a_commit_that_failed_but_happened_is_found_and_not_repeated(tmp_path):
    async with on_a_faulty_disk(tmp_path) as (log, _disk):
        answer = await commit_that_fails_after_it_happened(log)
        assert (answer.status, answer.first, answer.last) == ("accepted", 1, 2)
        assert await log.tag(S, 2) == answer.rows[-1].tag and seqs(await log.read(S, 0)) == [1, 2]
        assert (await log.append(S, [E("z")])).first == 3


async def test_control_without_looking_it_is_written_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(Transaction, "probe", property(lambda self: None, lambda self, value: None), raising=False)
    async with on_a_faulty_disk(tmp_path) as (log, _disk):
        await commit_that_fails_after_it_happened(log)
        assert seqs(await log.read(S, 0)) == [1, 2, 3, 4]


async def test_every_operation_may_fail_once(tmp_path):
    """The n-th write, sync or truncate fails, for every n: no gap, nothing twice, nothing lost, nobody waits for ever."""
    n = failed = 0
    while True:
        n += 1
        async with on_a_faulty_disk(tmp_path) as (log, disk):
            at = disk.ops + n
            log._writer._checkpoint_pages = 4
            before = len(await log.read(S, 0))

            def fail_here(op: str, path: str, at: int = at, disk: Disk = disk) -> None:
                if disk.ops == at:
                    raise apsw.exception_for(IOERR[op])

            disk.before = fail_here
            answers = []
            for i in range(4):
                answers += await asyncio.gather(
                    *(
                        outcome(log.append(S, [NewEvent("x", '"' + "y" * 3000 + '"', key=f"{n}-{i}-{j}")]))
                        for j in range(3)
                    )
                )
            reached = disk.ops >= at
            disk.before = lambda op, path: None
            failed += sum(isinstance(a, str) for a in answers)
            rows = (await log.read(S, 0))[before:]
            assert seqs(rows) == list(range(before + 1, before + len(rows) + 1))
            done = {a.first for a in answers if not isinstance(a, str)}
            assert done <= set(seqs(rows)) and len({r.key for r in rows}) == len(rows)
        if not reached:
            break
    print("operations", n, "failed appends", failed)
    assert n > 20


async def test_bad125_disk_full_is_refused_reading_goes_on_and_it_heals(tmp_path):
    log = await SqliteLog.open(tmp_path / "reconvene.db")
    await a_session(log, S)
    db = log._writer.db
    assert db is not None
    await log.append(S, [E("first")])
    db.pragma("max_page_count", db.pragma("page_count") + 3)
    big = NewEvent("big", '"' + "y" * 100_000 + '"')
    answers = await asyncio.gather(
        outcome(log.append(S, [E("small")])), outcome(log.append(S, [big])), outcome(log.append(S, [E("small")]))
    )
    assert [a if isinstance(a, str) else a.first for a in answers] == [2, "disk_full", 3], (
        "only what has no room is refused"
    )
    assert len(await log.read(S, 0)) == 3 and (await log.session(S)).head == 3
    db.pragma("max_page_count", 2**30)
    assert (await log.append(S, [big])).first == 4
    await log.close()


FULL = """
    import asyncio, resource, sys
    from pathlib import Path
    from reconvene.errors import ReconveneError
    from reconvene.log.port import NewEvent, NewSession
    from reconvene.log.sqlite import SqliteLog

    async def main():
        log = await SqliteLog.open(Path(sys.argv[1]))
        await log.create(NewSession("s_a", "o", "/r", "e"))
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
        event, written, refused = NewEvent("x", '"' + "y" * 20_000 + '"'), 0, 0
        for _ in range(60):
            try:
                written = (await log.append("s_a", [event])).first
            except ReconveneError as e:
                assert e.code == "disk_full", e
                refused += 1
        assert written and refused, (written, refused)
        assert len(await log.read("s_a", 0)) == written
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert (await log.append("s_a", [event])).first == written + 1
        await log.close()
        log = await SqliteLog.open(Path(sys.argv[1]))
        assert [r.seq for r in await log.read("s_a", 0)] == list(range(1, written + 2))
        await log.close()
        print("healed")

    asyncio.run(main())
"""


def test_bad125_disk_full_as_the_operating_system_tells_it(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL), str(tmp_path / "reconvene.db")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.stdout.endswith("healed\n"), child.stdout + child.stderr


@pytest.mark.parametrize(("code", "told"), [(errno.EIO, "data_dir_unusable"), (errno.ENOSPC, "disk_full")])
@pytest.mark.parametrize("call", ["unlink", "open", "rename", "fsync"])
async def test_a_database_that_cannot_be_made_says_so_and_is_made_the_next_time(
    tmp_path, monkeypatch, call, code, told
):
    def fails(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails)
        assert await outcome(SqliteLog.open(tmp_path / "reconvene.db")) == told
    await (await SqliteLog.open(tmp_path / "reconvene.db")).close()


async def test_bad126_a_foreign_program_that_holds_the_database(tmp_path):
    log = await SqliteLog.open(tmp_path / "reconvene.db", busy_ms=150)
    await a_session(log, S)
    foreign = apsw.Connection(str(tmp_path / "reconvene.db"))
    foreign.execute("begin immediate")
    started = time.monotonic()
    answers = await asyncio.gather(*(outcome(log.append(S, [E("x")])) for _ in range(10)))
    assert answers == ["store_busy"] * 10 and time.monotonic() - started < 10
    assert await log.read(S, 0) == []
    foreign.execute("rollback")
    assert (await log.append(S, [E("x")])).first == 1
    foreign.close()
    await log.close()


async def test_a_lost_append_soon_stops_what_follows_until_it_was_told(tmp_path):
    log = await SqliteLog.open(tmp_path / "reconvene.db", busy_ms=50)
    await a_session(log, S)
    fence = await log.claim("s_a/r1")
    foreign = apsw.Connection(str(tmp_path / "reconvene.db"))
    foreign.execute("begin immediate")
    log.append_soon(S, [E("lost")], fence=fence)
    while log._writer.queued or not log._writer._failed:
        await asyncio.sleep(0.01)
    foreign.execute("rollback")
    foreign.close()
    log.append_soon(S, [E("after the hole")], fence=fence)
    assert (await log.append(S, [E("of another")])).first == 1
    assert await outcome(log.append(S, [E("x")], fence=fence)) == "store_busy"
    assert (await log.append(S, [E("y")], fence=fence)).first == 2
    assert [r.type for r in await log.read(S, 0)] == ["of another", "y"]
    await log.close()


async def test_a_request_that_breaks_the_writer_costs_only_itself(tmp_path, monkeypatch):
    def broken(self: Claim, tx: Transaction) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(Claim, "apply", broken)
    log = await SqliteLog.open(tmp_path / "reconvene.db")
    await a_session(log, S)
    answers = await asyncio.gather(
        outcome(log.append(S, [E("x")])), outcome(log.claim("n")), outcome(log.append(S, [E("y")]))
    )
    assert [a if isinstance(a, str) else a.first for a in answers] == [1, "store_error", 2]
    await log.close()


async def test_a_queue_that_is_full_refuses(tmp_path, monkeypatch):
    monkeypatch.setattr("reconvene.log.sqlite.QUEUED", 0)
    log = await SqliteLog.open(tmp_path / "reconvene.db")
    assert await outcome(a_session(log, S)) == "store_busy"
    await log.close()


async def test_nobody_waits_for_ever_for_a_disk_that_stands_still(tmp_path, monkeypatch):
    async with on_a_faulty_disk(tmp_path) as (log, disk):
        go_on, command = threading.Event(), Command("o", "c", "h")

        def stand_still(op: str, path: str) -> None:
            if op == "sync":
                go_on.wait(20)

        disk.before = stand_still
        with monkeypatch.context() as patch:
            patch.setattr("reconvene.log.sqlite.ANSWERED_WITHIN", 0.2)
            answers = await asyncio.gather(
                outcome(log.append(S, [E("x")], command=command)), outcome(log.append(S, [E("y")]))
            )
        assert answers == ["store_error"] * 2 and await log.read(S, 0) == []
        go_on.set()
        again = await outcome(log.append(S, [E("x")], command=command))
        assert (again.status, again.first) == ("duplicate", 1), "it was unknown, and it was there"
        assert seqs(await log.read(S, 0)) == [1, 2]
