"""Several questions looked into at once: nested, bounded, and none of it twice after a crash at any row."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from house import ME, House, check_log, contents
from reconvene.config import Limits
from reconvene.log.port import Appended, NewEvent
from reconvene.runs.attempt import Attempt
from reconvene.runs.branch import Branch
from reconvene.runs.journal import Journal

FILES = {f"{n}.py": f"def {n}() -> int:\n    return {len(n)}\n" for n in ("alpha", "beta", "gamma")}
NAMES = tuple(n.removesuffix(".py") for n in FILES)
CALLS = {("orchestrator", 0): 1, ("orchestrator", 1): 1} | {(n, step): 1 for n in NAMES for step in range(3)}
"""Every model call that it takes, each once: each explorer searches, reads, answers."""


class Explorers:
    """An orchestrator that explores and answers with what it was told; `before(who, step)` is awaited before each response."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()
        self.before: Any = None
        self.endless: str | None = None
        self.at_once = 0

    @property
    def model(self) -> FunctionModel:
        return FunctionModel(stream_function=self._stream, model_name="scripted")

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        prompts = [
            str(p.content)
            for m in messages
            if isinstance(m, ModelRequest)
            for p in m.parts
            if isinstance(p, UserPromptPart)
        ]
        of_explorer = "look into one question" in (info.instructions or "")
        who = prompts[-1].split()[-1] if of_explorer else "orchestrator"
        n = sum(isinstance(m, ModelResponse) for m in messages)
        self.asked[who, n] += 1
        self.at_once += of_explorer
        try:
            if self.before:
                await self.before(who, n)
            await asyncio.sleep(0)
        finally:
            self.at_once -= of_explorer
        if who == self.endless and info.function_tools:
            calls: Any = [("search", {"query": f"{who} {n}"})]
        elif of_explorer:
            answer = f"{who} returns a number.\n\nSee {who}.py:1."
            calls = [[("search", {"query": f"def:{who}"})], [("read_file", {"path": f"{who}.py"})], answer][min(n, 2)]
        elif n == 0:
            calls = [("explore", {"questions": [f"What is {name}" for name in NAMES]})]
        else:
            content = getattr(messages[-1].parts[0], "content", None)
            told = json.loads(content) if isinstance(content, str) else content
            calls = " | ".join(str(f.get("findings") or f.get("error")).splitlines()[0] for f in told)
        if isinstance(calls, str):
            yield calls
            return
        for i, (name, args) in enumerate(calls):
            yield {i: DeltaToolCall(name=name, json_args=json.dumps(args), tool_call_id=f"call_{i}")}


ANSWER = "alpha returns a number. | beta returns a number. | gamma returns a number."


@pytest.fixture
def explorers() -> Explorers:
    return Explorers()


def at_once(rows: list[Any]) -> int:
    """How many explorers were open at the same time, at most."""
    now, most = set[str](), 0
    for r in rows:
        if r.type == "tool_call" and json.loads(r.content)["name"] == "explorer":
            now.add(r.item_id)
        elif r.type == "tool_result":
            now.discard(r.item_id)
        most = max(most, len(now))
    return most


def check(rows: list[Any], explorers: Explorers, *, more: int = 0) -> None:
    check_log(rows)
    assert contents(rows, "completed")[-1]["text"] == ANSWER
    assert sum(r.type in ("model", "sub_model") for r in rows) == len(CALLS)
    assert sum(explorers.asked.values()) <= len(CALLS) + more


@pytest.mark.parametrize("most", [1, 2, 4])
async def test_parts_are_looked_into_at_once_and_shown_nested(tmp_path: Path, explorers: Explorers, most: int) -> None:
    house = await House.open(tmp_path, explorers.model, files=dict(FILES), limits=Limits(explorers=most))
    rows = await house.completed(await house.ask("What are they?"))
    check(rows, explorers)
    assert explorers.asked == CALLS and at_once(rows) == min(most, 3)
    [explore] = [r for r in rows if r.type == "tool_call" and r.parent_id is None]
    nested = [r for r in rows if r.type == "tool_call" and r.parent_id == explore.item_id]
    assert [json.loads(r.content) for r in nested] == [
        {"id": f"{explore.item_id}.e{n}", "name": "explorer", "args": {"question": f"What is {name}"}}
        for n, name in enumerate(NAMES, 1)
    ]
    for r in nested:
        under = [json.loads(c.content)["name"] for c in rows if c.type == "tool_call" and c.parent_id == r.item_id]
        assert under == ["search", "read_file"]
        [result] = [json.loads(c.content) for c in rows if c.type == "tool_result" and c.item_id == r.item_id]
        assert result["ok"] and result["summary"].endswith("returns a number.")
    assert contents(rows, "usage")[-1]["requests"] == len(CALLS)
    assert not [r for r in rows if r.type in ("text", "message") and r.parent_id]
    await house.close()


@pytest.mark.parametrize("at", [pytest.param(n, marks=[pytest.mark.long] * (n % 8 != 3)) for n in range(6, 64)])
async def test_a_crash_at_any_row_repeats_no_finished_explorer(tmp_path: Path, explorers: Explorers, at: int) -> None:
    house = await House.open(tmp_path, explorers.model, files=dict(FILES))
    session = await house.ask("What are they?")
    await house.until(session, lambda rows: len(rows) >= at or contents(rows, "completed"))
    await house.crash()
    asked = Counter(explorers.asked)
    await house.load()
    finished = {r.key for r in await house.rows(session)}
    await house.supervisor.start()
    rows = await house.completed(session)
    check(rows, explorers, more=3)  # one in flight for each explorer
    again = {who for (who, _), n in explorers.asked.items() if n > asked[who, _]}
    assert not [n for n, name in enumerate(NAMES, 1) if f"once:r1:r1.0.0.e{n}.found" in finished and name in again]
    assert all(n == 1 for who_step, n in explorers.asked.items() if f"model:{who_step}" in finished)
    await house.close()


async def test_control_without_its_record_a_crash_begins_explorers_anew(
    tmp_path: Path, explorers: Explorers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forget(self: Journal, key: str, value: Any) -> None:
        self.once[key] = value

    kept = Branch.kept

    def of_nobody(self: Branch, *of: Any) -> NewEvent:
        """Written, but not found again by whoever goes on."""
        row = kept(self, *of)
        return replace(row, content=row.content.replace(json.dumps(self.scope), '"nobody"', 1), key=uuid4().hex)

    monkeypatch.setattr(Journal, "record_once", forget)
    monkeypatch.setattr(Branch, "kept", of_nobody)
    with pytest.raises(AssertionError, match=r"assert \d+ == \d+"):
        await test_a_crash_at_any_row_repeats_no_finished_explorer(tmp_path, explorers, 35)


@pytest.mark.parametrize("step", [0, 2])
async def test_a_provider_that_fails_one_costs_the_others_nothing(
    tmp_path: Path, explorers: Explorers, step: int
) -> None:
    failed = []

    async def before(who: str, n: int) -> None:
        if (who, n) == ("beta", step) and not failed:
            failed.append(n)
            raise ModelHTTPError(503, "scripted", {"message": "busy"})

    explorers.before = before
    house = await House.open(tmp_path, explorers.model, files=dict(FILES))
    rows = await house.completed(await house.ask("What are they?"))
    check(rows, explorers, more=3)
    assert len(house.sleeps) == 1
    await house.close()


async def test_a_write_that_was_stopped_halfway_is_known_to_the_next_attempt(
    tmp_path: Path, explorers: Explorers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An explorer's response is in the log, and its agent was stopped before it heard so."""
    monkeypatch.setattr("reconvene.runs.held.PATIENCE", 3600.0)
    landed = asyncio.Event()

    async def before(who: str, n: int) -> None:
        if (who, n) == ("alpha", 2) and explorers.asked["alpha", 2] == 1:
            await landed.wait()
            raise ModelHTTPError(503, "scripted", {"message": "busy"})

    explorers.before = before
    house = await House.open(tmp_path, explorers.model, files=dict(FILES))
    append = house.sessions.log.append

    async def appended(session_id: str, events: Sequence[NewEvent], **more: Any) -> Appended:
        done = await append(session_id, events, **more)
        if not landed.is_set() and any((e.key or "").endswith("model:r1.0.0.e2.1") for e in events):
            landed.set()
            await asyncio.Event().wait()
        return done

    monkeypatch.setattr(house.sessions.log, "append", appended)
    rows = await house.completed(await house.ask("What are they?"))
    assert landed.is_set()
    assert explorers.asked["beta", 1] == 1, "it was answered"
    calls, results = ([c["id"] for c in contents(rows, kind)] for kind in ("tool_call", "tool_result"))
    assert sorted(calls) == sorted(results), "each has a result, once"
    check_log(rows)
    assert contents(rows, "completed")[-1]["text"] == ANSWER
    await house.close()


async def test_control_an_attempt_that_goes_on_from_memory_asks_again(
    tmp_path: Path, explorers: Explorers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def remembered(_: Attempt, journal: Journal) -> Journal:
        return journal

    monkeypatch.setattr(Attempt, "_anew", remembered)
    with pytest.raises(AssertionError, match="it was answered"):
        await test_a_write_that_was_stopped_halfway_is_known_to_the_next_attempt(tmp_path, explorers, monkeypatch)


async def test_one_that_finds_no_end_is_made_to_answer(tmp_path: Path, explorers: Explorers) -> None:
    explorers.endless = "beta"
    house = await House.open(tmp_path, explorers.model, files=dict(FILES), limits=Limits(explorer_requests=6))
    rows = await house.completed(await house.ask("What are they?"))
    check_log(rows)
    assert contents(rows, "completed")[-1]["text"] == ANSWER and explorers.asked["beta", 5] == 1
    await house.close()


async def test_one_that_goes_round_in_circles_fails_alone(tmp_path: Path, explorers: Explorers) -> None:
    stream = explorers._stream

    async def same(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        async for piece in stream(messages, info):
            if isinstance(piece, dict) and "beta" in str(piece[0].json_args) and piece[0].name == "search":
                piece = {0: DeltaToolCall(name="search", json_args='{"query": "beta"}', tool_call_id="c")}
            yield piece

    explorers.endless = "beta"
    model = FunctionModel(stream_function=same, model_name="scripted")
    house = await House.open(tmp_path, model, files=dict(FILES), limits=Limits(explorer_requests=40))
    rows = await house.completed(await house.ask("What are they?"))
    check_log(rows)
    assert contents(rows, "completed")[-1]["text"] == ANSWER.replace(
        "beta returns a number.", "It was not finished: it went round in circles."
    )
    assert [c["ok"] for c in contents(rows, "tool_result") if c["id"].endswith(".e2")] == [False]
    await house.close()


async def test_stopped_while_they_look(tmp_path: Path, explorers: Explorers) -> None:
    looking = asyncio.Event()

    async def before(who: str, n: int) -> None:
        if who == "gamma" and n == 1:
            looking.set()
            await asyncio.Event().wait()

    explorers.before = before
    house = await House.open(tmp_path, explorers.model, files=dict(FILES))
    session = await house.ask("What are they?")
    await looking.wait()
    await house.sessions.cancel(ME, session, id=None)
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[-1]["outcome"] == "cancelled" and not explorers.at_once
    await house.close()
