"""Searches by regular expression: what the index can rule out is not read, and nothing is lost by it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Literal

import pytest

import reconvene.search.answer as answer
import reconvene.search.files as files
import reconvene.search.matching as matching
from codebase import CodeBase
from reconvene.index import RootIndex
from reconvene.index.query import compiled
from reconvene.index.words import terms
from reconvene.index.workers import Workers
from reconvene.search import search
from reconvene.search.texts import Text


@pytest.fixture
async def index(code: CodeBase, workers: Workers) -> AsyncIterator[RootIndex]:
    for i in range(40):
        code.write(f"many/m{i}.py", f"def wheel_{i}(spoke):\n    return spoke.turn({i})\n")
    code.write("min.js", "function wheel_9(spoke){return spoke.turn(9)}" * 60)
    code.write("ä.py", "größe = Größe()\n")
    made = await code.index(workers)
    yield made
    await made.close()


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []
    real = files.read_as_indexed

    def reading(
        index: RootIndex, path: str, fingerprint: str | None, worth: Callable[[str], bool] | None
    ) -> Text | Literal["not worth it"] | None:
        read.append(path)
        return real(index, path, fingerprint, worth)

    monkeypatch.setattr(files, "read_as_indexed", reading)
    return read


@pytest.mark.parametrize(
    ("pattern", "read"),
    [
        (r're:"def parse_amount\("', 3),  # and the empty and the minified one, of which no word is known
        (r're:"^class \w+:$"', 6),
        (r"re:\.sweep_\w+", 51),
        (r"re:parse_am.unt", 50),
    ],
)
async def test_only_files_that_may_match_are_read(
    index: RootIndex, monkeypatch: pytest.MonkeyPatch, pattern: str, read: int
) -> None:
    seen = counted(monkeypatch)
    await search(index, pattern, limit=100)
    assert len(seen) <= read


PATTERNS = [
    r're:"def wheel_7\(spoke\)"',
    r're:"^def wheel_1\d?\("',
    r're:"return spoke\.turn\(3.?\)"',
    r"re:wheel_9",
    r're:"class (Cart|Money):"',
    r're:" größe| Größe\("',
    r're:"(?i)RETURN self"',
    r're:"\Aclass \w+:\z"',
    r're:"^$"',
    r're:"^def \w+_old_carts| nothing "',
    r're:"turn\(9\)\}$"',
]


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_nothing_is_lost_by_it(index: RootIndex, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    found = await search(index, pattern, limit=100)
    assert found.snippets
    monkeypatch.setattr(answer, "required", lambda pattern: ())
    monkeypatch.setattr(matching, "of_whole_text", lambda pattern: None)
    assert await search(index, pattern, limit=100) == found


async def test_control_a_word_that_need_not_be_whole_loses_files(
    index: RootIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len((await search(index, "re:heel_9", limit=100)).snippets) == 2
    monkeypatch.setattr(answer, "required", lambda pattern: (frozenset(terms("heel_9")),))
    assert len((await search(index, "re:heel_9", limit=100)).snippets) < 2


async def test_control_a_text_is_not_a_line(index: RootIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    query = r're:"\Adef wheel_7\(spoke\):\z"'
    assert len((await search(index, query, limit=100)).snippets) == 1
    monkeypatch.setattr(matching, "of_whole_text", compiled)
    assert not (await search(index, query, limit=100)).snippets


async def test_letters_that_are_others_in_small_are_found_too(code: CodeBase, workers: Workers) -> None:
    """What is passed over at once is only a text of ASCII: a long s and the sign of Kelvin are `s` and `k` whatever their case."""
    code.write("odd.py", "x = 'the ſession \u212aey'\n")
    code.write("plain.py", "x = 'the Session KEY'\n")
    made = await code.index(workers)
    found = await search(made, '"session key"')
    assert {snippet.path for snippet in found.snippets} == {"odd.py", "plain.py"}
    await made.close()
