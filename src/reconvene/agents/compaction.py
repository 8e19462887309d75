"""Keeping a long conversation inside the model's context: what a request carries is shortened, what the log has never is.

When the context is fuller than `FULL`, old tool results, oldest first, are replaced by a line that says how to have them again, until
no more than `ROOMY` of it would be used. A conversation that is all prose loses its oldest turns, down to what was asked and what was
answered. What was left out stays out for the rest of the attempt, so that the beginning of the requests stays the same and a
provider's cache of it holds.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestContext

from reconvene.agents.durable import AgentDeps

FULL = 0.8
ROOMY = 0.55
KEPT_STEPS = 4
"""The newest steps' results are never left out whole: the model is working with them."""
CHARS_PER_TOKEN = 3.0
"""Cautious: code is 3 to 5. The provider's own count replaces the guess from the second request on."""
SMALL = 400
"""Characters; a result this short is not worth leaving out."""
CUT = 2_000
"""Characters that stay of a newest result when nothing else helps: as many from its end."""


@dataclass
class Compaction(AbstractCapability[AgentDeps]):
    """Shortens requests. One for each attempt of a run.

    `limit`: tokens that the model takes; None: ask `context_limit`.
    """

    limit: int | None = None
    share: float = 1.0
    """Of the limit, that may be used: less once a provider found a request too long that should have fitted."""
    _left_out: set[str] = field(default_factory=set, init=False)
    """Call ids of the results that are left out."""
    _forgotten: int = field(default=0, init=False)
    """Messages from the beginning of which only what people said and were told is sent."""
    _cut: bool = field(default=False, init=False)

    async def before_model_request(
        self, ctx: RunContext[AgentDeps], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        limit = int((self.limit or context_limit(request_context.model, ctx.deps.limits.context)) * self.share)
        per_token = ratio(ctx.messages)
        messages = self._shortened(request_context.messages)
        if size(messages) / per_token > limit * FULL:
            self._decide(request_context.messages, limit * ROOMY * per_token)
            messages = self._shortened(request_context.messages)
        if messages is request_context.messages:
            return request_context
        return replace(request_context, messages=messages)

    def _decide(self, messages: Sequence[ModelMessage], room: float) -> None:
        """Choose what is left out, until what remains has at most `room` characters or nothing more can go."""
        recent = _recent(messages)
        excess = size(self._shortened(messages)) - room
        for message in messages[:recent]:
            for part in message.parts:
                if excess <= 0:
                    return
                if (
                    isinstance(part, ToolReturnPart)
                    and part.tool_call_id not in self._left_out
                    and (chars := len(part.model_response_str())) > SMALL
                ):
                    self._left_out.add(part.tool_call_id)
                    excess -= chars - 120
        current = next((i for i in range(len(messages) - 1, -1, -1) if _prompts(messages[i])), 0)
        while excess > 0 and self._forgotten < current:
            before = size(self._shortened(messages))
            self._forgotten = next((i for i in range(self._forgotten + 1, current) if _prompts(messages[i])), current)
            excess -= before - size(self._shortened(messages))
        if excess > 0:
            self._cut = True

    def _shortened(self, messages: Sequence[ModelMessage]) -> list[ModelMessage]:
        if not self._left_out and not self._forgotten and not self._cut:
            return messages if isinstance(messages, list) else list(messages)
        made = [m for message in messages[: self._forgotten] if (m := _said(message)) is not None]
        made += [self._without(message) for message in messages[self._forgotten :]]
        return made

    def _without(self, message: ModelMessage) -> ModelMessage:
        if not isinstance(message, ModelRequest):
            return message
        parts = [self._stub(part) if isinstance(part, ToolReturnPart) else part for part in message.parts]
        return (
            message if all(a is b for a, b in zip(parts, message.parts, strict=True)) else replace(message, parts=parts)
        )

    def _stub(self, part: ToolReturnPart) -> ToolReturnPart:
        text = part.model_response_str()
        if part.tool_call_id in self._left_out:
            line = f"[{len(text):,} characters of this result were left out to save room. Call {part.tool_name} again if you need them.]"
            return replace(part, content=line)
        if self._cut and len(text) > 2 * CUT + 200:
            left = len(text) - 2 * CUT
            return replace(
                part, content=f"{text[:CUT]}\n[... {left:,} characters left out to save room ...]\n{text[-CUT:]}"
            )
        return part


def context_limit(model: Model, otherwise: int) -> int:
    """Tokens that a model takes, by the price list that comes with pydantic-ai; `otherwise` for one that is not in it."""
    while isinstance(wrapped := getattr(model, "wrapped", None), Model):
        model = wrapped
    return _listed(model.model_name, model.system, getattr(model, "base_url", None)) or otherwise


@functools.lru_cache(maxsize=64)
def _listed(name: str, provider: str, url: str | None) -> int | None:
    from genai_prices import data_snapshot

    try:
        _, found = data_snapshot.get_snapshot().find_provider_model(name, None, provider, url)
    except LookupError:
        return None
    return found.context_window


def ratio(messages: Sequence[ModelMessage]) -> float:
    """Characters for each token in this conversation, from the provider's own count of the last request; else a guess."""
    for i in range(len(messages) - 1, -1, -1):
        message = messages[i]
        if isinstance(message, ModelResponse) and message.usage.input_tokens > 1000:
            counted = size(messages[:i]) / message.usage.input_tokens
            # Instructions and tool schemas are counted too, though not seen here; a request that was shortened counts less.
            return min(max(counted, 1.5), CHARS_PER_TOKEN)
    return CHARS_PER_TOKEN


def size(messages: Sequence[ModelMessage]) -> int:
    """Characters that a model reads of these messages."""
    return sum(_part_size(part) for message in messages for part in message.parts)


def _part_size(part: Any) -> int:
    match part:
        case ToolReturnPart() | RetryPromptPart():
            return len(part.model_response_str()) if isinstance(part, ToolReturnPart) else len(part.model_response())
        case ToolCallPart():
            return len(part.args_as_json_str()) + len(part.tool_name)
        case TextPart() | ThinkingPart():
            return len(part.content)
    content = getattr(part, "content", "")
    return len(content) if isinstance(content, str) else len(str(content))


def _recent(messages: Sequence[ModelMessage]) -> int:
    """Index of the message from which on results are kept."""
    responses = [i for i, m in enumerate(messages) if isinstance(m, ModelResponse)]
    return responses[-KEPT_STEPS] if len(responses) >= KEPT_STEPS else 0


def _prompts(message: ModelMessage) -> bool:
    return isinstance(message, ModelRequest) and any(isinstance(part, UserPromptPart) for part in message.parts)


def _said(message: ModelMessage) -> ModelMessage | None:
    """Of an old message only what people said and what they were told: calls and their results go together, or a provider refuses both."""
    if isinstance(message, ModelRequest):
        kept = [p for p in message.parts if not isinstance(p, ToolReturnPart | RetryPromptPart)]
        return replace(message, parts=kept) if kept else None
    texts = [p for p in message.parts if isinstance(p, TextPart) and p.content.strip()]
    return replace(message, parts=texts) if texts else None
