"""A commit of the PostgreSQL log: locks what it is about, reads what it needs, and writes what was decided in few round trips.

The rows of the sessions are locked first and in one order. Whatever else is read is read afterwards, by statements that see everything
that was committed before the locks were given; so what is decided is decided by what is there, also when other nodes write at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from reconvene.log.decisions import Decisions, Done, Known, Live, Wants
from reconvene.log.port import Moved, NewEvent, NewSession, Row
from reconvene.log.postgres import news
from reconvene.log.postgres.news import to_row
from reconvene.log.postgres.statements import STATEMENTS

REMEMBERED = 10_000
"""Sessions whose fences a node remembers."""


@dataclass(slots=True)
class Written:
    """A session as this node wrote it last: true as long as its row is still of that transaction."""

    columns: tuple[Any, ...]
    stateful: int
    claims: int
    version: str


@dataclass(slots=True)
class FencesSeen:
    """What a node knows of fences: true for a session as long as its row says that none was claimed since."""

    of: dict[str, tuple[int, dict[str, int]]] = field(default_factory=dict)
    """By session: its `claims`, and the generations."""
    written: dict[str, Written] = field(default_factory=dict)

    def forget(self) -> None:
        self.of.clear()
        self.written.clear()


def session_of(fence: str) -> str:
    """The session whose row guards a fence: fences are named after it."""
    return fence.partition("/")[0]


class Transaction(Decisions):
    """Between `begin` and `commit`, which the writer does.

    Args:
        node: this process among those that write; others pass over what it tells them of itself.
        channel: of NOTIFY.
    """

    def __init__(
        self, db: asyncpg.Connection, now: Callable[[], float], seen: FencesSeen, node: str, channel: str
    ) -> None:
        super().__init__(Known(), now)
        self.db = db
        self.missed: dict[str, list[Row]] = {}
        """What others wrote to followed sessions, which is to be told before what this commit writes."""
        self._seen, self._node, self._channel = seen, node, channel
        self._stateful: dict[int, int] = {}
        self._claims: dict[int, int] = {}
        self._claims_found: dict[int, int] = {}
        self._versions: dict[int, str] = {}
        self._version: str | None = None
        self._ns: list[int] = []
        self._made: set[int] = set()
        self._tombstones: set[str] = set()
        self._news: list[str] = []

    # reading

    async def prefetch(self, wanted: Iterable[Wants], followed: Mapping[str, int]) -> None:
        """Lock the sessions and fetch what the requests will ask for. `followed`: sessions, and how far they are known here."""
        wants = list(wanted)
        fences = {w.fence for w in wants if w.fence}
        ids = {w.session for w in wants if w.session} | {session_of(name) for name in fences}
        if ids:
            await self.lock(ids)
        await self._fetch_fences(fences)
        if commands := {(w.command.owner, w.command.id) for w in wants if w.command}:
            self._commands |= dict.fromkeys(commands)
            for owner, id, *done in await self.all("find_commands", *map(list, zip(*sorted(commands), strict=True))):
                self._commands[owner, id] = Done(*done)
        keys = {
            (live.n, key)
            for w in wants
            if w.keys and w.session and (live := self.known.sessions.get(w.session))
            for key in w.keys
        }
        if keys:
            self._keys |= dict.fromkeys(keys)
            for n, key, seq, run_id in await self.all("find_keys", *map(list, zip(*sorted(keys), strict=True))):
                self._keys[n, key] = (seq, run_id)
        if made := sorted({w.makes for w in wants if w.makes}):
            self._tombstones = {row[0] for row in await self.all("find_tombstones", made)}
            self._ns = [row[0] for row in await self.all("next_ns", len(made))]
        await self._fetch_missed(followed)

    def recall(self, wanted: Iterable[Wants]) -> bool:
        """Take what the requests will ask for from memory: whether all of it is there. That it is still true, `write_at_once` finds out."""
        wants = list(wanted)
        if any(w.command or w.keys or w.makes or not w.session for w in wants):
            return False
        for id in {w.session for w in wants if w.session}:
            if (written := self._seen.written.get(id)) is None:
                return False
            live = Live(*written.columns)
            self.known.sessions[id] = live
            self._stateful[live.n] = written.stateful
            self._claims[live.n] = self._claims_found[live.n] = written.claims
            self._versions[live.n] = written.version
        for name in {w.fence for w in wants if w.fence}:
            here = self.known.sessions.get(session_of(name))
            claims, generations = self._seen.of.get(session_of(name), (-1, {}))
            if here is None or claims != self._claims[here.n] or name not in generations:
                return False
            self.known.fences[name] = generations[name]
        return True

    async def lock(self, ids: set[str]) -> None:
        for *columns, stateful, claims in await self.all("lock_sessions", sorted(ids)):
            live = Live(*columns)
            self.known.sessions[live.id] = live
            self._stateful[live.n], self._claims[live.n], self._claims_found[live.n] = stateful, claims, claims
        self._missing |= ids - self.known.sessions.keys()

    async def _fetch_fences(self, names: set[str]) -> None:
        unknown = set()
        for name in names:
            live = self.known.sessions.get(session_of(name))
            claims, generations = self._seen.of.get(session_of(name), (-1, {}))
            if live is not None and claims == self._claims[live.n] and name in generations:
                self.known.fences[name] = generations[name]
            else:
                unknown.add(name)
        if unknown:
            self.known.fences |= dict.fromkeys(unknown, 0)
            self.known.fences |= dict(await self.all("find_fences", sorted(unknown)))

    async def _fetch_missed(self, followed: Mapping[str, int]) -> None:
        behind = [live for id, live in self.known.sessions.items() if id in followed and followed[id] < live.head]
        if not behind:
            return
        ids = {live.n: live.id for live in behind}
        places = [[live.n for live in behind], [followed[live.id] for live in behind], [live.head for live in behind]]
        for n, *columns in await self.all("missed_rows", *places):
            self.missed.setdefault(ids[n], []).append(to_row(ids[n], columns))

    # what the decisions ask; here all of it was fetched, or recalled, before the first of them

    def fetch_sessions(self, ids: set[str]) -> None:
        raise _unforeseen("sessions", ids)

    def fetch_commands(self, names: set[tuple[str, str]]) -> None:
        raise _unforeseen("commands", names)

    def fetch_keys(self, names: set[tuple[int, str]]) -> None:
        raise _unforeseen("keys", names)

    def fetch_fences(self, names: set[str]) -> None:
        raise _unforeseen("fences", names)

    def is_tombstone(self, id: str) -> bool:
        return id in self._tombstones

    def next_n(self) -> int:
        n = self._ns.pop()
        self._made.add(n)
        self._stateful[n] = self._claims[n] = 0
        return n

    def check_seen(self, live: Live, seen: int | None) -> None:
        if seen is not None and self._stateful[live.n] > seen:
            raise Moved(live.id)

    def add_session(self, new: NewSession) -> Live:
        live = super().add_session(new)
        self._tombstones.discard(new.id)
        return live

    def add_events(self, live: Live, events: Sequence[NewEvent]) -> tuple[Row, ...]:
        rows = super().add_events(live, events)
        self._stateful[live.n] = max([self._stateful[live.n], *(row.seq for row in rows if row.stateful)])
        return rows

    def set_fence(self, name: str, generation: int) -> None:
        super().set_fence(name, generation)
        if live := self.known.sessions.get(session_of(name)):
            self._claims[live.n] += 1
            self.touch(live)

    def set_copied(self, live: Live, head: int, tag: str, size: int, stateful: int) -> None:
        """A fork's rows were copied."""
        live.head, live.head_tag, live.bytes = head, tag, size
        self._stateful[live.n] = stateful
        self.touch(live)

    def tell(self, line: str) -> None:
        """Something for the other nodes."""
        self._news.append(line)
        self.changed = True

    # writing

    async def flush(self) -> None:
        """Write what was decided, and wake the other nodes when it is committed."""
        if made := [live for n, live in self._touched.items() if n in self._made]:
            columns = [(*_booleans(live.columns()), self._stateful[live.n], self._claims[live.n]) for live in made]
            await self.all("put_sessions", *_turned(columns))
        if self._new_commands:
            await self.all("put_commands", *_turned(self._new_commands))
        if self._new_fences:
            await self.all("put_fences", list(self._new_fences), list(self._new_fences.values()))
        moved = [self._moved(live) for n, live in self._touched.items() if n not in self._made]
        if moved or self._events or self._news:
            self._note_version(await self.all("put_events", *self._arguments(moved, self._payloads())))

    async def write_at_once(self) -> None:
        """What was decided by what was recalled, as one statement that is its own transaction.

        Raises: asyncpg.DivisionByZeroError when another node wrote one of the sessions since; nothing is written then.
        """
        versions = [self._versions[n] for n in self._touched]
        moved = [self._moved(live) for live in self._touched.values()]
        payloads = self._payloads()
        if len(moved) == len(self._events) == len(payloads) == 1:
            event = _event(*self._events[0])[1:]
            answer = await self.all("put_event_at_once", *moved[0], *versions, *event, self._channel, *payloads)
        else:
            answer = await self.all("put_events_at_once", *self._arguments(moved, payloads), versions)
        self._note_version(answer)

    def _arguments(self, moved: Sequence[tuple[Any, ...]], payloads: list[str]) -> list[Any]:
        events = [_event(live, row) for live, row in self._events]
        return [*(_turned(moved) or [[]] * 14), *(_turned(events) or [[]] * 12), self._channel, payloads]

    def _note_version(self, answer: Sequence[Any]) -> None:
        self._version = answer[0][1] if answer else None

    def committed(self) -> None:
        """What was read and written of fences is what is there: remembered for the next commit."""
        of, written = self._seen.of, self._seen.written
        if len(of) > REMEMBERED or len(written) > REMEMBERED:
            of.clear()
            written.clear()
        for n, mine in self._touched.items():
            if self._version is None or n in self._made:
                written.pop(mine.id, None)
            else:
                written[mine.id] = Written(mine.columns(), self._stateful[n], self._claims[n], self._version)
        for name, generation in self.known.fences.items():
            if live := self.known.sessions.get(session_of(name)):
                claims, generations = of.get(live.id, (-1, {}))
                if claims not in (self._claims_found.get(live.n), self._claims[live.n]):
                    generations = {}
                of[live.id] = (self._claims[live.n], {**generations, name: generation})

    def _moved(self, live: Live) -> tuple[Any, ...]:
        return (
            live.n, live.head, live.head_tag, live.title, live.status, live.run_id, bool(live.pinned), bool(live.archived),
            live.active_at, live.last_active, live.bytes, live.meta, self._stateful[live.n], self._claims[live.n],
        )  # fmt: skip

    def _payloads(self) -> list[str]:
        written: dict[str, list[Row]] = {}
        for id, rows in self.commits:
            written.setdefault(id, []).extend(rows)
        return news.payloads(self._node, [*(news.told(id, rows) for id, rows in written.items()), *self._news])

    async def all(self, statement: str, *args: Any) -> list[Any]:
        found: list[Any] = await self.db.fetch(STATEMENTS[statement], *args)
        return found

    async def row(self, statement: str, *args: Any) -> Any:
        return await self.db.fetchrow(STATEMENTS[statement], *args)


def _unforeseen(what: str, names: Set[object]) -> AssertionError:
    """A decision that cannot be taken between two statements, as the loop is not held up for the database."""
    return AssertionError(f"a request did not say that it wants the {what} {sorted(map(str, names))}")


def _turned(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as columns."""
    return [list(column) for column in zip(*rows, strict=True)]


def _booleans(columns: tuple[Any, ...]) -> tuple[Any, ...]:
    """The columns of a session, with `pinned` and `archived` as PostgreSQL has them."""
    return (*columns[:10], bool(columns[10]), bool(columns[11]), *columns[12:])


def _event(live: Live, row: Row) -> tuple[Any, ...]:
    about = (row.run_id, row.item_id, row.parent_id, row.key, row.public, row.stateful, row.at, row.tag)
    return (live.n, row.seq, row.type, *about, row.content)
