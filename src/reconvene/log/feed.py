"""Delivery: what a connection reads from its cursor, and what wakes it.

A connection takes a `Watch` first and reads afterwards, so that nothing falls between the two. It holds one integer, its cursor;
everything else here belongs to the session and is shared: the recent events in memory, and the chunks cut from them, so that 500
connections at one place of one session cost one cut and one encoding.
"""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.log.port import Log, Row, SessionRow
from reconvene.protocol.cursor import START_TAG

_log = structlog.get_logger(__name__)

KEPT_EVENTS = 512
KEPT_BYTES = 512 * 1024
"""Of recent public events of a watched session."""
KEPT_CHUNKS = 32
"""Chunks of a session's past that are kept for others who come the same way, as all do after a restart."""
AHEAD = 4
"""Chunks that are read from the store at once: asking costs as much as a chunk itself."""


@dataclass(slots=True)
class Chunk:
    """Everything public in (after, upto], at most `batch_events` rows or `batch_bytes`.

    Left out of `rows`, though inside the range: private rows, and deltas that a `message` or `item_aborted` of the same chunk replaces.
    """

    after: int
    upto: int
    upto_tag: str
    """Of the row at `upto`, private or not."""
    rows: tuple[Row, ...]
    head: int
    """Of the session, when the chunk was made."""
    frames: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    """For the server: what goes on the wire for this chunk, by what distinguishes it. It lives as long as the chunk."""

    @property
    def at_head(self) -> bool:
        return self.upto >= self.head


class Watch:
    """The wish to be woken. `close` it; closing twice is harmless."""

    def __init__(self, feed: Feed, session_id: str, wake: Callable[[], None]) -> None:
        self._feed: Feed | None = feed
        self.session_id = session_id
        self.wake = wake

    @property
    def head(self) -> int | None:
        """The last seq that is known in memory; None before the first read."""
        recent = self._feed and self._feed._watched.get(self.session_id)
        return recent.head if recent else None

    def close(self) -> None:
        if self._feed:
            self._feed._unwatch(self)
            self._feed = None


@dataclass(slots=True)
class _Recent:
    """A watched session: its public rows in (start, head], if start is known, and who waits."""

    watches: dict[Watch, None] = field(default_factory=dict)
    start: int | None = None
    head: int | None = None
    told: int = 0
    """The last seq that was published before the head was known."""
    head_tag: str = START_TAG
    rows: list[Row] = field(default_factory=list)
    bytes: int = 0
    fresh: dict[int, Chunk] = field(default_factory=dict)
    """By `after`, those that reach the head: good until the next event."""
    past: dict[int, Chunk] = field(default_factory=dict)
    """By `after`, those that are full: good for ever."""
    reading: dict[int, asyncio.Future[Chunk]] = field(default_factory=dict)
    """By `after`, those that are being read from the store now."""
    ahead: dict[int, list[Row]] = field(default_factory=dict)
    """By `after`, public rows that were read already and are too few for a full chunk."""

    def add(self, rows: Sequence[Row]) -> None:
        if self.head is not None:
            rows = [row for row in rows if row.seq > self.head]
            if not rows:
                return
        if self.start is None or (self.head is not None and rows[0].seq != self.head + 1):
            self.restart(rows[0].seq - 1)
        self.head, self.head_tag = rows[-1].seq, rows[-1].tag
        self.fresh.clear()
        for row in rows:
            if row.public:
                self.rows.append(row)
                self.bytes += _size(row.content)
        if len(self.rows) > KEPT_EVENTS or self.bytes > KEPT_BYTES:
            self.trim()

    def restart(self, start: int) -> None:
        self.start = start
        self.rows.clear()
        self.bytes = 0

    def trim(self) -> None:
        """Down to three quarters, so that not every event moves the list."""
        drop, left = 0, self.bytes
        while len(self.rows) - drop > KEPT_EVENTS * 3 // 4 or left > KEPT_BYTES * 3 // 4:
            left -= _size(self.rows[drop].content)
            drop += 1
        self.start = self.rows[drop - 1].seq
        self.bytes = left
        del self.rows[:drop]

    def forget(self) -> None:
        self.start = self.head = None
        self.rows.clear()
        self.fresh.clear()
        self.past.clear()
        self.ahead.clear()

    def know(self, row: SessionRow) -> None:
        """What the store says, unless newer events have come by meanwhile."""
        if self.head is None:
            self.head, self.head_tag = row.head, row.head_tag
            self.restart(row.head)

    def read_ahead(self, after: int, rows: list[Row]) -> None:
        if len(self.ahead) >= KEPT_CHUNKS // AHEAD:
            del self.ahead[next(iter(self.ahead))]
        self.ahead[after] = rows

    def keep(self, chunk: Chunk, *, full: bool) -> None:
        if full:
            if len(self.past) >= KEPT_CHUNKS:
                del self.past[next(iter(self.past))]
            self.past[chunk.after] = chunk
        elif chunk.upto == self.head:
            self.fresh[chunk.after] = chunk


class Feed:
    """Recent events and wake-ups of the sessions that somebody watches. Belongs to one event loop."""

    def __init__(self, log: Log, limits: Limits) -> None:
        self._log = log
        self._events = limits.batch_events
        self._bytes = limits.batch_bytes
        self._watched: dict[str, _Recent] = {}

    def publish(self, session_id: str, rows: Sequence[Row]) -> None:
        """Rows that were committed; called from `log.on_commit`, in commit order."""
        recent = self._watched.get(session_id)
        if recent is None or not rows:
            return
        if recent.head is not None or not self._log.shared:
            recent.add(rows)
        else:  # nobody has read yet, so it is not followed yet: the first read looks for all of it
            recent.told = rows[-1].seq
        self._wake(recent)

    def forget(self, session_id: str) -> None:
        """The session was deleted: whoever watches it is woken, and told so by its next read."""
        if recent := self._watched.get(session_id):
            recent.forget()
            self._wake(recent)

    def _wake(self, recent: _Recent) -> None:
        for watch in tuple(recent.watches):
            try:
                watch.wake()
            except Exception:  # one connection's fault must not silence the others
                _log.exception("a wake-up failed", session_id=watch.session_id)

    def watch(self, session_id: str, wake: Callable[[], None]) -> Watch:
        """From now on `wake` is called, on the loop, whenever there are new events. It must not block."""
        watch = Watch(self, session_id, wake)
        self._watched.setdefault(session_id, _Recent()).watches[watch] = None
        return watch

    def _unwatch(self, watch: Watch) -> None:
        recent = self._watched.get(watch.session_id)
        if recent is None:
            return
        recent.watches.pop(watch, None)
        if not recent.watches:
            del self._watched[watch.session_id]

    def watchers(self, session_id: str) -> int:
        recent = self._watched.get(session_id)
        return len(recent.watches) if recent else 0

    def at_hand(self, session_id: str, after: int) -> Chunk | None:
        """What `read` would answer without waiting; None when it would have to ask the store.

        Raises:
            ReconveneError: `invalid_field` when `after` is beyond the head.
        """
        recent = self._watched.get(session_id)
        if recent is None:
            return None
        if chunk := recent.fresh.get(after) or recent.past.get(after):
            return chunk
        if recent.start is not None and after >= recent.start:
            return self._from_memory(session_id, after, recent)
        return None

    async def read(self, session_id: str, after: int) -> Chunk:
        """What comes after a seq. At the head: a chunk without rows, with `upto == after`.

        Costs nothing when another connection has read from the same place, no I/O when the events are recent, else one range read.

        Raises:
            ReconveneError: `no_such_session`; `invalid_field` when `after` is beyond the head; what the store raises.
        """
        if chunk := self.at_hand(session_id, after):
            return chunk
        recent = self._watched.get(session_id)
        if recent is None:
            return await self._from_store(session_id, after, _Recent())
        if (reading := recent.reading.get(after)) is None:
            # A task of its own: the connection that came first may leave before the others have their answer.
            reading = recent.reading[after] = asyncio.ensure_future(self._from_store(session_id, after, recent))
            reading.add_done_callback(lambda done: _finished(recent, after, done))
        return await asyncio.shield(reading)

    def _from_memory(self, session_id: str, after: int, recent: _Recent) -> Chunk:
        assert recent.head is not None
        if after > recent.head:
            raise _beyond(session_id, after, recent.head)
        first = bisect_right(recent.rows, after, key=_seq)
        rows = self._fitting(recent.rows[first : first + self._events])
        full = first + len(rows) < len(recent.rows)
        upto, tag = (rows[-1].seq, rows[-1].tag) if full else (recent.head, recent.head_tag)
        chunk = Chunk(after, upto, tag, fold(rows), recent.head)
        recent.keep(chunk, full=full)
        return chunk

    async def _from_store(self, session_id: str, after: int, recent: _Recent) -> Chunk:
        # The head first, then the rows up to it: what is committed between the two is left for the next chunk, so a chunk at the
        # head ends with the head's own tag, also where that row is private and therefore not read.
        if recent.head is None:
            await self._log.follow(session_id)
            while True:
                told = recent.told
                row = await self._log.session(session_id)
                # What was told before it was asked is in the answer, unless the database is another one by now, with less in it.
                if not isinstance(row, SessionRow) or row.head >= recent.told or told == recent.told:
                    break
            if not isinstance(row, SessionRow):
                sentence = f"There is no session {session_id}; it may have expired."
                raise ReconveneError("no_such_session", sentence, session_id=session_id)
            recent.know(row)
        head, tag = recent.head or 0, recent.head_tag
        if after > head:
            raise _beyond(session_id, after, head)
        rows = recent.ahead.pop(after, [])
        chunks = AHEAD if recent.watches else 1
        fitting = self._fitting(rows)
        # A read may end early for its bytes; only one that finds nothing more says that the rest, if any, is private.
        while not self._full(fitting, rows) and (place := rows[-1].seq if rows else after) < head:
            wanted = chunks * self._events - len(rows)
            more = await self._log.read(
                session_id, place, upto=head, public=True, max_events=wanted, max_bytes=chunks * self._bytes
            )
            if not more:
                break
            rows = rows + more
            fitting = self._fitting(rows)
        known = max(head, recent.head or 0)
        if not self._full(fitting, rows) or fitting[-1].seq == head:
            chunk = Chunk(after, head, tag, fold(fitting), known)
            recent.keep(chunk, full=False)
            return chunk
        made: list[Chunk] = []
        while self._full(fitting, rows) and fitting[-1].seq < head:
            made.append(Chunk(after, fitting[-1].seq, fitting[-1].tag, fold(fitting), known))
            after, rows = fitting[-1].seq, rows[len(fitting) :]
            if not recent.watches:
                break
            recent.keep(made[-1], full=True)
            fitting = self._fitting(rows)
        if rows and recent.watches:
            recent.read_ahead(after, rows)
        return made[0]

    def _full(self, fitting: list[Row], rows: list[Row]) -> bool:
        """Whether these first rows are a chunk, whatever comes after the rows."""
        return len(fitting) < len(rows) or len(fitting) == self._events

    def _fitting(self, rows: list[Row]) -> list[Row]:
        """As many of the first rows as one chunk takes, at least one."""
        left = self._bytes
        for i, row in enumerate(rows[: self._events]):
            left -= _size(row.wire())
            if left < 0 and i:
                return rows[:i]
        return rows[: self._events]


def fold(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Rows without the deltas that a later row among them replaces."""
    message: dict[str | None, int] = {}
    aborted: dict[tuple[str | None, int], int] = {}
    for row in rows:
        if row.type == "message":
            message[row.item_id] = row.seq
        elif row.type == "item_aborted":
            aborted[row.item_id, json.loads(row.content)["attempt"]] = row.seq
    if not message and not aborted:
        return tuple(rows)

    def replaced(row: Row) -> bool:
        if row.type not in ("text", "reasoning") or row.item_id is None:
            return False
        if row.seq < message.get(row.item_id, 0):
            return True
        return bool(aborted) and row.seq < aborted.get((row.item_id, json.loads(row.content)["attempt"]), 0)

    return tuple(row for row in rows if not replaced(row))


def _seq(row: Row) -> int:
    return row.seq


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _finished(recent: _Recent, after: int, done: asyncio.Future[Chunk]) -> None:
    recent.reading.pop(after, None)
    if not done.cancelled():
        done.exception()  # seen, even when everybody who waited for it has left


def _beyond(session_id: str, after: int, head: int) -> ReconveneError:
    return ReconveneError(
        "invalid_field", f"The session {session_id} has {head} events; there is nothing after {after}.", head=head
    )
