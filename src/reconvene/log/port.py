"""The log's port: what every store of sessions must do. It knows JSON text and names, nothing of agents or workspaces.

Promises, each held by the contract tests that every implementation passes:

1. `seq` is 1, 2, 3 … in each session: no gaps, no repeats.
2. What `append` returned is on disk and survives `kill -9` and power loss.
3. An event key, and a command id of an owner, is taken once: in the transaction that writes its events.
4. An append with a stale fence changes nothing.
5. `on_commit` is called in commit order, after the commit, on the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from reconvene.errors import ReconveneError
from reconvene.protocol.cursor import START_TAG, Cursor
from reconvene.protocol.events import wire


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be written. `content` is JSON text. `key`: at most one event of the session may ever have it."""

    type: str
    content: str
    run_id: str | None = None
    item_id: str | None = None
    parent_id: str | None = None
    key: str | None = None
    public: bool = True
    """False: the server's own (model messages, journals); it takes a seq but is never sent."""
    stateful: bool = False
    """Read when a session is loaded; the rest is only read to be shown."""


@dataclass(slots=True)
class Row:
    """A durable event. `at`: seconds since the epoch. `tag`: 8 random hex digits that make this row's cursor its own."""

    session_id: str
    seq: int
    type: str
    content: str
    run_id: str | None
    item_id: str | None
    parent_id: str | None
    key: str | None
    public: bool
    stateful: bool
    at: float
    tag: str
    _wire: str | None = field(default=None, repr=False, compare=False)

    def wire(self) -> str:
        """The event's JSON text as clients get it, made once."""
        if self._wire is None:
            self._wire = wire(self.type, self.seq, self.run_id, self.item_id, self.parent_id, self.at, self.content)
        return self._wire


@dataclass(frozen=True, slots=True)
class Command:
    """A client's command: `id` is unique for its `owner`; `body` (a hash) tells a repetition from a conflict."""

    owner: str
    id: str
    body: str


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to write as the owner of `name` (a run): valid while no later generation was claimed."""

    name: str
    generation: int


SessionStatus = Literal["idle", "running", "waiting", "recovering"]


@dataclass(frozen=True, slots=True)
class SessionRow:
    """What is known of a session without reading its log; kept in step with it in the same transactions.

    `last_active` and `created_up` are seconds of the server's total uptime; `created_at` and `active_at` are wall clock, for showing.
    """

    id: str
    owner: str
    root: str
    epoch: str
    head: int
    head_tag: str
    title: str
    status: SessionStatus
    run_id: str | None
    pinned: bool
    archived: bool
    created_at: float
    active_at: float
    last_active: float
    bytes: int
    """Of its events' content."""
    meta: str
    """JSON object for whoever owns the session's settings (model, recovery, …)."""

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.head, self.head_tag if self.head else START_TAG)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A session that was deleted: when (total uptime), whose, and why (`expired` or `deleted`)."""

    id: str
    owner: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class NewSession:
    """`id` and `epoch` are minted by the caller (server side only)."""

    id: str
    owner: str
    root: str
    epoch: str
    meta: str = "{}"


@dataclass(frozen=True, slots=True)
class Appended:
    """`accepted`: written now. `duplicate`: the command id or an event key was there; nothing was written.

    Of a duplicate, `first` and `last` are the earlier seq; of an append without events, the head.
    `session_id` is where it is: of a duplicate command, that of the session it first went to. `run_id` is that of the first event.
    """

    status: Literal["accepted", "duplicate"]
    session_id: str
    first: int
    last: int
    run_id: str | None = None
    rows: tuple[Row, ...] = ()


SESSION_FIELDS = frozenset({"title", "status", "run_id", "pinned", "archived", "last_active", "active_at", "meta"})
"""What `update` may set."""


class Moved(ReconveneError):
    """Another process changed the session since the caller looked: to be decided anew, once `on_commit` has told it."""

    def __init__(self, session_id: str) -> None:
        super().__init__("store_busy", "The session was changed elsewhere at the same time. Try again.")
        self.session_id = session_id


class Log(Protocol):
    """See the module's promises. Every method may raise ReconveneError `store_error`, `store_busy`, `store_lost` or `disk_full`."""

    shared: bool
    """Whether other processes write to it too."""

    on_commit: Callable[[str, tuple[Row, ...]], None]
    """Called with (session_id, rows) for every append that wrote events; set once, before the first one."""

    async def create(
        self,
        new: NewSession,
        events: Sequence[NewEvent] = (),
        *,
        command: Command | None = None,
        update: Mapping[str, Any] | None = None,
    ) -> Appended:
        """A new session with its first events, in one transaction. A known command: `duplicate`, and no session is made.

        Raises: `id_conflict`."""
        ...

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
        """Append all events or none. `update`: fields of the session's row, see SESSION_FIELDS.

        Events may be empty (only `update`, or only a `command` that did nothing). The order of calls is the order of seq.
        `seen`: the last stateful event that the caller decided by; when another process has written a later one, nothing changes.
        Raises: `id_conflict`, `fenced`, `no_such_session`, Moved."""
        ...

    def append_soon(self, session_id: str, events: Sequence[NewEvent], *, fence: Fence | None = None) -> None:
        """Like append, not waited for: it rides the next commit. A failure is reported by the next `append` with that fence."""
        ...

    async def follow(self, session_id: str) -> None:
        """From now on `on_commit` tells every row of the session, in order, also those that other processes write."""
        ...

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
        """Rows with after < seq ≤ upto in order; at least one when there is one, whatever `max_bytes` says."""
        ...

    async def missed(self, session_id: str, after: int) -> tuple[int, int]:
        """(rows, bytes of content) of public events after a seq: what a client there would be sent."""
        ...

    async def tag(self, session_id: str, seq: int) -> str | None:
        """The tag of a row; START_TAG for 0; None when there is no such row."""
        ...

    async def by_key(self, session_id: str, key: str) -> Row | None: ...

    async def command(self, owner: str, id: str) -> tuple[str, int, str | None, str] | None:
        """(session_id, seq, run_id, body) of a known command id."""
        ...

    async def session(self, session_id: str) -> SessionRow | Tombstone | None: ...

    async def sessions(
        self,
        *,
        owner: str | None = None,
        statuses: Iterable[str] | None = None,
        archived: bool | None = None,
        limit: int | None = None,
    ) -> list[SessionRow]:
        """Newest activity first."""
        ...

    async def claim(self, name: str) -> Fence:
        """Become the owner of `name`: every earlier fence of it is stale from now on."""
        ...

    async def delete(self, session_id: str, *, reason: str, at: float, if_last_active: float | None = None) -> bool:
        """Delete a session, its events and nothing else; leaves a tombstone. False when it is gone already or was active since."""
        ...

    async def purge(self, *, tombstones_before: float) -> int:
        """Forget tombstones (and their command ids) older than this total uptime."""
        ...

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
        """A new session whose log begins with a copy of source's rows 1…upto (keys and all, tags new), then `events`."""
        ...

    async def get(self, name: str) -> str | None:
        """A value of the small store beside the sessions (uptime, sign-ins)."""
        ...

    async def put(self, name: str, value: str | None) -> None:
        """Set or (None) remove."""
        ...

    async def scan(self, prefix: str) -> dict[str, str]: ...

    async def size(self) -> int:
        """Bytes on disk."""
        ...

    async def close(self) -> None:
        """Write what was queued, checkpoint, release the lock. Idempotent."""
        ...


class SharedLog(Log, Protocol):
    """A log that several processes write: `shared` is True."""

    node: str
    """Names this process among them."""
    wanted: Callable[[str], bool]
    """Whether a followed session is still looked at here; asked before anything is read for it."""
    on_gone: Callable[[str, str], None]
    """Called with (session_id, reason) when another process deleted a session that was followed here."""
    on_value: Callable[[str], None]
    """Called with the name of a value that another process set; "": any may have been, as nothing was heard for a while."""
    on_gone_back: Callable[[], None]
    """Called when the store lacks what it had acknowledged: nothing is written any more, and this process has to begin again."""

    async def reach(self, session_id: str, head: int) -> None:
        """Return when everything up to `head` of a followed session has been told, or after some seconds."""
        ...
