"""The durable events of a session and the content of each type.

An event's JSON is made once, when it is written, and the same bytes go to every client: `wire`.
"""

from __future__ import annotations

import warnings
from json.encoder import encode_basestring_ascii
from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, JsonValue

# Question has a field of this name on purpose; what it shadows is a deprecated method of pydantic that nobody calls.
warnings.filterwarnings("ignore", 'Field name "schema" in "Question" shadows', UserWarning)


class Content(BaseModel):
    """The content of one event type. Unknown fields are refused, so that a typing error never reaches the log."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: ClassVar[str]
    stateful: ClassVar[bool] = False
    """Whether the session's state (not only its picture) depends on events of this type."""

    def json_text(self) -> str:
        return self.model_dump_json()


class Prompt(Content):
    """What a person asked. `delivery: steer` joins the running run, `queue` starts one of its own."""

    type: ClassVar[str] = "prompt"
    stateful: ClassVar[bool] = True
    id: str
    text: str
    delivery: Literal["queue", "steer"] = "queue"
    by: str | None = None
    config: dict[str, JsonValue] | None = None
    """What the frame's config asked for this turn: model, review, max_iterations."""


class Run(Content):
    """A change of a run's status. `prompts` (on `queued`) are the ids of what the run answers."""

    type: ClassVar[str] = "run"
    stateful: ClassVar[bool] = True
    status: Literal["queued", "running", "waiting", "recovering"]
    attempt: int = 0
    reason: str | None = None
    budget: dict[str, JsonValue] | None = None
    """What is left: `{"attempts_left": 4, "requests_left": 48}`."""
    prompts: list[str] | None = None
    position: int | None = None
    """On `queued`: how many runs go first."""


class RepoMap(Content):
    """The map of the code base that this run works with. `reused`: it cost no rebuild."""

    type: ClassVar[str] = "repo_map"
    files: int
    symbols: int
    tokens: int
    fingerprint: str
    built_ms: int
    reused: bool
    partial: bool = False


class PlanStep(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    title: str
    status: Literal["pending", "active", "done", "skipped"] = "pending"


class Plan(Content):
    """The whole plan, each time: the last one counts."""

    type: ClassVar[str] = "plan"
    stateful: ClassVar[bool] = True
    title: str | None = None
    steps: list[PlanStep]


class Delta(Content):
    attempt: int
    text: str


class Text(Delta):
    """A piece of an answer, in order by seq. A later `message` of the same item replaces all of them."""

    type: ClassVar[str] = "text"


class Reasoning(Delta):
    """A piece of what the model thought."""

    type: ClassVar[str] = "reasoning"


class Message(Content):
    """The finished text of an item; it replaces the item's deltas."""

    type: ClassVar[str] = "message"
    text: str
    kind: Literal["text", "reasoning"] = "text"
    interrupted: bool = False
    """The person stopped the run here."""


class ItemAborted(Content):
    """Strike what was shown of this item's attempt; it is written anew."""

    type: ClassVar[str] = "item_aborted"
    attempt: int


class ToolCall(Content):
    type: ClassVar[str] = "tool_call"
    id: str
    name: str
    args: JsonValue


class ToolResult(Content):
    """How a tool call ended, for people; what the model got is a private row."""

    type: ClassVar[str] = "tool_result"
    id: str
    summary: str
    ok: bool = True
    truncated: bool = False
    cache: Literal["cached", "refreshed", "fresh"] | None = None
    ms: int | None = None
    places: list[dict[str, JsonValue]] | None = None
    """What was found or read: `{"path", "start", "end", "symbol"}` (lines from 1, inclusive); `hash`: git's blob id of the file
    as it was, when it is kept (`…/blobs/{hash}`); of a map also `kind` and `why`."""


class Output(Content):
    """A piece of what a running command writes, in order; `offset`: bytes before it. The command's item is the parent."""

    type: ClassVar[str] = "output"
    id: str
    """Of the tool call."""
    offset: int
    text: str


class Hunk(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    unified: str


class FileDiff(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    op: Literal["edit", "create", "delete", "rename"]
    old_path: str | None = None
    mode: int | None = None
    base_hash: str | None = None
    new_hash: str | None = None
    hunks: list[Hunk] = []
    risk: str | None = None
    """Why this file is to be looked at by itself: it can change what runs on the machine."""


class Diff(Content):
    """A proposed change. It is decided on once, by a `decision`; hashes are git's blob ids, None where there is no file."""

    type: ClassVar[str] = "diff"
    stateful: ClassVar[bool] = True
    id: str
    files: list[FileDiff]
    risky: bool = False


class Question(Content):
    """Something only a person can answer. `schema` (JSON Schema) says which shape; none: text."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, protected_namespaces=())
    type: ClassVar[str] = "question"
    stateful: ClassVar[bool] = True
    id: str
    text: str
    schema: dict[str, JsonValue] | None = None  # type: ignore[assignment]
    expires_at: float | None = None
    """Seconds since the epoch, for showing: the deadline itself counts uptime."""


class Confirmation(Question):
    """A yes or no."""

    type: ClassVar[str] = "confirmation"


class Answered(Content):
    type: ClassVar[str] = "answered"
    stateful: ClassVar[bool] = True
    id: str
    """Of the question."""
    answer: JsonValue
    by: str | None = None


class Decided(Content):
    """`stale`: nobody decided; a file had changed under the diff, and a new one is made."""

    type: ClassVar[str] = "decided"
    stateful: ClassVar[bool] = True
    id: str
    """Of the diff."""
    verdict: Literal["accept", "reject", "feedback", "stale"]
    hunks: list[str] | None = None
    feedback: str | None = None
    by: str | None = None


class AppliedFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    base_hash: str | None = None
    new_hash: str | None = None


class Conflict(BaseModel):
    """A file that could not be written as it was meant. `on_disk`: what is there now; None: nothing; "?": it cannot be read."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    on_disk: str | None = None
    note: str | None = None


class Applied(Content):
    """What an accepted diff (or taking one back, `undo`) did on disk: the files as they are now, and those that are in conflict."""

    type: ClassVar[str] = "applied"
    stateful: ClassVar[bool] = True
    diff_id: str
    files: list[AppliedFile]
    conflicts: list[Conflict] = []
    undo: bool = False


class Action(Content):
    """Everything else that a person did: rename, pin, edit a queued prompt, …"""

    type: ClassVar[str] = "action"
    stateful: ClassVar[bool] = True
    name: str
    args: dict[str, JsonValue] = {}
    by: str | None = None


class StepUsage(BaseModel):
    """Of one model response."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None


class Usage(Content):
    """What the run has used so far, over all its attempts."""

    type: ClassVar[str] = "usage"
    stateful: ClassVar[bool] = True
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    requests: int = 0
    tool_calls: int = 0
    cost: float | None = None
    """US dollars, from the provider's price list; None when unknown."""
    context_used: int | None = None
    """Tokens of the last request and its answer, of the run's own agent."""
    context_limit: int | None = None
    """Tokens that its model takes."""
    estimated: bool = False
    """The model does not count; the figures are guesses."""
    model: str | None = None
    """Which model the last step was asked of."""
    step: StepUsage | None = None
    """What the last step added."""


class Error(Content):
    type: ClassVar[str] = "error"
    code: str
    message: str
    retryable: bool = False
    details: dict[str, JsonValue] = {}


class Completed(Content):
    """The last event of every run."""

    type: ClassVar[str] = "completed"
    stateful: ClassVar[bool] = True
    outcome: Literal["success", "cancelled", "failed"]
    text: str = ""
    reason: str | None = None


CONTENTS: dict[str, type[Content]] = {
    c.type: c
    for c in (
        Prompt, Run, RepoMap, Plan, Text, Reasoning, Message, ItemAborted, ToolCall, ToolResult, Output, Diff, Question,
        Confirmation, Answered, Decided, Applied, Action, Usage, Error, Completed,
    )
}  # fmt: skip
"""Every public event type."""


class Event(BaseModel):
    """One durable event as clients see it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: str
    seq: int
    run_id: str | None = None
    item_id: str | None = None
    parent_id: str | None = None
    at: float
    """Seconds since the epoch, for showing."""
    content: dict[str, Any]


class EventRow(Protocol):
    """What is read of a row of the log here. `content` is JSON text; rows that are not `public` are left out."""

    @property
    def type(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def run_id(self) -> str | None: ...
    @property
    def item_id(self) -> str | None: ...
    @property
    def parent_id(self) -> str | None: ...
    @property
    def at(self) -> float: ...
    @property
    def content(self) -> str: ...
    @property
    def public(self) -> bool: ...


def wire(
    type: str, seq: int, run_id: str | None, item_id: str | None, parent_id: str | None, at: float, content: str
) -> str:
    """The JSON text of an event; `content` is JSON text already."""
    q = _quoted
    return (
        f'{{"type":"{type}","seq":{seq},"run_id":{q(run_id)},"item_id":{q(item_id)},"parent_id":{q(parent_id)},'
        f'"at":{at:.3f},"content":{content}}}'
    )


def _quoted(name: str | None) -> str:
    """As `json.dumps`, which would be most of the cost of replaying an event."""
    return "null" if name is None else encode_basestring_ascii(name)
