"""The stretches that have the greatest chance for their lines: the very best at a price, and within the lines that there are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest

from reconvene.search.stretches import Pieces, Row, Stretch, best_stretch, best_stretches


def file_of(rng: random.Random, pieces: int) -> Pieces:
    """Random pieces, some next to each other, and some without a chance."""
    firsts, lasts, line = [], [], 1
    for _ in range(pieces):
        line += rng.choice([0, 0, 1, 3])
        firsts.append(line)
        line += rng.randint(1, 5)
        lasts.append(line - 1)
    chances = [rng.choice([0.0, 0.1, 0.3]) * rng.random() for _ in range(pieces)]
    return Pieces(np.array(firsts), np.array(lasts), np.array(chances))


def lines_of(files: list[Pieces], stretches: list[Stretch]) -> int:
    return sum(int(files[n].lasts[last] - files[n].firsts[first]) + 1 for n, first, last in stretches)


def worth_of(files: list[Pieces], stretches: list[Stretch], price: float) -> float:
    """What some stretches are worth beyond the price of their lines, counted one by one."""
    chance = sum(float(files[n].chances[first : last + 1].sum()) for n, first, last in stretches)
    return chance - price * lines_of(files, stretches)


def every_choice(files: list[Pieces], count: int) -> Iterator[list[Stretch]]:
    """All choices of at most so many stretches that share no piece."""
    one = [
        Stretch(n, first, last)
        for n, file in enumerate(files)
        for first in range(len(file.firsts))
        for last in range(first, len(file.firsts))
    ]
    for some in range(count + 1):
        for chosen in combinations(one, some):
            if not any(a[0] == b[0] and a[1] <= b[2] and b[1] <= a[2] for a, b in combinations(chosen, 2)):
                yield list(chosen)


def test_at_a_price_no_choice_of_stretches_is_worth_more() -> None:
    seed = 5
    print("seed", seed)
    rng = random.Random(seed)
    joined = 0
    for _ in range(60):
        files = [file_of(rng, rng.randint(6, 10)), file_of(rng, 2)]
        count, price = rng.randint(1, 2), rng.choice([0.01, 0.02, 0.04])
        row = Row(files)
        found = [row.stretch(*run) for run in row.worth(price, count)] if row.dearest else []
        best = max(worth_of(files, choice, price) for choice in every_choice(files, count))
        assert len(found) <= count
        assert worth_of(files, found, price) == pytest.approx(best, abs=1e-9)
        joined += sum(last > first for _, first, last in found)
    assert joined > 10


def test_control_stretches_that_are_never_joined_are_worth_less() -> None:
    """Two good pieces with little between them, and one place to show: the better piece alone is not the best there is."""
    files = [Pieces(np.array([1, 8]), np.array([5, 12]), np.array([0.4, 0.5]))]
    row = Row(files)
    (run,) = row.worth(0.01, 1)
    assert row.stretch(*run) == (0, 0, 1)
    assert worth_of(files, [Stretch(0, 1, 1)], 0.01) < worth_of(files, [Stretch(0, 0, 1)], 0.01)


def test_within_so_many_lines_they_are_close_to_the_best_of_all_choices() -> None:
    seed = 7
    print("seed", seed)
    rng = random.Random(seed)
    got = most = 0.0
    for _ in range(80):
        files = [file_of(rng, rng.randint(1, 5)) for _ in range(2)]
        lines = rng.choice([6, 10, 15])
        found = best_stretches(files, 3, lines)
        assert lines_of(files, found) <= lines
        got += worth_of(files, found, 0.0)
        fitting = (choice for choice in every_choice(files, 3) if lines_of(files, choice) <= lines)
        most += max(worth_of(files, choice, 0.0) for choice in fitting)
    assert got > 0.8 * most


def test_of_many_that_are_alike_one_is_shown_when_all_are_too_many() -> None:
    """At any price all of them pay, or none."""
    files = [Pieces(np.arange(1, 100, 4), np.arange(4, 101, 4), np.full(25, 0.04))]
    (found,) = best_stretches(files, 1, 40)
    assert lines_of(files, [found]) <= 40
    assert best_stretches(files, 1, 3) == []


def test_what_has_nothing_between_it_is_one_stretch() -> None:
    files = [Pieces(np.array([1, 5, 9]), np.array([4, 8, 12]), np.array([0.3, 0.3, 0.3]))]
    assert best_stretches(files, 5, 200) == [(0, 0, 2)]


def test_where_nothing_has_a_chance_there_is_nothing_to_show() -> None:
    assert best_stretches([], 5, 200) == []
    assert best_stretches([Pieces(np.array([1]), np.array([4]), np.array([0.0]))], 5, 200) == []


@pytest.mark.parametrize("bolder", ["", "a line too many", "one piece", "the last of equals"])
def test_of_one_stretch_there_is_none_better(bolder: str) -> None:
    """With its mutation controls: each bolder rule is caught."""

    def found_in(file: Pieces, lines: int) -> tuple[int, int] | None:
        found = best_stretch(file, lines + (bolder == "a line too many"))
        if found is not None and bolder == "one piece":
            return found[0], found[0]
        if found is not None and bolder == "the last of equals":
            last = len(file.firsts) - 1
            mirrored = Pieces(200 - file.lasts[::-1], 200 - file.firsts[::-1], file.chances[::-1])
            other = best_stretch(mirrored, lines)
            return None if other is None else (last - other[1], last - other[0])
        return found

    seed = 11
    print("seed", seed)
    rng = random.Random(seed)
    differ = 0
    for _ in range(200):
        file, lines = file_of(rng, rng.randint(1, 9)), rng.choice([2, 6, 15])
        if rng.random() < 0.3:
            file = file._replace(chances=np.full(len(file.firsts), 0.1))
        choices = [
            (-float(file.chances[a : b + 1].sum()), a, b)
            for a in range(len(file.firsts))
            for b in range(a, len(file.firsts))
            if file.lasts[b] - file.firsts[a] < lines and file.chances[a] > 0 and file.chances[b] > 0
        ]
        best = min(((round(worth, 9), a, -b) for worth, a, b in choices), default=None)
        expected = None if best is None else (best[1], -best[2])
        differ += found_in(file, lines) != expected
    assert (differ > 0) == bool(bolder)
