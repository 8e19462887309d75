"""Many requests, few commits; and the statements the store is made of."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import apsw
import apsw.ext
import pytest
from log_words import E, a_session, seqs

from reconvene.errors import ReconveneError
from reconvene.log import database, writer
from reconvene.log.queries import STATEMENTS, migrations, repeated
from reconvene.log.sqlite import SqliteLog
from reconvene.log.writer import Writer


@pytest.fixture
async def log(tmp_path):
    log = await SqliteLog.open(tmp_path / "reconvene.db")
    await a_session(log, "s_a")
    yield log
    await log.close()


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "reconvene.db"
    database.create(path)
    db = database.connect(path)
    yield db
    db.close()


async def test_what_comes_at_once_shares_commits(log):
    before = log.commits
    await asyncio.gather(*(log.append("s_a", [E("x", n=i)]) for i in range(1000)))
    assert log.commits - before < 50
    assert seqs(await log.read("s_a", 0)) == list(range(1, 1001))


async def test_a_commit_takes_no_more_than_its_batch(tmp_path, monkeypatch):
    sizes: list[int] = []
    transact = Writer._transact
    monkeypatch.setattr(Writer, "_transact", lambda self, batch: sizes.append(len(batch)) or transact(self, batch))
    log = await SqliteLog.open(tmp_path / "reconvene.db", batch=16)
    await a_session(log, "s_a")
    await asyncio.gather(*(log.append("s_a", [E("x")]) for _ in range(100)))
    await log.close()
    assert max(sizes) == 16


async def test_what_nobody_waits_for_gathers_until_somebody_waits(log):
    log._writer._gather = 60.0
    before = log.commits
    for _ in range(100):
        log.append_soon("s_a", [E("x")])
    await asyncio.wait_for(log.append("s_a", [E("x")]), 10)
    assert log.commits == before + 1
    log.append_soon("s_a", [E("x")])
    while not log._writer._gathering:
        await asyncio.sleep(0)
    await asyncio.wait_for(log.append("s_a", [E("x")]), 10)
    assert log.commits == before + 2
    assert seqs(await log.read("s_a", 0)) == list(range(1, 104))


async def test_where_a_commit_is_dear_those_that_nobody_waits_for_come_less_often(log, monkeypatch):
    async def gathering():
        while not log._writer._gathering:
            await asyncio.sleep(0)

    monkeypatch.setattr(writer, "MOST_GATHER", 60.0)
    log._writer._gather = 0.0
    assert 0 < log._writer._last_cost < 5  # of making the session
    log._writer._last_cost = 100.0
    before = log.commits
    log.append_soon("s_a", [E("x")])
    await asyncio.wait_for(gathering(), 10)
    log.append_soon("s_a", [E("x")])
    await asyncio.wait_for(log.append("s_a", [E("x")]), 10)
    assert log.commits == before + 1


async def test_what_gathers_is_written_before_the_end(tmp_path):
    log = await SqliteLog.open(tmp_path / "reconvene.db")
    await a_session(log, "s_a")
    log._writer._gather = 60.0
    log.append_soon("s_a", [E("x")])
    while not log._writer._gathering:
        await asyncio.sleep(0)
    await asyncio.wait_for(log.close(), 10)
    log = await SqliteLog.open(tmp_path / "reconvene.db")
    assert seqs(await log.read("s_a", 0)) == [1]
    await log.close()


async def test_what_nobody_waits_for_is_written_all_the_same(log):
    written = asyncio.Event()
    log.on_commit = lambda _session_id, _rows: written.set()
    for _ in range(3):
        written.clear()
        log.append_soon("s_a", [E("x")])
        await asyncio.wait_for(written.wait(), 10)


async def test_refusals_and_repetitions_cost_no_fsync(log):
    await log.append("s_a", [E("x", key="k")])
    before = log.commits
    await asyncio.gather(
        *(log.append("s_a", [E("x", key="k")]) for _ in range(10)), log.append("s_no", [E("x")]), return_exceptions=True
    )
    assert log.commits == before


async def test_many_sessions_are_remembered_and_forgotten(log, monkeypatch):
    """The writer keeps what it knows of sessions and fences up to a number; forgetting changes nothing."""
    log._writer._known.keep = 3
    fences = []
    for i in range(10):
        await a_session(log, f"s_{i}")
        fences.append(await log.claim(f"s_{i}/r"))
    for _ in range(3):
        await asyncio.gather(*(log.append(f"s_{i}", [E("x")], fence=fences[i]) for i in range(10)))
    for i in range(10):
        assert seqs(await log.read(f"s_{i}", 0)) == [1, 2, 3]
    assert len(log._writer._known.sessions) <= 11


@pytest.mark.parametrize("name", sorted(STATEMENTS))
async def test_every_statement_is_used_and_fits_the_schema(connection, name):
    assert f'"{name}"' in "".join(p.read_text() for p in Path(database.__file__).parents[1].rglob("*.py"))
    apsw.ext.query_info(connection, STATEMENTS[name])


@pytest.mark.parametrize("name", ["read_events", "missed", "find_keys", "by_key", "tag", "drop_events", "copy_events"])
async def test_the_large_table_is_never_scanned(connection, name):
    plan: list[str] = []

    def walk(step: Any) -> None:
        plan.append(step.detail)
        for sub in step.sub or ():
            walk(sub)

    walk(apsw.ext.query_info(connection, STATEMENTS[name], explain_query_plan=True).query_plan)
    assert not [step for step in plan if re.match(r"SCAN (event|e)\b", step)], plan
    assert any(re.match(r"SEARCH (event|e)\b", step) for step in plan), plan


def test_rows_are_repeated_where_the_values_are():
    assert repeated("put_fences", 3).count("(?, ?)") == 3
    assert repeated("put_events", 1).replace(" ", "") == STATEMENTS["put_events"].replace(" ", "")


def test_migrations_are_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.db"
    good, more, bad = (
        "create table a (x);",
        "create table b (x); insert into b values (1);",
        "create table c (x); nonsense;",
    )
    database.create(path, [*migrations(), good])
    db = database.connect(path)
    start = len(migrations()) + 1
    assert db.pragma("user_version") == start
    with pytest.raises(apsw.SQLError):
        database.migrate(db, path, [*migrations(), good, more, bad])
    assert db.pragma("user_version") == start + 1
    assert (
        db.execute("select count(*) from b").get == 1
        and db.execute("select count(*) from sqlite_schema where name = 'c'").get == 0
    )
    database.migrate(db, path, [*migrations(), good, more])
    assert db.execute("select count(*) from b").get == 1
    db.close()
    with pytest.raises(ReconveneError, match="store_newer"):
        database.recognise(path)
