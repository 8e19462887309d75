"""`make bench-postgres`: what the log costs in PostgreSQL, beside SQLite and a floor: `INSERT` and `NOTIFY` as asyncpg sends them.

    python -m bench.postgres [--seconds 8] [--rounds 5] [--sessions 1 16 100]

Two processes: one writes, the other is the node that hears of it. `appended`: events of writers that each wait for their commit before the
next. `fanned out`: until the other node has told all of them. Floor, PostgreSQL and SQLite take turns, so that all meet the same machine;
each figure is the median of the rounds, and so is the share of the floor, beside its lowest and highest. Latencies are of 100 sessions into
which text is streamed at a steady rate: from the moment at which the writing node knows of the commit to that at which a page's
connection has the row, there and at the other. At last what events take in PostgreSQL, and what reading a session's last ones costs as it
grows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from postgres import Server, server
from reconvene.config import Limits
from reconvene.log.feed import Feed
from reconvene.log.port import NewEvent, NewSession
from reconvene.log.postgres import PostgresLog
from reconvene.log.sqlite import SqliteLog

_server: list[Server] = []
TEXT = json.dumps({"attempt": 1, "text": "a few words of an answer, as a model streams them "})
EVENT = NewEvent("text", TEXT, "r1", "r1.0.0")
RATE = 10.0
"""Pieces of text a second and session, for the latencies."""
STORED = (5_000, 50_000, 250_000)
"""Events, for what they take."""
Append = Callable[[int], Awaitable[Any]]


def server_url() -> str:
    """Of a server that takes connections enough for the floor, which has one a session."""
    if not _server:
        folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))
        folder.chmod(0o755)
        _server.append(server(folder / "data"))
    return _server[0].url


def fresh_url() -> str:
    return f"{server_url()}?search_path=b_{secrets.token_hex(4)}"


async def writers(sessions: int, seconds: float, append: Append) -> tuple[int, float]:
    """So many writers, each one event after the other; how many they wrote in how many seconds."""
    count, end, began = 0, time.monotonic() + seconds, time.monotonic()

    async def one(n: int) -> None:
        nonlocal count
        while time.monotonic() < end:
            await append(n)
            count += 1

    await asyncio.gather(*(one(n) for n in range(sessions)))
    return count, time.monotonic() - began


def at(share: float, values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1000 if values else float("nan")


class Other:
    """The other process: runs `listen(ready, told)`, which says how much it heard."""

    def __init__(self, listen: Callable[[Callable[[], None], int], Awaitable[Any]]) -> None:
        said, out = os.pipe()
        self._stop_from, self._stop = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(said)
            try:
                result = asyncio.run(listen(lambda: os.write(out, b"ready\n") and None, self._stop_from))
                os.write(out, json.dumps(result).encode())
            finally:
                os._exit(0)
        os.close(out)
        self._said = os.fdopen(said, "rb")

    async def ready(self) -> None:
        assert await asyncio.to_thread(self._said.readline) == b"ready\n"

    async def result(self) -> Any:
        os.write(self._stop, b".")
        said = await asyncio.to_thread(self._said.read)
        os.waitpid(self.pid, 0)
        return json.loads(said)


async def stopped(descriptor: int) -> None:
    await asyncio.to_thread(os.read, descriptor, 1)


# the floor


async def floor(url: str, sessions: int, seconds: float) -> dict[str, float]:
    async def listen(ready: Callable[[], None], stop: int) -> int:
        db, heard = await asyncpg.connect(url), 0

        def note(*_: Any) -> None:
            nonlocal heard
            heard += 1

        await db.add_listener("floor", note)
        ready()
        await stopped(stop)
        await asyncio.sleep(0.3)
        return heard

    other = Other(listen)
    await other.ready()
    dbs = await asyncio.gather(*(asyncpg.connect(url) for _ in range(sessions)))
    await dbs[0].execute(
        "drop table if exists raw; create table raw (session bigint, seq bigint, content text, primary key (session, seq))"
    )
    seqs = [0] * sessions
    statement = "with i as (insert into raw values ($1, $2, $3)) select pg_notify('floor', $4)"

    async def append(n: int) -> None:
        seqs[n] += 1
        await dbs[n].execute(statement, n, seqs[n], TEXT, f"{n} {seqs[n]}")

    count, took = await writers(sessions, seconds, append)
    heard = await other.result()
    await asyncio.gather(*(db.close() for db in dbs))
    return {"appended": count / took, "fanned out": heard / took}


# ours


async def filled(log: Any, sessions: int) -> list[str]:
    ids = [f"s_{n}" for n in range(sessions)]
    for id in ids:
        await log.create(NewSession(id, "owner", "/root", f"e{id}"))
    return ids


async def postgres(sessions: int, seconds: float) -> dict[str, float]:
    url = fresh_url()
    await (await PostgresLog.open(url)).close()
    ids = [f"s_{n}" for n in range(sessions)]

    async def listen(ready: Callable[[], None], stop: int) -> int:
        log, heard = await PostgresLog.open(url), 0

        def note(_id: str, rows: Any) -> None:
            nonlocal heard
            heard += len(rows)

        log.on_commit = note
        await filled(log, sessions)
        for id in ids:
            await log.follow(id)
        ready()
        await stopped(stop)
        before = -1
        while heard != before:
            before = heard
            await asyncio.sleep(0.3)
        await log.close()
        return heard

    other = Other(listen)
    await other.ready()
    log = await PostgresLog.open(url)
    count, took = await writers(sessions, seconds, lambda n: log.append(ids[n], [EVENT]))
    commits = log.commits
    heard = await other.result()
    await log.close()
    return {"appended": count / took, "fanned out": heard / took, "commits": commits / took}


async def sqlite(sessions: int, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        log = await SqliteLog.open(Path(folder) / "reconvene.db")
        feed, heard = Feed(log, Limits()), 0
        ids = await filled(log, sessions)

        def note(id: str, rows: Any) -> None:
            nonlocal heard
            feed.publish(id, rows)
            heard += len(rows)

        log.on_commit = note
        watches = [feed.watch(id, lambda: None) for id in ids]
        count, took = await writers(sessions, seconds, lambda n: log.append(ids[n], [EVENT]))
        commits = log.commits
        for watch in watches:
            watch.close()
        await log.close()
        return {"appended": count / took, "fanned out": heard / took, "commits": commits / took}


async def latency(sessions: int, seconds: float) -> dict[str, float]:
    """Milliseconds from the commit to the row in a connection's hands, at the node that wrote it and at the other."""
    url = fresh_url()
    log = await PostgresLog.open(url)
    ids = await filled(log, sessions)
    await log.close()

    async def connections(log: PostgresLog, seen: dict[str, float]) -> list[Any]:
        """What a page's connection does: it is woken, and reads what comes after its cursor."""
        feed = Feed(log, Limits())

        async def one(id: str) -> None:
            woken, after = asyncio.Event(), 0
            feed.watch(id, woken.set)
            while True:
                woken.clear()
                chunk = await feed.read(id, after)
                now = time.monotonic()
                for row in chunk.rows:
                    seen[f"{id} {row.seq}"] = now
                after = chunk.upto
                if chunk.at_head:
                    await woken.wait()

        log.on_commit = feed.publish
        return [asyncio.create_task(one(id)) for id in ids]

    async def listen(ready: Callable[[], None], stop: int) -> dict[str, float]:
        log, seen = await PostgresLog.open(url), dict[str, float]()
        tasks = await connections(log, seen)
        await asyncio.sleep(2.0)
        ready()
        await stopped(stop)
        await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        await log.close()
        return seen

    other = Other(listen)
    await other.ready()
    log, here, committed = await PostgresLog.open(url), dict[str, float](), dict[str, float]()
    tasks = await connections(log, here)
    await asyncio.sleep(2.0)
    publish = log.on_commit

    def note(id: str, rows: Any) -> None:
        now = time.monotonic()
        committed.update((f"{id} {row.seq}", now) for row in rows)
        publish(id, rows)

    log.on_commit = note

    async def stream(n: int) -> None:
        await asyncio.sleep(n / sessions / RATE)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            log.append_soon(ids[n], [EVENT])
            await asyncio.sleep(1 / RATE)

    await asyncio.gather(*(stream(n) for n in range(sessions)))
    await log.append(ids[0], [EVENT])
    there = await other.result()
    for task in tasks:
        task.cancel()
    await log.close()
    same = [here[k] - t for k, t in committed.items() if k in here]
    far = [there[k] - t for k, t in committed.items() if k in there]
    return {
        "events/s": len(committed) / seconds, "missing": float(len(committed) - len(far)), "same p50": at(0.5, same),
        "same p99": at(0.99, same), "other p50": at(0.5, far), "other p99": at(0.99, far),
    }  # fmt: skip


async def stored(events: int) -> dict[str, float]:
    """What so many events of ten sessions take in PostgreSQL, and what it costs to come back to one of them."""
    url = fresh_url()
    log = await PostgresLog.open(url)
    ids = await filled(log, 10)
    for _ in range(events // 10 // 250):
        await asyncio.gather(*(log.append(id, [EVENT] * 250) for id in ids))
    db = await log.address.connect()
    await db.execute("vacuum analyze event")
    size = await db.fetchval("select pg_total_relation_size('event')")
    await db.close()
    head, took = events // 10, []
    for n in range(50):
        began = time.monotonic()
        assert len(await log.read(ids[n % 10], head - 64, upto=head, public=True)) == 64
        took.append(time.monotonic() - began)
    await log.close()
    return {"bytes": size / events, "beside": size / events - len(TEXT), "read": at(0.5, took)}


async def in_turns(sessions: int, seconds: float, rounds: int) -> str:
    """A row: the floor, PostgreSQL and SQLite one after the other, `rounds` times, `seconds` each in all."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        f = await floor(server_url(), sessions, seconds / rounds)
        p = await postgres(sessions, seconds / rounds)
        s = await sqlite(sessions, seconds / rounds)
        share = {"share": p["fanned out"] / f["fanned out"]}
        for of, figures in (("f", f), ("p", p), ("s", s), ("", share)):
            for name, figure in figures.items():
                found.setdefault(f"{of} {name}".strip(), []).append(figure)
    m = {name: statistics.median(figures) for name, figures in found.items()}
    shares = found["share"]
    return (
        f"| {sessions} | {m['f appended']:,.0f} | {m['f fanned out']:,.0f} | {m['p appended']:,.0f} | {m['p fanned out']:,.0f} "
        f"| {m['share']:.0%} ({min(shares):.0%} to {max(shares):.0%}) | {m['p commits']:,.0f} | {m['s appended']:,.0f} "
        f"| {m['s fanned out']:,.0f} |"
    )


async def main(seconds: float, rounds: int, many: Sequence[int]) -> None:
    print(
        "| sessions | floor, events/s | fanned out | PostgreSQL | fanned out | of the floor | commits/s | SQLite | fanned out |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for n in many:
        print(await in_turns(n, seconds, rounds), flush=True)
    print("\n| live sessions | events/s | same node p50 | p99 | other node p50 | p99 | not delivered |")
    print("|---|---|---|---|---|---|---|")
    for n in many:
        found = await latency(n, seconds)
        print(
            f"| {n} | {found['events/s']:,.0f} | {found['same p50']:.1f} ms | {found['same p99']:.1f} ms "
            f"| {found['other p50']:.1f} ms | {found['other p99']:.1f} ms | {found['missing']:.0f} |",
            flush=True,
        )
    print("\n| events stored | bytes an event | of it beside its content | the last 64 of a session |")
    print("|---|---|---|---|")
    for n in STORED:
        kept = await stored(n)
        print(f"| {n:,} | {kept['bytes']:.0f} | {kept['beside']:.0f} | {kept['read']:.1f} ms |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench-postgres")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 16, 100])
    given = parser.parse_args()
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    try:
        asyncio.run(main(given.seconds, given.rounds, given.sessions))
    finally:
        for started in _server:
            started.stop()
            shutil.rmtree(started.data.parent, ignore_errors=True)
