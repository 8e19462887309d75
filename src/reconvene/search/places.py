"""Which places of the best files are shown first: the five that most likely hold what is asked for, within 200 lines.

Chances are those of the file, which fall steeply with its score (of 252 commits' first files 68 % were to change, of the second 24 %, of
the third 10 %), times those of the lines in it. So the best file has several places when it is long, and the lines go where they are worth
most (`search.stretches`). Each place ends with the blank line after it, if there is one: there stands what is added behind a definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reconvene.search.density import Density
from reconvene.search.stretches import Floats, Pieces, best_stretch, best_stretches

PLACES, LINES = 5, 200
"""Places that are chosen together, and lines they have in all."""
FILES = 4
"""Among which they are chosen."""
_STEEP = 8
"""Power of a file's score that its chance falls by."""
_BEHIND = 1
"""Blank lines after a piece that are shown with it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Lines `start` to `end` (from 1, inclusive) of a file, by its number among those given. `chance`: that it is what is looked for."""

    file: int
    start: int
    end: int
    chance: float


@dataclass(slots=True)
class _Run:
    """Pieces `first` to `last` of a file that are shown together."""

    file: int
    first: int
    last: int


class _File:
    def __init__(self, number: int, density: Density, chance: float) -> None:
        self.number = number
        self.pieces, before, upto = _pieces(density, chance)
        self.firsts: list[int] = self.pieces.firsts.tolist()
        self.lasts: list[int] = self.pieces.lasts.tolist()
        """Of each piece its lines; in pairs they would be something for the garbage collector to go through."""
        self._before: list[float] = before.tolist()
        self._upto: list[float] = upto.tolist()
        self._chance = chance
        self.taken = [False] * len(self.firsts)

    def chance(self, first: int, last: int) -> float:
        return self._chance * (self._upto[last] - self._before[first])

    def lines(self, first: int, last: int) -> int:
        return self.lasts[last] - self.firsts[first] + 1

    def take(self, first: int, last: int) -> None:
        self.taken[first : last + 1] = [True] * (last - first + 1)

    def place(self, first: int, last: int) -> Place:
        return Place(self.number, self.firsts[first], self.lasts[last], self.chance(first, last))


def _pieces(density: Density, chance: float) -> tuple[Pieces, Floats, Floats]:
    """Of a file with such a chance, and what the chances of its lines are together before and up to the end of each."""
    atoms, chances = density.atoms, density.chances
    following = np.append(atoms.firsts[1:], len(chances) + 1)
    lasts = np.minimum(atoms.lasts + _BEHIND, following - 1)
    until = np.zeros(len(chances) + 1)
    chances.cumsum(out=until[1:])
    before, upto = until[atoms.firsts - 1], until[atoms.lasts]
    return Pieces(atoms.firsts, lasts, (upto - before) * chance), before, upto


def likeliest_place(density: Density, lines: int) -> list[Place]:
    """The one place of at most so many lines that is the likeliest of a file; none where nothing has a chance."""
    pieces, before, upto = _pieces(density, 1.0)
    found = best_stretch(pieces, lines)
    if found is None:
        return []
    first, last = found
    return [Place(0, int(pieces.firsts[first]), int(pieces.lasts[last]), float(upto[last] - before[first]))]


def choose(
    densities: Sequence[Density], scores: Sequence[float], *, places: int = PLACES, lines: int = LINES
) -> list[Place]:
    """The places to show of these files, best first; of a file none before it has one of those with a higher score.

    Args:
        densities: of the best files, best first.
        scores: their scores in the ranking.
    """
    top = max(scores, default=0.0)
    files = [
        _File(i, density, (score / top) ** _STEEP if top > 0 else 1.0)
        for i, (density, score) in enumerate(zip(densities, scores, strict=True))
    ]
    runs = [_Run(*found) for found in best_stretches([file.pieces for file in files], places, lines)]
    for run in runs:
        files[run.file].take(run.first, run.last)
    left = lines - sum(files[r.file].lines(r.first, r.last) for r in runs)
    while (step := _best_step(files, runs, left)) is not None:
        i, run, cost = step
        runs[i] = run
        left -= cost
        files[run.file].taken[run.first] = files[run.file].taken[run.last] = True
    return _ordered([files[r.file].place(r.first, r.last) for r in runs])


def _best_step(files: Sequence[_File], runs: Sequence[_Run], left: int) -> tuple[int, _Run, int] | None:
    """The piece beside a place that is worth most a line, of those there is room for: the place, what it becomes, lines it costs."""
    best: tuple[float, int, int, int] | None = None
    for i, run in enumerate(runs):
        file = files[run.file]
        for new in (run.first - 1, run.last + 1):
            if not 0 <= new < len(file.taken) or file.taken[new]:
                continue
            cost = (
                file.firsts[run.first] - file.firsts[new] if new < run.first else file.lasts[new] - file.lasts[run.last]
            )
            if cost <= left:
                worth = file.chance(new, new) / cost
                if worth > 0 and (best is None or worth > best[0]):
                    best = worth, i, new, cost
    if best is None:
        return None
    _, i, new, cost = best
    run = runs[i]
    return i, _Run(run.file, min(run.first, new), max(run.last, new)), cost


def _ordered(places: Sequence[Place]) -> list[Place]:
    """By their chances, but the first of a file after the first of each better one."""
    first: dict[int, Place] = {}
    for place in places:
        if place.file not in first or place.chance > first[place.file].chance * (1 + 1e-9):
            first[place.file] = place
    cap: dict[int, float] = {}
    most = float("inf")
    for file in sorted(first):
        most = cap[file] = min(most, first[file].chance)
    # Of equals the first, however the sums were rounded.
    return sorted(
        places, key=lambda p: (-round(min(p.chance, cap[p.file]), 9), p.file, p is not first[p.file], p.start)
    )
