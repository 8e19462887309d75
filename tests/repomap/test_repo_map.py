from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import reconvene.repomap.likeness as likeness
import reconvene.repomap.map as maps
from codebase import FILES, CodeBase, Repository
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


async def test_keys_and_text_in_strings_are_no_definitions_of_a_map(code: CodeBase, workers: Workers) -> None:
    code.write("package.json", '{\n  "wheel": 1,\n  "turn": {\n    "wheel_rim": 2\n  }\n}\n')
    code.write(
        "wheel.py", '"""How to turn a wheel:\n\nclass WheelInText:\n    pass\n"""\n\n\ndef turn_wheel():\n    pass\n'
    )
    index = await code.index(workers)
    rows = {(row.path, row.name, row.kind) for row in (await repo_map(index, query="turn wheel")).rows}
    assert {("wheel.py", "turn_wheel", "function"), ("package.json", "package.json", "file")} <= rows
    assert not {name for _, name, _ in rows} & {"WheelInText", "wheel", "turn", "turn.wheel_rim"}
    await index.close()


async def test_a_query_map_is_in_rank_order_with_two_definitions_a_file(index: RootIndex) -> None:
    found = await repo_map(index, query="expire old carts")
    assert files(found)[0] == "shop/cart.py"
    assert found.rows[0].name == "expire_old_carts"
    scores = [row.score for row in found.rows]
    assert scores == sorted(scores, reverse=True)
    assert all(sum(row.path == path for row in found.rows) <= 2 for path in files(found))
    assert re.match(r"shop/cart\.py \(definitions, file name\)\n  24 def expire_old_carts\(carts, now\)\n", found.text)


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
    monkeypatch.setattr(maps, "_head", None)
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
        patched.setattr(maps, "_head", None)
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


async def test_what_a_session_has_seen_is_not_in_an_index_that_is_only_being_built(
    tmp_path: Path, workers: Workers
) -> None:
    """After a restart: the session goes on, and nothing was read yet."""
    index = await CodeBase(tmp_path / "empty", {}).index(workers)
    assert (await repo_map(index, query="idle", seen=["a.py"])).rows == ()
    assert (await repo_map(index, seen=["a.py"], focus=["a.py"])).rows == ()
    await index.close()


# -- pages


async def pages(index: RootIndex, **asked: object) -> list[RepoMap]:
    found = [await repo_map(index, **asked)]  # type: ignore[arg-type]
    while found[-1].next is not None:
        found.append(await repo_map(index, **asked, cursor=found[-1].next))  # type: ignore[arg-type]
    return found


@pytest.fixture
async def large(code: CodeBase, workers: Workers) -> AsyncIterator[RootIndex]:
    for i in range(60):
        code.write(f"many/m{i}.py", f"class Wheel{i}:\n    def turn_{i}(self, spoke):\n        pass\n" * (1 + i % 3))
    made = await code.index(workers)
    yield made
    await made.close()


@pytest.mark.parametrize("query", ["wheel turn", None])
async def test_all_pages_are_the_whole_map(large: RootIndex, query: str | None) -> None:
    whole = await repo_map(large, query=query, tokens=32_000)
    found = await pages(large, query=query, tokens=200)
    assert len(found) > 4 and whole.next is None
    assert [row for page in found for row in page.rows] == list(whole.rows)
    assert all(len(page.text) <= 800 for page in found)
    assert found[1].text.split("\n")[0] in whole.text and "files" not in found[1].text.split("\n")[0]


async def test_a_page_after_a_change_of_what_was_shown_begins_again(large: RootIndex, code: CodeBase) -> None:
    first = await repo_map(large, query="wheel turn", tokens=200)
    code.write("other.py", "nothing = 1\n")
    await large.refresh()
    assert not (await repo_map(large, query="wheel turn", tokens=200, cursor=first.next)).moved
    code.write(first.rows[0].path, "class Wheel:\n    wheel = turn = 1\n")
    await large.refresh()
    second = await repo_map(large, query="wheel turn", tokens=200, cursor=first.next)
    now = await repo_map(large, query="wheel turn", tokens=200)
    assert second.moved and (second.text, second.next) == (now.text, now.next)


@pytest.mark.parametrize("other", ["cart", None, "wheel turn path:many"])
async def test_a_cursor_of_another_map_is_refused(large: RootIndex, other: str | None) -> None:
    first = await repo_map(large, query="wheel turn", tokens=200)
    with pytest.raises(ReconveneError, match="of another question") as e:
        await repo_map(large, query=other, tokens=200, cursor=first.next)
    assert e.value.code == "invalid_field"


async def test_the_budget_is_of_tokens_as_the_model_counts_them(large: RootIndex) -> None:
    for ratio in (2.0, 3.1, 4.0):
        found = await repo_map(large, query="wheel turn", tokens=300, chars_per_token=ratio)
        assert 300 * ratio * 0.8 < len(found.text) <= 300 * ratio
        assert 240 < found.tokens <= 300


async def test_each_row_says_why(large: RootIndex) -> None:
    found = await repo_map(large, query="Cart expire", focus=["shop/money.py"])
    why = {row.path: row.why for row in found.rows}
    assert why["shop/money.py"].startswith("in focus")
    assert "exact name" in why["shop/cart.py"] and "file name" in why["shop/cart.py"]
    assert all(f"{path} ({reason})" in found.text for path, reason in why.items())
    assert {row.why for row in (await repo_map(large)).rows} == {"used by many files"}


async def test_tests_are_one_line_of_an_overview(code: CodeBase, workers: Workers) -> None:
    for i in range(20):
        code.write(f"tests/deep/area_{i}/test_{i}.py", f"def test_{i}():\n    pass\n")
    index = await code.index(workers)
    text = (await repo_map(index)).text
    assert "\ntests: tests/ 21\n" in text and "area_" not in text.split("\n\n")[0]
    await index.close()


# -- what was changed together


async def test_files_changed_together_with_those_seen_rise_and_say_so(tmp_path: Path, workers: Workers) -> None:
    code = Repository(tmp_path)
    for name in ("alpha", "beta", "gamma"):
        code.write(f"{name}.py", f"def wheel_{name}():\n    return {len(name)}\n")
    code.write("wheel.py", "def wheel():\n    wheel = wheel_wheel = 1\n")
    code.commit("four")
    for step in range(3):
        for name in ("shop/money.py", "gamma.py"):
            code.write(name, (code.root / name).read_text() + f"# {step}\n")
        code.commit(f"both {step}")
    index = await code.index(workers)
    await index.take_in_history()
    before = await repo_map(index, query="wheel")
    found = await repo_map(index, query="wheel", seen=["shop/money.py"])
    score = [{row.path: row.score for row in shown.rows} for shown in (before, found)]
    assert score[1]["gamma.py"] > score[0]["gamma.py"] + 0.1
    why = {row.path: row.why for row in found.rows}
    assert why["gamma.py"].startswith("changed with files of the session") and why["beta.py"] == "definitions"
    overview = await repo_map(index, focus=["shop/money.py"])
    assert files(overview)[0] == "shop/money.py" and "gamma.py" in files(overview)[:4]
    await index.close()


async def test_without_commits_nothing_was_changed_together(index: RootIndex) -> None:
    assert not likeness.together(index.view, ["shop/money.py"]).any()
    assert not likeness.together(index.view, ["nowhere.py"]).any()
