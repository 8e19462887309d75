"""`AGENTS.md` in a run: a step of its own when it is new, told from the request on in which its folder is worked in, after a crash too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from house import House, check_log, contents

FILES = {"AGENTS.md": "Root rule.\n", "web/AGENTS.md": "Web rule.\n", "web/a.ts": "let one = 1\n", "b.py": "two = 2\n"}


class Told:
    """A model that reads `b.py`, then `a.ts` by its bare name, then answers; `told[n]` are the instructions of its n-th request.
    `stands`: the request that it never answers, the first time it comes."""

    def __init__(self, stands: int | None = None) -> None:
        self.told: list[tuple[int, str]] = []
        self.asked, self._stands = asyncio.Event(), stands

    @property
    def model(self) -> FunctionModel:
        return FunctionModel(stream_function=self._stream, model_name="scripted")

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        n = sum(isinstance(m, ModelResponse) for m in messages)
        self.told.append((n, info.instructions or ""))
        if n == self._stands:
            self._stands = None
            self.asked.set()
            await asyncio.Event().wait()
        if n in (0, 1):
            args = json.dumps({"path": ("b.py", "a.ts")[n]})
            yield {0: DeltaToolCall(name="read_file", json_args=args, tool_call_id="c")}
        else:
            yield "done"


def steps(rows: list[Any]) -> list[str]:
    return [c["args"]["path"] for c in contents(rows, "tool_call") if c["name"] == "project_notes"]


async def test_a_folders_notes_are_told_once_it_is_worked_in(tmp_path: Path) -> None:
    told = Told()
    house = await House.open(tmp_path, told.model, files=dict(FILES))
    session = await house.ask("q")
    rows = await house.completed(session)
    check_log(rows)
    assert [(n, "Root rule." in t, "Web rule." in t) for n, t in told.told] == [
        (0, True, False), (1, True, False), (2, True, True),
    ]  # fmt: skip
    assert steps(rows) == ["AGENTS.md", "web/AGENTS.md"]
    (tmp_path / "project/web/AGENTS.md").write_text("Another web rule.\n")
    await house.ask("q2", session)  # the conversation still has the file that was read
    rows = await house.completed(session, 2)
    assert steps(rows) == ["AGENTS.md", "web/AGENTS.md", "web/AGENTS.md"]
    assert "Another web rule." in told.told[-1][1] and "Root rule." in told.told[-1][1]
    await house.close()


@pytest.mark.parametrize("at", [pytest.param(n, marks=[pytest.mark.long] * (n % 6 != 4)) for n in range(5, 29)])
async def test_a_crash_at_any_row_tells_and_shows_the_same(tmp_path: Path, at: int) -> None:
    told = Told()
    house = await House.open(tmp_path, told.model, files=dict(FILES))
    session = await house.ask("q")
    await house.until(session, lambda rows: len(rows) >= at or contents(rows, "completed"))
    await house.restart()
    rows = await house.completed(session)
    check_log(rows)
    assert steps(rows) == ["AGENTS.md", "web/AGENTS.md"]
    assert all(("Web rule." in t) == (n == 2) and "Root rule." in t for n, t in told.told)
    await house.close()


@pytest.mark.parametrize("request_", [1, 2])
async def test_a_restart_while_the_model_thinks_of_a_recorded_result(tmp_path: Path, request_: int) -> None:
    told = Told(stands=request_)
    house = await House.open(tmp_path, told.model, files=dict(FILES))
    session = await house.ask("q")
    await asyncio.wait_for(told.asked.wait(), 60)
    await house.restart()
    rows = await house.completed(session)
    check_log(rows)
    assert steps(rows) == ["AGENTS.md", "web/AGENTS.md"]
    assert [(n, "Web rule." in t) for n, t in told.told] == sorted(
        [(0, False), (1, False), (2, True), (request_, request_ == 2)]
    )
    await house.close()


async def test_control_without_what_a_recorded_result_had_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.runs.durability.touched", lambda messages: [])
    with pytest.raises(AssertionError):
        await test_a_restart_while_the_model_thinks_of_a_recorded_result(tmp_path, 2)


async def test_control_without_what_earlier_runs_had_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.runs.attempt.touched", lambda messages: [])
    with pytest.raises(AssertionError):
        await test_a_folders_notes_are_told_once_it_is_worked_in(tmp_path)
