"""Finding what was said in any session, by its words: SQLite's full-text index in a file of its own, filled from the log when asked.

What is looked for is data: every word of it is quoted, so no operator of the index's query language can hide in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol, TypeVar

import apsw
import structlog

from reconvene.errors import ReconveneError
from reconvene.log.port import Log, Row, SessionRow

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_SCHEMA = (files("reconvene.sessions") / "finding.sql").read_text("utf-8")
VERSION = 1
"""Raise it when the same log would be taken in otherwise."""
MOST_ASKED = 200
"""Characters that are looked for."""
MOST = 50
"""Sessions in one answer."""
_HITS = 3
"""Of one session, at most."""
_RANKED = 400
"""Best places that are looked at."""
_AT_ONCE = 1.0
"""Seconds for which an answer takes in what is new."""
_TOGETHER = 16
"""Sessions that are taken in in one transaction."""
_PIECE = 500
"""Rows of a session that are taken in at a time."""
_LONGEST = 50_000
"""Characters of one event."""
_AROUND = 70
"""Characters shown before and after what was found."""
_WORD = re.compile(r"[^\W_]+(?:_[^\W_]+)*")
_HUMP = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_TYPES = (
    "prompt",
    "message",
    "question",
    "confirmation",
    "answered",
    "decided",
    "diff",
    "error",
    "plan",
    "tool_call",
    "tool_result",
    "output",
)

_STEPS = ("tool_call", "tool_result", "output")


@dataclass(frozen=True, slots=True)
class Hit:
    """Where it was said: `seq` of the event (0: the title), `kind` its type, `at` in seconds since the epoch. `pieces`: what is around
    it, those at odd places being what was found."""

    seq: int
    kind: str
    at: float
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundSession:
    """`hits`: the best of them. `more`: whether there are others."""

    session_id: str
    hits: tuple[Hit, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class FoundSessions:
    """Best first. `searched`, `of`: sessions; while not all are taken in, that goes on behind."""

    sessions: tuple[FoundSession, ...]
    searched: int
    of: int


class Searched(Protocol):
    """The sessions that are searched, as `Sessions` is; of a data folder without a server there is less."""

    @property
    def log(self) -> Log: ...

    @property
    def on_gone(self) -> list[Callable[[str, str], None]]: ...

    async def list(self, owner: str) -> Sequence[SessionRow]: ...


class Finding:
    """The texts of one server's sessions. `path` is made when first needed; a session that is deleted leaves it at once."""

    def __init__(self, sessions: Searched, path: Path) -> None:
        self._sessions = sessions
        self._path = path
        self._lock = asyncio.Lock()
        self._catching = asyncio.Lock()
        self._rest: asyncio.Task[None] | None = None
        self._deleted: set[str] = set()
        self._db: apsw.Connection | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        sessions.on_gone.append(self._gone)

    async def find(self, owner: str, text: str, *, limit: int = 20) -> FoundSessions:
        """Sessions of an owner in which every word was said at one place, or the beginning of a longer one.

        Raises:
            ReconveneError: `invalid_field` (no word, more than 200 characters, limit), `store_error`.
        """
        words = list(dict.fromkeys(_WORD.findall(text.lower())))
        if not words or len(text) > MOST_ASKED or "\0" in text:
            sentence = f"Write one word or more to look for, at most {MOST_ASKED} characters."
            raise ReconveneError("invalid_field", sentence, path="q")
        if not 1 <= limit <= MOST:
            raise ReconveneError("invalid_field", f"limit must be 1 to {MOST}.", path="limit")
        left = await self._catch_up(_AT_ONCE)
        if left and (self._rest is None or self._rest.done()):
            self._rest = asyncio.create_task(self._catch_up_behind(), name="find in sessions")
        mine = {s.id for s in await self._sessions.list(owner)}
        return await self._with(lambda db: _found(db, words, mine, limit, left))

    async def close(self) -> None:
        """Idempotent."""
        if self._rest is not None:
            self._rest.cancel()
        await asyncio.gather(*self._leaving, *filter(None, [self._rest]), return_exceptions=True)
        async with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    async def _catch_up_behind(self) -> None:
        """The next search tells what is wrong, if something is."""
        with contextlib.suppress(ReconveneError):
            await self._catch_up(None)

    async def _catch_up(self, within: float | None) -> int:
        """Take in what the log has and this has not, newest sessions first. Returns how many are left after so many seconds."""
        if self._catching.locked() and within is not None:  # the rest of an earlier search is still being taken in
            return len(await self._todo())
        async with self._catching:
            end = None if within is None else time.monotonic() + within
            todo = await self._todo()
            while todo and (end is None or time.monotonic() <= end):
                some, todo = todo[:_TOGETHER], todo[_TOGETHER:]
                read = await asyncio.gather(*(self._read(session, upto) for session, upto in some))
                news = [(session, upto, rows) for (session, upto), rows in zip(some, read, strict=True)]
                await self._with(partial(self._add, news=news))
                todo = [(session, rows[-1].seq) for session, _, rows in news if len(rows) == _PIECE] + todo
            return len(todo)

    def _add(self, db: apsw.Connection, news: Sequence[tuple[SessionRow, int, Sequence[Row]]]) -> None:
        # What was deleted since it was read has left already, and must not come back.
        _add(db, [(session, upto, rows) for session, upto, rows in news if session.id not in self._deleted])

    async def _todo(self) -> list[tuple[SessionRow, int]]:
        sessions = await self._sessions.log.sessions()
        return await self._with(lambda db: _behind(db, sessions))

    async def _read(self, session: SessionRow, upto: int) -> list[Row]:
        return await self._sessions.log.read(
            session.id, upto, upto=session.head, public=True, types=_TYPES, max_events=_PIECE
        )

    def _gone(self, session_id: str, reason: str) -> None:
        self._deleted.add(session_id)
        task = asyncio.ensure_future(self._leave(session_id))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, session_id: str) -> None:
        try:
            if await asyncio.to_thread(self._path.exists):
                await self._with(lambda db: _remove(db, session_id))
        except ReconveneError as e:
            _log.warning("a deleted session's texts are still in the search", code=e.code, message=e.message)

    async def _with(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do something with the file, one at a time; once more with a new one when it turns out to be unusable."""
        async with self._lock:
            return await asyncio.to_thread(self._try, work)

    def _try(self, work: Callable[[apsw.Connection], T]) -> T:
        for last in (False, True):
            try:
                if self._db is None:
                    self._db = _open(self._path)
                with self._db:
                    return work(self._db)
            except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError) as e:
                if last:
                    raise _unusable(e) from e
                _log.warning("the texts of sessions are taken in anew", error=str(e))
                self._throw_away()
            except (apsw.Error, OSError) as e:
                raise _unusable(e) from e
        raise AssertionError("not reached")

    def _throw_away(self) -> None:
        if self._db is not None:
            with contextlib.suppress(apsw.Error):
                self._db.close(True)
            self._db = None
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def _unusable(e: Exception) -> ReconveneError:
    return ReconveneError("store_error", f"Sessions cannot be searched now: {e}. Their logs are not affected.")


def _open(path: Path) -> apsw.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = apsw.Connection(str(path))
    db.set_busy_timeout(5000)
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "normal")
    db.pragma("secure_delete", True)
    if db.pragma("user_version") != VERSION:
        if db.execute("select count(*) from sqlite_master").get:
            db.close()
            raise apsw.NotADBError("made by another version")
        with db:
            db.execute(_SCHEMA).fetchall()
            db.pragma("user_version", VERSION)
    return db


def _behind(db: apsw.Connection, sessions: Sequence[SessionRow]) -> list[tuple[SessionRow, int]]:
    """Sessions that are not in here as they are now, with the seq up to which they are; those that are no more are removed."""
    sql = "select id, epoch, upto, title from session"
    known = {id: (epoch, upto, title) for id, epoch, upto, title in db.execute(sql)}
    for id in known.keys() - {s.id for s in sessions}:
        _remove(db, id)
    behind = []
    for session in sessions:
        epoch, upto, title = known.get(session.id, (session.epoch, 0, None))
        if epoch != session.epoch:
            _remove(db, session.id)
            upto, title = 0, None
        if session.head and (upto, title) != (session.head, session.title):
            behind.append((session, upto))
    return behind


def _add(db: apsw.Connection, news: Sequence[tuple[SessionRow, int, Sequence[Row]]]) -> None:
    """The rows of each session after the seq up to which it is in here, and its title as it is now."""
    for session, before, rows in news:
        db.execute(
            "insert or ignore into session(id, epoch, upto, title) values (?, ?, 0, '')", (session.id, session.epoch)
        )
        sql = "select n, upto, title from session where id = ?"
        known: Any = db.execute(sql, (session.id,)).fetchone()
        n, upto, title = known
        if upto != before:
            continue  # the file was made anew meanwhile: the next round has it
        if title != session.title:
            db.execute("delete from said where rowid = ?", (n << 32,))
            _say(db, n << 32, session.title, "title", session.created_at)
        for row in rows:
            if text := "\n".join(_texts(row.type, json.loads(row.content)))[:_LONGEST]:
                _say(db, n << 32 | row.seq, text, row.type, row.at)
        now = rows[-1].seq if len(rows) == _PIECE else session.head
        db.execute("update session set upto = ?, title = ? where n = ?", (now, session.title, n))


def _say(db: apsw.Connection, rowid: int, text: str, kind: str, at: float) -> None:
    pieces = " ".join(
        dict.fromkeys(p for word in _WORD.findall(text) if len(split := _HUMP.findall(word)) > 1 for p in split)
    )
    db.execute(
        "insert into said(rowid, body, pieces, kind, at) values (?, ?, ?, ?, ?)", (rowid, text, pieces, kind, at)
    )


def _remove(db: apsw.Connection, id: str) -> None:
    row = db.execute("select n from session where id = ?", (id,)).fetchone()
    if row is not None:
        db.execute("delete from said where rowid >= ? and rowid < ?", (row[0] << 32, (row[0] + 1) << 32))
        db.execute("delete from session where n = ?", (row[0],))


def _texts(kind: str, content: dict[str, Any]) -> Iterator[str]:
    """What of an event a person may remember."""
    match kind:
        case "prompt" | "message" | "question" | "confirmation" | "output":
            yield content.get("text") or ""
        case "answered":
            answer = content.get("answer")
            yield answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        case "decided":
            yield content.get("feedback") or ""
        case "error":
            yield content["message"]
        case "plan":
            yield content.get("title") or ""
            yield from (step["title"] for step in content["steps"])
        case "tool_call":
            args = content.get("args")
            yield from (v for v in (args.values() if isinstance(args, dict) else [args]) if isinstance(v, str))
        case "tool_result":
            yield content.get("summary") or ""
            yield from (place["path"] for place in content.get("places") or () if isinstance(place.get("path"), str))
        case "diff":
            for file in content["files"]:
                yield file["path"]
                yield from (hunk["unified"] for hunk in file["hunks"])


def _found(db: apsw.Connection, words: Sequence[str], mine: set[str], limit: int, left: int) -> FoundSessions:
    asked = " AND ".join(f'"{word}"*' for word in words)
    sql = (
        "select said.rowid, session.id, kind from said join session on session.n = said.rowid >> 32"
        " where said match ? order by bm25(said, 1.0, 0.4) limit ?"
    )
    best: dict[str, list[int]] = {}
    kinds: dict[int, str] = {}
    for rowid, id, kind in db.execute(sql, (asked, _RANKED)):
        if id in mine:
            kinds[rowid] = kind
            best.setdefault(id, []).append(rowid)
    found = []
    for id, rowids in list(best.items())[:limit]:
        hits = []
        # What was said before what was done, which often repeats it.
        for rowid in sorted(rowids, key=lambda r: kinds[r] in _STEPS)[:_HITS]:
            body, kind, at = db.execute("select body, kind, at from said where rowid = ?", (rowid,)).fetchone() or (
                "",
                "",
                0,
            )
            hits.append(Hit(rowid & 0xFFFFFFFF, kind, float(at), excerpt(body, words)))
        found.append(FoundSession(id, tuple(hits), len(rowids) > _HITS))
    return FoundSessions(tuple(found), len(mine) - min(left, len(mine)), len(mine))


def excerpt(text: str, words: Sequence[str]) -> tuple[str, ...]:
    """What is around the first of the words, in pieces: every second one is a word that was looked for.

    >>> excerpt("The sweeper sweeps idle sessions.", ["sweep"])
    ('The ', 'sweep', 'er ', 'sweep', 's idle sessions.')
    """
    flat = " ".join(text.split())
    pattern = re.compile("|".join(re.escape(w) for w in sorted(words, key=len, reverse=True)), re.I)
    first = pattern.search(flat)
    middle = first.start() if first else 0
    begin, end = max(0, middle - _AROUND), min(len(flat), middle + 2 * _AROUND)
    if begin:
        begin = flat.find(" ", begin, middle) + 1 or begin
    shown = ("…" if begin else "") + flat[begin:end] + ("…" if end < len(flat) else "")
    pieces: list[str] = []
    at = 0
    for match in pattern.finditer(shown):
        pieces += [shown[at : match.start()], match[0]]
        at = match.end()
    return (*pieces, shown[at:])
