"""Sub-agents as a part of their run: what they look up is recorded and shown under the call, what fails goes on from where it was."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from coding import update
from house import ME, House, check_log, contents
from reconvene.agents.edit_format import Edit, Replace, render
from reconvene.log.port import NewEvent
from reconvene.runs.branch import Branch
from scripted import turn_of

FILES = {"a.py": "one = 1\ntwo = 2\n"}
ANSWER = render([Edit("a.py", (Replace(("one = 1",), ("one = 11",)),))])


class Looking:
    """A coder that searches and reads before it answers, and a reviewer; `before(who, n)` is awaited before each response."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()
        self.before: Any = None
        self.between: Any = None

    @property
    def model(self) -> FunctionModel:
        return FunctionModel(stream_function=self._stream, model_name="scripted")

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        told = info.instructions or ""
        who = "coder" if "answer with edits" in told else "reviewer" if "You review" in told else "orchestrator"
        n = turn_of(messages)[1] if who == "orchestrator" else sum(isinstance(m, ModelResponse) for m in messages)
        self.asked[who, n] += 1
        if self.before:
            await self.before(who, n)
        coder: list[Any] = [
            [("search", {"query": "one"}), ("read_file", {"path": "a.py"})],
            [("read_file", {"path": "nowhere.py"})],
            ANSWER,
        ]
        steps: dict[str, list[Any]] = {
            "orchestrator": [update("x"), "done"],
            "coder": coder,
            "reviewer": ["APPROVE this change as it is"],
        }
        step = steps[who][n]
        if isinstance(step, str):
            for i in range(0, len(step), 9):
                yield step[i : i + 9]
                if self.between:
                    await self.between(who)
            return
        for i, (name, args) in enumerate(step):
            yield {i: DeltaToolCall(name=name, json_args=json.dumps(args), tool_call_id=f"call_{i}")}


@pytest.fixture
def looking() -> Looking:
    return Looking()


async def accept(house: House, session: str) -> list[Any]:
    rows = await house.until(session, lambda rows: contents(rows, "diff"))
    await house.sessions.decide(ME, session, id=None, reply_to=contents(rows, "diff")[0]["id"], verdict="accept")
    return await house.completed(session)


async def test_what_a_coder_looks_up_is_shown_under_its_call(tmp_path: Path, looking: Looking) -> None:
    house = await House.open(tmp_path, looking.model, files=dict(FILES))
    rows = await accept(house, await house.ask("q"))
    check_log(rows)
    [call] = [r for r in rows if r.type == "tool_call" and r.parent_id is None]
    nested = [(json.loads(r.content)["name"], r.parent_id) for r in rows if r.type == "tool_call" and r.parent_id]
    assert nested == [("search", call.item_id), ("read_file", call.item_id), ("read_file", call.item_id)]
    results = [r for r in rows if r.type == "tool_result" and r.parent_id == call.item_id]
    assert [json.loads(r.content)["ok"] for r in results] == [True, True, False]
    assert sum(r.type == "searched" for r in rows) == 1
    assert not [r for r in rows if r.type == "text" and "SEARCH" in r.content]
    usage = contents(rows, "usage")[-1]
    assert usage["requests"] == 5 and usage["tool_calls"] == 4
    await house.close()


@pytest.mark.parametrize("step", [0, 1, 2])
async def test_a_provider_that_fails_a_coder_is_asked_again_from_there(
    tmp_path: Path, looking: Looking, step: int
) -> None:
    failed = []

    async def before(who: str, n: int) -> None:
        if (who, n) == ("coder", step) and not failed:
            failed.append(n)
            raise ModelHTTPError(503, "scripted", {"message": "busy"})

    looking.before = before
    house = await House.open(tmp_path, looking.model, files=dict(FILES))
    rows = await accept(house, await house.ask("q"))
    check_log(rows)
    assert looking.asked == {("orchestrator", 0): 1, ("orchestrator", 1): 1} | {
        ("coder", n): 1 + (n == step) for n in range(3)
    }
    assert len(house.sleeps) == 1 and (house.folder / "project/a.py").read_text() == "one = 11\ntwo = 2\n"
    await house.close()


async def test_control_without_its_record_a_sub_agent_begins_anew(
    tmp_path: Path, looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Branch.kept

    def of_nobody(self: Branch, *of: Any) -> NewEvent:
        """Written, but not found again by whoever goes on."""
        row = kept(self, *of)
        return replace(row, content=row.content.replace(json.dumps(self.scope), '"nobody"', 1), key=uuid4().hex)

    monkeypatch.setattr(Branch, "kept", of_nobody)
    with pytest.raises(AssertionError):
        await test_a_provider_that_fails_a_coder_is_asked_again_from_there(tmp_path, looking, 2)


@pytest.mark.parametrize("at", range(6, 24, 3))
async def test_a_crash_while_a_coder_looks_repeats_nothing_it_had(tmp_path: Path, looking: Looking, at: int) -> None:
    house = await House.open(tmp_path, looking.model, files=dict(FILES))
    session = await house.ask("q")
    await house.until(session, lambda rows: len(rows) >= at)
    await house.crash()
    await house.reopen()
    rows = await accept(house, session)
    check_log(rows)
    assert sum(looking.asked.values()) <= 5 + 1
    assert sum(r.type in ("model", "sub_model") for r in rows) == 5 and sum(r.type == "tool_return" for r in rows) == 4
    await house.close()


@pytest.mark.parametrize("who", ["coder", "reviewer"])
async def test_stopped_while_a_sub_agent_speaks(tmp_path: Path, looking: Looking, who: str) -> None:
    speaking = asyncio.Event()

    async def between(now: str) -> None:
        if now == who:
            speaking.set()
            await asyncio.Event().wait()

    looking.between = between
    house = await House.open(tmp_path, looking.model, files=dict(FILES))
    session = await house.ask("q", turn={"review": True})
    async with asyncio.timeout(20):
        await speaking.wait()
    if who == "reviewer":  # what it said goes to the log in pieces; what a coder says does not
        await house.until(session, lambda rows: any(r.type == "text" for r in rows))
    await house.sessions.cancel(ME, session, id=None)
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["outcome"] == "cancelled"
    said = {r.item_id for r in rows if r.type == "text"}
    assert said == {r.item_id for r in rows if r.type in ("item_aborted", "message") and r.item_id in said}
    assert (house.folder / "project/a.py").read_text() == FILES["a.py"]
    await house.close()
