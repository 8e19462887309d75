"""A commit of the SQLite log: what it reads, and what it will write in as few statements as it can.

The rows go to SQLite together at the end: a statement costs a hand-over of the interpreter's lock, 64 rows in one cost the same as one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import apsw

from reconvene.log.decisions import Decisions, Done, Known, Live, Wants
from reconvene.log.port import Row
from reconvene.log.queries import STATEMENTS, repeated

_CHUNKS = (64, 32, *range(16, 0, -1))
"""Rows of a statement. What a run writes at once is one, without SQLite having to keep a statement for every number."""


class Transaction(Decisions):
    """Open between `begin immediate` and `commit`; the writer does both."""

    def __init__(self, db: apsw.Connection, known: Known, now: Callable[[], float]) -> None:
        super().__init__(known, now)
        self.db = db

    # reading

    def prefetch(self, wants: Sequence[Wants]) -> None:
        """Fetch what the requests want and is not known yet: at most one statement a table."""
        if not wants:
            return
        ids = {w.session for w in wants if w.session} - self.known.sessions.keys()
        if ids:
            self.fetch_sessions(ids)
        if commands := {(w.command.owner, w.command.id) for w in wants if w.command}:
            self.fetch_commands(commands)
        keys = {
            (live.n, key)
            for w in wants
            if w.keys and w.session and (live := self.known.sessions.get(w.session))
            for key in w.keys
        }
        if keys:
            self.fetch_keys(keys)
        if names := {w.fence for w in wants if w.fence} - self.known.fences.keys():
            self.fetch_fences(names)

    def fetch_sessions(self, ids: set[str]) -> None:
        for row in self._find("find_sessions", sorted(ids)):
            live = Live(*row)
            self.known.sessions[live.id] = live
        self._missing |= ids - self.known.sessions.keys()

    def fetch_commands(self, names: set[tuple[str, str]]) -> None:
        self._commands |= dict.fromkeys(names)
        for owner, id, *done in self._find("find_commands", sorted(names)):
            self._commands[owner, id] = Done(*done)

    def fetch_keys(self, names: set[tuple[int, str]]) -> None:
        self._keys |= dict.fromkeys(names)
        for n, key, seq, run_id in self._find("find_keys", sorted(names)):
            self._keys[n, key] = (seq, run_id)

    def fetch_fences(self, names: set[str]) -> None:
        self.known.fences |= dict.fromkeys(names, 0) | dict(self._find("find_fences", sorted(names)))

    def _find(self, statement: str, wanted: Sequence[Any]) -> list[Any]:
        return self.db.execute(STATEMENTS[statement], (json.dumps(wanted),)).fetchall()

    def is_tombstone(self, id: str) -> bool:
        return self.one("find_tombstone", id) is not None

    def next_n(self) -> int:
        if self.known.next_n is None:
            self.known.next_n = self.one("last_session") + 1
        n = self.known.next_n
        self.known.next_n += 1
        return n

    def check_seen(self, live: Live, seen: int | None) -> None:
        """Nobody else writes: a caller has always seen everything."""

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
        self._put("put_events", [_columns(live, row) for live, row in self._events])
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


def _columns(live: Live, row: Row) -> tuple[Any, ...]:
    about = (row.run_id, row.item_id, row.parent_id, row.key, row.public, row.stateful, row.at, row.tag)
    return (live.n << 32 | row.seq, row.type, *about, row.content)
