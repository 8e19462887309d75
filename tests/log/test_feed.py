"""The delivery side: chunks tile the log, whoever reads it, whenever it wakes."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from log_words import E, a_session, seqs

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.log.feed import KEPT_BYTES, KEPT_EVENTS, Chunk, Feed, fold
from reconvene.log.port import NewEvent, Row

S = "s_a"


class Counting:
    """The log, with its reads counted."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self.shared = log.shared
        self.follow = log.follow
        self.reads = self.rows = self.asked = 0

    async def session(self, id: str) -> Any:
        self.asked += 1
        return await self.log.session(id)

    async def read(self, *args: Any, **filters: Any) -> list[Row]:
        self.reads += 1
        rows = await self.log.read(*args, **filters)
        self.rows += len(rows)
        return rows


@pytest.fixture
async def counting(log) -> Counting:
    await a_session(log, S)
    return Counting(log)


@pytest.fixture
def feed(log, counting) -> Feed:
    feed = Feed(counting, Limits())
    log.on_commit = feed.publish
    return feed


def nothing() -> None:
    pass


async def drink(feed: Feed, after: int = 0) -> list[Chunk]:
    """Chunks until the head; each begins where the last ended."""
    chunks = [await feed.read(S, after)]
    while not chunks[-1].at_head:
        chunks.append(await feed.read(S, chunks[-1].upto))
        assert chunks[-1].after == chunks[-2].upto < chunks[-1].upto
    return chunks


async def test_history_is_read_in_chunks_of_64_that_tile_it(log, feed, counting):
    await log.append(S, [E("x", n=i) for i in range(200)])
    with_watch = feed.watch(S, nothing)
    chunks = await drink(feed)
    assert [(c.after, c.upto) for c in chunks] == [(0, 64), (64, 128), (128, 192), (192, 200)]
    assert [seq for c in chunks for seq in seqs(c.rows)] == list(range(1, 201))
    for c in chunks:
        assert c.upto_tag == await log.tag(S, c.upto)
    assert counting.rows == 200 and counting.asked == 1
    with_watch.close()


async def test_several_chunks_are_read_at_once_and_no_row_twice(log, feed, counting):
    await log.append(S, [E("x", n=i) for i in range(300)])
    await log.append(S, [E("p", public=False)] * 3)
    await log.append(S, [E("x", n=i) for i in range(700)])
    watch = feed.watch(S, nothing)
    chunks = await drink(feed)
    assert [seq for c in chunks for seq in seqs(c.rows)] == [*range(1, 301), *range(304, 1004)]
    assert [len(c.rows) for c in chunks] == [64] * 15 + [40]
    assert (counting.reads, counting.rows) == (4, 1000)
    for c in chunks:
        assert c.upto_tag == await log.tag(S, c.upto)
    watch.close()


async def test_nobody_reads_ahead_for_who_does_not_stay(log, feed, counting):
    await log.append(S, [E("x", n=i) for i in range(300)])
    await feed.read(S, 0)
    assert (counting.reads, counting.rows) == (1, 64)


async def test_a_chunk_is_64_kib(log, feed):
    await log.append(S, [NewEvent("x", json.dumps("é" * 10_000, ensure_ascii=False)) for _ in range(10)])
    await log.append(S, [NewEvent("x", json.dumps("y" * 200_000)), E("z")])
    stored = await drink(feed)
    watch = feed.watch(S, nothing)
    await log.append(S, [NewEvent("x", json.dumps("é" * 10_000, ensure_ascii=False)) for _ in range(10)])
    live = await drink(feed, 12)
    assert [(c.after, c.upto) for c in stored] == [(0, 3), (3, 6), (6, 9), (9, 10), (10, 11), (11, 12)]
    assert [(c.after, c.upto) for c in live] == [(12, 15), (15, 18), (18, 21), (21, 22)]
    for c in stored + live:
        assert len(c.rows) == 1 or sum(len(r.wire().encode()) for r in c.rows) <= 64 * 1024
    watch.close()


@pytest.mark.parametrize("watched", [True, False])
async def test_private_rows_are_inside_the_range_and_cost_no_reading(log, feed, counting, watched):
    watch = feed.watch(S, nothing) if watched else None
    await log.append(S, [E("a"), E("p", public=False), E("b"), E("p", public=False), E("p", public=False)])
    (chunk,) = await drink(feed)
    assert seqs(chunk.rows) == [1, 3] and chunk.upto == 5 and chunk.at_head
    assert chunk.upto_tag == await log.tag(S, 5)
    tail = await feed.read(S, 3)
    assert tail.rows == () and (tail.after, tail.upto, tail.upto_tag) == (3, 5, chunk.upto_tag)
    assert counting.rows <= 2
    if watch:
        watch.close()


async def test_at_the_head_there_is_an_empty_chunk_and_no_reading(log, feed, counting):
    await log.append(S, [E("x")])
    watch = feed.watch(S, nothing)
    for _ in range(5):
        chunk = await feed.read(S, 1)
        assert (chunk.after, chunk.upto, chunk.rows, chunk.at_head) == (
            1,
            1,
            (),
            True,
        ) and chunk.upto_tag == await log.tag(S, 1)
    assert (counting.asked, counting.reads) == (1, 0)
    watch.close()


async def test_live_events_come_from_memory_and_one_chunk_serves_all(log, feed, counting):
    watches = [feed.watch(S, nothing) for _ in range(3)]
    await feed.read(S, 0)
    for n in range(20):
        await log.append(S, [E("x", n=n)])
        first, second, third = [await feed.read(S, n) for _ in watches]
        assert first is second is third and seqs(first.rows) == [n + 1]
        first.frames["batch"] = "text"
        assert third.frames == {"batch": "text"}
    assert (counting.asked, counting.reads) == (1, 0)
    assert watches[0].head == 20
    for watch in watches:
        watch.close()


async def test_many_at_one_place_share_one_read_of_the_store(log, feed, counting):
    await log.append(S, [E("x", n=i) for i in range(100)])
    watch = feed.watch(S, nothing)
    chunks = await asyncio.gather(*(feed.read(S, 10) for _ in range(50)))
    assert all(c is chunks[0] for c in chunks) and counting.reads == 1
    await log.append(S, [E("y")])
    assert await feed.read(S, 10) is chunks[0], "a full chunk of the past stays good"
    assert counting.reads == 1
    watch.close()


async def test_who_leaves_first_does_not_take_the_read_from_the_others(log, feed):
    await log.append(S, [E("x", n=i) for i in range(10)])
    watch = feed.watch(S, nothing)
    first, second = asyncio.ensure_future(feed.read(S, 0)), asyncio.ensure_future(feed.read(S, 0))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).upto == 10
    watch.close()


async def test_a_wake_between_watch_and_read_is_not_lost(log, feed):
    """The rule: watch, then read, then wait. Whatever is committed in between either is in the chunk or wakes."""
    for n in range(30):
        woken = asyncio.Event()
        watch = feed.watch(S, woken.set)
        append = asyncio.ensure_future(log.append(S, [E("x", n=n)]))
        for _ in range(n % 5):
            await asyncio.sleep(0)
        chunk = await feed.read(S, n)
        if chunk.upto == n:
            await asyncio.wait_for(woken.wait(), 5)
            chunk = await feed.read(S, n)
        assert seqs(chunk.rows) == [n + 1]
        await append
        watch.close()


async def test_control_reading_before_watching_loses_an_event(log, feed):
    chunk = await feed.read(S, 0)
    await log.append(S, [E("x")])
    woken = asyncio.Event()
    watch = feed.watch(S, woken.set)
    assert chunk.at_head and not woken.is_set(), (
        "the wrong order: at the head as far as it knows, and nobody will wake it"
    )
    watch.close()


async def test_memory_is_bounded_and_only_for_watched_sessions(log, feed, counting):
    await log.append(S, [E("x")])
    assert feed._watched == {}
    watch, other = feed.watch(S, nothing), feed.watch(S, nothing)
    await feed.read(S, 1)
    for _ in range(12):
        await log.append(S, [E("x", n=i) for i in range(100)])
        assert len(feed._watched[S].rows) <= KEPT_EVENTS
    for _ in range(12):
        await log.append(S, [NewEvent("x", json.dumps("y" * 100_000))])
        assert feed._watched[S].bytes <= KEPT_BYTES
        assert feed._watched[S].bytes == sum(len(r.content) for r in feed._watched[S].rows)
    await drink(feed)
    assert len(feed._watched[S].past) <= 32
    watch.close()
    watch.close()
    assert feed.watchers(S) == 1
    other.close()
    assert feed._watched == {} and other.head is None


async def test_a_failing_wake_up_does_not_silence_the_others(log, feed):
    def broken() -> None:
        raise RuntimeError("broken")

    woken: list[int] = []
    watches = [feed.watch(S, broken), feed.watch(S, lambda: woken.append(1))]
    await log.append(S, [E("x")])
    assert woken == [1]
    for watch in watches:
        watch.close()


async def test_reads_that_make_no_sense_are_refused(log, feed):
    for watched in (False, True):
        watch = feed.watch(S, nothing) if watched else None
        with pytest.raises(ReconveneError) as beyond:
            await feed.read(S, 5)
        with pytest.raises(ReconveneError) as unknown:
            await feed.read("s_unknown", 0)
        assert (beyond.value.code, unknown.value.code) == ("invalid_field", "no_such_session")
        if watch:
            watch.close()


async def test_a_deleted_session_is_told(log, feed):
    woken: list[int] = []
    watch = feed.watch(S, lambda: woken.append(1))
    await log.append(S, [E("x")])
    assert seqs((await feed.read(S, 0)).rows) == [1]
    await log.delete(S, reason="deleted", at=1.0)
    feed.forget(S)
    assert woken == [1, 1]
    with pytest.raises(ReconveneError, match="no_such_session"):
        await feed.read(S, 1)
    watch.close()


def row(seq: int, type: str, item: str | None, **content: Any) -> Row:
    return Row(S, seq, type, json.dumps(content), None, item, None, None, True, False, 0.0, "00000001")


def test_folding_leaves_out_what_is_replaced_in_the_same_chunk():
    rows = [
        row(1, "text", "i1", attempt=1, text="a"),
        row(2, "reasoning", "i2", attempt=1, text="b"),
        row(3, "text", "i3", attempt=1, text="c"),
        row(4, "text", "i3", attempt=2, text="d"),
        row(5, "tool_call", "i4", id="t", name="n", args={}),
        row(6, "message", "i1", text="a"),
        row(7, "item_aborted", "i3", attempt=1),
        row(8, "text", "i1", attempt=1, text="late"),
        row(9, "text", "i3", attempt=1, text="late"),
    ]
    assert seqs(fold(rows)) == [2, 4, 5, 6, 7, 8, 9]
    assert seqs(fold(rows[:5])) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(3))
async def test_everybody_sees_every_public_event_once(log, feed, seed):
    """Connections that come, go, lag and watch anew, while events are written: the chunks of each tile the log."""
    print("seed", seed)
    rng = random.Random(seed)
    total = 600

    async def connection(after: int) -> list[int]:
        woken = asyncio.Event()
        watch = feed.watch(S, woken.set)
        seen: list[int] = []
        while after < total:
            woken.clear()
            chunk = await feed.read(S, after)
            assert chunk.after == after
            seen += seqs(chunk.rows)
            after = chunk.upto
            if chunk.at_head:
                assert chunk.upto_tag == await log.tag(S, after)
                if after < total and not woken.is_set():
                    await asyncio.wait_for(woken.wait(), 20)
            if rng.random() < 0.2:
                watch.close()
                await asyncio.sleep(0)
                watch = feed.watch(S, woken.set)
        watch.close()
        return seen

    readers = [asyncio.ensure_future(connection(0)) for _ in range(8)]
    for n in range(total):
        event = NewEvent("x", json.dumps("y" * rng.choice([5, 3000])), public=rng.random() < 0.7)
        if rng.random() < 0.2:
            await log.append(S, [event])
        else:
            log.append_soon(S, [event])
        if n == total // 2:
            readers += [asyncio.ensure_future(connection(0)) for _ in range(4)]
    expected = None
    for seen in await asyncio.gather(*readers):
        expected = expected or seqs(await log.read(S, 0, public=True))
        assert seen == expected
    assert feed._watched == {}
