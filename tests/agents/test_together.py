"""Several capabilities as one do what they did, in the same order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from pydantic_ai.toolsets import WrapperToolset

from reconvene.agents.streaming import Streaming
from reconvene.agents.together import Together


class Seen(AbstractCapability[Any]):
    """Notes when each of its hooks is called."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    async def before_model_request(self, ctx: Any, request_context: Any) -> Any:
        self.notes.append(f"{self.name} before")
        return request_context

    async def after_model_request(self, ctx: Any, *, request_context: Any, response: Any) -> Any:
        self.notes.append(f"{self.name} after")
        return response

    async def wrap_tool_execute(self, ctx: Any, *, call: Any, tool_def: Any, args: Any, handler: Any) -> Any:
        self.notes.append(f"{self.name} tool")
        try:
            return f"{self.name}({await handler(args)})"
        finally:
            self.notes.append(f"{self.name} tool done")

    def get_wrapper_toolset(self, toolset: Any) -> Any:
        notes, name = self.notes, self.name

        class Named(WrapperToolset[Any]):
            async def call_tool(self, *args: Any) -> Any:
                notes.append(f"{name} set")
                return await super().call_tool(*args)

        return Named(toolset)


async def noted(capabilities: list[AbstractCapability[Any]], notes: list[str]) -> tuple[str, list[str]]:
    async def stream(messages: Any, info: Any) -> AsyncIterator[Any]:
        if len(messages) == 1:
            yield {0: DeltaToolCall(name="look", json_args="{}", tool_call_id="c")}
            return
        yield messages[-1].parts[0].content

    agent = Agent(Streaming(FunctionModel(stream_function=stream)), capabilities=capabilities)
    agent.tool_plain(name="look")(lambda: "it")
    return (await agent.run("q")).output, notes


async def test_they_do_the_same_in_the_same_order() -> None:
    apart: list[str] = []
    one: list[str] = []
    expected = await noted([Seen("a", apart), Seen("b", apart)], apart)
    assert await noted([Together(Seen("a", one), Seen("b", one))], one) == expected
    assert expected[0] == "a(b(it))" and expected[1][:2] == ["a before", "b before"]


async def test_control_another_order_is_seen() -> None:
    apart: list[str] = []
    one: list[str] = []
    expected = await noted([Seen("a", apart), Seen("b", apart)], apart)
    got = await noted([Together(Seen("b", one), Seen("a", one))], one)
    assert got != expected


def test_a_hook_that_would_not_be_called_is_refused() -> None:
    class Other(AbstractCapability[Any]):
        async def after_run(self, ctx: Any, *, result: Any) -> Any:
            return result

    with pytest.raises(TypeError, match="Other has after_run"):
        Together(Other())
