"""Which places of the best files are shown first: the five that most likely hold what is asked for, within 200 lines.

Chances are those of the file, which fall steeply with its score (of 252 commits' first files 68 % were to change, of the second 24 %, of
the third 10 %), times those of the lines in it. So the best file has several places when it is long, and the lines go where they are worth
most: a place grows by paragraphs, and one that says little stays short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reconvene.search.atoms import ATOM
from reconvene.search.density import Density

PLACES, LINES = 5, 200
"""Places that are chosen together, and lines they have in all."""
FILES = 4
"""Among which they are chosen."""
_STEEP = 5
"""Power of a file's score that its chance falls by."""
_SEED = 16
"""Lines a place begins with, at most, before it grows."""


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
        atoms, chances = density.atoms, density.chances
        until = np.zeros(len(chances) + 1)
        chances.cumsum(out=until[1:])
        before, upto = until[atoms.firsts - 1], until[atoms.lasts]
        self.firsts: list[int] = atoms.firsts.tolist()
        self.lasts: list[int] = atoms.lasts.tolist()
        """Of each piece its lines; in pairs they would be something for the garbage collector to go through."""
        self._before: list[float] = before.tolist()
        self._upto: list[float] = upto.tolist()
        self._add: list[int] = (upto > before).nonzero()[0].tolist()
        """The pieces that have a chance at all."""
        self._chance = chance
        self.taken = [False] * len(self.firsts)
        self._seed: tuple[float, int, int] | None = None
        self._seeded = False

    def chance(self, first: int, last: int) -> float:
        return self._chance * (self._upto[last] - self._before[first])

    def lines(self, first: int, last: int) -> int:
        return self.lasts[last] - self.firsts[first] + 1

    def take(self, first: int, last: int) -> None:
        self.taken[first : last + 1] = [True] * (last - first + 1)
        self._seeded = False

    def seed(self) -> tuple[float, int, int] | None:
        """The best run of free pieces that is short enough: its chance, its first and its last."""
        if not self._seeded:
            self._seed, self._seeded = self._best(), True
        return self._seed

    def _best(self) -> tuple[float, int, int] | None:
        best: tuple[float, int, int] | None = None
        first = 0
        firsts, lasts, before, upto, longest = self.firsts, self.lasts, self._before, self._upto, max(_SEED, ATOM)
        taken = self.taken
        for last in self._add:
            if taken[last]:  # so ends each run of them: it has none at its end that adds nothing
                first = last + 1
                continue
            while lasts[last] - firsts[first] >= longest:
                first += 1
            chance = self._chance * (upto[last] - before[first])
            # Of equals the first, however the sums were rounded.
            if best is None or chance > best[0] * (1 + 1e-9):
                best = chance, first, last
        if best is None or best[0] <= 0:
            return None
        # What adds nothing at its ends is left out.
        chance, first, last = best
        while first < last and self.chance(first, first) < 0.05 * chance:
            first += 1
        while first < last and self.chance(last, last) < 0.05 * chance:
            last -= 1
        return chance, first, last


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
    runs = _seeds(files, places)
    left = lines - sum(files[r.file].lines(r.first, r.last) for r in runs)
    while (step := _best_step(files, runs, left)) is not None:
        i, run, cost = step
        runs[i] = run
        left -= cost
        files[run.file].taken[run.first] = files[run.file].taken[run.last] = True
    found = [
        Place(
            r.file,
            files[r.file].firsts[r.first],
            files[r.file].lasts[r.last],
            files[r.file].chance(r.first, r.last),
        )
        for r in runs
    ]
    return _ordered(found)


def _seeds(files: Sequence[_File], places: int) -> list[_Run]:
    runs: list[_Run] = []
    opened = 0
    while len(runs) < places:
        best: tuple[float, int, int] | None = None
        for file in files[: opened + 1]:
            seed = file.seed()
            if seed is not None and (best is None or seed[0] > best[0]):
                best, at = seed, file
        if best is None:
            if opened >= len(files):
                break
            opened += 1
            continue
        runs.append(_Run(at.number, best[1], best[2]))
        at.take(best[1], best[2])
        if at.number == opened:
            opened += 1
    return runs


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
        if place.file not in first or place.chance > first[place.file].chance:
            first[place.file] = place
    cap: dict[int, float] = {}
    most = float("inf")
    for file in sorted(first):
        most = cap[file] = min(most, first[file].chance)
    return sorted(places, key=lambda p: (-min(p.chance, cap[p.file]), p.file, p is not first[p.file], p.start))
