"""What a run does to the world besides its log, written down outside of it: which model requests and tool calls were begun."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reconvene.agents.guard import Guarded
from reconvene.runs.durability import Durability

Note = Callable[..., None]


def note_effects(note: Note, ended: Note = lambda **what: None) -> None:
    """`note(session=…, key=…)` is called when a model is asked or a tool begins; `key` is that of the row it leads to. For this process.
    `ended(key=…)` is called when a tool has given a result or raised something.
    """
    call_tool, ask = Guarded.call_tool, Durability.before_model_request

    async def called(self: Any, name: str, tool_args: Any, ctx: Any, tool: Any) -> Any:
        durable = ctx.deps.durable
        key = f"return:{durable.run_id}.{durable._key(ctx.tool_call_id)}"
        note(session=durable.session_id, key=key)
        try:
            return await call_tool(self, name, tool_args, ctx, tool)
        finally:
            ended(key=key)

    async def asked(self: Any, ctx: Any, request_context: Any) -> Any:
        note(session=self.journal.session_id, key=f"model:{self.journal.scope}.{self.journal.steps}")
        return await ask(self, ctx, request_context)

    Guarded.call_tool = called  # type: ignore[method-assign]
    Durability.before_model_request = asked  # type: ignore[method-assign]
