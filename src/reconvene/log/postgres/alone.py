"""Requests that are a commit of their own: they are seldom, and what they do is SQL rather than a decision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from reconvene.errors import ReconveneError
from reconvene.log.port import Appended, Command, NewEvent, NewSession
from reconvene.log.postgres.transaction import Transaction
from reconvene.log.requests import Asked, keys_of, no_such_session, repeated_command, write

T = TypeVar("T")
SWEPT_AT_ONCE = 2000
"""Events deleted in one commit."""


@dataclass(slots=True)
class Alone(Asked[T], ABC):
    """`run` does it; the writer commits."""

    @abstractmethod
    async def run(self, tx: Transaction) -> T: ...


@dataclass(slots=True)
class Fork(Alone[Appended]):
    source: str
    upto: int
    new: NewSession
    events: Sequence[NewEvent]
    command: Command | None = None
    update: Mapping[str, Any] = field(default_factory=dict)

    async def run(self, tx: Transaction) -> Appended:
        from reconvene.log.decisions import Wants

        wants = [
            Wants(self.source, command=self.command, keys=keys_of(self.events)),
            Wants(self.new.id, makes=self.new.id),
        ]
        await tx.prefetch(wants, {})
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
            await tx.all("copy_events", source.n, live.n, self.upto)
            tx.set_copied(live, self.upto, *await tx.row("copied", live.n, self.upto))
        return write(tx, live, self.events, self.command, self.update)


@dataclass(slots=True)
class Put(Alone[None]):
    name: str
    value: str | None

    async def run(self, tx: Transaction) -> None:
        if self.value is None:
            await tx.all("drop_value", self.name)
        else:
            await tx.all("put_value", self.name, self.value)
        tx.tell(f"= {self.name}")


@dataclass(slots=True)
class Delete(Alone[bool]):
    """The session's row goes now, with a tombstone in its place; its events follow in pieces, see Sweep."""

    session_id: str
    reason: str
    at: float
    if_last_active: float | None

    async def run(self, tx: Transaction) -> bool:
        await tx.lock({self.session_id})
        live = tx.session(self.session_id)
        if live is None or (self.if_last_active is not None and live.last_active > self.if_last_active):
            return False
        await tx.all("drop_session", live.n)
        await tx.all("drop_fences", live.id)
        await tx.all("put_tombstone", live.id, live.owner, self.reason, self.at)
        await tx.all("put_trash", live.n)
        tx.tell(f"! {live.id} {self.reason}")
        return True


@dataclass(slots=True)
class Sweep(Alone[bool]):
    """Delete a piece of what was deleted. Answers whether there is more."""

    async def run(self, tx: Transaction) -> bool:
        row = await tx.row("next_trash")
        if row is None:
            return False
        (dropped,) = await tx.row("drop_events", row[0], SWEPT_AT_ONCE)
        if dropped < SWEPT_AT_ONCE:
            await tx.all("drop_trash", row[0])
        tx.changed = True
        return True


@dataclass(slots=True)
class Purge(Alone[int]):
    before: float

    async def run(self, tx: Transaction) -> int:
        await tx.all("purge_commands", self.before)
        (purged,) = await tx.row("purge_tombstones", self.before)
        tx.changed = True
        return int(purged)


@dataclass(slots=True)
class PutContents(Alone[None]):
    contents: tuple[tuple[str, bytes], ...]

    async def run(self, tx: Transaction) -> None:
        await tx.all("put_contents", [name for name, _ in self.contents], [data for _, data in self.contents])
        tx.changed = True


@dataclass(slots=True)
class DropContents(Alone[None]):
    keep: tuple[str, ...]

    async def run(self, tx: Transaction) -> None:
        await tx.all("drop_contents", list(self.keep))
        tx.changed = True
