"""Which files a map shows first, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconvene.index.definitions import Definition
from reconvene.index.query import Query
from reconvene.index.ranking import Signals, rank
from reconvene.index.root import RootIndex
from reconvene.index.view import View
from reconvene.repomap.importance import definition_importance, file_importance, matching
from reconvene.repomap.likeness import like, together
from reconvene.workspace.names import parse_path

_ALIKE, _TOGETHER = 0.3, 0.5
"""Of the best score: what the likest file gets, and the one that was most often changed with those that are seen."""
_NOTABLE = 0.3
"""Share of the highest such value, from which on it is worth a mention."""
_TOLD = 0.2
"""The same of what commit messages say."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`query`: None for an overview. `files`: to begin with. `folders`: to stay in, with their "/". `seen`: by the session."""

    query: Query | None
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        return self.query is None and not (self.files or self.folders or self.seen)


@dataclass(frozen=True, slots=True)
class Ranked:
    """`scores`: per file, counted through all segments; 0 for what is left out. `worth`: of a definition, for the order within its file.
    `why`: of a file."""

    scores: NDArray[np.float64]
    worth: Callable[[Definition], float]
    why: Callable[[int], str]


def ranked(index: RootIndex, view: View, wanted: Wanted) -> Ranked:
    """Blocking."""
    if (query := wanted.query) is None:
        scores = file_importance(view)
        special = _favour(index, view, wanted, scores)
        return Ranked(
            scores, lambda d: definition_importance(d, view.usage), lambda n: special.get(n, "used by many files")
        )
    signals = rank(view, query)
    scores = signals.score.copy()
    special = _favour(index, view, wanted, scores)
    if query.filtered:
        for n in np.flatnonzero(scores > 0).tolist():
            if not query.wants(view.path(n)):
                scores[n] = 0

    def worth(definition: Definition) -> float:
        exact = 2.0 * (definition.name in query.symbols)
        # Of those that match alike, what holds others before what it holds, top before bottom.
        return matching(definition, signals.weights) + exact + 0.01 * (definition.parent < 0) - 1e-6 * definition.line

    return Ranked(scores, worth, lambda n: ", ".join(filter(None, (special.get(n), _matched(signals, n)))))


def sorted_focus(view: View, focus: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Which of them are files, which folders (with their "/"), and which are words."""
    files: list[str] = []
    folders: list[str] = []
    words: list[str] = []
    for text in dict.fromkeys(focus):
        path = parse_path(text.strip()).removeprefix("./").rstrip("/")
        if not path:
            continue
        if view.find(path) is not None:
            files.append(path)
        elif view.has_folder(path):
            folders.append(f"{path}/")
        else:
            words.append(text)
    return files, folders, words


def best_first(view: View, scores: NDArray[np.float64], most: int) -> list[int]:
    """The files with the highest scores, at least `most` of them if there are so many; of equals, by path."""
    positive = np.flatnonzero(scores > 0)
    if len(positive) > most:
        least = np.partition(scores[positive], -most)[-most]
        positive = positive[scores[positive] >= least]
    return sorted(positive.tolist(), key=lambda n: (-scores[n], view.path(n)))


def _favour(index: RootIndex, view: View, wanted: Wanted, scores: NDArray[np.float64]) -> dict[int, str]:
    """Change the scores for what is seen and in focus: files like these rise, those in focus come first, folders leave out the rest.

    Returns why, by file.
    """
    reasons: dict[int, str] = {}
    if wanted.folders:
        for number in np.flatnonzero(scores > 0).tolist():
            if not view.path(number).startswith(wanted.folders):
                scores[number] = 0
    top = float(scores.max(initial=0.0)) or 1.0
    if around := (*wanted.seen, *wanted.files):
        alike = rank(view, like(index, view, around)).score
        alike /= float(alike.max(initial=0.0)) or 1.0
        changed = together(view, around) * (scores > 0 if wanted.query is None else view.columns.alive)
        if wanted.query is None and alike.any():
            scores *= _ALIKE  # nothing else is asked for than what goes with these
            alike /= _ALIKE
        scores += top * (_ALIKE * alike + _TOGETHER * changed)
        reasons |= dict.fromkeys(
            np.flatnonzero(alike > _NOTABLE * alike.max(initial=0.0)).tolist(), "like files of the session"
        )
        reasons |= dict.fromkeys(np.flatnonzero(changed > _NOTABLE).tolist(), "changed with files of the session")
    for place, path in enumerate(wanted.files):
        if at := view.find(path):
            number = view.offsets[at[0]] + at[1]
            scores[number] = top * (3 - place * 1e-3)
            reasons[number] = "in focus"
    return reasons


def _matched(signals: Signals, number: int) -> str:
    """What of a file the question was found in."""
    found = []
    if signals.symbol[number] > 0:
        found.append("exact name")
    elif signals.names[number] > 0:
        found.append("definitions")
    if signals.stem[number] > 0:
        found.append("file name")
    if signals.folder[number] > 0:
        found.append("folder")
    if signals.history[number] > _TOLD:
        found.append("commits")
    return ", ".join(found) or "text"
