"""What one commit has read and what it has decided, whichever database it goes to.

Requests are decided one after the other in memory, against the tables and against what earlier requests of the same commit decided,
and refuse before they change anything; so one that is refused leaves no trace.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from reconvene.errors import ReconveneError
from reconvene.log.port import Command, Fence, NewEvent, NewSession, Row, SessionRow
from reconvene.protocol.cursor import START_TAG

MAX_SEQ = 2**32 - 1
TAGS = 16
"""Made at once."""


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
    makes: str | None = None
    """The id of a session that is to be made."""
    command: Command | None = None
    keys: tuple[str, ...] = ()
    fence: str | None = None


class Known:
    """What is known of the tables. Where nobody else writes them it stays true from commit to commit, until one fails."""

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


class Decisions(ABC):
    """The working set of a commit. What was not fetched before is asked of `fetch_…`."""

    def __init__(self, known: Known, now: Callable[[], float]) -> None:
        self.known = known
        self.now = now
        self.commits: list[tuple[str, tuple[Row, ...]]] = []
        """(session_id, rows) of every append, in order: what `on_commit` will be told."""
        self.probe: tuple[int, int, str] | None = None
        """(n, seq, tag) of an event of this commit; by it a commit of unknown outcome is found again."""
        self.changed = False
        self._missing: set[str] = set()
        self._commands: dict[tuple[str, str], Done | None] = {}
        self._keys: dict[tuple[int, str], tuple[int, str | None] | None] = {}
        self._events: list[tuple[Live, Row]] = []
        self._touched: dict[int, Live] = {}
        self._new_commands: list[tuple[Any, ...]] = []
        self._new_fences: dict[str, int] = {}
        self._tags: list[str] = []

    # what a database adds

    @abstractmethod
    def fetch_sessions(self, ids: set[str]) -> None: ...

    @abstractmethod
    def fetch_commands(self, names: set[tuple[str, str]]) -> None: ...

    @abstractmethod
    def fetch_keys(self, names: set[tuple[int, str]]) -> None: ...

    @abstractmethod
    def fetch_fences(self, names: set[str]) -> None: ...

    @abstractmethod
    def is_tombstone(self, id: str) -> bool: ...

    @abstractmethod
    def next_n(self) -> int:
        """The short name of a new session."""

    @abstractmethod
    def check_seen(self, live: Live, seen: int | None) -> None:
        """Raises: Moved, when a stateful event was written after the one that the caller decided by."""

    # what requests ask

    def session(self, id: str) -> Live | None:
        if id not in self.known.sessions and id not in self._missing:
            self.fetch_sessions({id})
        return self.known.sessions.get(id)

    def command(self, command: Command) -> Done | None:
        """What is known of it; `id_conflict` when its body is another."""
        name = (command.owner, command.id)
        if name not in self._commands:
            self.fetch_commands({name})
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
            self.fetch_keys({name})
        return self._keys[name]

    def generation(self, name: str) -> int:
        if name not in self.known.fences:
            self.fetch_fences({name})
        return self.known.fences.get(name, 0)

    def check(self, fence: Fence | None) -> None:
        if fence is not None and self.generation(fence.name) != fence.generation:
            sentence = f"Another owner has taken over {fence.name}; this write of the old one was refused."
            raise ReconveneError("fenced", sentence, name=fence.name)

    def refuse_taken(self, id: str) -> None:
        if self.session(id) is not None or self.is_tombstone(id):
            raise ReconveneError("id_conflict", f"There is, or was, a session {id}; make a new id.", session_id=id)

    # deciding; nothing below refuses

    def add_session(self, new: NewSession) -> Live:
        now = self.now()
        live = Live(
            self.next_n(), new.id, new.owner, new.root, new.epoch, 0, START_TAG, "", "idle", None, 0, 0, now, now, 0.0, 0, new.meta
        )  # fmt: skip
        self.known.sessions[new.id] = live
        self._missing.discard(new.id)
        self.touch(live)
        return live

    def add_events(self, live: Live, events: Sequence[NewEvent]) -> tuple[Row, ...]:
        now = self.now()
        rows: list[Row] = []
        for e in events:
            seq, tag = live.head + 1, self._tag()
            row = Row(
                live.id, seq, e.type, e.content, e.run_id, e.item_id, e.parent_id, e.key, e.public, e.stateful, now, tag
            )
            rows.append(row)
            self._events.append((live, row))
            live.head, live.head_tag = seq, tag
            live.bytes += len(e.content) if e.content.isascii() else len(e.content.encode())
            if e.key is not None:
                self._keys[live.n, e.key] = (seq, e.run_id)
        if rows:
            self.probe = (live.n, live.head, live.head_tag)
            self.touch(live)
            self.commits.append((live.id, tuple(rows)))
        return tuple(rows)

    def _tag(self) -> str:
        """8 random hex digits. The kernel is asked for many at once."""
        if not self._tags:
            digits = os.urandom(4 * TAGS).hex()
            self._tags = [digits[i : i + 8] for i in range(0, 8 * TAGS, 8)]
        return self._tags.pop()

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
