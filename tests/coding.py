"""Models that change code by a script: an orchestrator, a coder and a reviewer, told apart by what they are asked to be."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from scripted import Step, turn_of

Asked = Counter[tuple[str, int]]
"""How often each answer of each agent was asked for."""


def agents(
    orchestrator: Sequence[Step],
    coder: Sequence[str],
    reviewer: Sequence[str] = ("APPROVE\n\nFine.",),
    *,
    asked: Asked | None = None,
    heard: list[tuple[str, str]] | None = None,
    before: Callable[[str, int], Awaitable[None]] | None = None,
) -> FunctionModel:
    """`coder[n]` and `reviewer[n]` are the answers to their n-th prompt; `heard` gets every prompt of theirs."""

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        told = info.instructions or ""
        who = "coder" if "answer with edits" in told else "reviewer" if "You review" in told else "orchestrator"
        if who == "orchestrator":
            _, n = turn_of(messages)
            script: Sequence[Step] = orchestrator
        else:
            prompts = [
                p.content
                for m in messages
                if isinstance(m, ModelRequest)
                for p in m.parts
                if isinstance(p, UserPromptPart)
            ]
            n = sum(isinstance(m, ModelResponse) for m in messages) if who == "coder" else _reviews(messages, reviewer)
            script = coder if who == "coder" else reviewer
            if heard is not None:
                heard.append((who, str(prompts[-1])))
        if asked is not None:
            asked[who, n] += 1
        if before is not None:
            await before(who, n)
        step = script[min(n, len(script) - 1)]
        if isinstance(step, str):
            for i in range(0, len(step), 40):
                yield step[i : i + 40]
            return
        for i, (name, args) in enumerate(step):
            yield {i: DeltaToolCall(name=name, json_args=json.dumps(args), tool_call_id=f"call_{i}")}

    return FunctionModel(stream_function=stream, model_name="scripted")


def _reviews(messages: Sequence[ModelMessage], script: Sequence[str]) -> int:
    """A reviewer has no memory: which of its answers is due is told by a mark `review N` in the change it is shown."""
    prompt = turn_of(messages)[0]
    return next((n for n in range(len(script) - 1, 0, -1) if f"review {n}" in prompt), 0)


def update(task: str = "do it", *files: str) -> Step:
    return [("update_code", {"task": task, "files": list(files)})]
