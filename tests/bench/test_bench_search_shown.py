"""What of a tool's text counts as shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.search_shown import Shown, shown

TEXT = """3 places for "x" in 2 files, best first.

## src/a.py:3-9 A.go
3| def go():
…
9| ## b.py:1-2

## b b.py:1-1
1| x

Then come: c.py, d.py.

More: the same search with cursor="Z"."""


@pytest.mark.parametrize(
    ("gold", "lines", "expected"),
    [
        (["src/a.py"], {"src/a.py": [[9, 12]]}, (True, 1.0, 1.0)),
        (["src/a.py"], {"src/a.py": [[4, 8]]}, (False, 1.0, 1.0)),
        (["b b.py", "c.py"], {"b b.py": [[1, 1]], "c.py": [[1, 99]]}, (True, 0.5, 1.0)),
        (["b.py", "d.py"], {"b.py": [[1, 2]], "d.py": [[1, 2]]}, (False, 0.0, 0.5)),
    ],
    ids=["line", "between", "named", "in-a-line"],
)
def test_only_what_is_there_counts(
    gold: list[str], lines: dict[str, list[list[int]]], expected: tuple[bool, float, float]
) -> None:
    assert shown(TEXT, gold, lines) == Shown(*expected, len(TEXT))


def test_nothing_found_is_nothing_shown() -> None:
    assert shown("Nothing matches.", ["a.py"], {}) == Shown(False, 0.0, 0.0, 16)
