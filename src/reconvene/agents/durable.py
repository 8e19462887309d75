"""What an agent's tools need of the run they are part of. `runs` implements it; nothing here knows how.

A tool returns a `ToolOutcome` and writes nothing itself: the run puts the result, its public events and its private rows
into the log in one commit, before the model sees the value. So a tool that a crash cut short left nothing behind, and is run
again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import JsonValue

from reconvene.protocol.events import Content

if TYPE_CHECKING:
    from reconvene.config import Limits
    from reconvene.index import RootIndex
    from reconvene.search.context import SearchContext
    from reconvene.workspace import Workspace


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
    """What was found or read: `{"path", "start", "end", "symbol"}` (lines from 1, inclusive)."""
    events: tuple[Content, ...] = ()
    """Public events written in the same commit."""
    private: tuple[tuple[str, str], ...] = ()
    """(type, JSON text) of private rows written in the same commit."""


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
    instructions: str = ""
    """The project's own notes (`agents.notes.project_notes`), "" when there are none."""
    repo_map: str = ""
    """The overview map as text, "" when there is none."""
    known: str | None = None
    """What the session knew when the run began, as text; filled from `context` when it is first wanted, then kept as it is."""
    extended: int = 0
    """How often a person let this run go on after it had reached a limit: each time the limits count once more."""
