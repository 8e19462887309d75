"""Of a long place the part is shown that has what was asked for."""

from __future__ import annotations

import pytest

from reconvene.agents import excerpt
from reconvene.agents.excerpt import HEAD_LINES, SNIPPET_LINES, asked_for, rendered
from reconvene.search import Snippet

ASKED = 'path:src/ "extra bytes" final sizes'


def snippet(lines: int, **at: str) -> Snippet:
    """`at`: l90="…" puts a text on line 90."""
    texts = [at.get(f"l{n}", f"x{n} = {n}") for n in range(1, lines + 1)]
    return Snippet("a.py", 1, lines, 1.0, "f", "\n".join(texts), ())


def shown(s: Snippet, query: str = ASKED) -> list[int]:
    """The numbers of the lines that are shown."""
    return [int(row.partition("|")[0]) for row in rendered(s, words=asked_for(query)).split("\n") if row[0].isdigit()]


def test_what_was_asked_for_is_shown_with_its_head() -> None:
    s = snippet(104, l98="raise ValueError('extra bytes')", l100="check(final_size)")
    numbers = shown(s)
    assert numbers[:HEAD_LINES] == [1, 2, 3]
    assert {98, 100} <= set(numbers)
    assert len(numbers) == SNIPPET_LINES
    text = rendered(s, words=asked_for(ASKED))
    assert text.split("\n")[HEAD_LINES + 1] == "…"
    assert "… to line" not in text


def test_all_that_matches_is_within_if_it_can_be() -> None:
    numbers = shown(snippet(200, l80="extra", l110="bytes", l20="extra"))
    assert {80, 110} <= set(numbers)
    assert rendered(snippet(200, l80="extra"), words=asked_for(ASKED)).endswith("… to line 200")


@pytest.mark.parametrize("query", ["", "nothing of this", "lang:py"])
def test_otherwise_the_first_lines_are_shown(query: str) -> None:
    assert shown(snippet(100, l90="extra bytes"), query) == list(range(1, SNIPPET_LINES + 1))


def test_what_fits_is_shown_whole() -> None:
    assert shown(snippet(SNIPPET_LINES, l39="extra bytes")) == list(range(1, SNIPPET_LINES + 1))
    assert shown(snippet(60, l2="extra bytes final size")) == list(range(1, SNIPPET_LINES + 1))


def test_control_without_it_the_match_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpt, "_densest", lambda lines, size, words: 0)
    assert 98 not in shown(snippet(104, l98="raise ValueError('extra bytes')"))
