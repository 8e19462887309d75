"""What holds for any model that drives an agent: it is stopped when it goes in circles, cut short it is not believed, and what it
says is scrubbed before anybody sees or stores it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydantic_ai import AbstractToolset, RunContext
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.exceptions import ModelAPIError
from pydantic_ai.messages import (
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from pydantic_ai.models import Model, ModelRequestContext

from reconvene.agents import loops
from reconvene.agents.durable import AgentDeps
from reconvene.agents.guard import Guarded
from reconvene.agents.scrub import scrub, scrub_json
from reconvene.errors import ReconveneError


@dataclass(init=False)
class Bounds(AbstractCapability[AgentDeps]):
    """Innermost of the capabilities: what the others record is what it let through."""

    def get_ordering(self) -> CapabilityOrdering:
        return CapabilityOrdering(position="innermost")

    def get_wrapper_toolset(self, toolset: AbstractToolset[AgentDeps]) -> AbstractToolset[AgentDeps]:
        return Guarded(toolset)

    async def before_model_request(
        self, ctx: RunContext[AgentDeps], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Ends a turn between two requests, where every call has its answer and a person can let it go on.

        Raises:
            ReconveneError: `budget_exceeded`.
        """
        limits, times = ctx.deps.limits, 1 + ctx.deps.extended
        if call := loops.runaway(ctx.messages, loops.STOP_AT * times):
            sentence = (
                f"The model asked for the same {call.tool_name} {loops.STOP_AT * times} times without getting further. "
                "Asking in other words, or naming a file, may help it."
            )
            raise ReconveneError("budget_exceeded", sentence, limit="repeated_calls", tool=call.tool_name)
        if loops.spent(ctx.messages, limits.parallel_tool_calls) > limits.tool_calls * times:
            sentence = f"The run has used its limit of {limits.tool_calls * times} tool calls."
            raise ReconveneError("budget_exceeded", sentence, limit="tool_calls")
        tokens, cost = ctx.usage.input_tokens + ctx.usage.output_tokens, float(ctx.usage.cost or 0)
        if 0 < limits.run_tokens * times <= tokens:
            sentence = f"The run has used {tokens:,} tokens; its limit is {limits.run_tokens * times:,}."
            raise ReconveneError("budget_exceeded", sentence, limit="run_tokens")
        if 0 < limits.run_cost * times <= cost:
            sentence = f"The run has cost ${cost:.2f}; its limit is ${limits.run_cost * times:.2f}."
            raise ReconveneError("budget_exceeded", sentence, limit="run_cost")
        if 0 < limits.run_time * times <= ctx.deps.worked():
            sentence = f"The run has worked for {limits.run_time * times / 60:,.0f} minutes, which is its limit."
            raise ReconveneError("budget_exceeded", sentence, limit="run_time")
        return request_context

    async def after_model_request(
        self, ctx: RunContext[AgentDeps], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """
        Raises:
            ModelAPIError: the stream ended before the model did; no call of such a response may be run.
        """
        ended = response.finish_reason or (response.provider_details or {}).get("finish_reason")
        if not ended and response.state == "complete" and _says_when_done(request_context.model):
            raise ModelAPIError(request_context.model.model_name, "Streamed response ended before the model was done")
        parts = [_clean(p) for p in response.parts]
        return (
            response
            if all(a is b for a, b in zip(parts, response.parts, strict=True))
            else replace(response, parts=parts)
        )


def _says_when_done(model: Model) -> bool:
    """Whether the model always gives a finish reason. Chat Completions are held to it by their profile, see models.py."""
    while isinstance(wrapped := getattr(model, "wrapped", None), Model):
        model = wrapped
    return model.system in ("openai", "anthropic")


def _clean(part: ModelResponsePart) -> Any:
    match part:
        case TextPart() if (text := scrub(part.content)) != part.content:
            return replace(part, content=text)
        case ThinkingPart() if (text := scrub(part.content)) != part.content:
            return replace(part, content=text)
        case ToolCallPart() if (args := scrub_json(part.args)) != part.args:
            return replace(part, args=args)
    return part
