"""A conversation with tools, retold as one of plain messages: what a model that writes steps has written, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)


def as_steps(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """The same conversation without a tool call in it.

    A step stands as the model wrote it, so that the server's cache of the conversation holds. What it thought is left out, as templates
    of local models do.
    """
    retold: list[ModelMessage] = []
    for message in messages:
        if isinstance(message, ModelRequest):
            retold.append(replace(message, parts=_joined([_heard(part) for part in message.parts])))
        elif written := _written(message):
            retold.append(replace(message, parts=[TextPart(written)]))
    return retold


def _written(message: ModelResponse) -> str:
    steps = []
    for part in message.parts:
        if isinstance(part, ToolCallPart):
            args = part.args if isinstance(part.args, str) else json.dumps(part.args or {}, ensure_ascii=False)
            steps.append(f'{{"tool": {json.dumps(part.tool_name)}, "arguments": {args or "{}"}}}')
        elif isinstance(part, TextPart) and part.content:
            steps.append(json.dumps({"answer": part.content}, ensure_ascii=False))
    return "\n".join(steps)


def _heard(part: ModelRequestPart) -> ModelRequestPart:
    if isinstance(part, ToolReturnPart):
        came = "Result of {}:" if part.outcome == "success" else "{} did not work:"
        text = f"{came.format(part.tool_name)}\n{part.model_response_str()}"
        return UserPromptPart(text, timestamp=part.timestamp)
    if isinstance(part, RetryPromptPart):  # of logs that older versions wrote
        of = f"{part.tool_name} did not work:\n" if part.tool_name else ""
        return UserPromptPart(f"{of}{part.model_response()}", timestamp=part.timestamp)
    return part


def _joined(parts: Sequence[ModelRequestPart]) -> list[ModelRequestPart]:
    """Texts that follow each other as one: templates of many models want a turn of each side in alternation."""
    joined: list[ModelRequestPart] = []
    for part in parts:
        last = joined[-1] if joined else None
        if (
            isinstance(part, UserPromptPart)
            and isinstance(last, UserPromptPart)
            and isinstance(part.content, str)
            and isinstance(last.content, str)
        ):
            joined[-1] = replace(last, content=f"{last.content}\n\n{part.content}")
        else:
            joined.append(part)
    return joined
