"""The tools that show what is where, on a real index."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import agent_fakes as fakes
import pytest

from codebase import CodeBase
from reconvene.agents.durable import AgentDeps, ToolOutcome
from reconvene.agents.orchestrator import build
from reconvene.index import RootIndex
from reconvene.index.workers import Workers

SECRET = "ghp_" + "a1" * 18


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    made = Workers(1)
    yield made
    made.close()


@pytest.fixture
async def index(tmp_path: Path, workers: Workers) -> AsyncIterator[RootIndex]:
    code = CodeBase(tmp_path)
    for i in range(40):
        code.write(f"many/m{i}.py", f"class Wheel{i}:\n    def turn_{i}(self, spoke):\n        pass\n")
    code.write("secret.py", f'def wheel_token(value="{SECRET}"):\n    pass\n')
    made = await code.index(workers)
    yield made
    await made.close()


async def use(index: RootIndex, *steps: tuple[str, Any], **deps: Any) -> tuple[list[ToolOutcome], list[Any], AgentDeps]:
    unwrap = fakes.Unwrap()
    given = fakes.deps_of(Path(index.workspace.root), index=index, **deps)
    result = await fakes.drive(build(fakes.scripted(*[[step] for step in steps], "done")), "q", given, unwrap=unwrap)
    return [outcome for _, outcome in unwrap.outcomes], fakes.returns(result.all_messages()), given


async def test_a_map_of_a_question_with_rows_for_the_page(index: RootIndex) -> None:
    (outcome,), (got,), _ = await use(index, ("repo_map", {"query": "expire old carts"}))
    assert got.startswith("shop/cart.py (definitions, file name)\n  24 def expire_old_carts(carts, now)\n")
    assert outcome.summary.startswith('"expire old carts": ')
    assert outcome.places is not None
    assert outcome.places[0] == {
        "path": "shop/cart.py", "start": 24, "end": 24, "symbol": "expire_old_carts", "kind": "function", "why": "definitions, file name",
    }  # fmt: skip


async def test_a_map_goes_on_by_its_cursor(index: RootIndex) -> None:
    asked = {"query": "wheel turn", "budget": 200}
    _, (first,), _ = await use(index, ("repo_map", asked))
    cursor = first.rsplit('cursor="', 1)[1].split('"')[0]
    _, (second,), _ = await use(index, ("repo_map", asked | {"cursor": cursor}))
    files = [{line.split(" ")[0] for line in text.split("\n") if line.startswith("many/")} for text in (first, second)]
    assert files[0] and files[1] and files[0].isdisjoint(files[1])
    (refused,), (wrong,), _ = await use(index, ("repo_map", {"query": "cart", "cursor": cursor}))
    assert not refused.ok and wrong["error"]["code"] == "invalid_field"


async def test_the_budget_is_in_the_tokens_of_the_model(index: RootIndex) -> None:
    asked = ("repo_map", {"query": "wheel turn", "budget": 300})
    sizes = [len((await use(index, asked, chars_per_token=ratio))[1][0].split("\n\n")[0]) for ratio in (2.0, 4.0)]
    assert sizes[0] <= 600 < sizes[1] <= 1200


async def test_an_overview_and_a_focus(index: RootIndex) -> None:
    _, (overview,), _ = await use(index, ("repo_map", {}))
    assert overview.startswith("49 files: ")
    _, (focused,), _ = await use(index, ("repo_map", {"focus": ["shop/"]}))
    assert "many/" not in focused and "shop/money.py" in focused
    (nothing,), (said,), _ = await use(index, ("repo_map", {"query": "xylophone"}))
    assert nothing.ok and said.startswith("Nothing in the code base matches")


async def test_a_symbol_with_its_places(index: RootIndex) -> None:
    (outcome,), (got,), deps = await use(index, ("symbol", {"name": "Money"}))
    assert got.startswith("`Money` is defined in 1 place and used in 2 files.\n\n## shop/money.py:6-")
    assert "\n\nUsed:\n\n## shop/" in got and "3| from shop.money import Money" in got
    assert re.search(r"^\d+\| .*Money.*  \(in \w+(\.\w+)*\)$", got, re.M), "who uses it is told, too"
    assert outcome.summary == "Money: 1 definition, used in 2 files"
    assert outcome.places is not None
    assert {p["why"] for p in outcome.places} == {"defines it", "uses it"}
    assert deps.seen == ["shop/money.py"]
    (nothing,), (said,), _ = await use(index, ("symbol", {"name": "Xylophone"}))
    assert nothing.ok and said.startswith("Nothing is called `Xylophone`")


@pytest.mark.parametrize(
    "call",
    [("repo_map", {"query": "wheel token"}), ("repo_map", {}), ("symbol", {"name": "wheel_token"})],
    ids=["bad91-map", "bad91-overview", "bad91-symbol"],
)
async def test_no_secret_is_shown(index: RootIndex, call: tuple[str, Any]) -> None:
    (outcome,), (got,), _ = await use(index, call)
    assert SECRET not in got and SECRET not in str(outcome.places)
    assert "[redacted]" in got or call[1] == {}


@pytest.mark.parametrize(
    "call",
    [("repo_map", {"query": "path:src"}), ("symbol", {"name": "a b"}), ("search", {"query": "cart", "cursor": "x"})],
)
async def test_what_cannot_be_done_is_told_to_the_model(index: RootIndex, call: tuple[str, Any]) -> None:
    (outcome,), (got,), _ = await use(index, call)
    assert (outcome.ok, got["error"]["code"], outcome.events) == (False, "invalid_field", ())


async def test_search_goes_on_by_its_cursor(index: RootIndex) -> None:
    _, (first,), deps = await use(index, ("search", {"query": "wheel turn", "limit": 3}))
    cursor = first.rsplit('cursor="', 1)[1].split('"')[0]
    call = ("search", {"query": "wheel turn", "limit": 3, "cursor": cursor})
    (outcome,), (second,), _ = await use(index, call, context=deps.context)
    heads = [[line for line in text.split("\n") if line.startswith("## ")] for text in (first, second)]
    assert len(heads[0]) == len(heads[1]) == 3 and set(heads[0]).isdisjoint(heads[1])
    assert outcome.private and "first page again" not in second
    (cached,), _, _ = await use(index, call, context=deps.context)
    assert cached.cache == "cached"
