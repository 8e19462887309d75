"""Who listens hears every piece as it comes; who asked gets the whole response; what breaks or is cut off is not taken for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

from reconvene.agents.streaming import Streaming


@dataclass
class Ears:
    """A listener, and the dependencies that say so."""

    heard: list[str] = field(default_factory=list)
    cut: ModelResponse | None = None

    @property
    def listener(self) -> Ears:
        return self

    def piece(self, event: Any) -> None:
        if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
            self.heard.append(event.part.content)
        elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
            self.heard.append(event.delta.content_delta)

    def broken_off(self, said: ModelResponse) -> None:
        self.cut = said


def asked(stream: Any) -> Agent[Any, str]:
    agent: Agent[Any, str] = Agent(Streaming(FunctionModel(stream_function=stream)), deps_type=Ears)
    return agent


async def test_every_piece_is_heard_while_it_is_said_and_the_response_is_whole() -> None:
    ears, before = Ears(), []

    async def stream(messages: Any, info: Any) -> AsyncIterator[Any]:
        if len(messages) == 1:
            for piece in ("{", '"n"', ":3}"):
                yield {0: DeltaToolCall(name="twice" if piece == "{" else None, json_args=piece, tool_call_id="c")}
            return
        for word in ("one ", "two ", "three"):
            before.append("".join(ears.heard))
            yield word

    agent, calls = asked(stream), []

    @agent.tool_plain
    def twice(n: int) -> int:
        calls.append(n)
        return 2 * n

    result = await agent.run("q", deps=ears)
    assert (result.output, calls) == ("one two three", [3])
    assert "".join(ears.heard) == "one two three" and before == ["", "one ", "one two "]
    assert [m.state for m in result.all_messages() if isinstance(m, ModelResponse)] == ["complete", "complete"]


async def test_an_error_in_the_middle_is_an_error_after_what_came_before_it() -> None:
    async def stream(messages: Any, info: Any) -> AsyncIterator[Any]:
        yield "one "
        raise ConnectionError("gone")

    ears = Ears()
    with pytest.raises(ConnectionError, match="gone"):
        await asked(stream).run("q", deps=ears)
    assert ears.heard == ["one "] and ears.cut is None


async def cut_off() -> Ears:
    said = asyncio.Event()
    closed = asyncio.Event()

    async def stream(messages: Any, info: Any) -> AsyncIterator[Any]:
        try:
            yield "one "
            yield "two"
            said.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    ears = Ears()
    task = asyncio.create_task(asked(stream).run("q", deps=ears))
    await asyncio.wait_for(said.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()
    return ears


async def test_what_was_said_when_it_was_cancelled_is_told() -> None:
    ears = await cut_off()
    assert ears.cut is not None and ears.cut.text == "one two" and ears.cut.state == "incomplete"


async def test_control_one_who_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ears, "broken_off", lambda self, said: None)
    with pytest.raises(AssertionError):
        await test_what_was_said_when_it_was_cancelled_is_told()


async def test_it_streams_also_to_nobody() -> None:
    async def stream(messages: Any, info: Any) -> AsyncIterator[Any]:
        yield "answer"

    agent: Agent[None, str] = Agent(Streaming(FunctionModel(stream_function=stream)))
    assert (await agent.run("q")).output == "answer"
