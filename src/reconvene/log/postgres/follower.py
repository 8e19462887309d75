"""What other nodes write: heard by LISTEN, told here in the order of seq.

A NOTIFY says what was written where, and has the rows with it while they are small (`news`). Rows that do not join on to what is known, or
did not come along, are read from the tables. A NOTIFY that is lost delays: every `POLL` seconds, and after every new connection, the heads
of all followed sessions are compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import structlog

from reconvene.errors import ReconveneError
from reconvene.log.port import Row
from reconvene.log.postgres.address import Address, is_lost
from reconvene.log.postgres.news import heard, to_row
from reconvene.log.postgres.statements import STATEMENTS

_log = structlog.get_logger(__name__)
POLL = 2.0
"""Seconds between two looks at all heads, whatever was notified."""
READ_AT_ONCE = 2000
"""Rows."""
LONGEST_PAUSE = 1.0


class Follower:
    """One listening connection of a node.

    Args:
        tell: called with (session_id, rows), in order and without gaps for every followed session.
        node: what this node's own notifications begin with; its writer tells of those.
    """

    def __init__(
        self,
        address: Address,
        channel: str,
        node: str,
        tell: Callable[[str, tuple[Row, ...]], None],
        poll: float = POLL,
    ) -> None:
        self.known: dict[str, int] = {}
        """Followed sessions, and the last seq of each that was told."""
        self.wanted: Callable[[str], bool] = lambda _id: True
        """Whether anybody here still looks at a session; else it is followed no longer."""
        self.on_gone: Callable[[str, str], None] = lambda _id, _reason: None
        self.on_value: Callable[[str], None] = lambda _name: None
        """A value of the small store was set elsewhere; "": any of them may have been."""
        self.on_gone_back: Callable[[ReconveneError], None] = lambda _error: None
        """Told what `went_back` found."""
        self.reads = 0
        self._tags: dict[str, tuple[int, str]] = {}
        """Of followed sessions, the last event that was told, or that there was when following began."""
        self._address, self._channel, self._node, self._tell, self._poll = address, channel, node, tell, poll
        self._dirty: set[str] = set()
        self._reaching: dict[str, list[tuple[int, asyncio.Future[None]]]] = {}
        self._news = asyncio.Event()
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when it listens for the first time."""
        self._task = asyncio.create_task(self._run(), name="log follower")
        listening = asyncio.create_task(self._listening.wait())
        await asyncio.wait({self._task, listening}, return_when=asyncio.FIRST_COMPLETED, timeout=10.0)
        listening.cancel()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def reach(self, session_id: str, head: int, patience: float = 5.0) -> None:
        """Return when a followed session has been told up to here; without, when that takes too long."""
        if self.known.get(session_id, head) >= head:
            return
        reached = asyncio.get_running_loop().create_future()
        waiting = self._reaching.setdefault(session_id, [])
        waiting.append((head, reached))
        self._mark(session_id, head)
        try:
            async with asyncio.timeout(patience):
                await reached
        except TimeoutError:
            _log.warning("a session was not read up to its head in time", session_id=session_id)
        finally:
            waiting.remove((head, reached))
            if not waiting:
                self._reaching.pop(session_id, None)

    def begin(self, session_id: str, head: int, tag: str) -> None:
        """Follow a session from here on."""
        self.known[session_id] = head
        self._tags[session_id] = (head, tag)

    async def went_back(self, db: asyncpg.Connection) -> ReconveneError | None:
        """What to refuse with when the database lacks what it had: events that were told here are not in it. To be asked over every new
        connection.

        That is what a failover to a standby with asynchronous replication does, or a backup that is put back under running nodes. What is
        in memory here, the state of sessions first of all, then is of events that never happened.
        """
        self._forget_others()
        asked = [(id, seq, tag) for id, (seq, tag) in self._tags.items() if seq > 0]
        if not asked:
            return None
        lost = [id for (id,) in await db.fetch(STATEMENTS["not_there"], *map(list, zip(*asked, strict=True)))]
        if not lost:
            return None
        sentence = (
            f"The database {self._address.shown} is of an earlier moment: it lacks events of {len(lost)} sessions that it had "
            f"acknowledged, as after a failover without synchronous replication. This node begins again, with what is there."
        )
        _log.critical("the database went back", database=self._address.shown, sessions=lost[:20], lost=len(lost))
        error = ReconveneError("draining", sentence, database=self._address.shown)
        self.on_gone_back(error)
        return error

    def _forget_others(self) -> None:
        if len(self._tags) > len(self.known):
            self._tags = {id: last for id, last in self._tags.items() if id in self.known}

    def _advance(self, session_id: str, last: Row) -> None:
        self.begin(session_id, last.seq, last.tag)
        for head, reached in self._reaching.get(session_id, ()):
            if head <= last.seq and not reached.done():
                reached.set_result(None)

    # what this node's writer tells it

    def wrote(self, session_id: str, rows: tuple[Row, ...]) -> None:
        """This node committed these rows. (They may have been read, and told, a moment before its writer came to say so.)"""
        if session_id in self.known and self.wanted(session_id):
            self.deliver(session_id, rows)
        else:
            self.known.pop(session_id, None)
            self._tell(session_id, rows)

    def deliver(self, session_id: str, rows: Sequence[Row]) -> None:
        """Rows from the tables, beginning at or before what is known."""
        known = self.known.get(session_id)
        if known is None:
            return
        fresh = tuple(row for row in rows if row.seq > known)
        if fresh:
            self._tell(session_id, fresh)
            self._advance(session_id, fresh[-1])

    # the listening connection

    async def _run(self) -> None:
        pause = 0.05
        while True:
            db = None
            try:
                db = await self._address.connect()
                if await self.went_back(db):
                    return
                await db.add_listener(self._channel, self._notified)
                self._listening.set()
                pause = 0.05
                self.on_value("")
                await self._look_at_heads(db)
                await self._keep_up(db)
            except Exception as e:
                if is_lost(e) or isinstance(e, asyncpg.PostgresError | ReconveneError):
                    _log.warning("what other nodes write is not heard now; it will be read later", error=str(e))
                else:
                    _log.exception("the log's follower failed")
            finally:
                if db is not None:
                    db.terminate()
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    async def _keep_up(self, db: asyncpg.Connection) -> None:
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            if not self._dirty:
                self._news.clear()
                try:
                    async with asyncio.timeout_at(looked + self._poll):
                        await self._news.wait()
                except TimeoutError:
                    pass
            if loop.time() >= looked + self._poll:
                await self._look_at_heads(db)
                looked = loop.time()
            if self._dirty:
                await self._read(db)

    def _notified(self, _db: Any, _pid: int, _channel: str, payload: object) -> None:
        node, _, lines = str(payload).partition("\n")
        if node == self._node:
            return
        for line in lines.split("\n"):
            word, _, said = line.partition(" ")
            if word == "!":
                session_id, _, reason = said.partition(" ")
                self.known.pop(session_id, None)
                self.on_gone(session_id, reason)
            elif word == "=":
                self.on_value(said)
            elif word in self.known:
                self._heard(word, *said.split(" ", 2))

    def _heard(self, session_id: str, first: str, last: str, rows: str = "") -> None:
        known = self.known[session_id]
        if rows and int(first) <= known + 1 and self.wanted(session_id):
            if int(last) > known:
                self.deliver(session_id, heard(session_id, rows))
        else:
            self._mark(session_id, int(last))

    def _mark(self, session_id: str, head: int) -> None:
        if not self.wanted(session_id):
            del self.known[session_id]
        elif head > self.known[session_id]:
            self._dirty.add(session_id)
            self._news.set()

    async def _look_at_heads(self, db: asyncpg.Connection) -> None:
        self._forget_others()
        asked = dict(self.known)
        if not asked:
            await db.fetchval("select 1", timeout=5.0)  # a connection that died silently is found out
            return
        heads: dict[str, int] = dict(await db.fetch(STATEMENTS["heads"], list(asked)))
        for id, head in heads.items():
            if id in self.known:
                self._mark(id, head)
        if lost := [id for id in asked if id not in heads]:
            for id, reason in await db.fetch(STATEMENTS["gone"], lost):
                self.known.pop(id, None)
                self.on_gone(id, reason)

    async def _read(self, db: asyncpg.Connection) -> None:
        wanted = {id: self.known[id] for id in self._dirty if id in self.known}
        self._dirty.clear()
        if not wanted:
            return
        self.reads += 1
        found = await db.fetch(STATEMENTS["news"], list(wanted), list(wanted.values()), READ_AT_ONCE)
        rows: dict[str, list[Row]] = {}
        for id, *columns in found:
            rows.setdefault(id, []).append(to_row(id, columns))
        if len(found) >= READ_AT_ONCE:  # it may have ended in the middle
            self._dirty.update(wanted)
        for id, news in rows.items():
            self.deliver(id, news)
