"""What a server tells a program: values, not changed by anybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

from reconvene.protocol.lines import unified
from reconvene.protocol.view import Item

Told = TypeVar("Told", bound="_Told")
SNAPSHOT = "snapshot"
"""The type of the `Event` that says: what came before is another history; forget it. Its content has the `reason`."""


@dataclass(frozen=True, slots=True)
class Event:
    """One durable event of a session. Which `content` each `type` has: `docs/reference/events.md`.

    `place` names where in the log this is: kept anywhere, `session.events(after=place)` goes on exactly behind it.
    """

    type: str
    seq: int
    run_id: str | None
    item_id: str | None
    parent_id: str | None
    at: float
    """Seconds since the epoch, for showing."""
    content: dict[str, Any]
    place: str = ""

    @classmethod
    def of(cls, said: Mapping[str, Any], place: str) -> Event:
        known = {name: said.get(name) for name in ("run_id", "item_id", "parent_id")}
        return cls(type=said["type"], seq=said["seq"], at=said["at"], content=said["content"], place=place, **known)

    def to_json(self) -> dict[str, Any]:
        """As it is on the wire, without `place`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "place"}


class _Told:
    """Built from JSON; what a newer server says besides is passed over."""

    @classmethod
    def of(cls: type[Told], said: Mapping[str, Any]) -> Told:
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: value for name, value in said.items() if name in known})


@dataclass(frozen=True, slots=True)
class SessionInfo(_Told):
    """A session as it was when it was asked for."""

    session_id: str
    title: str
    root: str
    """Path of its code base."""
    status: Literal["idle", "running", "waiting", "recovering"]
    run_id: str | None
    pinned: bool
    archived: bool
    head: int
    """Seq of its last event."""
    created_at: float
    active_at: float
    """Seconds since the epoch."""
    cursor: str
    pending: int
    """Questions and changes that wait for a person."""


@dataclass(frozen=True, slots=True)
class Root(_Told):
    """A code base that is served."""

    root: str
    name: str


@dataclass(frozen=True, slots=True)
class Me(_Told):
    """Who the server takes this program for, and what it serves."""

    owner: str
    name: str
    version: str
    boot: str
    roots: tuple[Root, ...]
    model: str

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Me:
        known = {f.name: said[f.name] for f in fields(cls)}
        return cls(**{**known, "roots": tuple(Root.of(root) for root in said["roots"])})


@dataclass(frozen=True, slots=True)
class Hit(_Told):
    """Where something was said in a session: `pieces` is what is around it; those at odd places are what was looked for."""

    session_id: str
    seq: int
    kind: str
    at: float
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pending:
    """What waits for a person: a `question`, a `confirmation` or a `diff`. `id` goes to `answer` or `decide`."""

    type: Literal["question", "confirmation", "diff"]
    id: str
    run_id: str | None
    text: str
    """The question; of a diff, the whole change as unified text."""
    schema: dict[str, Any] | None = None
    """JSON Schema of the answer; None: any text."""
    files: tuple[dict[str, Any], ...] = ()
    """Of a diff: `path`, `op`, and `hunks` with an `id` and `unified` text each."""

    @classmethod
    def of(cls, item: Item) -> Pending:
        if item["type"] == "diff":
            return cls("diff", item["id"], item["run_id"], unified(item), files=tuple(item["files"]))
        return cls(item["type"], item["id"], item["run_id"], item["text"], item["schema"])


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a prompt. `waiting`: not over; `pending` has to be answered first, then `session.wait(run_id)`."""

    run_id: str
    outcome: Literal["success", "failed", "cancelled", "waiting"]
    text: str
    reason: str | None = None
    """Why it did not succeed."""
    usage: dict[str, Any] | None = None
    pending: tuple[Pending, ...] = field(default=())

    @property
    def waiting(self) -> bool:
        return self.outcome == "waiting"
