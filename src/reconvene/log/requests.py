"""What can be asked of the writer: each request says what it needs to know, decides, and has an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import Future
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from reconvene.errors import ReconveneError
from reconvene.log.decisions import MAX_SEQ, Decisions, Done, Known, Live, Wants
from reconvene.log.port import Appended, Command, Fence, NewEvent, NewSession
from reconvene.log.transaction import Transaction

T = TypeVar("T")

SWEPT_AT_ONCE = 2000
"""Events deleted in one commit: others wait a few milliseconds for it, not seconds."""


FREED_PAGES = 4096
"""Pages of 4 KiB that one purge gives back at most."""


@dataclass(slots=True, kw_only=True)
class Asked(Generic[T]):
    """`future` is None for `append_soon`: nobody waits for the answer."""

    future: Future[T] | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True, kw_only=True)
class Request(Asked[T], ABC):
    """What can be decided together with others, in one commit."""

    def wants(self) -> Wants:
        return Wants()

    def knows(self, known: Known) -> bool:
        """Whether all that it wants is known, so that nothing has to be fetched for it."""
        return False

    @abstractmethod
    def apply(self, tx: Any) -> T:
        """Decide; a refusal (ReconveneError) is raised before anything is changed."""


@dataclass(slots=True)
class Append(Request[Appended]):
    session_id: str
    events: Sequence[NewEvent]
    command: Command | None = None
    fence: Fence | None = None
    update: Mapping[str, Any] = field(default_factory=dict)
    seen: int | None = None

    def wants(self) -> Wants:
        return Wants(
            self.session_id,
            command=self.command,
            keys=keys_of(self.events),
            fence=self.fence.name if self.fence else None,
        )

    def knows(self, known: Known) -> bool:
        return (
            self.command is None
            and self.session_id in known.sessions
            and (self.fence is None or self.fence.name in known.fences)
            and all(e.key is None for e in self.events)
        )

    def apply(self, tx: Decisions) -> Appended:
        # The command first: a known id leads to its session, whatever session is named now.
        if self.command and (done := tx.command(self.command)):
            return repeated_command(done)
        live = tx.session(self.session_id)
        if live is None:
            raise no_such_session(self.session_id)
        tx.check(self.fence)
        for key in keys_of(self.events):
            if known := tx.key(live, key):
                seq, run_id = known
                return Appended("duplicate", live.id, seq, seq, run_id)
        tx.check_seen(live, self.seen)
        return write(tx, live, self.events, self.command, self.update)


@dataclass(slots=True)
class Create(Request[Appended]):
    new: NewSession
    events: Sequence[NewEvent]
    command: Command | None = None
    update: Mapping[str, Any] = field(default_factory=dict)

    def wants(self) -> Wants:
        return Wants(self.new.id, makes=self.new.id, command=self.command)

    def apply(self, tx: Decisions) -> Appended:
        if self.command and (done := tx.command(self.command)):
            return repeated_command(done)
        tx.refuse_taken(self.new.id)
        return write(tx, tx.add_session(self.new), self.events, self.command, self.update)


@dataclass(slots=True)
class Fork(Request[Appended]):
    source: str
    upto: int
    new: NewSession
    events: Sequence[NewEvent]
    command: Command | None = None
    update: Mapping[str, Any] = field(default_factory=dict)

    def wants(self) -> Wants:
        return Wants(self.source, command=self.command)

    def apply(self, tx: Transaction) -> Appended:
        if self.command and (done := tx.command(self.command)):
            return repeated_command(done)
        source = tx.session(self.source)
        if source is None:
            raise no_such_session(self.source)
        if not 0 <= self.upto <= source.head:
            sentence = f"The session has events 1 to {source.head}; it cannot be forked at {self.upto}."
            raise ReconveneError("invalid_field", sentence, path="upto")
        tx.refuse_taken(self.new.id)
        for key in keys_of(self.events):
            if (known := tx.key(source, key)) and known[0] <= self.upto:
                raise ReconveneError(
                    "id_conflict", f"The events copied from {self.source} have the key {key} already.", key=key
                )
        live = tx.add_session(self.new)
        if self.upto:
            tx.run("copy_events", source.n, live.n, self.upto)
            copied = tx.row("copied", live.n, self.upto)
            assert copied is not None
            live.head, (live.head_tag, live.bytes) = self.upto, copied
            tx.touch(live)
        return write(tx, live, self.events, self.command, self.update)


@dataclass(slots=True)
class Claim(Request[Fence]):
    name: str

    def wants(self) -> Wants:
        return Wants(fence=self.name)

    def apply(self, tx: Decisions) -> Fence:
        fence = Fence(self.name, tx.generation(self.name) + 1)
        tx.set_fence(fence.name, fence.generation)
        return fence


@dataclass(slots=True)
class Put(Request[None]):
    name: str
    value: str | None

    def apply(self, tx: Transaction) -> None:
        if self.value is None:
            tx.run("drop_value", self.name)
        else:
            tx.run("put_value", self.name, self.value)


@dataclass(slots=True)
class Delete(Request[bool]):
    """The session's row goes now, with a tombstone in its place; its events follow in pieces, see Sweep."""

    session_id: str
    reason: str
    at: float
    if_last_active: float | None

    def wants(self) -> Wants:
        return Wants(self.session_id)

    def apply(self, tx: Transaction) -> bool:
        live = tx.session(self.session_id)
        if live is None or (self.if_last_active is not None and live.last_active > self.if_last_active):
            return False
        tx.run("drop_session", live.n)
        tx.run("drop_fences", live.id)
        tx.run("put_tombstone", live.id, live.owner, self.reason, self.at)
        tx.run("put_trash", live.n)
        tx.drop_session(live)
        return True


@dataclass(slots=True)
class Sweep(Request[bool]):
    """Delete a piece of what was deleted. Answers whether there is more."""

    def apply(self, tx: Transaction) -> bool:
        n = tx.one("next_trash")
        if n is None:
            return False
        tx.run("drop_events", n, SWEPT_AT_ONCE)
        if tx.db.changes() < SWEPT_AT_ONCE:
            tx.run("drop_trash", n)
        return True


@dataclass(slots=True)
class Purge(Request[int]):
    before: float

    def apply(self, tx: Transaction) -> int:
        tx.run("purge_commands", self.before)
        tx.run("purge_tombstones", self.before)
        purged = tx.db.changes()
        # What deleted sessions had goes back to the file system, a bounded piece at each sweep so that no append waits for long.
        for _ in tx.db.execute(f"pragma incremental_vacuum({FREED_PAGES})"):
            pass
        return purged


def keys_of(events: Sequence[NewEvent]) -> tuple[str, ...]:
    return tuple([e.key for e in events if e.key is not None])


def write(
    tx: Decisions, live: Live, events: Sequence[NewEvent], command: Command | None, update: Mapping[str, Any]
) -> Appended:
    """Nothing is in the way any more. Without events, `first` and `last` are the head."""
    if live.head + len(events) > MAX_SEQ:
        raise ReconveneError(
            "too_large", f"The session {live.id} has as many events as a session can have ({MAX_SEQ:,}). Start another."
        )
    first = live.head + 1 if events else live.head
    rows = tx.add_events(live, events)
    tx.set_fields(live, update)
    run_id = events[0].run_id if events else None
    if command:
        tx.add_command(command, Done(command.body, live.id, first, run_id))
    return Appended("accepted", live.id, first, live.head, run_id, rows)


def no_such_session(id: str) -> ReconveneError:
    return ReconveneError("no_such_session", f"There is no session {id}; it may have expired.", session_id=id)


def repeated_command(done: Done) -> Appended:
    return Appended("duplicate", done.session_id, done.seq, done.seq, done.run_id)
