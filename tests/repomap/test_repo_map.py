from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

import reconvene.repomap.map as maps
from codebase import FILES, CodeBase
from reconvene.errors import ReconveneError
from reconvene.index import RootIndex
from reconvene.index.workers import Workers
from reconvene.repomap import RepoMap, repo_map


@pytest.fixture
async def index(code: CodeBase, workers: Workers) -> AsyncIterator[RootIndex]:
    made = await code.index(workers)
    yield made
    await made.close()


def files(found: RepoMap) -> list[str]:
    return list(dict.fromkeys(row.path for row in found.rows))


async def test_an_overview_tells_size_folders_and_the_most_used_definitions(index: RootIndex) -> None:
    found = await repo_map(index)
    assert found.text.startswith(f"{len(FILES)} files: python 5, markdown 2, javascript 1\n")
    assert "shop/ 4" in found.text
    assert "README.md" in found.text
    assert {"Cart", "Money", "SessionStore"} <= {row.name for row in found.rows}
    assert (found.files, found.symbols) == (index.files, index.symbols)
    assert found.tokens == -(-len(found.text) // 4)


async def test_every_row_is_where_it_says(index: RootIndex, code: CodeBase) -> None:
    for found in (await repo_map(index), await repo_map(index, query="cart total")):
        assert found.rows
        for row in found.rows:
            line = (code.root / row.path).read_text().split("\n")[row.line - 1]
            assert row.name.rpartition(".")[2] in line or row.kind == "file"
            assert f"  {row.line} " in found.text or row.kind == "file"
            assert 0 < row.score <= 1 and row.why


async def test_a_query_map_is_in_rank_order_with_two_definitions_a_file(index: RootIndex) -> None:
    found = await repo_map(index, query="expire old carts")
    assert files(found)[0] == "shop/cart.py"
    assert found.rows[0].name == "expire_old_carts"
    scores = [row.score for row in found.rows]
    assert scores == sorted(scores, reverse=True)
    assert all(sum(row.path == path for row in found.rows) <= 2 for path in files(found))
    assert re.match(r"shop/cart\.py:\n  24 def expire_old_carts\(carts, now\)\n", found.text)


@pytest.mark.parametrize("tokens", [64, 100, 300, 1024])
async def test_the_budget_is_kept_and_used(index: RootIndex, code: CodeBase, tokens: int) -> None:
    for i in range(80):
        code.write(
            f"many/module_{i}.py", f"class Zebra{i}:\n    def cart_{i}(self):\n        return Zebra{(i + 1) % 80}\n"
        )
    await index.refresh()
    for query in (None, "cart zebra"):
        found = await repo_map(index, query=query, tokens=tokens)
        assert len(found.text) <= tokens * 4
        assert found.tokens > tokens * 0.6


async def test_it_is_made_once_and_shared(index: RootIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    real = maps._made

    def counted(*args: object) -> RepoMap:
        nonlocal made
        made += 1
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(maps, "_made", counted)
    found = await asyncio.gather(*(repo_map(index) for _ in range(50)))
    assert made == 1
    assert len({f.fingerprint for f in found}) == 1
    assert sorted(f.reused for f in found) == [False] + [True] * 49
    assert all((f.built_ms == 0) == f.reused for f in found)
    await repo_map(index, query="cart")
    again = await repo_map(index, query="  cart ")
    assert (made, again.reused) == (2, True)


async def test_it_is_not_made_again_after_a_restart(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await code.index(workers)
    first = await repo_map(index)
    await index.close()
    monkeypatch.setattr(maps, "_overview", None)
    index = await code.index(workers)
    again = await repo_map(index)
    assert (again.reused, again.built_ms) == (True, 0)
    assert (again.text, again.rows, again.fingerprint) == (first.text, first.rows, first.fingerprint)
    await index.close()


async def test_a_change_gives_a_new_map(index: RootIndex, code: CodeBase) -> None:
    first = await repo_map(index)
    code.write("shop/wheel.py", "class Wheel:\n    pass\n")
    await index.refresh()
    second = await repo_map(index)
    assert not second.reused
    assert second.fingerprint != first.fingerprint
    code.remove("shop/wheel.py")
    await index.refresh()
    assert (await repo_map(index)).fingerprint == first.fingerprint


async def test_a_failure_is_not_kept(index: RootIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(maps, "_overview", None)
        with pytest.raises(TypeError):
            await repo_map(index)
    assert (await repo_map(index)).text


async def test_focus_on_a_file_a_folder_and_words(index: RootIndex) -> None:
    assert files(await repo_map(index, focus=["shop/money.py"]))[0] == "shop/money.py"
    assert {path.split("/")[0] for path in files(await repo_map(index, focus=["shop/"]))} == {"shop"}
    assert files(await repo_map(index, focus=["session store"]))[0] == "shop/session_store.py"
    assert files(await repo_map(index, query="cart", focus=["web"])) == ["web/app.js"]


async def test_files_like_those_seen_rise(index: RootIndex, code: CodeBase) -> None:
    for name in ("alpha", "beta"):
        code.write(f"{name}/one.py", f"def cart_{name}(wheel_{name}):\n    return wheel_{name} + spoke_{name}\n")
        code.write(f"{name}/two.py", f"def other_{name}(wheel_{name}, cart):\n    return spoke_{name}\n")
    await index.refresh()
    for name, other in (("alpha", "beta"), ("beta", "alpha")):
        order = files(await repo_map(index, query="cart other", seen=[f"{name}/one.py"]))
        assert order.index(f"{name}/two.py") < order.index(f"{other}/two.py")


async def test_a_map_while_the_index_is_built_says_so(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers, fresh=False)
    assert "so far (still being read)" in (await repo_map(index)).text
    await index.refresh()
    found = await repo_map(index)
    assert "so far" not in found.text and not found.reused
    await index.close()


@pytest.mark.parametrize("tokens", [0, 63, 32_001])
async def test_a_budget_out_of_range(index: RootIndex, tokens: int) -> None:
    with pytest.raises(ReconveneError) as e:
        await repo_map(index, tokens=tokens)
    assert e.value.code == "invalid_field"


async def test_a_query_with_filters_and_one_that_finds_nothing(index: RootIndex) -> None:
    assert files(await repo_map(index, query="cart lang:js")) == ["web/app.js"]
    assert (await repo_map(index, query="xylophone")).rows == ()


@pytest.mark.parametrize("name", ["a\u202eb.py"], ids=["bad83-bidi"])
async def test_odd_names_are_escaped(code: CodeBase, workers: Workers, name: str) -> None:
    code.write(name, "class Zebra:\n    pass\n")
    index = await code.index(workers)
    found = await repo_map(index, query="zebra")
    assert "\u202e" not in found.text
    assert found.rows[0].path == r"a\u202eb.py"
    assert files(await repo_map(index, focus=[r"a\u202eb.py"]))[0] == r"a\u202eb.py"
    await index.close()


async def test_an_empty_code_base(tmp_path: object, workers: Workers) -> None:
    index = await CodeBase(tmp_path / "empty", {}).index(workers)  # type: ignore[operator]
    assert (await repo_map(index)).text == "0 files"
    await index.close()
