"""What the HTTP API takes and gives, for its checks and its description."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from reconvene.log.port import SessionRow

Title = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)]
RootName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=4096)]


class _Taken(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewSession(_Taken):
    """`root_directory` may be left out when one code base is served."""

    root_directory: RootName | None = None
    recovery: Literal["auto", "ask", "never"] | None = None
    title: Title | None = None


class SessionChange(_Taken):
    title: Title | None = None
    pinned: StrictBool | None = None
    archived: StrictBool | None = None


class Fork(_Taken):
    """`upto`: the last seq that the new session shares; everything when left out."""

    upto: Annotated[int, Field(strict=True, ge=1)] | None = None


class Blob(BaseModel):
    """A file's content as a session has it. `text`: null when it is none; secrets in it are hidden. `size`: bytes."""

    hash: str
    size: int
    text: str | None
    truncated: bool


class CurrentFile(BaseModel):
    """A file as it is now; `hash` is null when there is none at this path."""

    path: str
    hash: str | None
    size: int
    text: str | None
    truncated: bool


class NewRoot(_Taken):
    path: RootName


class IndexWish(_Taken):
    """`root`: name or path of a served code base; may be left out when one is served."""

    root: RootName | None = None
    do: Literal["refresh", "pause", "resume", "rebuild"] = "refresh"


class NewLink(_Taken):
    """`user`: the name of somebody who was added; left out, the owner."""

    user: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class Stop(_Taken):
    restart: StrictBool = False


class SignOut(_Taken):
    """`everywhere`: end every sign-in of the owner, not only the one that asks."""

    everywhere: StrictBool = False


class ModelChange(_Taken):
    """`model`: `provider:name`, `offline`, or null for the settings' own. `key`, `base_url`: for `provider` (left out: the model's);
    `forget` removes both. A key that was given is never told again. `fallback`: the model that takes over when the other one fails;
    `daily_cap`: US dollars that all runs of a day may cost; null for none."""

    model: Annotated[str, StringConstraints(strict=True, max_length=200)] | None = None
    provider: Annotated[str, StringConstraints(strict=True, max_length=40)] | None = None
    key: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500)] | None = None
    base_url: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500)] | None = None
    forget: StrictBool = False
    fallback: Annotated[str, StringConstraints(strict=True, max_length=200)] | None = None
    daily_cap: Annotated[float, Field(strict=True, gt=0, lt=1e6, allow_inf_nan=False)] | None = None


class ProviderState(BaseModel):
    provider: str
    key: bool
    """Whether there is one."""
    base_url: str | None


class ModelState(BaseModel):
    model: str
    fallback: str | None
    daily_cap: float | None
    """US dollars."""
    spent_today: float
    """US dollars, as far as prices are known; a day is one of UTC."""
    providers: list[ProviderState]


class Empty(_Taken):
    pass


class Root(BaseModel):
    root: str
    name: str


class RootElsewhere(Root):
    nodes: list[str]
    """Names of the nodes that have it; a run in it goes to one of them."""


class Roots(BaseModel):
    roots: list[Root]
    """Of this node."""
    elsewhere: list[RootElsewhere] = []
    """What other nodes on the same database have and this one has not; sessions in them are served here too."""


class Index(BaseModel):
    """How much of a code base is known; `sentence` says it for people, `notes` what is not as it usually is.

    `phase`: `building` (not every file was read yet), `verifying` (all is stored; changes since then are looked for), `ready`, `paused`,
    `resting` (its memory was given back), `failed`. `done`, `of`: files, while any are read. `watching`: whether the system tells of
    changes (`events`), or they are found by `sweeps`.
    """

    root: str
    name: str
    phase: Literal["building", "verifying", "ready", "paused", "resting", "failed"]
    files: int
    symbols: int
    done: int
    of: int
    partial: bool
    verified: bool
    truncated: bool
    skipped: int
    watching: Literal["events", "sweeps", "off"]
    folders: int
    notes: list[str]
    sentence: str


class Indexes(BaseModel):
    indexes: list[Index]


class Me(BaseModel):
    """`role`: `owner` runs the server, `user` was added, `viewer` has links to sessions alone. `views`: those sessions."""

    owner: str
    name: str
    role: Literal["owner", "user", "viewer"]
    views: list[str]
    version: str
    boot: str
    roots: list[Root]
    model: str
    sample: bool
    """Whether /sample is served."""


class Stay(BaseModel):
    """How long a session is kept. `reason`: `pinned`, `running`, `waiting` and `open` ones stay; others (`idle`, `archived`) go when they
    were not used for as long as the setting `retention` says. `left`: seconds of the server's uptime until then; null: it stays.
    `sentence` says it for people."""

    reason: Literal["pinned", "running", "waiting", "open", "idle", "archived"]
    left: float | None
    sentence: str


class Session(BaseModel):
    """`created_at`, `active_at`: seconds since the epoch. `pending`: questions and diffs that wait for a person."""

    session_id: str
    title: str
    root: str
    status: Literal["idle", "running", "waiting", "recovering"]
    run_id: str | None
    pinned: bool
    archived: bool
    head: int
    created_at: float
    active_at: float
    cursor: str
    pending: int
    stay: Stay

    @classmethod
    def of(cls, row: SessionRow, pending: int, stay: Stay) -> Session:
        return cls(
            session_id=row.id,
            title=row.title,
            root=row.root,
            status=row.status,
            run_id=row.run_id,
            pinned=row.pinned,
            archived=row.archived,
            head=row.head,
            created_at=row.created_at,
            active_at=row.active_at,
            cursor=str(row.cursor),
            pending=pending,
            stay=stay,
        )


class SessionList(BaseModel):
    """`next`: what to give as `after` for the page behind this one; null: this was the last."""

    sessions: list[Session]
    next: str | None = None


class Hit(BaseModel):
    """Where something was said: `seq` and `kind` of the event (0, `title`: the session's title), seconds since the epoch.

    `pieces`: what is around it; those at odd places are what was looked for.
    """

    seq: int
    kind: str
    at: float
    pieces: list[str]


class SessionHits(BaseModel):
    """`hits`: the best of a session; `more`: there are others."""

    session_id: str
    hits: list[Hit]
    more: bool


class FoundSessions(BaseModel):
    """Best first. `searched`, `of`: sessions; the rest is taken in behind the answer, so that asking again finds it too."""

    sessions: list[SessionHits]
    searched: int
    of: int


class Link(BaseModel):
    url: str


class Accepted(BaseModel):
    """A command that is on disk; `session_id` is where it is."""

    status: Literal["accepted", "duplicate", "noop"]
    seq: int | None
    run_id: str | None
    session_id: str


class EventPage(BaseModel):
    """Events after a place. `next` is the cursor to ask with again; it is at the end when `head` is reached.

    `snapshot` is the reason why the given cursor could not be continued (epoch, rollback, diverged): `events` is then the whole
    session, folded, and replaces what was known.
    """

    epoch: str
    head: int
    events: list[dict[str, Any]]
    next: str
    snapshot: str | None = None


class Problem(BaseModel):
    """RFC 9457, with the error's code."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    retryable: bool
    details: dict[str, Any]
