"""Every tool call of a model passes here: over a cap it is answered "limit", what a tool raises becomes a result the model can read.

So no argument a model makes up, and no fault of a tool, ends a run. What concerns the run itself (its store, its budget, a person
who did not answer) is not the tool's to answer and goes through.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from traceback import format_exception
from typing import Any

import structlog
from pydantic_ai import RunContext
from pydantic_ai.exceptions import AgentRunError, ApprovalRequired, CallDeferred, ModelRetry, ToolFailed, ToolRetryError
from pydantic_ai.toolsets import ToolsetTool, WrapperToolset

from reconvene.agents import loops
from reconvene.agents.durable import AgentDeps, CannotWrite, ToolOutcome
from reconvene.errors import ReconveneError
from reconvene.protocol.events import Error

_log = structlog.get_logger(__name__)

_CONTROL = (AgentRunError, ApprovalRequired, CallDeferred, ModelRetry, ToolFailed, ToolRetryError)
"""How a tool speaks to pydantic-ai itself."""
OF_THE_RUN = frozenset(
    {
        "budget_exceeded", "context_full", "data_dir_unusable", "disk_full", "draining", "fenced", "interrupted", "model_misbehaved",
        "model_unknown", "no_such_session", "provider_auth", "provider_rate_limited", "provider_unavailable", "question_expired",
        "store_busy", "store_corrupt", "store_error", "store_lost", "workspace_gone",
    }
)  # fmt: skip
"""Codes of errors that end the run or its attempt, whichever tool met them."""
_OF_THE_MODEL = frozenset({"invalid_field", "pattern_too_big"})
"""Codes that only say the model should ask otherwise: no news for a person."""


@dataclass
class Guarded(WrapperToolset[AgentDeps]):
    """Wraps the tools of an agent whose dependencies are `AgentDeps`; stands within every capability's hooks."""

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[AgentDeps], tool: ToolsetTool[AgentDeps]
    ) -> Any:
        call_id = ctx.tool_call_id or ""
        if refusal := _over_a_limit(ctx, call_id):
            return refusal
        try:
            result = await super().call_tool(name, tool_args, ctx, tool)
        except _CONTROL:
            raise
        except ReconveneError as e:
            if e.code in OF_THE_RUN or isinstance(e, CannotWrite):
                raise
            result = failed(name, e)
        except Exception as e:  # a tool's fault must not end the run
            where = {"tool": name, "session_id": ctx.deps.durable.session_id, "run_id": ctx.deps.durable.run_id}
            # As text: a renderer that shows local variables would put the code base's content into the log.
            _log.error("tool failed", **where, traceback="".join(format_exception(e)))
            result = failed(name, _unforeseen(name, e))
        repeated = loops.repetitions(ctx.messages, call_id)
        return _noted(result, repeated) if repeated >= loops.NOTE_AT and isinstance(result, ToolOutcome) else result


def failed(tool: str, error: ReconveneError) -> ToolOutcome:
    """The outcome of a tool that could not do its work. When a search could not be done, people are told too."""
    tell = tool == "search" and error.code not in _OF_THE_MODEL
    return ToolOutcome(
        {"error": {"code": error.code, "message": error.message}},
        error.message,
        ok=False,
        events=(Error(**error.content()),) if tell else (),
    )


def _unforeseen(tool: str, error: Exception) -> ReconveneError:
    if tool == "search":
        sentence = f"The search could not be done ({type(error).__name__}). Try once more, or read files directly."
        return ReconveneError("search_failed", sentence)
    return ReconveneError("tool_failed", f"{tool} could not do its work ({type(error).__name__}). Try another way.")


def _over_a_limit(ctx: RunContext[AgentDeps], call_id: str) -> ToolOutcome | None:
    limits, times = ctx.deps.limits, 1 + ctx.deps.extended
    if not loops.within(ctx.messages, call_id, limits.parallel_tool_calls):
        cap = limits.parallel_tool_calls
        sentence = f"limit: only the first {cap} tool calls of one response are run. Ask again for what you still need."
    elif loops.spent(ctx.messages, limits.parallel_tool_calls) > limits.tool_calls * times:
        sentence = f"limit: this run has used its {limits.tool_calls * times} tool calls."
    else:
        return None
    return failed("", ReconveneError("too_large", sentence))


def _noted(outcome: ToolOutcome, repeated: int) -> ToolOutcome:
    note = (
        f"Note: this is the same call as before, for the {repeated}th time, and the result will not change. Go on with what you have, or "
        f"try something else; after {loops.STOP_AT} times the run is stopped."
    ).replace("3th", "3rd")
    value = outcome.value
    if isinstance(value, str):
        return replace(outcome, value=f"{value}\n\n{note}")
    return replace(
        outcome, value={**value, "note": note} if isinstance(value, dict) else {"result": value, "note": note}
    )
