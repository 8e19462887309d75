"""What an agent's tools need of the run they are part of. `runs` implements it; nothing here knows how.

A tool returns a `ToolOutcome` and writes nothing itself: the run puts the result, its public events and its private rows
into the log in one commit, before the model sees the value. So a tool that a crash cut short left nothing behind, and is run
again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import JsonValue

from reconvene.errors import ReconveneError
from reconvene.protocol.events import Content, Diff

if TYPE_CHECKING:
    from pydantic_ai import Agent, RunContext
    from pydantic_ai.messages import ModelMessage

    from reconvene.agents.foreign import Foreign
    from reconvene.agents.notes import Notes
    from reconvene.agents.run_command import Leave
    from reconvene.agents.streaming import Listener
    from reconvene.agents.token_ratio import TokenRatios
    from reconvene.config import Limits
    from reconvene.index import RootIndex
    from reconvene.search.context import SearchContext
    from reconvene.workspace import Workspace
    from reconvene.workspace.contents import Contents
    from reconvene.workspace.edits import Transition


@dataclass(frozen=True)
class ToolOutcome:
    """What a tool returns: one part for the model, the others for people and for the log."""

    value: JsonValue
    """What the model gets."""
    summary: str
    """One line for people: "7 places in 5 files"."""
    ok: bool = True
    truncated: bool = False
    cache: Literal["cached", "refreshed", "fresh"] | None = None
    """Of a search: answered from the session's own context, asked again because files changed, or new."""
    places: list[dict[str, JsonValue]] | None = None
    """What was found or read: `{"path", "start", "end", "symbol"}` (lines from 1, inclusive); `hash`: where the file is kept."""
    events: tuple[Content, ...] = ()
    """Public events written in the same commit."""
    private: tuple[tuple[str, str], ...] = ()
    """(type, JSON text) of private rows written in the same commit."""
    notes: Mapping[str, Any] | None = None
    """The project's notes, when the tool looked at them last of all (`Notes.look`)."""


class CannotWrite(ReconveneError):
    """Nothing was written, for a reason a person can mend: the accept stands, and the run waits until it is tried again."""


@dataclass(frozen=True)
class SubAnswer:
    """What a sub-agent answered, and all that it was told and said, for another round with it."""

    text: str
    messages: tuple[ModelMessage, ...]


@dataclass(frozen=True)
class Decision:
    """What was decided on a diff. `hunks`: ids of those accepted, None: all. `stale`: a file had changed under it, nothing was accepted."""

    verdict: Literal["accept", "reject", "feedback", "stale"]
    hunks: tuple[str, ...] | None = None
    feedback: str | None = None
    by: str | None = None


class Durable(Protocol):
    """The run a tool call belongs to. A key names one thing for ever: it holds the tool call's id."""

    @property
    def session_id(self) -> str: ...

    @property
    def run_id(self) -> str: ...

    async def ask(self, key: str, text: str, *, schema: dict[str, JsonValue] | None = None) -> JsonValue:
        """Ask the person and return the answer, of the shape `schema` says (None: a string).

        The run may be unloaded meanwhile: a BaseException passes through the tool (never catch those), the tool is run
        again when the answer is there, and the same key gives it at once.

        Raises:
            ReconveneError: `question_expired` when nobody answered in time.
        """
        ...

    async def once(self, key: str, fn: Callable[[], Awaitable[JsonValue]]) -> JsonValue:
        """The result of `fn`, recorded under `key`: after a crash the record is returned, `fn` not called."""
        ...

    def item(self, tool_call_id: str) -> str:
        """The id of a tool call of the last response, as it is shown; no other call has it."""
        ...

    async def sub_run(
        self,
        ctx: RunContext[AgentDeps],
        scope: str,
        agent: Agent[AgentDeps, str],
        prompt: Callable[[], Awaitable[str]],
        *,
        history: Sequence[ModelMessage] = (),
        quiet: bool = False,
        parent: str | None = None,
    ) -> SubAnswer:
        """Ask another agent and wait for its answer. Every response of it is recorded, so that none is asked for again.

        Args:
            scope: names it for ever; a tool call's item and a word of its own.
            prompt: makes what it is asked; not called when it was asked before.
            history: of earlier rounds with it.
            quiet: what it says is not shown, only what it does.
            parent: the item that its steps are shown under; None: the tool call.
        """
        ...

    async def show(self, key: str, contents: Sequence[Content], *, parent: str) -> None:
        """Show something now, once, under an item. A step (`ToolCall`, `ToolResult`) is an item by its own id."""
        ...

    async def decide(self, diff: Diff, *, parent: str, contents: Sequence[str] = ()) -> Decision:
        """Propose a change and return what was decided. May unload the run, as `ask`.

        Args:
            contents: hashes in the store of contents, kept for as long as the session is.
        """
        ...

    async def write(self, diff: Diff, transitions: Sequence[Transition], *, parent: str) -> dict[str, Any]:
        """Write what was accepted: planned in the log, done, recorded. After a crash it is brought to its end, never done twice.

        Returns:
            `Outcome.to_value()`, of status `applied` or `conflict`.

        Raises:
            CannotWrite: nothing could be written now (`disk_full`, `permission_denied`, …); the run waits for the person.
        """
        ...


@dataclass
class AgentDeps:
    """What the tools and instructions of one run work with."""

    durable: Durable
    workspace: Workspace
    index: RootIndex
    context: SearchContext
    limits: Limits
    seen: list[str] = field(default_factory=list)
    """Paths this session found or read, oldest first; tools add to it."""
    notes: Notes | None = None
    """The project's own notes to agents; None: nobody looks for them."""
    repo_map: str = ""
    """The overview map as text, "" when there is none."""
    chars_per_token: float = 3.0
    """Of the run's model, as far as its provider's figures tell (`agents.token_ratio`)."""
    token_ratios: TokenRatios | None = None
    """Where the run's figures are learned; None: nowhere."""
    known: str | None = None
    """What the session knew when the run began, as text; filled from `context` when it is first wanted, then kept as it is."""
    contents: Contents | None = None
    """Where the contents of proposed files are kept; None: nothing can be changed."""
    quoted: set[str] = field(default_factory=set)
    """Contents that this attempt has kept for the session because it quoted them, by their blob ids."""
    secrets: set[str] = field(default_factory=set)
    """Files that look like secrets and that the person lets agents read, in their display form."""
    asks: bool = True
    """Whether tools may ask the person; those of a sub-agent may not."""
    review: bool = False
    """Whether a proposed change is looked at by a second agent before the person is asked."""
    max_iterations: int = 2
    """How often that agent may send a change back."""
    leave: Leave | None = None
    """What commands may be run; None: none."""
    listener: Listener | None = None
    """Who hears what the model says while it says it; None: nobody."""
    worked: Callable[[], float] = lambda: 0.0
    """Seconds that the run took so far."""
    foreign: Foreign | None = None
    """The tools of MCP servers that the person configured; None: there are none."""
    extended: int = 0
    """How often a person let this run go on after it had reached a limit: each time the limits count once more."""
