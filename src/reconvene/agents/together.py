"""Several capabilities as one.

pydantic-ai calls every hook of every capability at every step, each with a copy of the run's context, and passes every streamed event
through each of them. Most capabilities have one hook or two; as one they cost as much as one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset

from reconvene.agents.durable import AgentDeps

HOOKS = frozenset(
    {
        "before_model_request", "after_model_request", "wrap_tool_execute", "get_wrapper_toolset", "get_ordering",
    }
)  # fmt: skip
"""That a part may have. What it says of its place does not count: parts are in the order in which they are given, outermost first."""


class Together(AbstractCapability[AgentDeps]):
    """What these capabilities do, in the same order: before a request the first comes first, after it the last; wraps go around those
    of later ones. It stands within all other capabilities.

    Raises:
        TypeError: one of them has a hook that would not be called.
    """

    def __init__(self, *parts: AbstractCapability[AgentDeps]) -> None:
        for part in parts:
            if other := sorted(_hooks(type(part)) - HOOKS):
                raise TypeError(f"{type(part).__name__} has {other[0]}, which would not be called")
        self._before = [p.before_model_request for p in parts if _has(p, "before_model_request")]
        self._after = [p.after_model_request for p in reversed(parts) if _has(p, "after_model_request")]
        self._tools = [p.wrap_tool_execute for p in reversed(parts) if _has(p, "wrap_tool_execute")]
        self._toolsets = [p.get_wrapper_toolset for p in reversed(parts) if _has(p, "get_wrapper_toolset")]

    def get_ordering(self) -> CapabilityOrdering:
        return CapabilityOrdering(position="innermost")

    def get_wrapper_toolset(self, toolset: AbstractToolset[AgentDeps]) -> AbstractToolset[AgentDeps]:
        for wrapper in self._toolsets:
            toolset = wrapper(toolset) or toolset
        return toolset

    async def before_model_request(
        self, ctx: RunContext[AgentDeps], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        for hook in self._before:
            request_context = await hook(ctx, request_context)
        return request_context

    async def after_model_request(
        self, ctx: RunContext[AgentDeps], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        for hook in self._after:
            response = await hook(ctx, request_context=request_context, response=response)
        return response

    async def wrap_tool_execute(
        self,
        ctx: RunContext[AgentDeps],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        handler: Callable[[dict[str, Any]], Awaitable[Any]],
    ) -> Any:
        for hook in self._tools:
            handler = partial(_within, hook, ctx, call, tool_def, handler)
        return await handler(args)


def _has(part: AbstractCapability[AgentDeps], hook: str) -> bool:
    return hook in _hooks(type(part))


@functools.cache
def _hooks(kind: type[AbstractCapability[AgentDeps]]) -> frozenset[str]:
    """What a kind of capability does otherwise than one that does nothing."""
    plain = AbstractCapability
    names = (name for name in dir(plain) if not name.startswith("_"))
    return frozenset(n for n in names if inspect.getattr_static(kind, n) is not inspect.getattr_static(plain, n))


async def _within(
    hook: Callable[..., Awaitable[Any]],
    ctx: RunContext[AgentDeps],
    call: ToolCallPart,
    tool_def: ToolDefinition,
    handler: Callable[[dict[str, Any]], Awaitable[Any]],
    args: dict[str, Any],
) -> Any:
    return await hook(ctx, call=call, tool_def=tool_def, args=args, handler=handler)
