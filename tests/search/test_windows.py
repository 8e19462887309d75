"""Which lines are shown around those that fulfil a condition: as much of the code as there is room for, cut where paragraphs end."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from reconvene.index.definitions import find
from reconvene.index.languages.registry import language_of
from reconvene.index.words import terms
from reconvene.search.texts import Text
from reconvene.search.windows import LINES, FileWindows, Window

SMALL = "\n\n\n".join(f"def part_{i}():\n    a = {i}\n    return a" for i in range(30)).replace(
    "a = 15", "zebra = garden"
)


def windows(text: str, *words: str, names: tuple[str, ...] = ()) -> FileWindows:
    weights = {term: 1.0 for word in words for term in terms(word)}
    return FileWindows(Text(text.encode()), find(text.encode(), language_of("x.py")), weights, names)


def test_a_small_definition_is_shown_with_whole_ones_around_it() -> None:
    lines = SMALL.split("\n")
    file = windows(SMALL, "zebra")
    (core,) = file.of_lines(lambda line: "zebra" in line)
    (grown,) = file.grown([core])
    assert (core.symbol, grown.symbol) == ("part_15", "part_15")
    assert grown.start <= core.start and core.end < grown.end
    assert LINES - 5 < grown.end - grown.start + 1 <= LINES
    assert lines[grown.start - 1].startswith("def ") and lines[grown.end - 1].startswith("    return")


def test_it_grows_towards_what_says_more_of_the_query() -> None:
    text = SMALL.replace("a = 20", "zebra = garden")
    file = windows(text, "zebra", "garden")
    core = Window(76, 78, "part_15", 1.0)
    (grown,) = file.grown([core])
    assert grown.start <= core.start and grown.end >= 20 * 5 + 1


def test_two_do_not_grow_into_one_another() -> None:
    file = windows(SMALL, "zebra")
    first, second = Window(51, 53, None, 1.0), Window(61, 63, None, 0.5)
    grown = file.grown([first, second])
    assert grown[0].start <= 51 and grown[0].end >= 53 and grown[1].start <= 61 and grown[1].end >= 63
    assert grown[0].end < grown[1].start


@pytest.mark.parametrize("text", ["x", "x\n" * 300, "\n".join("x\n" for _ in range(200))])
def test_any_file_has_windows_within_it(text: str) -> None:
    lines = text.split("\n")
    file = windows(text, "x")
    found = file.grown(file.of_lines(lambda line: "x" in line))
    assert found
    for window in found:
        assert 1 <= window.start <= window.end <= max(len(lines), 1)
        assert window.end - window.start < LINES


def test_windows_of_any_shape_stay_apart_and_short() -> None:
    seed = 5
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(200):
        text = "\n".join(rng.choice(["", "", "x = 1", "    y", "def f():", "class A:", "zebra()"]) for _ in range(150))
        file = windows(text, "zebra", "f")
        cores: list[Window] = []
        for core in file.of_lines(lambda line: "zebra" in line):
            if not any(core.start <= w.end and w.start <= core.end for w in cores):
                cores.append(core)
        grown = sorted(file.grown(cores), key=lambda w: w.start)
        assert all(a.end < b.start for a, b in pairwise(grown))
        assert all(w.end - w.start < LINES for w in grown)
        assert all(any(g.start <= c.start and c.end <= g.end for g in grown) for c in cores)
