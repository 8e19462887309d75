"""The log in PostgreSQL behind the port: one writer a node with group commit, one listener a node, a few connections that read."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]
import structlog

from reconvene.errors import ReconveneError
from reconvene.log import requests
from reconvene.log.checking import checked, checked_update
from reconvene.log.decisions import MAX_SEQ
from reconvene.log.port import Appended, Command, Fence, NewEvent, NewSession, Row, SessionRow, Tombstone
from reconvene.log.postgres import alone
from reconvene.log.postgres.address import COMMAND_TIME, CONNECT_TIME, Address, is_lost
from reconvene.log.postgres.follower import POLL, Follower
from reconvene.log.postgres.news import to_row
from reconvene.log.postgres.schema import prepare
from reconvene.log.postgres.statements import STATEMENTS
from reconvene.log.postgres.writer import InCommit, Writer, close
from reconvene.protocol.cursor import START_TAG

_log = structlog.get_logger(__name__)
# Of a database that is away the writer tells once, in a line; the pool would tell each time, with a traceback.
logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)
T = TypeVar("T")

QUEUED = 20_000
"""Requests that may wait for the database."""
ANSWERED_WITHIN = 30.0
"""Seconds. A database that is away keeps its writes waiting, but nobody waits longer for it."""
READERS = 4
"""Connections."""


class PostgresLog:
    """The port of `log/port.py`. Made by `open`; all methods belong to the event loop that opened it."""

    shared = True

    def __init__(self, address: Address, instance: str, pool: asyncpg.Pool) -> None:
        self.address = address
        self.instance = instance
        """Names this installation; made with its tables."""
        self.node = secrets.token_hex(4)
        """Names this process among those that use the database."""
        self.on_commit: Callable[[str, tuple[Row, ...]], None] = lambda _session_id, _rows: None
        self.on_lost: Callable[[ReconveneError], None] = lambda _error: None
        """Never called: a database that is away comes back."""
        self.on_gone_back: Callable[[], None] = lambda: None
        """The database lacks what it had acknowledged. Nothing is written any more: what is in memory is of events that never happened,
        so the process has to begin again."""
        self.follower: Follower
        self._writer: Writer
        self._pool = pool
        self._finding: dict[str, asyncio.Task[bool]] = {}
        """Sessions that are beginning to be followed."""
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, url: str, *, now: Callable[[], float] = time.time, batch: int = 256, poll: float = POLL
    ) -> PostgresLog:
        """Connect, and make or migrate the tables.

        Args:
            url: `postgresql://user:password@host/name`; `?search_path=` names the schema of our tables (default: reconvene).
            now: seconds since the epoch, for the events' `at`.
            batch: requests in one commit, at most.
            poll: seconds between two looks for what notifications may have missed.

        Raises:
            ReconveneError: `invalid_field`, `store_error` (not reached, refused), `store_newer`.
        """
        address = Address.parse(url)
        db = await address.connect()
        try:
            instance = await prepare(db, address)
        finally:
            await close(db)
        pool = await _pool(address)
        log = cls(address, instance, pool)
        channel = f"reconvene_{instance}"
        log.follower = Follower(address, channel, log.node, log._tell, poll)
        log.follower.on_gone_back = log._went_back
        await log.follower.start()
        log._writer = Writer(address, log.follower, now, node=log.node, channel=channel, batch=batch)
        _log.info("database opened", database=address.shown, node=log.node)
        return log

    @property
    def commits(self) -> int:
        """Transactions this node wrote so far."""
        return self._writer.commits

    def hook(self, types: frozenset[str], hook: InCommit) -> None:
        """`hook` is awaited with (connection, [(session, rows)]) inside each transaction that writes events of these types."""
        self._writer.in_commit, self._writer.in_commit_types = hook, types

    def _went_back(self, error: ReconveneError) -> None:
        if self._writer.refusal is None:
            self._writer.refusal = error
            self.on_gone_back()

    def _tell(self, session_id: str, rows: tuple[Row, ...]) -> None:
        try:
            self.on_commit(session_id, rows)
        except Exception:  # one reader's fault must not cost the writers their answers
            _log.exception("on_commit failed", session_id=session_id)

    # writing

    async def create(
        self,
        new: NewSession,
        events: Sequence[NewEvent] = (),
        *,
        command: Command | None = None,
        update: Mapping[str, Any] | None = None,
    ) -> Appended:
        _check_names(new.id, new.owner, new.root, new.meta)
        return await self._ask(requests.Create(new, _storable(events), command, _fields(update)))

    async def append(
        self,
        session_id: str,
        events: Sequence[NewEvent],
        *,
        command: Command | None = None,
        fence: Fence | None = None,
        update: Mapping[str, Any] | None = None,
        seen: int | None = None,
    ) -> Appended:
        if command is not None:
            _check_names(command.id)
        request = requests.Append(session_id, _storable(events), command, fence, _fields(update), seen)
        return await self._ask(request)

    def append_soon(self, session_id: str, events: Sequence[NewEvent], *, fence: Fence | None = None) -> None:
        self._submit(requests.Append(session_id, _storable(events), None, fence))

    async def claim(self, name: str) -> Fence:
        return await self._ask(requests.Claim(name))

    async def delete(self, session_id: str, *, reason: str, at: float, if_last_active: float | None = None) -> bool:
        deleted = await self._ask(alone.Delete(session_id, reason, float(at), if_last_active))
        await self._sweep()
        return deleted

    async def purge(self, *, tombstones_before: float) -> int:
        purged = await self._ask(alone.Purge(float(tombstones_before)))
        await self._sweep()
        return purged

    async def _sweep(self) -> None:
        while await self._ask(alone.Sweep()):
            pass

    async def fork(
        self,
        source: str,
        upto: int,
        new: NewSession,
        events: Sequence[NewEvent] = (),
        *,
        command: Command | None = None,
        update: Mapping[str, Any] | None = None,
    ) -> Appended:
        return await self._ask(alone.Fork(source, upto, new, _storable(events), command, _fields(update)))

    async def put(self, name: str, value: str | None) -> None:
        _check_names(name, value or "")
        await self._ask(alone.Put(name, value))

    async def _ask(self, request: requests.Asked[T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        request.future = future
        self._submit(request)
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                return await future
        except TimeoutError as e:
            sentence = (
                f"The database {self.address.shown} has not answered for {ANSWERED_WITHIN:.0f} s. Whether this was written is unknown; "
                f"repeat it with the same id."
            )
            raise ReconveneError("store_error", sentence, database=self.address.shown) from e

    def _submit(self, request: requests.Asked[Any]) -> None:
        if self._closing:
            raise ReconveneError(
                "draining", "The server is stopping; nothing more is written. Try again after its restart."
            )
        if self._writer.queued >= QUEUED:
            raise ReconveneError(
                "store_busy", f"{QUEUED:,} writes wait for the database already. Try again in a moment."
            )
        self._writer.submit(request)

    # contents of files

    async def put_contents(self, contents: Sequence[tuple[str, bytes]]) -> None:
        """Keep these under their names; one that is there already stays."""
        await self._ask(alone.PutContents(tuple(contents)))

    async def drop_contents(self, keep: Iterable[str]) -> None:
        """Forget all but these; what was put within a day stays, as the row that names it may be on its way."""
        await self._ask(alone.DropContents(tuple(keep)))

    async def contents(self, names: Sequence[str]) -> list[tuple[str, bytes]]:
        return [(name, data) for name, data in await self._rows("contents", list(names))]

    async def contents_there(self, names: Sequence[str]) -> set[str]:
        return {row[0] for row in await self._rows("contents_there", list(names))}

    # following

    @property
    def wanted(self) -> Callable[[str], bool]:
        return self.follower.wanted

    @wanted.setter
    def wanted(self, wanted: Callable[[str], bool]) -> None:
        self.follower.wanted = wanted

    @property
    def on_gone(self) -> Callable[[str, str], None]:
        return self.follower.on_gone

    @on_gone.setter
    def on_gone(self, tell: Callable[[str, str], None]) -> None:
        self.follower.on_gone = tell

    @property
    def on_value(self) -> Callable[[str], None]:
        return self.follower.on_value

    @on_value.setter
    def on_value(self, tell: Callable[[str], None]) -> None:
        self.follower.on_value = tell

    async def reach(self, session_id: str, head: int) -> None:
        await self.follower.reach(session_id, head)

    async def follow(self, session_id: str) -> None:
        """What is written to the session from now on is told, and what was written before can be read when this returns.

        Until its head is known here it is not: whoever comes meanwhile waits for the same answer. One who read already would not be told
        of what is written between their reading and that answer. It is a task of its own, as the first who asked may leave.
        """
        known = self.follower.known
        while (finding := self._finding.get(session_id)) is not None or session_id not in known:
            if finding is None:
                finding = self._finding[session_id] = asyncio.create_task(self._follow(session_id))
                finding.add_done_callback(_seen)
            if not await asyncio.shield(finding):
                return

    async def _follow(self, session_id: str) -> bool:
        """Whether there is such a session."""
        known = self.follower.known
        known[session_id] = 0  # whatever is written from here on is told, at worst together with what is known already
        found: list[Any] = []
        try:
            found = await self._rows("session", session_id)
        finally:
            del self._finding[session_id]
            if not found:
                known.pop(session_id, None)
            elif known.get(session_id) == 0:
                self.follower.begin(session_id, found[0]["head"], found[0]["head_tag"])
        return bool(found)

    # reading

    async def read(
        self,
        session_id: str,
        after: int,
        *,
        upto: int | None = None,
        max_events: int | None = None,
        max_bytes: int | None = None,
        public: bool | None = None,
        stateful: bool | None = None,
        run_id: str | None = None,
        types: Iterable[str] | None = None,
    ) -> list[Row]:
        span = (session_id, max(0, after), MAX_SEQ if upto is None else min(upto, MAX_SEQ))
        types = None if types is None else list(types)
        if stateful and (public, run_id, types, max_events, max_bytes) == (None,) * 5:
            found = await self._rows("read_stateful", *span)
        elif max_bytes is None:
            found = await self._rows("read_events", *span, public, stateful, run_id, types, max_events)
        else:
            found = await self._rows("read_sized", *span, public, stateful, run_id, types, max_events, max_bytes)
        return [to_row(session_id, columns) for columns in found]

    async def missed(self, session_id: str, after: int) -> tuple[int, int]:
        ((count, size),) = await self._rows("missed", session_id, max(0, after))
        return count, size

    async def tag(self, session_id: str, seq: int) -> str | None:
        if seq == 0:
            return START_TAG
        found = await self._rows("tag", session_id, seq) if 0 < seq <= MAX_SEQ else []
        return found[0][0] if found else None

    async def by_key(self, session_id: str, key: str) -> Row | None:
        found = await self._rows("by_key", session_id, key)
        return to_row(session_id, found[0]) if found else None

    async def command(self, owner: str, id: str) -> tuple[str, int, str | None, str] | None:
        if "\0" in owner + id:
            return None
        found = await self._rows("command", owner, id)
        return tuple(found[0]) if found else None

    async def session(self, session_id: str) -> SessionRow | Tombstone | None:
        if "\0" in session_id:
            return None
        if found := await self._rows("session", session_id):
            return SessionRow(*found[0])
        found = await self._rows("tombstone", session_id)
        return Tombstone(*found[0]) if found else None

    async def sessions(
        self,
        *,
        owner: str | None = None,
        statuses: Iterable[str] | None = None,
        archived: bool | None = None,
        limit: int | None = None,
    ) -> list[SessionRow]:
        wanted = None if statuses is None else list(statuses)
        return [SessionRow(*columns) for columns in await self._rows("sessions", owner, wanted, archived, limit)]

    async def get(self, name: str) -> str | None:
        found = await self._rows("get", name)
        return found[0][0] if found else None

    async def scan(self, prefix: str) -> dict[str, str]:
        return dict(map(tuple, await self._rows("scan", prefix)))

    async def size(self) -> int:
        return int((await self._rows("size"))[0][0])

    async def _rows(self, statement: str, *args: Any) -> list[Any]:
        """A statement's rows. Asked again for as long as a writer would be, when the database is away; nobody waits longer, also not for
        a connection that others do not give back.

        Raises:
            ReconveneError: `store_error`.
        """
        deadline = time.monotonic() + ANSWERED_WITHIN
        pause = 0.02
        while True:
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    found: list[Any] = await self._pool.fetch(STATEMENTS[statement], *args)
            except Exception as e:
                if not is_lost(e) or self._closing or time.monotonic() + pause > deadline:
                    raise self.address.explain(e) from e
                await asyncio.sleep(pause)
                pause = min(1.0, 2 * pause)
            else:
                return found

    # the end

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._writer.stop(patience=5.0)
        await self.follower.stop()
        try:
            async with asyncio.timeout(2.0):
                await self._pool.close()
        except Exception:
            self._pool.terminate()


def _seen(done: asyncio.Task[bool]) -> None:
    """What it raised is nobody's any more when everybody who waited for it has left."""
    if not done.cancelled():
        done.exception()


async def _pool(address: Address) -> asyncpg.Pool:
    try:
        return await asyncpg.create_pool(
            address.url,
            min_size=1,
            max_size=READERS,
            timeout=CONNECT_TIME,
            command_timeout=COMMAND_TIME,
            server_settings=address.settings(default_transaction_read_only="on"),
        )
    except Exception as e:
        raise address.explain(e) from e


def _storable(events: Sequence[NewEvent]) -> tuple[NewEvent, ...]:
    """As `checked`; PostgreSQL has no NUL in text (JSON escapes it)."""
    for e in events:
        if "\0" in e.type + e.content + (e.run_id or "") + (e.item_id or "") + (e.parent_id or "") + (e.key or ""):
            raise ReconveneError("invalid_field", f"A {e.type!a} event has a NUL, which PostgreSQL does not store.")
    return checked(events)


def _fields(update: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """As `checked_update`; a NUL in a title, which is shown only, becomes the sign for what cannot be shown."""
    fields = checked_update(update)
    return {k: v.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(v, str) else v for k, v in fields.items()}


def _check_names(*names: str) -> None:
    if any("\0" in name for name in names):
        raise ReconveneError("invalid_field", "A NUL in a name cannot be stored.")
