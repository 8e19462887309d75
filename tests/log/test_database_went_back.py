"""PostgreSQL comes back without events that it had acknowledged, as after a failover to a standby that was behind."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from log_words import E, a_session, seqs

from postgres import Server, server
from reconvene.errors import ReconveneError
from reconvene.log.postgres import PostgresLog
from reconvene.log.postgres.follower import Follower

PATIENCE = 60.0


class Node:
    """A log, what it told, and whether it said that it has to begin again."""

    def __init__(self, log: PostgresLog) -> None:
        self.log, self.told = log, list[int]()
        self.gone_back = asyncio.Event()
        self.news = asyncio.Event()
        log.on_commit = self._told
        log.on_gone_back = self.gone_back.set

    def _told(self, _id: str, rows: tuple[object, ...]) -> None:
        self.told += seqs(list(rows))  # type: ignore[arg-type]
        self.news.set()

    async def knows(self, seq: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while seq not in self.told:
                self.news.clear()
                await self.news.wait()


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="reconvene-pg-"))
    folder.chmod(0o755)
    made = server(folder / "data")
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


def keep(database: Server) -> None:
    """What the standby has."""
    database.stop()
    subprocess.run(["cp", "-a", database.data, database.data.with_name("standby")], check=True)
    database.start()


def fail_over(database: Server) -> None:
    """The standby in the place of the database."""
    database.kill()
    shutil.rmtree(database.data)
    database.data.with_name("standby").rename(database.data)
    database.start()


async def opened(database: Server) -> Node:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return Node(await PostgresLog.open(database.url))
            except ReconveneError:
                await asyncio.sleep(0.05)  # it is coming up


async def a_failover(database: Server, lost: int) -> tuple[Node, Node, str]:
    """Two nodes that know of so many events more than the database has; `a` wrote them."""
    a, b = await opened(database), await opened(database)
    s = await a_session(a.log, f"s_{id(a):x}")
    for node in (a, b):
        await node.log.follow(s)
    await a.log.append(s, [E("kept")])
    keep(database)
    for _ in range(lost):
        await a.log.append(s, [E("lost")])
    for node in (a, b):
        await node.knows(1 + lost)
    fail_over(database)
    return a, b, s


async def test_nodes_that_know_of_lost_events_write_nothing_and_begin_again(database: Server) -> None:
    a, b, s = await a_failover(database, 1)
    for node in (a, b):
        with pytest.raises(ReconveneError, match="of an earlier moment") as caught:
            await node.log.append(s, [E("phantom")])
        assert caught.value.code == "draining"
        async with asyncio.timeout(PATIENCE):
            await node.gone_back.wait()
        await node.log.close()
    again = await opened(database)
    assert [row.type for row in await again.log.read(s, 0)] == ["kept"]
    assert (await again.log.append(s, [E("new")])).first == 2
    await again.log.close()


async def test_who_only_listens_finds_out_too(database: Server) -> None:
    a, b, _ = await a_failover(database, 1)
    for node in (a, b):
        async with asyncio.timeout(PATIENCE):
            await node.gone_back.wait()
        assert node.log._writer.refusal is not None, "and nothing is written any more"
        await node.log.close()


async def test_nothing_was_lost_and_nothing_is_refused(database: Server) -> None:
    """The outage alone, and a session that was deleted elsewhere meanwhile."""
    a, b, s = await a_failover(database, 0)
    deleted = await a_session(a.log, f"s_gone{id(a):x}")
    await a.log.append(deleted, [E("x")])
    await b.log.follow(deleted)
    assert (await a.log.append(s, [E("next")])).first == 2
    await b.knows(2)
    database.kill()
    database.start()
    assert await a.log.delete(deleted, reason="deleted", at=1.0)
    assert (await b.log.append(s, [E("next")])).first == 3
    for node in (a, b):
        assert not node.gone_back.is_set()
        await node.log.close()


async def test_control_without_looking_a_node_never_hears_of_what_it_writes(
    database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unseen(self: Follower, db: object) -> None:
        return None

    monkeypatch.setattr(Follower, "went_back", unseen)
    a, b, s = await a_failover(database, 2)
    before = list(a.told)
    assert (await a.log.append(s, [E("phantom")])).first == 2, "where another event was"
    assert a.told == before == [1, 2, 3]
    for node in (a, b):
        await node.log.close()
