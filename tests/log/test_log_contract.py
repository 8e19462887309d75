"""The promises of `log/port.py`, for every store."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from log_words import E, a_session, seqs

from reconvene.errors import ReconveneError
from reconvene.log.port import Command, NewEvent, NewSession, SessionRow, Tombstone
from reconvene.protocol.cursor import START_TAG, Cursor

ME = "owner"


@pytest.fixture
async def s(log: Any) -> str:
    return await a_session(log, "s_a")


async def refused(code: str, awaitable: Any) -> ReconveneError:
    with pytest.raises(ReconveneError) as caught:
        await awaitable
    assert caught.value.code == code
    return caught.value


# promise 1: seq


async def test_seq_counts_from_one_in_each_session_in_the_order_of_the_calls(log, s):
    await a_session(log, "s_b")
    tasks = [log.append(f"s_{'ab'[i % 2]}", [E("x", n=i), E("y", n=i)]) for i in range(100)]
    appended = await asyncio.gather(*tasks)
    for id, mine in (("s_a", appended[::2]), ("s_b", appended[1::2])):
        assert [(a.first, a.last) for a in mine] == [(2 * i + 1, 2 * i + 2) for i in range(50)]
        assert seqs(await log.read(id, 0)) == list(range(1, 101))


async def test_append_soon_keeps_its_place_among_appends(log, s):
    for i in range(50):
        log.append_soon(s, [E("delta", n=i)])
    await log.append(s, [E("end")])
    rows = await log.read(s, 0)
    assert [json.loads(r.content)["n"] for r in rows[:-1]] == list(range(50)) and rows[-1].type == "end"


async def test_rows_are_what_was_written(log, s, store):
    event = NewEvent("message", '{"text":"é\\u0000 ✓"}', "r1", "i1", "p1", "k1", public=False, stateful=True)
    (written,) = (await log.append(s, [event])).rows
    log = await store.reopen()
    (read,) = await log.read(s, 0)
    assert read == written
    assert (read.type, read.content, read.run_id, read.item_id, read.parent_id, read.key, read.public, read.stateful) == (
        "message", event.content, "r1", "i1", "p1", "k1", False, True,
    )  # fmt: skip
    assert json.loads(read.wire())["content"] == json.loads(event.content)


# promise 2: durable when answered


async def test_what_was_answered_is_there_after_reopening(log, s, store):
    await log.append(
        s, [E("x")], update={"title": "T", "status": "waiting", "pinned": True, "last_active": 7.5, "meta": '{"a":1}'}
    )
    await log.put("name", "value")
    fence = await log.claim("s_a/r1")
    log = await store.reopen()
    row = await log.session(s)
    assert isinstance(row, SessionRow)
    assert (row.head, row.title, row.status, row.pinned, row.archived, row.last_active, row.meta) == (
        1,
        "T",
        "waiting",
        True,
        False,
        7.5,
        '{"a":1}',
    )
    assert await log.get("name") == "value"
    assert (await log.claim("s_a/r1")).generation == fence.generation + 1


async def test_close_writes_what_was_queued(log, s, store):
    for i in range(300):
        log.append_soon(s, [E("delta", n=i)])
    log = await store.reopen()
    assert len(await log.read(s, 0)) == 300


async def test_a_closed_log_refuses_at_once(log, s):
    await log.close()
    await log.close()
    await refused("draining", log.append(s, [E("x")]))


# promise 3: keys and commands


async def twice_the_same_command(log: Any, s: str) -> None:
    command = Command(ME, "c1", "hash")
    first = await log.append(s, [E("prompt", run_id="r1")], command=command)
    second = await log.append(s, [E("prompt", run_id="r1")], command=command)
    assert (first.status, first.first, first.run_id) == ("accepted", 1, "r1")
    assert (second.status, second.first, second.last, second.run_id, second.rows) == ("duplicate", 1, 1, "r1", ())
    assert len(await log.read(s, 0)) == 1


async def test_a_command_is_done_once(log, s):
    await twice_the_same_command(log, s)


@pytest.mark.parametrize(
    ("broken", "value", "check"),
    [
        ("command", None, "twice_the_same_command"),
        ("key", None, "twice_the_same_key"),
        ("check", None, "a_stale_fence"),
    ],
)
async def test_control_without_its_check_each_promise_breaks(log, s, monkeypatch, broken, value, check):
    monkeypatch.setattr(f"reconvene.log.decisions.Decisions.{broken}", lambda self, *args: value)
    with pytest.raises((AssertionError, ReconveneError, pytest.fail.Exception)):
        await globals()[check](log, s)


async def test_many_repetitions_at_once_are_one(log, s):
    command = Command(ME, "c1", "hash")
    answers = await asyncio.gather(*(log.append(s, [E("prompt")], command=command) for _ in range(40)))
    assert [a.status for a in answers].count("accepted") == 1
    assert {a.first for a in answers} == {1} and len(await log.read(s, 0)) == 1


async def test_bad57_same_id_other_body_is_a_conflict_and_changes_nothing(log, s):
    await log.append(s, [E("prompt")], command=Command(ME, "c1", "one"), update={"title": "one"})
    await refused(
        "id_conflict", log.append(s, [E("prompt")], command=Command(ME, "c1", "two"), update={"title": "two"})
    )
    await refused("id_conflict", log.create(NewSession("s_z", ME, "/r", "e"), command=Command(ME, "c1", "two")))
    assert len(await log.read(s, 0)) == 1 and (await log.session(s)).title == "one" and await log.session("s_z") is None


async def test_bad56_a_known_command_leads_to_its_session_wherever_it_is_sent(log, s):
    await a_session(log, "s_b")
    command = Command(ME, "c1", "hash")
    await log.append(s, [E("prompt", run_id="r9")], command=command)
    for answer in (
        await log.append("s_b", [E("prompt")], command=command),
        await log.append("s_unknown", [E("prompt")], command=command),
        await log.create(NewSession("s_new", ME, "/r", "e"), [E("prompt")], command=command),
        await log.fork(s, 1, NewSession("s_new", ME, "/r", "e"), command=command),
    ):
        assert (answer.status, answer.session_id, answer.first, answer.run_id) == ("duplicate", s, 1, "r9")
    assert await log.session("s_new") is None
    assert await log.command(ME, "c1") == (s, 1, "r9", "hash")
    assert await log.command("another", "c1") is None
    assert (await log.append(s, [E("x")], command=Command("another", "c1", "other"))).status == "accepted"


async def test_a_command_may_have_no_events(log, s):
    await log.append(s, [E("x")])
    first = await log.append(s, [], command=Command(ME, "noop", "h"))
    assert (first.status, first.first, first.last, first.rows) == ("accepted", 1, 1, ())
    assert (await log.append(s, [], command=Command(ME, "noop", "h"))).status == "duplicate"


async def test_a_key_is_taken_once_in_its_session(log, s):
    await twice_the_same_key(log, s)


async def twice_the_same_key(log: Any, s: str) -> None:
    await a_session(log, "s_b")
    first = await log.append(s, [E("a"), E("b", key="k", run_id="r1")])
    again = await log.append(s, [E("c"), E("d", key="k")], update={"title": "no"})
    assert (again.status, again.first, again.run_id) == ("duplicate", first.last, "r1")
    assert (await log.session(s)).title == "" and len(await log.read(s, 0)) == 2
    assert (await log.append("s_b", [E("d", key="k")])).status == "accepted"
    assert (await log.by_key(s, "k")).seq == 2 and await log.by_key(s, "other") is None


async def test_one_key_from_many_at_once(log, s):
    answers = await asyncio.gather(*(log.append(s, [E("x", n=i, key="k")]) for i in range(30)))
    assert [a.status for a in answers] == ["accepted"] + ["duplicate"] * 29
    assert len(await log.read(s, 0)) == 1


@pytest.mark.parametrize(
    "events",
    [[E("x", key="k"), E("x", key="k")], [NewEvent("x", '{"a":"\ud800"}')], [NewEvent("x", "{}", item_id="\udfff")]],
    ids=["same-key-twice", "bad37-surrogate-in-content", "bad37-surrogate-in-item"],
)
async def test_what_cannot_be_stored_is_refused_and_hurts_nobody(log, s, events):
    good = [asyncio.ensure_future(log.append(s, [E("good")])) for _ in range(5)]
    bad = asyncio.ensure_future(log.append(s, events))
    good += [asyncio.ensure_future(log.append(s, [E("good")])) for _ in range(5)]
    await refused("invalid_field", bad)
    assert [(await g).first for g in good] == list(range(1, 11))


@pytest.mark.parametrize("update", [{"nonsense": 1}, {"head": 5}, {"title": None}, {"status": 3}, {"last_active": "x"}])
async def test_an_update_of_what_is_not_to_be_updated_is_refused(log, s, update):
    await refused("invalid_field", log.append(s, [], update=update))


async def test_refusals_in_one_commit_do_not_hurt_the_others(log, s):
    await log.append(s, [E("x", key="k")], command=Command(ME, "c", "1"))
    stale = await log.claim("s_a/r")
    await log.claim("s_a/r")
    answers = await asyncio.gather(
        log.append(s, [E("1")]),
        log.append("s_unknown", [E("no")]),
        log.append(s, [E("2")]),
        log.append(s, [E("no")], command=Command(ME, "c", "2")),
        log.append(s, [E("no")], fence=stale),
        log.append(s, [E("no", key="k")]),
        log.append(s, [E("3")]),
        return_exceptions=True,
    )
    codes = [a.code if isinstance(a, ReconveneError) else a.status for a in answers]
    assert codes == ["accepted", "no_such_session", "accepted", "id_conflict", "fenced", "duplicate", "accepted"]
    assert [r.type for r in await log.read(s, 0)] == ["x", "1", "2", "3"]


# promise 4: fences


async def test_a_stale_fence_changes_nothing(log, s):
    await a_stale_fence(log, s)


async def a_stale_fence(log: Any, s: str) -> None:
    old = await log.claim("s_a/r1")
    assert (await log.append(s, [E("x")], fence=old)).status == "accepted"
    new = await log.claim("s_a/r1")
    await refused("fenced", log.append(s, [E("y")], fence=old, update={"title": "no"}, command=Command(ME, "c", "h")))
    assert (await log.append(s, [E("z")], fence=new)).first == 2
    assert (await log.session(s)).title == "" and await log.command(ME, "c") is None


async def test_a_claim_between_two_appends_of_one_commit_counts(log, s):
    old = await log.claim("s_a/r1")
    first, new, second = await asyncio.gather(
        log.append(s, [E("x")], fence=old),
        log.claim("s_a/r1"),
        log.append(s, [E("y")], fence=old),
        return_exceptions=True,
    )
    assert first.status == "accepted" and new.generation == old.generation + 1 and second.code == "fenced"


async def test_a_stale_append_soon_is_told_by_the_next_append(log, s):
    old = await log.claim("s_a/r1")
    await log.claim("s_a/r1")
    log.append_soon(s, [E("delta")], fence=old)
    await refused("fenced", log.append(s, [E("x")], fence=old))
    assert await log.read(s, 0) == []


# promise 5: on_commit


async def test_on_commit_is_told_every_row_in_order_before_anybody_who_waits(log, s, store):
    order: list[Any] = []

    def told(session_id, rows):
        order.extend(r.seq for r in rows)
        assert not any(f.done() for f in futures), "a future was answered before its batch was published"

    log.on_commit = told
    futures: list[asyncio.Future[Any]] = []
    for _ in range(3):
        futures[:] = [asyncio.ensure_future(log.append(s, [E("x"), E("y")])) for _ in range(20)]
        await asyncio.gather(*futures)
    assert order == list(range(1, 121))


async def test_on_commit_is_told_only_of_what_was_written(log, s, store):
    await log.append(s, [E("x", key="k")])
    await log.append(s, [E("x", key="k")])
    await log.append(s, [], update={"title": "t"})
    assert [(id, [r.seq for r in rows]) for id, rows in store.told] == [(s, [1])]


async def test_a_failing_on_commit_costs_nobody_an_answer(log, s):
    def broken(session_id, rows):
        raise RuntimeError("broken")

    log.on_commit = broken
    assert (await log.append(s, [E("x")])).first == 1


# reading


async def test_read_filters(log, s):
    await log.append(
        s,
        [
            E("a", run_id="r1"), E("b", run_id="r2", public=False), E("a", run_id="r1", stateful=True),
            E("c", public=False, stateful=True), E("b", run_id="r1"),
        ],
    )  # fmt: skip
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [1, 2, 3, 4, 5]), ({"upto": 3}, [1, 2, 3]), ({"max_events": 2}, [1, 2]), ({"public": True}, [1, 3, 5]),
        ({"public": False}, [2, 4]), ({"stateful": True}, [3, 4]), ({"run_id": "r1"}, [1, 3, 5]), ({"types": ["a", "c"]}, [1, 3, 4]),
        ({"types": []}, []), ({"public": True, "run_id": "r1", "types": iter("b")}, [5]), ({"upto": 0}, []),
    ]  # fmt: skip
    for filters, expected in cases:
        assert seqs(await log.read(s, 0, **filters)) == expected, filters
    assert seqs(await log.read(s, 3)) == [4, 5] and await log.read(s, 5) == [] and await log.read("s_unknown", 0) == []


async def test_max_bytes_gives_at_least_one(log, s):
    await log.append(s, [NewEvent("x", json.dumps("é" * 100, ensure_ascii=False)) for _ in range(5)])  # 202 bytes each
    assert [len(await log.read(s, 0, max_bytes=n)) for n in (0, 1, 202, 403, 404, 10_000)] == [1, 1, 1, 1, 2, 5]
    assert seqs(await log.read(s, 2, max_bytes=404, max_events=1)) == [3]


async def test_missed_counts_what_a_client_would_be_sent(log, s):
    await log.append(s, [NewEvent("x", '"é"'), NewEvent("p", '"private"', public=False), NewEvent("y", '"yy"')])
    assert await log.missed(s, 0) == (2, 8) and await log.missed(s, 1) == (1, 4) and await log.missed(s, 3) == (0, 0)
    assert await log.missed("s_unknown", 0) == (0, 0)


async def test_cursor_and_tags(log, s):
    assert (await log.session(s)).cursor == Cursor("e_s_a", 0, START_TAG)
    rows = (await log.append(s, [E("x"), E("y")])).rows
    assert [await log.tag(s, n) for n in (0, 1, 2, 3, -1)] == [START_TAG, rows[0].tag, rows[1].tag, None, None]
    assert (await log.session(s)).cursor == Cursor("e_s_a", 2, rows[1].tag)
    assert all(len(r.tag) == 8 and int(r.tag, 16) >= 0 for r in rows) and rows[0].tag != rows[1].tag


async def test_session_row_counts_bytes(log, s):
    await log.append(s, [NewEvent("x", '"é"'), NewEvent("y", '"1"', public=False)])
    assert (await log.session(s)).bytes == 7


async def test_sessions_newest_activity_first(log):
    for i, (owner, up) in enumerate([("o", 5.0), ("o", 9.0), ("other", 7.0), ("o", 7.0)]):
        await log.create(NewSession(f"s_{i}", owner, "/r", "e"), update={"last_active": up, "archived": i == 0})
    await log.append("s_3", [], update={"status": "running"})

    async def ids(**filters: Any) -> list[str]:
        return [row.id for row in await log.sessions(**filters)]

    assert await ids() == ["s_1", "s_3", "s_2", "s_0"]
    assert await ids(owner="o") == ["s_1", "s_3", "s_0"] and await ids(limit=2) == ["s_1", "s_3"]
    assert await ids(archived=True) == ["s_0"] and await ids(archived=False, owner="o") == ["s_1", "s_3"]
    assert await ids(statuses=["running", "waiting"]) == ["s_3"] and await ids(statuses=[]) == []


# creating, forking, deleting


async def test_create_is_one_commit(log, store):
    made = await log.create(
        NewSession("s_a", ME, "/root", "e1", '{"m":1}'), [E("p", run_id="r1"), E("q")], update={"title": "T"}
    )
    assert (made.status, made.session_id, made.first, made.last, made.run_id) == ("accepted", "s_a", 1, 2, "r1")
    row = await log.session("s_a")
    assert (row.owner, row.root, row.epoch, row.meta, row.title, row.status, row.head) == (
        ME,
        "/root",
        "e1",
        '{"m":1}',
        "T",
        "idle",
        2,
    )
    assert [(id, seqs(rows)) for id, rows in store.told] == [("s_a", [1, 2])]
    await refused("id_conflict", log.create(NewSession("s_a", ME, "/root", "e2")))


async def test_fork_is_another_log_with_the_same_beginning(log, s):
    await log.append(s, [E("a", key="k", n=1), E("b", public=False, stateful=True), E("c")])
    forked = await log.fork(s, 2, NewSession("s_f", ME, "/r", "e_f"), [E("forked")], update={"title": "copy"})
    assert (forked.status, forked.first, forked.last) == ("accepted", 3, 3)
    source, copy = await log.read(s, 0), await log.read("s_f", 0)
    assert [(r.seq, r.type, r.content, r.key, r.public, r.stateful, r.at) for r in copy[:2]] == [
        (r.seq, r.type, r.content, r.key, r.public, r.stateful, r.at) for r in source[:2]
    ]
    assert not {r.tag for r in copy} & {r.tag for r in source}
    row = await log.session("s_f")
    assert (
        row.cursor == Cursor("e_f", 3, copy[-1].tag)
        and row.title == "copy"
        and row.bytes == sum(len(r.content) for r in copy)
    )
    assert (await log.append("s_f", [E("x", key="k")])).status == "duplicate"
    assert len(await log.read(s, 0)) == 3
    empty = await log.fork(s, 0, NewSession("s_g", ME, "/r", "e_g"))
    assert (empty.first, empty.last, (await log.session("s_g")).cursor) == (0, 0, Cursor("e_g", 0))
    await refused("no_such_session", log.fork("s_unknown", 0, NewSession("s_h", ME, "/r", "e")))
    await refused("invalid_field", log.fork(s, 4, NewSession("s_h", ME, "/r", "e")))
    assert await log.session("s_h") is None


async def test_delete_leaves_a_tombstone_and_nothing_else(log, s, store):
    await a_session(log, "s_b")
    await log.append("s_b", [E("kept")])
    await log.append(s, [E("x", key="k")] * 1 + [E("y", n=i) for i in range(5000)], command=Command(ME, "c", "h"))
    assert await log.delete(s, reason="expired", at=12.5) is True
    assert await log.delete(s, reason="expired", at=13.0) is False
    for _ in range(2):
        assert await log.session(s) == Tombstone(s, ME, "expired", 12.5)
        assert await log.read(s, 0) == [] and await log.by_key(s, "k") is None and await log.tag(s, 1) is None
        assert [row.id for row in await log.sessions()] == ["s_b"] and seqs(await log.read("s_b", 0)) == [1]
        log = await store.reopen()
    await refused("no_such_session", log.append(s, [E("z")]))
    await refused("id_conflict", log.create(NewSession(s, ME, "/r", "e")))
    assert (await log.append("s_b", [E("prompt")], command=Command(ME, "c", "h"))).session_id == s


async def test_bad55_a_session_that_was_active_since_is_not_deleted(log, s):
    await log.append(s, [E("x")], update={"last_active": 5.0})
    appended, deleted = await asyncio.gather(
        log.append(s, [E("prompt")], update={"last_active": 6.0}),
        log.delete(s, reason="expired", at=9.0, if_last_active=5.0),
    )
    assert appended.status == "accepted" and deleted is False and len(await log.read(s, 0)) == 2
    deleted, appended = await asyncio.gather(
        log.delete(s, reason="expired", at=9.0, if_last_active=6.0), log.append(s, [E("late")]), return_exceptions=True
    )
    assert deleted is True and appended.code == "no_such_session"


async def test_purge_forgets_tombstones_and_their_commands(log):
    for id, at in (("s_old", 10.0), ("s_new", 20.0)):
        await a_session(log, id)
        await log.append(id, [E("x")], command=Command(ME, f"c_{id}", "h"))
        await log.delete(id, reason="deleted", at=at)
    assert await log.purge(tombstones_before=15.0) == 1
    assert await log.session("s_old") is None and await log.command(ME, "c_s_old") is None
    assert isinstance(await log.session("s_new"), Tombstone) and await log.command(ME, "c_s_new") is not None


async def test_size_follows_what_is_stored(log, s):
    before = await log.size()
    for _ in range(20):
        await log.append(s, [NewEvent("x", json.dumps("y" * 50_000))])
    full = await log.size()
    await log.delete(s, reason="deleted", at=1.0)
    assert full > before + 1_000_000 and await log.size() < before + 100_000


# the small store


async def test_small_store(log):
    for name, value in (("a", "1"), ("a.b", "2"), ("a.c", "é"), ("b", "3")):
        await log.put(name, value)
    await log.put("a", "one")
    await log.put("a.c", None)
    assert await log.get("a") == "one" and await log.get("a.c") is None
    assert await log.scan("a") == {"a": "one", "a.b": "2"} and await log.scan("zz") == {}


# what happens when somebody stops waiting


async def test_a_cancelled_append_is_written_all_the_same_and_hurts_nobody(log, s):
    task = asyncio.ensure_future(log.append(s, [E("x")]))
    await asyncio.sleep(0)
    task.cancel()
    assert (await log.append(s, [E("y")])).first == 2
    with pytest.raises(asyncio.CancelledError):
        await task
