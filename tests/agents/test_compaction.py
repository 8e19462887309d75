"""Long conversations fit the model: what is sent is shortened, what is kept is not, and every call keeps its answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestContext, ModelRequestParameters
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RequestUsage

from reconvene.agents.compaction import FULL, KEPT_STEPS, ROOMY, Compaction, context_limit, ratio, size
from reconvene.config import Limits


def turn(number: int, steps: int, chars: int, *, tokens: int = 0) -> list[ModelMessage]:
    """A prompt, some steps with one call each, and an answer."""
    made: list[ModelMessage] = [ModelRequest(parts=[UserPromptPart(f"question {number}")])]
    for step in range(steps):
        call = f"c{number}.{step}"
        made.append(
            ModelResponse(
                parts=[ToolCallPart("read_file", {"path": call}, call)], usage=RequestUsage(input_tokens=tokens)
            )
        )
        made.append(ModelRequest(parts=[ToolReturnPart("read_file", "x" * chars, call)]))
    made.append(ModelResponse(parts=[TextPart(f"answer {number}")]))
    return made


async def sent(compaction: Compaction, messages: list[ModelMessage], limit: int = 10_000) -> list[ModelMessage]:
    ctx: Any = SimpleNamespace(messages=messages, deps=SimpleNamespace(limits=Limits(context=limit)))
    asked = ModelRequestContext(
        model=TestModel(),
        messages=list(messages),
        model_settings=None,
        model_request_parameters=ModelRequestParameters(),
    )
    return (await compaction.before_model_request(ctx, asked)).messages


def sound(messages: list[ModelMessage]) -> None:
    """Every call has its result right after it, and every result its call: providers refuse anything else."""
    for i, message in enumerate(messages):
        if isinstance(message, ModelResponse):
            calls = {p.tool_call_id for p in message.parts if isinstance(p, ToolCallPart)}
            following = messages[i + 1].parts if i + 1 < len(messages) else []
            assert calls == {p.tool_call_id for p in following if isinstance(p, ToolReturnPart)}
        assert message.parts


async def test_a_short_conversation_is_sent_as_it_is() -> None:
    messages = turn(1, 3, 500)[:-1]
    assert await sent(Compaction(), messages) == messages


async def test_old_results_go_first_and_the_newest_stay() -> None:
    messages = turn(1, 12, 3_000)[:-1]
    got = await sent(Compaction(), messages)
    results = [p.content for m in got for p in m.parts if isinstance(p, ToolReturnPart)]
    assert size(got) / 3.0 <= 10_000 * ROOMY
    assert "left out" in results[0] and "read_file again" in results[0]
    assert all(text == "x" * 3_000 for text in results[-KEPT_STEPS:])
    # What is kept was not touched.
    assert all(p.content == "x" * 3_000 for m in messages for p in m.parts if isinstance(p, ToolReturnPart))
    sound(got)


async def test_what_was_left_out_stays_out_so_that_caches_hold() -> None:
    compaction = Compaction()
    messages = turn(1, 12, 3_000)[:-1]
    before = await sent(compaction, messages)
    call = ModelResponse(parts=[ToolCallPart("read_file", {"path": "more"}, "more")])
    after = await sent(
        compaction, [*messages, call, ModelRequest(parts=[ToolReturnPart("read_file", "short", "more")])]
    )
    assert after[: len(before)] == before


async def test_earlier_turns_shrink_to_what_was_said() -> None:
    messages = [m for n in range(8) for m in turn(n, 6, 350)] + [ModelRequest(parts=[UserPromptPart("now")])]
    got = await sent(Compaction(), messages, limit=2_000)
    texts = [p.content for m in got for p in m.parts if isinstance(p, UserPromptPart | TextPart)]
    assert texts[0] == "question 0" and texts[-1] == "now" and "answer 0" in texts
    assert size(got) / 3.0 <= 2_000 * FULL
    sound(got)


async def test_when_nothing_else_helps_the_newest_results_are_cut_in_the_middle() -> None:
    messages = turn(1, 2, 60_000)[:-1]
    got = await sent(Compaction(), messages)
    results = [str(p.content) for m in got for p in m.parts if isinstance(p, ToolReturnPart)]
    assert all(len(text) < 4_200 and text.startswith("xxx") and text.endswith("xxx") for text in results)
    sound(got)


async def test_control_without_it_the_context_overflows() -> None:
    messages = turn(1, 12, 3_000)[:-1]
    assert size(messages) / 3.0 > 10_000


async def test_the_providers_own_count_decides() -> None:
    dense = turn(1, 6, 3_000, tokens=12_000)[:-1]  # 18,000 characters that the provider counts as 12,000 tokens
    assert ratio(dense) == 1.5
    assert size(await sent(Compaction(), dense)) < size(dense)
    plain = turn(1, 6, 3_000)[:-1]
    assert await sent(Compaction(), plain) == plain


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9_000)), min_size=1, max_size=8), st.integers(300, 20_000))
async def test_whatever_the_conversation_calls_and_results_stay_together(
    shape: list[tuple[int, int]], limit: int
) -> None:
    messages = [m for n, (steps, chars) in enumerate(shape) for m in turn(n, steps, chars)]
    messages.append(ModelRequest(parts=[UserPromptPart("now")]))
    compaction = Compaction()
    for upto in range(len(messages)):
        if isinstance(messages[upto], ModelRequest):
            got = await sent(compaction, messages[: upto + 1], limit)
            sound(got)
            assert size(got) <= size(messages[: upto + 1]) + 200 * len(messages)
            asked = [p.content for m in messages[: upto + 1] for p in m.parts if isinstance(p, UserPromptPart)]
            assert [p.content for m in got for p in m.parts if isinstance(p, UserPromptPart)] == asked


@pytest.mark.parametrize(
    ("name", "system", "limit"), [("claude-sonnet-4-5", "anthropic", 200_000), ("my-own", "ollama", 7_777)]
)
def test_a_models_size_is_known_or_set(name: str, system: str, limit: int) -> None:
    model: Any = SimpleNamespace(model_name=name, system=system, base_url=None)
    assert context_limit(model, 7_777) == limit
