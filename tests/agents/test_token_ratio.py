from __future__ import annotations

import contextlib
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import agent_fakes as fakes
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.usage import RequestUsage

from reconvene.agents import token_ratio as rules
from reconvene.agents.compaction import size
from reconvene.agents.orchestrator import build
from reconvene.agents.token_ratio import BEGIN, LEAST, MOST, TokenRatios


@pytest.mark.parametrize("true", [2.4, 3.3, 4.2])
def test_it_comes_near_to_what_the_provider_counts(true: float) -> None:
    rng = random.Random(7)
    ratios = TokenRatios()
    assert ratios.of("a:b") == BEGIN
    for _ in range(40):
        tokens = rng.randrange(500, 4000)
        ratios.learn("a:b", round(tokens * true * rng.uniform(0.8, 1.2)), tokens)
    assert ratios.of("a:b") == pytest.approx(true, abs=0.15)
    assert ratios.of("a:other") == BEGIN


def test_one_odd_figure_changes_little() -> None:
    ratios = TokenRatios()
    ratios.learn("m", 300 * 9, 300)
    assert ratios.of("m") <= BEGIN + 0.5


def test_a_new_tokenizer_under_an_old_name_is_noticed() -> None:
    ratios = TokenRatios()
    for _ in range(100):
        ratios.learn("m", 16_000, 4_000)
    for _ in range(200):
        ratios.learn("m", 10_000, 4_000)
    assert ratios.of("m") == pytest.approx(2.5, abs=0.2)


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9)), max_size=30))
def test_it_is_bounded_whatever_is_counted(figures: list[tuple[int, int]]) -> None:
    ratios = TokenRatios()
    for chars, tokens in figures:
        ratios.learn("m", chars, tokens)
    assert LEAST <= ratios.of("m") <= MOST


def test_it_is_kept(tmp_path: Path) -> None:
    file = tmp_path / rules.FILE
    ratios = TokenRatios(file)
    for _ in range(10):
        ratios.learn("m", 8_000, 2_000)
    ratios.keep()
    assert TokenRatios(file).of("m") == ratios.of("m") > BEGIN
    assert [f.name for f in tmp_path.iterdir()] == [rules.FILE]


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '{"m": 1}', '{"m": ["x", 2]}', '{"m": [NaN, 1]}', '{"m": [1e400, 1e400]}', "\xff"]
)
def test_a_file_that_cannot_be_used_is_a_fresh_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / rules.FILE
    file.write_text(text, "latin-1")
    assert TokenRatios(file).of("m") == BEGIN


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    ratios = TokenRatios(tmp_path / "nowhere" / rules.FILE)
    ratios.learn("m", 8_000, 2_000)
    ratios.keep()


def counting(true: float, system: str) -> FunctionModel:
    """A provider that counts `true` characters a token, and 5,000 tokens of instructions and schemas."""

    class Counting(FunctionModel):
        @property
        def system(self) -> str:
            return system

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        step = len(messages) // 2
        if step < 6:
            yield {0: DeltaToolCall(name="read_file", json_args=json.dumps({"path": "a.py", "start": 1 + 40 * step}))}
        else:
            yield "done"

    model = Counting(stream_function=stream, model_name="counting")
    real = model.request_stream

    @contextlib.asynccontextmanager
    async def request_stream(messages: list[ModelMessage], *args: Any, **more: Any) -> AsyncIterator[Any]:
        async with real(messages, *args, **more) as response:
            tokens = 5_000 + round(size(messages) / true)
            get = response.get
            response._usage = RequestUsage(input_tokens=tokens, output_tokens=9)
            response.get = lambda: _counted(get(), tokens)
            yield response

    model.request_stream = request_stream  # type: ignore[method-assign]
    return model


def _counted(response: Any, tokens: int) -> Any:
    response.usage = RequestUsage(input_tokens=tokens, output_tokens=9)
    response.finish_reason = "tool_call" if response.tool_calls else "stop"
    return response


@pytest.mark.parametrize(("system", "learned"), [("openai", True), ("function", False)])
async def test_a_run_learns_from_its_provider(tmp_path: Path, system: str, learned: bool) -> None:
    (tmp_path / "a.py").write_text("".join(f"value_{i} = {i} * {i}\n" for i in range(2000)))
    ratios = TokenRatios(tmp_path / rules.FILE)
    deps = fakes.deps_of(tmp_path, token_ratios=ratios)
    await fakes.drive(build(counting(4.0, system)), "q", deps)
    now = TokenRatios(tmp_path / rules.FILE).of(f"{system}:counting")
    assert (now == ratios.of(f"{system}:counting") > BEGIN + 0.4) is learned
