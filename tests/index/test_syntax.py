"""The structure of files that are shown: from their grammar, once per content, and never in the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from codebase import CodeBase
from reconvene.errors import ReconveneError
from reconvene.index.analysis import Analysis
from reconvene.index.syntax import reader
from reconvene.index.workers import Workers

NOISY = """/*
function rendered() {
}
*/

/** What is made.
 *  Twice. */
@decorated
export class Outer {
  inner(a,
        b = [1, 2]) {
    return `
function not_this() {
}
`;
  }
}

function last() {}
"""


async def test_the_exact_lines_of_definitions(code: CodeBase, workers: Workers) -> None:
    code.write("noisy.js", NOISY)
    index = await code.index(workers)
    assert {d.name for d in index.definitions("noisy.js")} > {"not_this", "rendered"}, "the linear tier cannot know"
    found = (await index.syntax(["noisy.js"], within_ms=20_000))["noisy.js"]
    assert found.exact
    shown = [(found.symbol(i), d.first, d.line, d.last) for i, d in enumerate(found.definitions)]
    assert shown == [("Outer", 6, 9, 17), ("Outer.inner", 10, 10, 16), ("last", 19, 19, 19)]
    assert [d.signature for d in found.definitions][:2] == ["export class Outer {", "inner(a, b = [1, 2])"]
    assert [found.around(n) for n in (2, 7, 13, 17, 18, 19)] == [-1, 0, 1, 0, -1, 2]
    assert found.quoted.holds(2, 9) and found.quoted.holds(13, 9) and not found.quoted.holds(19, 9)
    await index.close()


class Counted(Workers):
    """Workers of which it is known what they were asked to parse; while `held` is clear they do not answer."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked: list[bytes] = []
        self.state = "exact"
        self.held = threading.Event()
        self.held.set()

    def structure(self, data: bytes, language: str, codec: str = "utf-8") -> Analysis:
        self.asked.append(data)
        self.held.wait(20)
        return super().structure(data, language, codec) if self.state == "exact" else Analysis(self.state, 0, 0)


@pytest.fixture
def counted() -> Iterator[Counted]:
    made = Counted()
    yield made
    made.held.set()
    made.close()


async def test_a_content_is_parsed_once_and_kept_with_the_index(code: CodeBase, counted: Counted) -> None:
    code.write("copy.py", (code.root / "shop/cart.py").read_bytes())
    index = await code.index(counted)
    both = await asyncio.gather(index.syntax(["shop/cart.py"]), index.syntax(["copy.py", "shop/cart.py"]))
    assert both[0]["shop/cart.py"] == both[1]["copy.py"] == both[1]["shop/cart.py"]
    assert len(counted.asked) == 1
    await index.close()
    index = await code.index(counted, fresh=False)
    assert (await index.syntax(["shop/cart.py"]))["shop/cart.py"].definitions == both[0]["shop/cart.py"].definitions
    assert len(counted.asked) == 1
    code.write("shop/cart.py", "class Other: pass\n")
    found = (await index.syntax(["shop/cart.py"]))["shop/cart.py"]
    assert [d.name for d in found.definitions] == ["Other"], "the file as it is, not as it was indexed"
    await index.close()


async def test_another_grammar_or_query_parses_again(
    code: CodeBase, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await code.index(counted)
    await index.syntax(["shop/cart.py"])
    await index.close()
    monkeypatch.setattr(reader, "mark", lambda language: "another")
    index = await code.index(counted, fresh=False)
    await index.syntax(["shop/cart.py"])
    assert len(counted.asked) == 2
    await index.close()


async def test_what_is_late_is_known_the_next_time(code: CodeBase, counted: Counted) -> None:
    index = await code.index(counted)
    counted.held.clear()
    assert await index.syntax(["shop/cart.py"], within_ms=0) == {}
    counted.held.set()
    assert (await index.syntax(["shop/cart.py"], within_ms=20_000))["shop/cart.py"].exact
    assert len(counted.asked) == 1
    assert "shop/cart.py" in await index.syntax(["shop/cart.py"], within_ms=0)
    await index.close()


async def test_poison_is_kept_and_not_tried_again(code: CodeBase, counted: Counted) -> None:
    """bad95: the file is shown as the linear tier has it."""
    counted.state = "poison: time"
    index = await code.index(counted)
    for _ in range(2):
        found = (await index.syntax(["shop/cart.py"], within_ms=20_000))["shop/cart.py"]
        assert (found.state, found.exact) == ("poison: time", False)
        assert found.definitions == index.definitions("shop/cart.py") != ()
    await index.close()
    index = await code.index(counted, fresh=False)
    assert (await index.syntax(["shop/cart.py"]))["shop/cart.py"].state == "poison: time"
    assert len(counted.asked) == 1
    await index.close()


async def test_without_a_parser_the_linear_tier_answers_and_nothing_is_kept(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers)
    await index.close()
    broken = Workers(1, command=("/nonexistent/python",))
    index = await code.index(broken, fresh=False)
    found = (await index.syntax(["shop/cart.py"], within_ms=20_000))["shop/cart.py"]
    assert found.state == "unread" and found.definitions == index.definitions("shop/cart.py") != ()
    await index.close()
    broken.close()
    index = await code.index(workers, fresh=False)
    assert (await index.syntax(["shop/cart.py"], within_ms=20_000))["shop/cart.py"].exact
    await index.close()


async def test_files_that_cannot_be_read_or_have_no_grammar(code: CodeBase, workers: Workers) -> None:
    code.write("picture.py", b"\x89PNG\r\n\x1a\n\0\0")
    code.write("notes.txt", "# what\n")
    code.write("wide.js", "var a=1;" * 2000)
    code.write("utf16.py", "class Wide:\n    pass\n".encode("utf-16"))
    code.write("latin.py", b"# caf\xe9\nclass Caf\xe9:\n    pass\n")
    index = await code.index(workers)
    paths = ["picture.py", "notes.txt", "wide.js", "utf16.py", "latin.py", "gone.py", "../outside.py", "shop"]
    found = await index.syntax(paths, within_ms=20_000)
    assert {path: (s.state, len(s.definitions)) for path, s in found.items()} == {
        "notes.txt": ("no grammar", 0),
        "wide.js": ("minified", 0),
        "utf16.py": ("exact", 1),
        "latin.py": ("exact", 1),
    }
    await index.close()


async def test_closing_does_not_wait_for_parsers(code: CodeBase, counted: Counted) -> None:
    index = await code.index(counted)
    counted.held.clear()
    assert await index.syntax(["shop/cart.py", "shop/money.py"], within_ms=0) == {}
    await asyncio.wait_for(index.close(), 5)
    counted.held.set()
    with pytest.raises(ReconveneError) as e:
        await index.syntax(["shop/cart.py"])
    assert e.value.code == "draining"
