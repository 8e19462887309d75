"""In which order files are read when there are many: what somebody waits for first, then what people work on, then the rest."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from reconvene.index.roles import WEIGHTS, role_of
from reconvene.index.segment import Postings
from reconvene.index.view import View
from reconvene.index.words import WORD, many_terms
from reconvene.workspace.listing import FileStat

LATELY_NS = 24 * 3600 * 1_000_000_000
"""A file that was written so shortly before the newest one is being worked on, when few are."""
_FEW = 0.1
_MOST_WANTED = 400
_SHORT = 4
_WORDS = 2000
"""Characters of a prompt that are looked at."""


class ReadingOrder:
    """The paths still to be read, each given once. One thread iterates; any may say what to read first."""

    def __init__(self, paths: Iterable[str], stats: Mapping[str, FileStat]) -> None:
        self._left = set(paths)
        self._first: deque[str] = deque()
        self._soon = deque(_being_written(self._left, stats))
        self._rest = deque(sorted(self._left, key=_urgency))

    def first(self, paths: Sequence[str]) -> None:
        """Read these next, in this order, those that are still to be read."""
        self._first.extendleft(reversed(paths))

    def soon(self, paths: Sequence[str]) -> None:
        """Read these before the rest."""
        self._soon.extend(paths)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for line in (self._first, self._soon, self._rest):
            while line:
                path = line.popleft()
                if path in self._left:
                    self._left.discard(path)
                    return path
        raise StopIteration


def paths_about(view: View, text: str, most: int = _MOST_WANTED) -> list[str]:
    """Files whose path has words of a text: those with more of them, rarer ones, and in sources first."""
    scores: dict[str, float] = defaultdict(float)
    words = (word for word in WORD.findall(text[:_WORDS]) if len(word) >= _SHORT)
    for term in set(many_terms(words)):
        named = [path for s in range(len(view.segments)) for path in _named(view, s, term)]
        for path in named:
            scores[path] += math.log(1 + view.files / len(named)) * WEIGHTS[role_of(path)]
    return heapq.nsmallest(most, scores, key=lambda path: (-scores[path], path))


def _named(view: View, s: int, term: int) -> Iterator[str]:
    segment, alive = view.segments[s], view.alive[s]
    fields: tuple[Postings, ...] = (segment.stems, segment.folders)
    found = [hit[0] for field in fields if (hit := field.of(term)) is not None]
    for number in {int(n) for numbers in found for n in numbers.tolist() if alive[n]}:
        yield segment.paths[number]


def _being_written(paths: set[str], stats: Mapping[str, FileStat]) -> list[str]:
    written = {path: stats[path].mtime_ns for path in paths if path in stats}
    if not written:
        return []
    newest = max(written.values())
    lately = [path for path, at in written.items() if at > newest - LATELY_NS]
    # Of a clone made just now all are new, which says nothing.
    return sorted(lately, key=lambda path: (-written[path], path)) if len(lately) <= _FEW * len(written) else []


def _urgency(path: str) -> tuple[bool, str]:
    return role_of(path) not in ("source", "types"), path
