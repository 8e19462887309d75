"""Several nodes on one PostgreSQL: each hears everything of the sessions it follows, in order, whoever wrote it and whatever breaks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from log_words import E, a_session, seqs

from postgres import fresh_url
from reconvene.errors import ReconveneError
from reconvene.log.port import Command, Moved, NewEvent, NewSession, Row
from reconvene.log.postgres import PostgresLog, news
from reconvene.log.postgres.address import Address
from reconvene.log.postgres.follower import Follower
from reconvene.log.postgres.log import READERS
from reconvene.log.postgres.schema import prepare
from reconvene.log.postgres.statements import STATEMENTS
from reconvene.log.postgres.transaction import Transaction
from reconvene.log.postgres.writer import Unknown, Writer

LONG = 3600.0
"""Seconds between polls, for tests in which nothing may depend on one."""


class Node:
    """A log, and what it told."""

    def __init__(self, log: PostgresLog) -> None:
        self.log = log
        self.told: dict[str, list[Row]] = {}
        self.gone: list[tuple[str, str]] = []
        self.values: list[str] = []
        self.news = asyncio.Event()
        log.on_commit = self._told
        log.follower.on_gone = lambda id, reason: self._heard(self.gone, (id, reason))
        log.follower.on_value = lambda name: self._heard(self.values, name)

    def _told(self, id: str, rows: tuple[Row, ...]) -> None:
        self.told.setdefault(id, []).extend(rows)
        self.news.set()

    def _heard(self, where: list[Any], what: Any) -> None:
        where.append(what)
        self.news.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                self.news.clear()
                await self.news.wait()

    def seqs(self, id: str) -> list[int]:
        return seqs(self.told.get(id, []))


@pytest.fixture
async def two() -> AsyncIterator[tuple[Node, Node]]:
    url = fresh_url()
    a, b = await PostgresLog.open(url, poll=LONG), await PostgresLog.open(url, poll=LONG)
    yield Node(a), Node(b)
    await a.close()
    await b.close()


async def cut(log: PostgresLog, application: str = "reconvene") -> int:
    """End every connection of everybody to this test's tables; how many."""
    db = await asyncpg.connect(log.address.url)
    try:
        pids = await db.fetch(
            "select pid from pg_stat_activity where pid <> pg_backend_pid() and application_name = $1 and pid = any($2)",
            application,
            [p for p in [log._writer.db and log._writer.db.get_server_pid(), *_pids(log)] if p],
        )
        for (pid,) in pids:
            await db.execute("select pg_terminate_backend($1)", pid)
        return len(pids)
    finally:
        await db.close()


def _pids(log: PostgresLog) -> list[int]:
    return [h._con.get_server_pid() for h in log._pool._holders if h._con is not None and not h._con.is_closed()]


async def test_a_node_hears_what_another_writes_to_a_session_it_follows(two):
    a, b = two
    s = await a_session(a.log, "s_a")
    await a.log.append(s, [E("before")])
    await b.log.follow(s)
    for i in range(20):
        await a.log.append(s, [E("x", n=i), E("y", n=i)])
    await b.until(lambda: b.seqs(s)[-1:] == [41])
    told = b.told[s] if b.seqs(s)[0] == 2 else b.told[s][1:]  # what came just before may be told, too
    assert told == (await a.log.read(s, 1))
    assert b.log.follower.reads == 0, "small rows come with the notification"


async def test_what_is_too_large_for_a_notification_is_read(two):
    a, b = two
    s = await a_session(a.log, "s_a")
    await b.log.follow(s)
    for size in (10, 10_000, 20, 100_000):
        await a.log.append(s, [NewEvent("x", json.dumps("x" * size)), E("y")])
    await b.until(lambda: b.seqs(s)[-1:] == [8])
    assert b.told[s] == (await a.log.read(s, 0)) and b.log.follower.reads > 0


async def test_rows_that_do_not_join_on_are_read(two):
    await deaf_for_a_moment(two)


async def deaf_for_a_moment(two: tuple[Node, Node]) -> None:
    """One notification does not come; the next one tells of rows after those that it was about."""
    a, b = two
    s = await a_session(a.log, "s_a")
    await b.log.follow(s)
    heard, follower = b.log.follower._heard, b.log.follower
    lost = asyncio.Event()

    def lose_one(*said: str) -> None:
        follower._heard = heard  # type: ignore[method-assign]
        lost.set()

    follower._heard = lose_one  # type: ignore[method-assign]
    await a.log.append(s, [E("x"), E("y")])
    await asyncio.wait_for(lost.wait(), 30)
    await a.log.append(s, [E("z")])
    await b.until(lambda: b.seqs(s)[-1:] == [3])
    assert b.seqs(s) == [1, 2, 3]


async def test_control_without_looking_whether_they_join_on_there_is_a_gap(two, monkeypatch):
    def heard(self: Follower, id: str, first: str, last: str, rows: str = "") -> None:
        self.deliver(id, news.heard(id, rows))

    monkeypatch.setattr(Follower, "_heard", heard)
    with pytest.raises(AssertionError):
        await deaf_for_a_moment(two)


class Held:
    """Of a node that hears nothing just now, what is asked about a session waits for `answer`; what is read of it does not."""

    def __init__(self, node: Node) -> None:
        self.log, self.answer, self.asked = node.log, asyncio.Event(), asyncio.Event()
        self._rows = node.log._rows
        node.log._rows = self.rows  # type: ignore[method-assign]
        node.log.follower._heard = lambda *_: None  # type: ignore[method-assign]

    async def rows(self, statement: str, *args: Any) -> list[Any]:
        if statement == "session":
            self.asked.set()
            await self.answer.wait()
        return await self._rows(statement, *args)

    async def read(self, session: str) -> list[int]:
        """As whoever keeps a session in memory: follows it, then reads it, and is told of the rest."""
        await self.log.follow(session)
        return seqs(await self.log.read(session, 0))


async def begun_at_once(two: tuple[Node, Node], session: str, *, waits: bool = True) -> list[int]:
    """Two begin to follow a session at once; between the second's reading and the answer to the first something is written. All that the
    second knows of in the end. `waits`: whether the second waits for that answer."""
    a, b = two
    await a.log.append(session, [E("before")])
    held = Held(b)
    first = asyncio.create_task(held.read(session))
    await held.asked.wait()
    second = asyncio.create_task(held.read(session))
    if waits:
        await asyncio.sleep(0)
    else:
        await second
    await a.log.append(session, [E("between")])
    held.answer.set()
    await first
    return sorted({*(await second), *b.seqs(session)})


async def test_two_who_begin_to_follow_at_once_miss_nothing(two):
    session = await a_session(two[0].log, "s_a")
    assert await begun_at_once(two, session) == [1, 2]


async def left_by_the_first(two: tuple[Node, Node], session: str) -> None:
    """The first who began to follow leaves before there is an answer; the second stays."""
    _, b = two
    held = Held(b)
    first = asyncio.create_task(held.read(session))
    await held.asked.wait()
    second = asyncio.create_task(held.read(session))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    held.answer.set()
    await second
    assert session in b.log.follower.known


async def test_who_stays_follows_when_the_first_leaves(two):
    await left_by_the_first(two, await a_session(two[0].log, "s_a"))


async def test_control_who_does_not_wait_for_the_answer_misses_what_comes_between(two, monkeypatch):
    async def follow(self: PostgresLog, session_id: str) -> None:
        if session_id not in self.follower.known:
            self._finding[session_id] = asyncio.current_task()  # type: ignore[assignment]
            await self._follow(session_id)

    monkeypatch.setattr(PostgresLog, "follow", follow)
    session = await a_session(two[0].log, "s_a")
    assert await begun_at_once(two, session, waits=False) == [1]
    with pytest.raises(AssertionError):
        await left_by_the_first(two, await a_session(two[0].log, "s_b"))


async def test_what_is_not_followed_or_not_wanted_any_more_is_not_read(two):
    a, b = two
    for id in ("s_a", "s_b"):
        await a_session(a.log, id)
    await b.log.follow("s_a")
    b.log.follower.wanted = lambda id: id != "s_a"
    await b.log.follow("s_b")
    for id in ("s_a", "s_b"):
        await a.log.append(id, [E("x")])
    await b.until(lambda: b.seqs("s_b") == [1])
    assert b.seqs("s_a") == [] and "s_a" not in b.log.follower.known


async def test_both_write_and_both_are_told_all_in_the_same_order(two):
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    a, b = two
    s = await a_session(a.log, "s_a")
    for node in two:
        await node.log.follow(s)

    async def write(node: Node) -> None:
        for i in range(40):
            await node.log.append(s, [E("x", n=i)] * rng.randint(1, 3))

    await asyncio.gather(write(a), write(b), write(a), write(b))
    rows = await a.log.read(s, 0)
    assert seqs(rows) == list(range(1, len(rows) + 1))
    for node in two:
        await node.until(lambda node=node: len(node.told[s]) >= len(rows))
        assert node.told[s] == rows


async def test_who_decided_by_an_older_state_decides_again(two):
    a, b = two
    s = await a_session(a.log, "s_a")
    for node in two:
        await node.log.follow(s)
    await a.log.append(s, [E("run", stateful=True)], seen=0)
    await a.log.append(s, [E("delta")])
    with pytest.raises(Moved):
        await b.log.append(s, [E("run", stateful=True)], seen=0)
    await b.until(lambda: b.seqs(s) == [1, 2])
    assert (await b.log.append(s, [E("run", stateful=True)], seen=1)).first == 3
    assert seqs(await a.log.read(s, 0)) == [1, 2, 3]


async def test_control_without_the_check_both_decide_by_the_same_state(two, monkeypatch):
    monkeypatch.setattr("reconvene.log.postgres.transaction.Transaction.check_seen", lambda self, live, seen: None)
    with pytest.raises(pytest.fail.Exception):
        await test_who_decided_by_an_older_state_decides_again(two)


AT_ONCE = {1: "put_event_at_once", 2: "put_events_at_once"}
"""The statement that writes so many events by what is remembered."""


async def changed_in_between(two: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch, events: int) -> None:
    """A node that writes by what it remembers, which is one round trip, keeps what another wrote meanwhile."""
    a, b = two
    s = await a_session(a.log, "s_a")
    await a.log.append(s, [E("x")])
    locked = 0
    lock = Transaction.lock

    async def counted(tx: Transaction, ids: set[str]) -> None:
        nonlocal locked
        locked += 1
        await lock(tx, ids)

    monkeypatch.setattr(Transaction, "lock", counted)
    await a.log.append(s, [E("y")] * events)
    assert locked == 0, "it was not one round trip"
    await b.log.append(s, [], update={"title": "from b"})
    await a.log.append(s, [E("z")] * events)
    row = await b.log.session(s)
    assert (row.title, row.head) == ("from b", 1 + 2 * events)
    assert seqs(await b.log.read(s, 0)) == list(range(1, 2 + 2 * events))


@pytest.mark.parametrize("events", AT_ONCE)
async def test_what_a_node_remembers_of_a_session_is_compared_when_it_writes(two, monkeypatch, events):
    await changed_in_between(two, monkeypatch, events)


@pytest.mark.parametrize("events", AT_ONCE)
async def test_control_without_the_comparison_it_writes_over_it(two, monkeypatch, events):
    statement = STATEMENTS[AT_ONCE[events]]
    bolder = re.sub(r"(?:s\.)?xmin::text = (u\.version|\$15)", r"\1 <> ''", statement)
    assert bolder != statement
    monkeypatch.setitem(STATEMENTS, AT_ONCE[events], bolder)
    with pytest.raises(AssertionError, match="from b"):
        await changed_in_between(two, monkeypatch, events)


@pytest.mark.parametrize("events", AT_ONCE)
async def test_what_is_written_in_one_round_trip_has_every_column(two, monkeypatch, events):
    """By the statement for one event and by that for several, the same as by a transaction."""
    a, b = two
    said = [
        NewEvent("run", f'{{"n": {n}}}', "r1", "r1.0", "r0", public=bool(n % 2), stateful=not n % 2)
        for n in range(events)
    ]
    update = {"title": "é", "status": "running", "run_id": "r1", "pinned": True, "active_at": 7.5, "last_active": 8.5}
    slow, fast = await a_session(a.log, "s_slow"), await a_session(a.log, "s_fast")
    for s in (slow, fast):
        await a.log.append(s, [E("x")])
    used: list[str] = []
    all_ = Transaction.all

    async def noted(tx: Transaction, statement: str, *args: Any) -> list[Any]:
        used.append(statement)
        return await all_(tx, statement, *args)

    monkeypatch.setattr(Transaction, "all", noted)
    await a.log.append(fast, said, update=update)
    assert used == [AT_ONCE[events]]
    await b.log.append(slow, said, update=update)
    assert used[1:] and AT_ONCE[events] not in used[1:]
    for id, log in ((slow, a.log), (fast, b.log)):
        rows = await log.read(id, 1)
        assert [(r.type, r.content, r.run_id, r.item_id, r.parent_id, r.key, r.public, r.stateful) for r in rows] == [
            (e.type, e.content, e.run_id, e.item_id, e.parent_id, e.key, e.public, e.stateful) for e in said
        ]
    rows_of = [await log.session(id) for id, log in ((slow, a.log), (fast, b.log))]
    one, other = (replace(row, id="", epoch="", head_tag="", created_at=0.0) for row in rows_of)
    assert one == other and one.title == "é" and one.pinned


async def test_one_command_at_both_nodes_is_done_once(two):
    a, b = two
    for id in ("s_a", "s_b"):
        await a_session(a.log, id)
    command = Command("o", "c", "h")
    answers = await asyncio.gather(
        *(n.log.append(s, [E("x")], command=command) for _ in range(10) for n, s in ((a, "s_a"), (b, "s_b")))
    )
    assert [x.status for x in answers].count("accepted") == 1 and len({x.session_id for x in answers}) == 1
    assert len(await a.log.read("s_a", 0)) + len(await a.log.read("s_b", 0)) == 1


async def test_a_claim_at_one_node_fences_the_other(two):
    await zombie(two)


async def zombie(two: tuple[Node, Node]) -> None:
    a, b = two
    s = await a_session(a.log, "s_a")
    old = await a.log.claim("s_a/r1")
    await a.log.append(s, [E("x")], fence=old)
    await b.log.claim("s_a/r1")
    a.log.append_soon(s, [E("stale")], fence=old)
    with pytest.raises(ReconveneError) as caught:
        await a.log.append(s, [E("stale")], fence=old)
    assert caught.value.code == "fenced"
    assert len(await b.log.read(s, 0)) == 1


async def test_control_fences_remembered_without_asking_let_a_zombie_write(two, monkeypatch):
    monkeypatch.setattr("reconvene.log.postgres.transaction.Transaction.set_fence", _without_telling_the_session)
    with pytest.raises(pytest.fail.Exception):
        await zombie(two)


def _without_telling_the_session(tx: Any, name: str, generation: int) -> None:
    tx.known.fences[name] = tx._new_fences[name] = generation
    tx.changed = True


async def test_deletion_and_values_are_told(two):
    a, b = two
    s = await a_session(a.log, "s_a")
    await b.log.follow(s)
    await a.log.put("sign_in:x", "1")
    assert await a.log.delete(s, reason="deleted", at=1.0)
    await b.until(lambda: b.gone == [(s, "deleted")] and "sign_in:x" in b.values)


async def test_connections_that_are_cut_lose_nothing_and_a_lost_notify_only_delays(two):
    a, b = two
    s = await a_session(a.log, "s_a")
    await b.log.follow(s)
    done = 0

    async def write() -> None:
        nonlocal done
        while done < 60:
            await a.log.append(s, [E("x", n=done)], command=Command("o", f"c{done}", "h"))
            done += 1

    writing = asyncio.create_task(write())
    for _ in range(4):
        at = done
        while done < at + 5 and not writing.done():
            await asyncio.sleep(0.005)
        await cut(a.log)
        await cut(b.log)
        b.log.follower._task.cancel()  # its listening connection is gone, and with it what was told meanwhile
        await b.log.follower.start()
    await writing
    assert seqs(await b.log.read(s, 0)) == list(range(1, 61))
    await b.until(lambda: len(b.seqs(s)) >= 60)
    assert b.seqs(s) == list(range(1, 61))


@pytest.mark.parametrize("happened", [True, False])
async def test_a_commit_of_unknown_outcome_is_found_out(two, monkeypatch, happened):
    a, _ = two
    s = await a_session(a.log, "s_a")
    commit = Writer._commit
    broken = 0

    async def lost(writer: Writer, db: Any, tx: Any, answers: Any) -> None:
        nonlocal broken
        if broken or not tx.commits:
            return await commit(writer, db, tx, answers)
        broken += 1
        if happened:
            await db.execute("commit")
        raise Unknown(answers, tx, db.get_server_pid())

    monkeypatch.setattr(Writer, "_commit", lost)
    written = await a.log.append(s, [E("x", key="k")])
    assert (written.status, written.first) == ("accepted", 1) and broken == 1
    assert a.seqs(s) == [1] and seqs(await a.log.read(s, 0)) == [1]


async def test_a_newer_schema_is_refused_and_left_alone(two):
    a, _ = two
    db = await a.log.address.connect()
    await db.execute("update schema_version set version = 99")
    with pytest.raises(ReconveneError) as caught:
        await prepare(db, a.log.address)
    assert caught.value.code == "store_newer" and "schema 99" in caught.value.message
    assert await db.fetchval("select version from schema_version") == 99
    await db.close()


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:s3cret@127.0.0.1:1/x", "postgresql://me:s3cret@nowhere.invalid/x"],
    ids=["refused", "no-such-host"],
)
async def test_a_database_that_cannot_be_reached_is_a_sentence_without_the_password(url):
    with pytest.raises(ReconveneError) as caught:
        await PostgresLog.open(url)
    assert caught.value.code == "store_error"
    assert "s3cret" not in f"{caught.value.message} {caught.value.details}"


@pytest.mark.parametrize(
    "url", ["mysql://x/y", "postgresql://x/y?search_path=a;drop", "postgresql://x/y?search_path=A"]
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ReconveneError) as caught:
        Address.parse(url)
    assert caught.value.code == "invalid_field"


async def test_nodes_that_start_together_make_the_tables_once():
    url = fresh_url()
    logs = await asyncio.gather(*(PostgresLog.open(url) for _ in range(3)))
    try:
        assert len({log.instance for log in logs}) == 1 and len({log.node for log in logs}) == 3
        await logs[0].create(NewSession("s_a", "o", "/r", "e"))
        assert [s.id for s in await logs[2].sessions()] == ["s_a"]
    finally:
        with contextlib.suppress(Exception):
            await asyncio.gather(*(log.close() for log in logs))


async def test_nobody_waits_for_ever_for_a_connection_that_others_do_not_give_back(
    two: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read has its time, also before it has a connection: a run that waited on would be held by its node, which lives, for ever."""
    log = two[0].log
    monkeypatch.setattr("reconvene.log.postgres.log.ANSWERED_WITHIN", 0.2)
    async with contextlib.AsyncExitStack() as taken:
        for _ in range(READERS):
            await taken.enter_async_context(log._pool.acquire())
        async with asyncio.timeout(20):
            with pytest.raises(ReconveneError, match="does not answer") as refused:
                await log.session("s_any")
    assert refused.value.code == "store_error"
    monkeypatch.undo()
    assert await log.session("s_any") is None
