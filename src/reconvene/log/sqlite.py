"""The log in one SQLite file: WAL, `synchronous=FULL`, one writer thread with group commit, readers of their own.

`docs/explanation/log.md` tells the schema, the promises and what happens on each failure.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import apsw
import structlog

from reconvene.errors import ReconveneError
from reconvene.log import database, requests
from reconvene.log.checking import checked, checked_update
from reconvene.log.decisions import MAX_SEQ
from reconvene.log.port import (
    Appended,
    Command,
    Fence,
    NewEvent,
    NewSession,
    Row,
    SessionRow,
    Tombstone,
)
from reconvene.log.reader import Readers
from reconvene.log.watchdog import INTERVAL, Watchdog
from reconvene.log.writer import Answers, Commits, Writer
from reconvene.protocol.cursor import START_TAG

_log = structlog.get_logger(__name__)

T = TypeVar("T")

QUEUED = 20_000
"""Requests that may wait for the disk; more are refused, so that a disk that stands still does not fill the memory."""

ANSWERED_WITHIN = 30.0
"""Seconds. A disk that stands still keeps its writes, but nobody waits longer for it."""

_SESSION = tuple(f.name for f in fields(SessionRow))


class SqliteLog:
    """The port of `log/port.py`. Made by `open`; all methods belong to the event loop that opened it."""

    sqlite_version = apsw.sqlite_lib_version()
    shared = False

    def __init__(self, path: Path, readers: Readers) -> None:
        self.path = path
        self.on_commit: Callable[[str, tuple[Row, ...]], None] = lambda _session_id, _rows: None
        self.on_lost: Callable[[ReconveneError], None] = lambda _error: None
        """Called once, on the loop, when the file was deleted, replaced or cut; every write is answered `store_lost` from then on."""
        self.instance = ""
        """Names this database; made with it."""
        self._readers = readers
        self._writer: Writer
        self._watchdog: Watchdog
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        batch: int = 256,
        synchronous: str = "full",
        busy_ms: int = database.BUSY_MS,
        check_below: int = database.CHECKED_BELOW,
        watch_interval: float = INTERVAL,
    ) -> SqliteLog:
        """Open the database, making it when there is none.

        Args:
            path: of the file; its folder exists and is locked (`DataFolder`).
            now: seconds since the epoch, for the events' `at`.
            batch: requests in one commit, at most.
            synchronous: `full`. Another value breaks promise 2; a test uses it to show that the test would see it.
            busy_ms: how long to wait for a foreign program that holds the database, before `store_busy`.
            check_below: bytes; a smaller file is checked wholly before it is used.
            watch_interval: seconds between two looks at the file.

        Raises:
            ReconveneError: `store_corrupt`, `store_foreign`, `store_newer`, `store_lost`, `store_busy`, `disk_full`, `data_dir_unusable`.
        """
        db, instance = await asyncio.to_thread(database.open_installed, path, synchronous, busy_ms, check_below)
        _log.info("database opened", path=str(path), sqlite=cls.sqlite_version)
        log = cls(path, Readers(path, busy_ms=busy_ms))
        log.instance = instance
        log._writer = Writer(
            path, db, log._deliver, log._lost, now, batch=batch, synchronous=synchronous, busy_ms=busy_ms
        )
        log._watchdog = Watchdog(path, log._writer, watch_interval)
        return log

    @property
    def commits(self) -> int:
        """Transactions written so far, one fsync each."""
        return self._writer.commits

    # writing

    async def create(
        self,
        new: NewSession,
        events: Sequence[NewEvent] = (),
        *,
        command: Command | None = None,
        update: Mapping[str, Any] | None = None,
    ) -> Appended:
        return await self._ask(requests.Create(new, checked(events), command, checked_update(update)))

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
        return await self._ask(requests.Append(session_id, checked(events), command, fence, checked_update(update)))

    def append_soon(self, session_id: str, events: Sequence[NewEvent], *, fence: Fence | None = None) -> None:
        self._submit(requests.Append(session_id, checked(events), None, fence))

    async def claim(self, name: str) -> Fence:
        return await self._ask(requests.Claim(name))

    async def delete(self, session_id: str, *, reason: str, at: float, if_last_active: float | None = None) -> bool:
        deleted = await self._ask(requests.Delete(session_id, reason, float(at), if_last_active))
        await self._sweep()
        return deleted

    async def purge(self, *, tombstones_before: float) -> int:
        purged = await self._ask(requests.Purge(float(tombstones_before)))
        await self._sweep()
        return purged

    async def _sweep(self) -> None:
        while await self._ask(requests.Sweep()):
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
        return await self._ask(requests.Fork(source, upto, new, checked(events), command, checked_update(update)))

    async def put(self, name: str, value: str | None) -> None:
        await self._ask(requests.Put(name, value))

    async def _ask(self, request: requests.Request[T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        request.future = future
        self._submit(request)
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                return await future
        except TimeoutError as e:
            sentence = (
                f"The disk under {self.path} has not answered for {ANSWERED_WITHIN:.0f} s. Whether this was written is unknown; "
                f"repeat it with the same id."
            )
            raise ReconveneError("store_error", sentence, path=str(self.path)) from e

    def _submit(self, request: requests.Request[Any]) -> None:
        if self._closing:
            raise ReconveneError(
                "draining", "The server is stopping; nothing more is written. Try again after its restart."
            )
        if self._writer.queued >= QUEUED:
            raise ReconveneError("store_busy", f"{QUEUED:,} writes wait for the disk already. Try again in a moment.")
        self._writer.submit(request)

    def _deliver(self, answers: Answers, commits: Commits) -> None:
        for session_id, rows in commits:
            try:
                self.on_commit(session_id, rows)
            except Exception:  # one reader's fault must not cost the writers their answers
                _log.exception("on_commit failed", session_id=session_id)
        for request, answer in answers:
            future = request.future
            if future is None or future.done():
                continue
            if isinstance(answer, ReconveneError):
                # One failure may answer many: each gets its own, as raising one writes its traceback into it.
                future.set_exception(ReconveneError(answer.code, answer.message, **answer.details))
            elif isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _lost(self, error: ReconveneError) -> None:
        try:
            self.on_lost(error)
        except Exception:
            _log.exception("on_lost failed")

    # reading

    async def follow(self, session_id: str) -> None:
        """Nobody else writes this file: `on_commit` tells everything as it is."""

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
        wanted = {
            "id": session_id,
            "after": max(0, after),
            "upto": MAX_SEQ if upto is None else min(upto, MAX_SEQ),
            "public": public,
            "stateful": stateful,
            "run_id": run_id,
            "types": None if types is None else json.dumps(list(types)),
            "max_events": -1 if max_events is None else max_events,
            "max_bytes": max_bytes,
        }
        return [to_row(session_id, columns) for columns in await self._readers.ask("read_events", **wanted)]

    async def missed(self, session_id: str, after: int) -> tuple[int, int]:
        count, size = await self._readers.ask("missed", id=session_id, after=max(0, after))
        return count, size

    async def tag(self, session_id: str, seq: int) -> str | None:
        if seq == 0:
            return START_TAG
        found = await self._readers.ask("tag", id=session_id, seq=seq) if 0 < seq <= MAX_SEQ else None
        return found[0] if found else None

    async def by_key(self, session_id: str, key: str) -> Row | None:
        found = await self._readers.ask("by_key", id=session_id, key=key)
        return to_row(session_id, found) if found else None

    async def command(self, owner: str, id: str) -> tuple[str, int, str | None, str] | None:
        found = await self._readers.ask("command", owner=owner, id=id)
        return tuple(found) if found else None

    async def session(self, session_id: str) -> SessionRow | Tombstone | None:
        if found := await self._readers.ask("session", id=session_id):
            return to_session(found)
        found = await self._readers.ask("tombstone", id=session_id)
        return Tombstone(*found) if found else None

    async def sessions(
        self,
        *,
        owner: str | None = None,
        statuses: Iterable[str] | None = None,
        archived: bool | None = None,
        limit: int | None = None,
    ) -> list[SessionRow]:
        found = await self._readers.ask(
            "sessions",
            owner=owner,
            statuses=None if statuses is None else json.dumps(list(statuses)),
            archived=archived,
            limit=-1 if limit is None else limit,
        )
        return [to_session(columns) for columns in found]

    async def get(self, name: str) -> str | None:
        found = await self._readers.ask("get", name=name)
        return found[0] if found else None

    async def scan(self, prefix: str) -> dict[str, str]:
        found: dict[str, str] = await self._readers.ask("scan", prefix=prefix)
        return found

    async def size(self) -> int:
        return int((await self._readers.ask("size"))[0])

    # the end

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(asyncio.to_thread(self._close))
        await asyncio.shield(self._closing)

    def _close(self) -> None:
        self._watchdog.stop()
        self._readers.close()
        self._writer.stop()  # after the readers, as the last connection to close leaves the file whole, without a -wal
        self._watchdog.close()


def to_row(session_id: str, columns: Sequence[Any]) -> Row:
    seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content = columns
    return Row(session_id, seq, type, content, run_id, item_id, parent_id, key, bool(public), bool(stateful), at, tag)


def to_session(columns: Sequence[Any]) -> SessionRow:
    values = dict(zip(_SESSION, columns, strict=True))
    return SessionRow(**values | {"pinned": bool(values["pinned"]), "archived": bool(values["archived"])})
