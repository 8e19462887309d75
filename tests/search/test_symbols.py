from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import reconvene.search.symbols as rules
from codebase import CodeBase
from reconvene.errors import ReconveneError
from reconvene.index import RootIndex
from reconvene.index.workers import Workers
from reconvene.search.symbols import symbol_places


@pytest.fixture
async def index(code: CodeBase, workers: Workers) -> AsyncIterator[RootIndex]:
    code.write("shop/till.py", "class Till:\n    def add_item(self, x):\n        return self.add_item(x)\n")
    made = await code.index(workers)
    yield made
    await made.close()


async def test_where_a_name_is_defined_and_used(index: RootIndex, code: CodeBase) -> None:
    found = await symbol_places(index, "Money")
    assert [(d.path, d.symbol) for d in found.definitions] == [("shop/money.py", "Money")]
    assert found.definitions[0].text.startswith("class Money:\n    def __init__(self, cents")
    assert {(u.path, u.symbol) for u in found.uses} >= {
        ("shop/cart.py", None),
        ("shop/cart.py", "Cart.total_price"),
        ("shop/money.py", "parse_amount"),
    }
    for use in found.uses:
        assert (code.root / use.path).read_text().split("\n")[use.line - 1].strip() == use.text
    assert (found.files, found.truncated) == (2, False)


async def test_of_several_one_is_meant(index: RootIndex) -> None:
    both = await symbol_places(index, "add_item")
    assert {d.symbol for d in both.definitions} == {"Cart.add_item", "Till.add_item"}
    one = await symbol_places(index, "Till.add_item()")
    assert [d.symbol for d in one.definitions] == ["Till.add_item"]
    assert {u.path for u in one.uses} == {u.path for u in both.uses}


@pytest.mark.parametrize("name", ["money", "Mone", "xylophone", "Till.Money"])
async def test_a_name_is_exact(index: RootIndex, name: str) -> None:
    assert not (await symbol_places(index, name)).definitions


async def test_uses_are_bounded_and_their_files_counted(code: CodeBase, workers: Workers) -> None:
    for i in range(30):
        code.write(f"many/m{i}.py", "turn_wheel()\n" * 9)
    code.write("wheel.py", "def turn_wheel():\n    pass\n")
    index = await code.index(workers)
    found = await symbol_places(index, "turn_wheel")
    assert (found.files, len(found.uses)) == (30, rules.MOST_USES)
    assert max(sum(u.path == p for u in found.uses) for p in {u.path for u in found.uses}) == rules.USES_PER_FILE
    await index.close()


async def test_what_is_shown_is_as_the_grammar_has_it(code: CodeBase, workers: Workers) -> None:
    code.write("a/wheel.go", "package a\n\n// Turn turns.\nfunc (w *Wheel) Turn(\n\tn int,\n) {\n}\n")
    code.write(
        "a/text.js",
        "/*\nfunction Turn() {\n}\n*/\nconst s = `\nfunction Turn() {\n}\n`\nfunction use() {\n  Turn()\n}\n",
    )
    index = await code.index(workers)
    found = await symbol_places(index, "Wheel.Turn")
    assert [(d.path, d.start, d.end, d.symbol) for d in found.definitions] == [("a/wheel.go", 3, 7, "Wheel.Turn")]
    assert [d.path for d in (await symbol_places(index, "Turn")).definitions] == ["a/wheel.go"]
    await index.close()


async def test_code_comes_before_what_comments_say(code: CodeBase, workers: Workers) -> None:
    comments = "".join(f"# turn_wheel {i}\n" for i in range(9))
    code.write("a.py", f"from wheel import turn_wheel\n{comments}x = 'turn_wheel'\n\n\ndef go():\n    turn_wheel()\n")
    index = await code.index(workers)
    found = await symbol_places(index, "turn_wheel")
    assert [(u.line, u.symbol) for u in found.uses] == [(1, None), (2, None), (3, None), (4, None), (15, "go")]
    await index.close()


async def test_a_name_that_all_files_have_is_not_parsed_everywhere(code: CodeBase, workers: Workers) -> None:
    for i in range(60):
        code.write(f"many/m{i}.py", f"def __init__(): turn_wheel({i})\n")
    index = await code.index(workers)
    assert len((await symbol_places(index, "__init__")).definitions) == rules.MOST_DEFINITIONS
    assert index._syntax.parsed <= rules.MOST_PARSED
    await index.close()


async def test_over_its_time_it_says_so(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers, search_time=0)
    assert (await symbol_places(index, "Money")).truncated
    await index.close()


@pytest.mark.parametrize("name", ["", "  ", "a b", "re:x", "x" * 201, "../etc", "a\0b", "-x", '"', "\ud800"])
async def test_what_is_no_name(index: RootIndex, name: str) -> None:
    with pytest.raises(ReconveneError) as e:
        await symbol_places(index, name)
    assert e.value.code == "invalid_field"
