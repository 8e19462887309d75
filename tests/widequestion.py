"""A question that is looked into by several agents at once, with notes of the project on the way and a model that runs out of quota in the
middle. What it ends in is known."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from pydantic_ai.exceptions import ModelQuotaExceededError
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

NAMES = ("alpha", "beta", "gamma")
FILES = {f"{n}/{n}.py": f"def {n}() -> int:\n    return 1\n" for n in NAMES} | {
    "AGENTS.md": "The root's rule.\n",
    "beta/AGENTS.md": "The rule of beta.\n",
}
PROMPT = "What are they?"
ANSWER = "alpha is a function, beta is a function, gamma is a function"
MODEL_ROWS = 2 + 3 * len(NAMES)
"""Responses that it takes: two of the orchestrator, three of each explorer."""
NOTES = ["AGENTS.md", "beta/AGENTS.md"]


def model(name: str, _providers: object = None) -> FunctionModel:
    """`first` has no quota left once an explorer read its file; any other name goes on."""

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        prompts = [
            str(p.content)
            for m in messages
            if isinstance(m, ModelRequest)
            for p in m.parts
            if isinstance(p, UserPromptPart)
        ]
        exploring = "look into one question" in (info.instructions or "")
        n = sum(isinstance(m, ModelResponse) for m in messages)
        who = prompts[-1].split()[-1] if exploring else ""
        if name == "first" and exploring and n == 2:
            raise ModelQuotaExceededError("first", "no credit left")
        step: Any
        if exploring:
            reading = [("read_file", {"path": f"{who}/{who}.py"})]
            step = [[("search", {"query": f"def:{who}"})], reading, f"{who} is a function"][min(n, 2)]
        elif n == 0:
            step = [("explore", {"questions": [f"What is {w}" for w in NAMES]})]
        else:
            found = getattr(messages[-1].parts[0], "content", None)
            step = ", ".join(f["findings"] for f in (json.loads(found) if isinstance(found, str) else found))
        if isinstance(step, str):
            yield step
            return
        for i, (tool, args) in enumerate(step):
            yield {i: DeltaToolCall(name=tool, json_args=json.dumps(args), tool_call_id=f"call_{i}")}

    return FunctionModel(stream_function=stream, model_name=name)
