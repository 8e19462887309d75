"""The overview that runs are told: one text for a session, as long as the code base is nearly what it was; one for all lives of a run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel

import reconvene.repomap.standing as rules
from house import ME, House, check_log, contents
from reconvene.repomap.standing import Standing
from scripted import scripted

MANY = {
    f"src/m{i}.py": f"class Wheel{i}:\n    def turn(self):\n        return Wheel{(i + 1) % 100}\n" for i in range(100)
}


class Told:
    """A model that keeps what maps it was told; `hold` makes it wait before it answers."""

    def __init__(self) -> None:
        self.maps: list[str] = []
        self.go = asyncio.Event()
        self.go.set()

    def model(self) -> FunctionModel:
        async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
            self.maps.append((info.instructions or "").split("<repo-map>")[1].split("</repo-map>")[0])
            await self.go.wait()
            yield "done"

        return FunctionModel(stream_function=stream)


@pytest.fixture(autouse=True)
def _waits_for_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt goes on without it on a busy machine."""
    monkeypatch.setattr("reconvene.runs.deps.INDEX_PATIENCE", 60.0)


def edit(house: House, *names: str) -> None:
    for name in names:
        (house.folder / "project" / name).write_text(f"class Other:\n    pass  # {name}\n")


async def run(house: House, session: str | None, runs: int) -> str:
    session = await house.ask(f"prompt {runs}", session)
    check_log(await house.completed(session, runs=runs))
    return session


async def test_it_stays_the_same_while_little_changes(tmp_path: Path) -> None:
    told = Told()
    house = await House.open(tmp_path, told.model(), files=MANY)
    await (await house.indexes.get(house.workspace)).refresh()
    session = await run(house, None, 1)
    edit(house, "src/m10.py", "src/m11.py")  # 2 of 100
    await run(house, session, 2)
    await house.restart()
    await run(house, session, 3)
    assert told.maps[0] == told.maps[1] == told.maps[2]
    rows = await house.rows(session)
    assert [m["reused"] for m in contents(rows, "repo_map")][1:] == [True, True]
    assert len({m["fingerprint"] for m in contents(rows, "repo_map")}) == 1
    edit(house, "src/m12.py")
    await run(house, session, 4)
    assert told.maps[3] != told.maps[2]
    fresh = await run(house, None, 1)
    assert fresh != session and told.maps[4] == told.maps[3], "made once for both"
    assert sum(row.type == "overview" for row in await house.rows(session)) == 2
    await house.close()


async def test_control_without_the_share_each_edit_changes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "SHARE", 0.0)
    told = Told()
    house = await House.open(tmp_path, told.model(), files=MANY)
    await (await house.indexes.get(house.workspace)).refresh()
    session = await run(house, None, 1)
    edit(house, *list(MANY)[10:12])
    await run(house, session, 2)
    assert told.maps[0] != told.maps[1]
    await house.close()


async def test_a_recovered_run_is_told_what_it_was_told_before(tmp_path: Path) -> None:
    told = Told()
    told.go.clear()
    house = await House.open(tmp_path, told.model(), files=MANY)
    await (await house.indexes.get(house.workspace)).refresh()
    session = await house.ask("go on")
    async with asyncio.timeout(20):
        while not told.maps:
            await asyncio.sleep(0.01)
    edit(house, *list(MANY)[10:40])
    house.supervisor.around.token_ratios.learn("function:function", 20_000, 10_000)
    await house.crash()
    told.go.set()
    await house.reopen()
    rows = await house.completed(session)
    check_log(rows)
    assert len(told.maps) == 2 and told.maps[0] == told.maps[1]
    assert len(contents(rows, "repo_map")) == 1
    await house.ask("and now", session)
    await house.completed(session, runs=2)
    assert told.maps[2] != told.maps[1], "the next run sees the code base as it is"
    await house.close()


async def test_one_made_from_a_part_is_made_again(tmp_path: Path) -> None:
    index_standing = Standing("so far", 2, "f", 3, 0, whole=False)
    told = Told()
    house = await House.open(tmp_path, told.model(), files=MANY)
    index = await house.indexes.get(house.workspace)
    await index.refresh()
    now, made = await rules.standing(index, index_standing, chars_per_token=3.0)
    assert made is not None and now.whole and now.text != "so far"
    assert Standing.from_json(now.to_json()) == now
    assert len(now.text) <= rules.TOKENS * 3.0 and now.tokens <= rules.TOKENS
    await house.close()


@pytest.mark.parametrize("row", ["", "[]", "null", "{}", '{"recipe": 0, "text": "x"}', '{"recipe": 1, "text": "x"}'])
def test_what_another_version_wrote_is_left_aside(row: str) -> None:
    assert Standing.from_json(row) is None


async def test_a_fork_knows_the_searches_and_the_overview(tmp_path: Path) -> None:
    house = await House.open(tmp_path, scripted([[("search", {"query": "wheel turn"})], "ok"]), files=MANY)
    await (await house.indexes.get(house.workspace)).refresh()
    session = await run(house, None, 1)
    fork = (await house.sessions.fork(ME, session, upto=None, id="f1")).id
    await house.ask("again", fork)
    rows = await house.completed(fork, runs=2)
    assert [r["cache"] for r in contents(rows, "tool_result")] == ["fresh", "cached"]
    assert [m["reused"] for m in contents(rows, "repo_map")] == [False, True]
    await house.close()


async def test_the_tools_that_map_are_durable(tmp_path: Path) -> None:
    steps = [[("repo_map", {"query": "wheel"}), ("symbol", {"name": "Wheel1"})], "ok"]
    house = await House.open(tmp_path, scripted(steps), files=MANY)
    await (await house.indexes.get(house.workspace)).refresh()
    session = await run(house, None, 1)
    rows = await house.rows(session)
    results = contents(rows, "tool_result")
    assert all(r["ok"] and r["places"] for r in results)
    assert results[0]["places"][0].keys() == {"path", "start", "end", "symbol", "kind", "why"}
    kept = [json.loads(r.content)["value"] for r in rows if r.type == "tool_return"]
    assert len(kept) == 2 and all(isinstance(text, str) for text in kept)
    await house.close()
