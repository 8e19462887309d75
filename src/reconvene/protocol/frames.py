"""The frames of the WebSocket, both ways, for resumable clients; and the one of plain clients, loose on purpose."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
)

from reconvene.protocol.events import Event

PROTO = 1

FrameId = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:-]+$")]
SessionId = Annotated[str, StringConstraints(strict=True, pattern=r"^s_[A-Za-z0-9_-]{22}$")]
Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClientInfo(_Strict):
    """`id` is made per page load; a second connection with it replaces the first. `name` is shown as who answered."""

    id: FrameId
    name: Name = "client"


class Config(_Strict):
    """Known config keys. `cursor` is opaque. Of the turn: model, review, max_iterations; of the session: recovery."""

    session_id: SessionId | None = None
    cursor: StrictStr | None = None
    root_directory: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=4096)] | None = None
    model: Name | None = None
    review: StrictBool | None = None
    max_iterations: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    recovery: Literal["auto", "ask", "never"] | None = None

    def turn(self) -> dict[str, JsonValue]:
        """What belongs to one prompt."""
        return self.model_dump(include={"model", "review", "max_iterations"}, exclude_none=True)


class _First(_Strict):
    """A frame that may be the first of its connection."""

    proto: StrictInt | None = None
    client: ClientInfo | None = None
    config: Config | None = None


class Hello(_First):
    """Attach without a prompt."""

    type: Literal["hello"]
    id: FrameId | None = None
    content: None = None


class Default(_First):
    """A prompt."""

    type: Literal["default"]
    id: FrameId | None = None
    content: StrictStr
    delivery: Literal["queue", "steer"] = "queue"


class Answer(_Strict):
    """The answer to a question or confirmation; `reply_to` names it."""

    type: Literal["answer"]
    id: FrameId | None = None
    reply_to: FrameId
    content: StrictStr | StrictBool | dict[str, JsonValue]


class DecisionContent(_Strict):
    verdict: Literal["accept", "reject", "feedback"]
    hunks: list[FrameId] | None = None
    feedback: StrictStr | None = None


class Decision(_Strict):
    type: Literal["decision"]
    id: FrameId | None = None
    reply_to: FrameId
    content: DecisionContent


class CancelContent(_Strict):
    run_id: FrameId | None = None


class Cancel(_Strict):
    type: Literal["cancel"]
    id: FrameId | None = None
    content: CancelContent = CancelContent()


class ActionContent(_Strict):
    name: Name
    args: dict[str, JsonValue] = {}


class ActionFrame(_Strict):
    type: Literal["action"]
    id: FrameId | None = None
    content: ActionContent


class PingContent(_Strict):
    t: StrictInt | StrictFloat


class Ping(_Strict):
    type: Literal["ping"]
    id: FrameId | None = None
    content: PingContent


ClientFrame = Hello | Default | Answer | Decision | Cancel | ActionFrame | Ping
CLIENT_FRAMES: dict[str, type[BaseModel]] = {
    "hello": Hello, "default": Default, "answer": Answer, "decision": Decision, "cancel": Cancel, "action": ActionFrame,
    "ping": Ping,
}  # fmt: skip


class PlainFrame(BaseModel):
    """A frame of a plain client: `default`, `question` or `confirmation`. Unknown keys are ignored.

    `session_id` is None unless it has the shape of an id; `config` is what was sent without it.
    """

    model_config = ConfigDict(frozen=True)
    type: Literal["default", "question", "confirmation"]
    content: str
    session_id: str | None = None
    root_directory: str | None = None
    config: dict[str, JsonValue] = {}
    """Every key of the frame's config but session_id, as sent: two first frames are compared by it."""
    turn: dict[str, JsonValue] = {}
    """The known, well-formed keys of config that belong to the turn."""
    recovery: Literal["auto", "ask", "never"] | None = None


# Server → client. Made by hand where speed counts (batch), from these models elsewhere; the schema is theirs.


class Retry(_Strict):
    """How to pace reconnection, in ms: first try after rand(0, max(base, spread)), then rand(0, min(cap, base·2ⁿ))."""

    base_ms: int
    cap_ms: int
    spread_ms: int


class ServerInfo(_Strict):
    boot: str
    version: str


class SessionContent(_Strict):
    session_id: str
    mode: Literal["fresh", "resume", "snapshot", "plain"]
    reason: str | None
    head: int
    state: Literal["idle", "running", "waiting", "recovering"]
    run_id: str | None
    root: str | None
    hb_ms: int
    retry: Retry
    server: ServerInfo


class SessionFrame(_Strict):
    type: Literal["session"] = "session"
    content: SessionContent


class AckContent(_Strict):
    status: Literal["accepted", "duplicate", "noop"]
    seq: int | None = None
    run_id: str | None = None


class Ack(_Strict):
    type: Literal["ack"] = "ack"
    reply_to: str | None
    content: AckContent


class NackContent(_Strict):
    code: str
    message: str
    retryable: bool
    details: dict[str, Any]


class Nack(_Strict):
    type: Literal["nack"] = "nack"
    reply_to: str | None
    content: NackContent


class SnapshotContent(_Strict):
    cursor: str
    events: list[Event]
    synced: bool | None = None


class Snapshot(_Strict):
    type: Literal["snapshot"] = "snapshot"
    content: SnapshotContent


class BatchContent(_Strict):
    after: str
    upto: str
    events: list[Event]
    synced: bool | None = None


class Batch(_Strict):
    type: Literal["batch"] = "batch"
    content: BatchContent


class HbContent(_Strict):
    head: int
    retry: Retry | None = None
    """Takes the place of that of `session`: there are many more connections now, or many fewer."""


class Hb(_Strict):
    type: Literal["hb"] = "hb"
    content: HbContent


class Pong(_Strict):
    type: Literal["pong"] = "pong"
    content: PingContent


class GoodbyeContent(_Strict):
    reason: str
    retry_ms: int


class Goodbye(_Strict):
    type: Literal["goodbye"] = "goodbye"
    content: GoodbyeContent


class NoticeContent(_Strict):
    """Something worth showing that is not part of the session: progress of the index, a setting that changed."""

    code: str
    message: str
    details: dict[str, Any] = {}


class Notice(_Strict):
    type: Literal["notice"] = "notice"
    content: NoticeContent


SERVER_FRAMES: tuple[type[BaseModel], ...] = (SessionFrame, Ack, Nack, Snapshot, Batch, Hb, Pong, Goodbye, Notice)
