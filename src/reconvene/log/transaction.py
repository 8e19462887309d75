"""The working set of one commit: what it has read, what it decided, and what it will write in as few statements as it can.

Requests are decided one after the other in memory, against the tables and against what earlier requests of the same commit decided,
and refuse before they change anything; so one that is refused leaves no trace. The rows go to SQLite together at the end: a
statement costs a hand-over of the interpreter's lock, 64 rows in one cost the same as one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from operator import attrgetter
from typing import Any

import apsw

from reconvene.errors import ReconveneError
from reconvene.log.port import Command, Fence, NewEvent, NewSession, Row, SessionRow
from reconvene.log.queries import STATEMENTS, repeated
from reconvene.protocol.cursor import START_TAG

_CHUNKS = (64, 16, 4, 1)
MAX_SEQ = 2**32 - 1


@dataclass(slots=True)
class Live:
    """A session as the writer knows it: the columns of its row, in their order."""

    n: int
    id: str
    owner: str
    root: str
    epoch: str
    head: int
    head_tag: str
    title: str
    status: str
    run_id: str | None
    pinned: int
    archived: int
    created_at: float
    active_at: float
    last_active: float
    bytes: int
    meta: str

    def columns(self) -> tuple[Any, ...]:
        return _columns(self)


_LIVE = tuple(f.name for f in fields(Live))
_columns: Callable[[Live], tuple[Any, ...]] = attrgetter(*_LIVE)
assert set(_LIVE) - {"n"} == {f.name for f in fields(SessionRow)}


@dataclass(frozen=True, slots=True)
class Done:
    """A command that is known: where it went."""

    body: str
    session_id: str
    seq: int
    run_id: str | None


@dataclass(slots=True)
class Wants:
    """What a request will ask for, so that a commit fetches it for all its requests at once."""

    session: str | None = None
    command: Command | None = None
    keys: tuple[str, ...] = ()
    fence: str | None = None


class Known:
    """What the writer remembers between commits. Nobody else writes the file, so it stays true; forgotten whenever a commit fails."""

    def __init__(self, keep: int = 10_000) -> None:
        self.keep = keep
        self.sessions: dict[str, Live] = {}
        self.fences: dict[str, int] = {}
        self.next_n: int | None = None

    def trim(self) -> None:
        if len(self.sessions) > self.keep:
            self.sessions.clear()
        if len(self.fences) > self.keep:
            self.fences.clear()

    def forget(self) -> None:
        self.sessions.clear()
        self.fences.clear()
        self.next_n = None


class Transaction:
    """Open between `begin immediate` and `commit`; the writer does both."""

    def __init__(self, db: apsw.Connection, known: Known, now: Callable[[], float]) -> None:
        self.db = db
        self.known = known
        self.now = now
        self.commits: list[tuple[str, tuple[Row, ...]]] = []
        """(session_id, rows) of every append, in order: what `on_commit` will be told."""
        self.probe: tuple[int, str] | None = None
        """(place, tag) of an event of this commit; by it a commit of unknown outcome is found again."""
        self.changed = False
        self._missing: set[str] = set()
        self._commands: dict[tuple[str, str], Done | None] = {}
        self._keys: dict[tuple[int, str], tuple[int, str | None] | None] = {}
        self._events: list[tuple[Any, ...]] = []
        self._touched: dict[int, Live] = {}
        self._new_commands: list[tuple[Any, ...]] = []
        self._new_fences: dict[str, int] = {}

    # reading

    def prefetch(self, wants: Iterable[Wants]) -> None:
        """Fetch what the requests want and is not known yet: at most one statement a table."""
        wants = list(wants)
        ids = {w.session for w in wants if w.session} - self.known.sessions.keys()
        if ids:
            self._fetch_sessions(ids)
        if commands := {(w.command.owner, w.command.id) for w in wants if w.command}:
            self._fetch_commands(commands)
        keys = {
            (live.n, key)
            for w in wants
            if w.keys and w.session and (live := self.known.sessions.get(w.session))
            for key in w.keys
        }
        if keys:
            self._fetch_keys(keys)
        if names := {w.fence for w in wants if w.fence} - self.known.fences.keys():
            self._fetch_fences(names)

    def session(self, id: str) -> Live | None:
        if id not in self.known.sessions and id not in self._missing:
            self._fetch_sessions({id})
        return self.known.sessions.get(id)

    def command(self, command: Command) -> Done | None:
        """What is known of it; `id_conflict` when its body is another."""
        name = (command.owner, command.id)
        if name not in self._commands:
            self._fetch_commands({name})
        done = self._commands[name]
        if done is not None and done.body != command.body:
            raise ReconveneError(
                "id_conflict", f"The id {command.id} was used before with another body; make a new id.", id=command.id
            )
        return done

    def key(self, live: Live, key: str) -> tuple[int, str | None] | None:
        """(seq, run_id) of the event of this session that has the key."""
        name = (live.n, key)
        if name not in self._keys:
            self._fetch_keys({name})
        return self._keys[name]

    def generation(self, name: str) -> int:
        if name not in self.known.fences:
            self._fetch_fences({name})
        return self.known.fences.get(name, 0)

    def check(self, fence: Fence | None) -> None:
        if fence is not None and self.generation(fence.name) != fence.generation:
            sentence = f"Another owner has taken over {fence.name}; this write of the old one was refused."
            raise ReconveneError("fenced", sentence, name=fence.name)

    def _fetch_sessions(self, ids: set[str]) -> None:
        for row in self._find("find_sessions", sorted(ids)):
            live = Live(*row)
            self.known.sessions[live.id] = live
        self._missing |= ids - self.known.sessions.keys()

    def _fetch_commands(self, names: set[tuple[str, str]]) -> None:
        self._commands |= dict.fromkeys(names)
        for owner, id, *done in self._find("find_commands", sorted(names)):
            self._commands[owner, id] = Done(*done)

    def _fetch_keys(self, names: set[tuple[int, str]]) -> None:
        self._keys |= dict.fromkeys(names)
        for n, key, seq, run_id in self._find("find_keys", sorted(names)):
            self._keys[n, key] = (seq, run_id)

    def _fetch_fences(self, names: set[str]) -> None:
        self.known.fences |= dict.fromkeys(names, 0) | dict(self._find("find_fences", sorted(names)))

    def _find(self, statement: str, wanted: Sequence[Any]) -> list[Any]:
        return self.db.execute(STATEMENTS[statement], (json.dumps(wanted),)).fetchall()

    # deciding; nothing below refuses

    def add_session(self, new: NewSession) -> Live:
        if self.known.next_n is None:
            self.known.next_n = self.one("last_session") + 1
        now = self.now()
        live = Live(
            self.known.next_n, new.id, new.owner, new.root, new.epoch, 0, START_TAG, "", "idle", None, 0, 0, now, now, 0.0, 0, new.meta
        )  # fmt: skip
        self.known.next_n += 1
        self.known.sessions[new.id] = live
        self._missing.discard(new.id)
        self.touch(live)
        return live

    def add_events(self, live: Live, events: Sequence[NewEvent]) -> tuple[Row, ...]:
        now = self.now()
        tags = os.urandom(4 * len(events)).hex()
        rows: list[Row] = []
        for i, e in enumerate(events):
            seq, tag = live.head + 1, tags[8 * i : 8 * i + 8]
            about = (e.run_id, e.item_id, e.parent_id, e.key, e.public, e.stateful, now, tag)
            rows.append(Row(live.id, seq, e.type, e.content, *about))
            self._events.append((live.n << 32 | seq, e.type, *about, e.content))
            live.head, live.head_tag = seq, tag
            live.bytes += len(e.content) if e.content.isascii() else len(e.content.encode())
            if e.key is not None:
                self._keys[live.n, e.key] = (seq, e.run_id)
        if rows:
            self.probe = (live.n << 32 | live.head, live.head_tag)
            self.touch(live)
            self.commits.append((live.id, tuple(rows)))
        return tuple(rows)

    def add_command(self, command: Command, done: Done) -> None:
        self._commands[command.owner, command.id] = done
        self._new_commands.append((command.owner, command.id, done.body, done.session_id, done.seq, done.run_id))
        self.changed = True

    def set_fields(self, live: Live, update: Mapping[str, Any]) -> None:
        for name, value in update.items():
            setattr(live, name, int(value) if isinstance(value, bool) else value)
        if update:
            self.touch(live)

    def set_fence(self, name: str, generation: int) -> None:
        self.known.fences[name] = self._new_fences[name] = generation
        self.changed = True

    def touch(self, live: Live) -> None:
        self._touched[live.n] = live
        self.changed = True

    def drop_session(self, live: Live) -> None:
        self.flush()
        del self.known.sessions[live.id]
        self._missing.add(live.id)
        for name in [name for name in self.known.fences if name.startswith(live.id)]:
            del self.known.fences[name]

    # writing

    def run(self, statement: str, *args: Any) -> None:
        """A statement for which being first or last matters: what was decided so far is written before it."""
        self.flush()
        self.db.execute(STATEMENTS[statement], args).fetchall()
        self.changed = True

    def one(self, statement: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        row = self.row(statement, *args)
        return row[0] if row else None

    def row(self, statement: str, *args: Any) -> tuple[Any, ...] | None:
        self.flush()
        return next(iter(self.db.execute(STATEMENTS[statement], args).fetchall()), None)

    def flush(self) -> None:
        """Write what was decided."""
        self._put("put_sessions", [live.columns() for live in self._touched.values()])
        self._put("put_events", self._events)
        self._put("put_commands", self._new_commands)
        self._put("put_fences", list(self._new_fences.items()))
        for written in (self._touched, self._events, self._new_commands, self._new_fences):
            written.clear()

    def _put(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        start = 0
        while start < len(rows):
            size = next(c for c in _CHUNKS if c <= len(rows) - start)
            self.db.execute(repeated(statement, size), tuple(chain.from_iterable(rows[start : start + size])))
            start += size
