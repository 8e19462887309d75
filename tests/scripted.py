"""Models that follow a script. Where they are in it is derived from the message history alone, as after a crash nothing else is left."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

Call = tuple[str, dict[str, Any]]
Step = str | Sequence[Call]
"""An answer, streamed word by word, or tool calls that are made together."""


def turn_of(messages: Sequence[ModelMessage]) -> tuple[str, int]:
    """The last prompt, and how many responses came after it."""
    for i in range(len(messages) - 1, -1, -1):
        message = messages[i]
        if isinstance(message, ModelRequest):
            prompts = [p.content for p in message.parts if isinstance(p, UserPromptPart)]
            if prompts:
                return str(prompts[-1]), sum(isinstance(m, ModelResponse) for m in messages[i:])
    return "", 0


def scripted(
    steps: Sequence[Step],
    *,
    asked: Callable[[str, int], Any] | None = None,
    before: Callable[[int], Awaitable[None]] | None = None,
    between: Callable[[int, int], Awaitable[None]] | None = None,
) -> FunctionModel:
    """A model that does `steps` for every prompt.

    `asked(prompt, step)` is told of each request, `before(step)` and `between(step, word)` are awaited before the first and after each
    streamed piece.
    """

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        prompt, n = turn_of(messages)
        if asked:
            asked(prompt, n)
        if before:
            await before(n)
        step = steps[min(n, len(steps) - 1)]
        if isinstance(step, str):
            for w, word in enumerate(step.split(" ")):
                yield word if w == 0 else f" {word}"
                if between:
                    await between(n, w)
            return
        for i, (name, args) in enumerate(step):
            yield {i: DeltaToolCall(name=name, json_args=json.dumps(args), tool_call_id=f"call_{i}")}

    return FunctionModel(stream_function=stream, model_name="scripted")
