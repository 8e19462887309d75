"""Stand-ins for what a run gives its agent: nothing is durable here, everything is remembered for the test to look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from reconvene.agents.durable import AgentDeps, ToolOutcome
from reconvene.config import Limits
from reconvene.index.definitions import Definition
from reconvene.search.context import SearchContext
from reconvene.workspace import Workspace

Step = str | list[tuple[str, Any]]
"""What a scripted model answers: text, or tool calls as (name, arguments); arguments that are a string are sent as they are."""


class Unloaded(BaseException):
    """What passes through a tool when its run is unloaded."""


@dataclass
class FakeDurable:
    answers: dict[str, JsonValue] = field(default_factory=dict)
    """By key; a question without an answer unloads the run."""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    session_id: str = "s_test"
    run_id: str = "r1"

    async def ask(self, key: str, text: str, *, schema: dict[str, JsonValue] | None = None) -> JsonValue:
        self.asked.append((key, text, schema))
        if key not in self.answers:
            raise Unloaded
        return self.answers[key]

    async def once(self, key: str, fn: Callable[[], Awaitable[JsonValue]]) -> JsonValue:
        return await fn()


@dataclass(init=False)
class Unwrap(AbstractCapability[AgentDeps]):
    """Gives the model an outcome's value, as a run does, and keeps the outcomes."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, ToolOutcome]] = []

    async def wrap_tool_execute(
        self, ctx: RunContext[AgentDeps], *, call: Any, tool_def: Any, args: Any, handler: Any
    ) -> Any:
        outcome = await handler(args)
        self.outcomes.append((call.tool_name, outcome))
        return outcome.value if isinstance(outcome, ToolOutcome) else outcome


def scripted(*steps: Step, chunk: int = 0) -> FunctionModel:
    """A model that answers step by step, by how many responses the history has; the last step is repeated. `chunk`: of text, characters."""

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        n = sum(isinstance(m, ModelResponse) for m in messages)
        step = steps[min(n, len(steps) - 1)]
        if isinstance(step, str):
            for i in range(0, len(step), chunk or max(1, len(step))):
                yield step[i : i + (chunk or len(step))]
            return
        import json

        for i, (name, args) in enumerate(step):
            text = args if isinstance(args, str) else json.dumps(args)
            yield {i: DeltaToolCall(name=name, json_args=text, tool_call_id=f"c{n}_{i}")}

    return FunctionModel(stream_function=stream, model_name="scripted")


class FakeIndex:
    """Knows the definitions it is given, of any file."""

    def __init__(self, definitions: Sequence[Definition] = ()) -> None:
        self._definitions = tuple(definitions)

    def definitions_of(self, blob: bytes, path: str) -> tuple[Definition, ...]:
        return self._definitions


def deps_of(root: Path, **given: Any) -> AgentDeps:
    limits = given.pop("limits", Limits())
    workspace = Workspace.open(root, data_dir=None, limits=limits)
    return AgentDeps(
        **{
            "durable": FakeDurable(),
            "workspace": workspace,
            "index": FakeIndex(),
            "context": SearchContext.fold([]),
            "limits": limits,
        }
        | given
    )


async def drive(
    agent: Any,
    prompt: str | None,
    deps: AgentDeps,
    *,
    history: Sequence[ModelMessage] = (),
    unwrap: Unwrap | None = None,
) -> Any:
    """A run, as the server makes it."""
    return await agent.run(
        prompt,
        deps=deps,
        message_history=list(history),
        capabilities=[unwrap or Unwrap()],
    )


def returns(messages: Sequence[ModelMessage]) -> list[Any]:
    """What the model got from tools, in order."""
    return [
        p.content for m in messages if isinstance(m, ModelRequest) for p in m.parts if isinstance(p, ToolReturnPart)
    ]
