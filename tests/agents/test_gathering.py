"""Streams in larger pieces: nothing is lost, nothing waits, and what breaks breaks as it did."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import (
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPartDelta,
    ToolCallPartDelta,
)
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

from reconvene.agents import gathering
from reconvene.agents.gathering import Gathering, gathered, joined


def text(content: str, index: int = 0) -> PartDeltaEvent:
    return PartDeltaEvent(index=index, delta=TextPartDelta(content))


async def at_once(events: list[Any], error: BaseException | None = None) -> AsyncIterator[ModelResponseStreamEvent]:
    for event in events:
        yield event
    if error is not None:
        raise error


def rebuilt(events: list[Any]) -> list[tuple[Any, ...]]:
    """What the deltas say, whatever their pieces are."""
    said: list[list[Any]] = []
    for event in events:
        delta = getattr(event, "delta", None)
        kind = (
            event.index,
            type(delta),
            getattr(delta, "tool_call_id", None),
            getattr(delta, "provider_details", None),
        )
        content = getattr(delta, "content_delta", None) or getattr(delta, "args_delta", None) or ""
        if delta is not None and said and said[-1][0] == kind and isinstance(content, str):
            said[-1][1] += content
        else:
            said.append([kind, content if delta is not None else event])
    return [tuple(s) for s in said]


def test_deltas_of_one_part_become_one() -> None:
    events: list[Any] = [PartStartEvent(index=0, part=TextPart("a")), text("b"), text("c"), text("d", 1), text("e", 1)]
    made = joined(events)
    assert [getattr(e, "delta", None) and e.delta.content_delta for e in made] == [None, "bc", "de"]
    assert events[1].delta.content_delta == "b", "what came is not changed"


@pytest.mark.parametrize(
    "other",
    [
        PartDeltaEvent(index=0, delta=TextPartDelta("x", provider_details={"k": 1}, provider_name="p")),
        PartDeltaEvent(index=0, delta=TextPartDelta("x", citations_delta=[])),
        PartDeltaEvent(index=0, delta=ThinkingPartDelta(content_delta="x")),
        PartDeltaEvent(index=0, delta=ThinkingPartDelta(signature_delta="s")),
        PartDeltaEvent(index=0, delta=ToolCallPartDelta(tool_name_delta="x")),
        PartDeltaEvent(index=0, delta=ToolCallPartDelta(args_delta={"x": 1})),
        PartDeltaEvent(index=1, delta=TextPartDelta("x")),
    ],
)
def test_what_says_more_than_text_stays_as_it_is(other: PartDeltaEvent) -> None:
    made = joined([text("a"), text("b"), other, text("c"), text("d")])
    assert len(made) == 3 and made[1] is other
    assert [e.delta.content_delta for e in (made[0], made[2])] == ["ab", "cd"]  # type: ignore[union-attr]


def test_calls_of_one_response_do_not_run_together() -> None:
    def call(args: str, id: str) -> PartDeltaEvent:
        return PartDeltaEvent(index=0, delta=ToolCallPartDelta(args_delta=args, tool_call_id=id))

    made = joined([call("{", "a"), call("}", "a"), call("{}", "b")])
    assert [(e.delta.args_delta, e.delta.tool_call_id) for e in made] == [("{}", "a"), ("{}", "b")]  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_comes_and_however_the_same_is_said(seed: int) -> None:
    rng = random.Random(seed)

    def one() -> Any:
        index = rng.randrange(2)
        return rng.choice(
            [
                text(rng.choice("abc"), index),
                PartDeltaEvent(index=index, delta=ThinkingPartDelta(content_delta="t")),
                PartDeltaEvent(index=index, delta=ToolCallPartDelta(args_delta="x", tool_call_id=rng.choice("ij"))),
                PartStartEvent(index=index, part=TextPart("s")),
            ]
        )

    events = [one() for _ in range(600)]

    async def source() -> AsyncIterator[ModelResponseStreamEvent]:
        for event in events:
            if rng.random() < 0.2:
                await asyncio.sleep(0)
            yield event

    got = [event async for event in gathered(source())]
    assert rebuilt(got) == rebuilt(events) and len(got) < len(events)


async def test_what_comes_alone_is_handed_on_alone_and_at_once() -> None:
    go = asyncio.Event()

    async def source() -> AsyncIterator[ModelResponseStreamEvent]:
        yield text("a")
        await go.wait()
        yield text("b")

    events = gathered(source())
    first = await asyncio.wait_for(anext(events), 10)
    go.set()
    assert [first, *[e async for e in events]] == [text("a"), text("b")]


async def test_an_error_comes_after_what_came_before_it() -> None:
    got = []
    with pytest.raises(ConnectionError, match="gone"):
        async for event in gathered(at_once([text("a"), text("b")], ConnectionError("gone"))):
            got.append(event)
    assert rebuilt(got) == rebuilt([text("ab")])


async def test_who_leaves_early_leaves_nothing_behind() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[ModelResponseStreamEvent]:
        try:
            yield text("a")
            await asyncio.Event().wait()
        finally:
            closed.set()

    events = gathered(source())
    await anext(events)
    await events.aclose()  # type: ignore[attr-defined]
    assert closed.is_set() and not [t for t in asyncio.all_tasks() if t.get_name() == "model stream"]


async def test_a_source_that_never_pauses_does_not_run_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "AHEAD", 10)
    made = 0

    async def source() -> AsyncIterator[ModelResponseStreamEvent]:
        nonlocal made
        while True:
            made += 1
            yield text("a")

    events = gathered(source())
    await anext(events)
    for _ in range(50):
        await asyncio.sleep(0)
    assert made <= 2 * 10 + 1
    await events.aclose()  # type: ignore[attr-defined]


async def test_an_agent_hears_the_same_in_fewer_pieces() -> None:
    async def stream(messages: Any, info: Any) -> AsyncIterator[Any]:
        if len(messages) == 1:
            for piece in ("{", '"n"', ":", "3", "}"):
                yield {0: DeltaToolCall(name="twice" if piece == "{" else None, json_args=piece, tool_call_id="c")}
            return
        for n in range(100):
            yield f"w{n} "

    async def asked(model: Any) -> tuple[str, Any, int]:
        agent, calls, pieces = Agent(model), [], 0

        @agent.tool_plain
        def twice(n: int) -> int:
            calls.append(n)
            return 2 * n

        async with agent.run_stream_events("q") as events:
            async for event in events:
                pieces += isinstance(event, PartDeltaEvent)
                last = event
        return last.result.output, calls, pieces  # type: ignore[union-attr]

    plain, fewer = (
        await asked(FunctionModel(stream_function=stream)),
        await asked(Gathering(FunctionModel(stream_function=stream))),
    )
    assert fewer[:2] == plain[:2] == ("".join(f"w{n} " for n in range(100)), [3])
    assert fewer[2] < plain[2] / 2
