"""The whole index in memory, as it was at one epoch: a few segments and which of their files still count. Immutable.

A change makes a new view that shares all but the small parts with the old one, so a search that is under way is not disturbed. Segments
of about the same size are merged as soon as there are a few of them, which keeps them few and their cost logarithmic.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from reconvene.index.history import NO_HISTORY, History
from reconvene.index.segment import Document, Mask, Segment
from reconvene.index.usage import Usage

_FAN = 4
"""So many segments of about the same size (up to so many times) in a row are merged into one."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What ranking asks of all files together, each rounded to a quarter of a power of two.

    So a changed file moves the scores of the others only when the code base grew or shrank by a tenth, and then for all searches at
    once: an answer stays exactly what a new search would give until a file that has one of its words changes. Ranking does not feel
    the difference. `mark` names the values.
    """

    files: float
    file_length: float
    chunk_length: float
    names_length: float
    mark: str


@dataclass(frozen=True, slots=True)
class Columns:
    """Of all segments one after the other. Per file: `alive`, `length`, `names_length`, `roles`; per chunk: its file, its length."""

    alive: Mask
    length: NDArray[np.float64]
    names_length: NDArray[np.float64]
    roles: NDArray[np.uint8]
    chunk_file: NDArray[np.int64]
    chunk_length: NDArray[np.float64]
    chunk_bases: tuple[int, ...]
    """Of each segment, the number of its first chunk."""


@dataclass(frozen=True, eq=False)
class View:
    """`partial`: not all files are in it yet. `alive[s][i]`: file i of segment s is still as it was. `history`: of its repository.

    `waiting`: the first segment is of files that are still to be read, known by their paths until then; it is never merged.
    """

    segments: tuple[Segment, ...] = ()
    alive: tuple[Mask, ...] = ()
    epoch: int = 0
    partial: bool = True
    history: History = NO_HISTORY
    waiting: bool = False

    def replace(self, gone: Collection[str], documents: Sequence[Document], *, epoch: int, partial: bool) -> View:
        """Without the files in `gone`, and with these documents in place of those of the same path."""
        dropped = {*gone, *(d.path for d in documents)}
        segments, alive = (
            list(self.segments),
            [_without(s, a, dropped) for s, a in zip(self.segments, self.alive, strict=True)],
        )
        if documents:
            segments.append(Segment.build(documents))
            alive.append(np.ones(len(documents), np.bool_))
        waiting = self.waiting
        for i in reversed([i for i, a in enumerate(alive) if not a.any() or (waiting and i == 0 and not partial)]):
            del segments[i], alive[i]
            waiting = waiting and i != 0
        while (first := _alike(alive, int(waiting))) is not None:
            merged = Segment.merge(segments[first:], alive[first:])
            segments[first:], alive[first:] = [merged], [np.ones(len(merged.paths), np.bool_)]
        return View(tuple(segments), tuple(alive), epoch, partial, self.history, waiting)

    def announce(self, paths: Sequence[str]) -> View:
        """With files that are still to be read; what was announced before is forgotten."""
        known = slice(int(self.waiting), None)
        segments, alive = self.segments[known], self.alive[known]
        if paths:
            segments, alive = (Segment.listed(paths), *segments), (np.ones(len(paths), np.bool_), *alive)
        return View(segments, alive, self.epoch, True, self.history, bool(paths))

    @property
    def known(self) -> View:
        """Without the files that are still to be read."""
        first = int(self.waiting)
        return (
            View(self.segments[first:], self.alive[first:], self.epoch, self.partial, self.history) if first else self
        )

    def find(self, path: str) -> tuple[int, int] | None:
        """(segment, file) of a path."""
        for s in range(len(self.segments) - 1, -1, -1):
            i = self.segments[s].number.get(path)
            if i is not None and self.alive[s][i]:
                return s, i
        return None

    def waits(self, number: int) -> bool:
        """Whether a file, counted through all segments, is still to be read."""
        return self.waiting and number < self.offsets[1]

    def blob(self, path: str) -> bytes | None:
        at = self.find(path)
        return self.segments[at[0]].blobs[at[1]] if at else None

    def has_folder(self, path: str) -> bool:
        """Whether any file is below it."""
        return any(other.startswith(f"{path}/") for other in self.paths())

    def paths(self) -> Iterator[str]:
        for segment, alive in zip(self.segments, self.alive, strict=True):
            for i in np.flatnonzero(alive).tolist():
                yield segment.paths[i]

    @cached_property
    def files(self) -> int:
        return int(sum(a.sum() for a in self.alive))

    @cached_property
    def symbols(self) -> int:
        return int(sum(s.symbol_counts[a].sum() for s, a in zip(self.segments, self.alive, strict=True)))

    @cached_property
    def unread(self) -> int:
        """Files that could not be read."""
        return int(sum((s.unread & a).sum() for s, a in zip(self.segments, self.alive, strict=True)))

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Of each segment, the number of its first file when all are counted through; at the end, how many there are."""
        return (0, *np.cumsum([len(s.paths) for s in self.segments]).tolist())

    def path(self, number: int) -> str:
        """The path of a file counted through all segments."""
        s = bisect_right(self.offsets, number) - 1
        return self.segments[s].paths[number - self.offsets[s]]

    def chunks(self, number: int) -> slice:
        """Which chunks, counted through all segments, a file has."""
        return slice(int(self._chunk_bounds[number]), int(self._chunk_bounds[number + 1]))

    @cached_property
    def _chunk_bounds(self) -> NDArray[np.int64]:
        counts = np.bincount(self.columns.chunk_file, minlength=self.offsets[-1])
        return np.append(0, counts.cumsum())

    def chunk_starts(self, number: int) -> list[int]:
        """First lines of the chunks of a file counted through all segments."""
        s = bisect_right(self.offsets, number) - 1
        here, base = self.chunks(number), self.columns.chunk_bases[s]
        starts: list[int] = self.segments[s].chunk_start[here.start - base : here.stop - base].tolist()
        return starts

    @cached_property
    def columns(self) -> Columns:
        segments = self.segments
        return Columns(
            alive=np.concatenate([np.zeros(0, np.bool_), *self.alive]),
            length=np.concatenate([np.zeros(0), *(s.length for s in segments)]),
            names_length=np.concatenate([np.zeros(0), *(s.names_length for s in segments)]),
            roles=np.concatenate([np.zeros(0, np.uint8), *(s.roles for s in segments)]),
            chunk_file=np.concatenate(
                [
                    np.zeros(0, np.int64),
                    *(s.chunk_file + np.int64(base) for s, base in zip(segments, self.offsets, strict=False)),
                ]
            ),
            chunk_length=np.concatenate([np.zeros(0), *(s.chunk_length for s in segments)]),
            chunk_bases=(0, *np.cumsum([len(s.chunk_file) for s in segments]).tolist()),
        )

    @cached_property
    def usage(self) -> Usage:
        """How many files mention each term."""
        pairs = list(zip(self.segments, self.alive, strict=True))
        return Usage(
            [(s.chunks.keys, s.used) for s, _ in pairs],
            [s.chunks.files_of_some(s.chunk_file, ~a) for s, a in pairs if not a.all()],
        )

    @cached_property
    def definers(self) -> Usage:
        """How many files define a name with each term."""
        each = [np.arange(len(s.paths), dtype=np.int32) for s in self.segments]
        return Usage(
            [(s.names.keys, np.diff(s.names.bounds)) for s in self.segments],
            [
                s.names.files_of_some(n, ~a)
                for s, a, n in zip(self.segments, self.alive, each, strict=True)
                if not a.all()
            ],
        )

    def cochange(self, path: str) -> list[tuple[str, float]]:
        """As `History.cochange`, of the files there are."""
        return [(other, share) for other, share in self.history.cochange(path) if self.find(other) is not None]

    @property
    def mark(self) -> str:
        """Names what an answer depends on besides the files that have its words: the statistics and the commits."""
        return f"{self.statistics.mark}/{self.history.mark}"

    @cached_property
    def past(self) -> NDArray[np.int64]:
        """Of each file counted through all segments, its number in the history's paths; one more than there are for none."""
        number, none = self.history.number, len(self.history.paths)
        paths = chain.from_iterable(segment.paths for segment in self.segments)
        return np.fromiter(map(number.get, paths, repeat(none)), np.int64, self.offsets[-1])

    @cached_property
    def statistics(self) -> Statistics:
        pairs = list(zip(self.segments, self.alive, strict=True))
        indexed = sum(int((s.length[a] > 0).sum()) for s, a in pairs)
        length = sum(int(s.length[a].sum()) for s, a in pairs)
        chunks = sum(int(a[s.chunk_file].sum()) for s, a in pairs)
        names = sum(int(s.names_length[a].sum()) for s, a in pairs)
        steps = [_step(self.files, 1), _step(length, indexed), _step(length, chunks), _step(names, indexed)]
        values = [2 ** (step / 4) for step in steps]
        return Statistics(values[0], values[1], values[2], values[3], ".".join(map(str, steps)))


def _without(segment: Segment, alive: Mask, dropped: Collection[str]) -> Mask:
    numbers = [segment.number[path] for path in dropped if path in segment.number]
    if not numbers:
        return alive
    left = alive.copy()
    left[numbers] = False
    return left


def _alike(alive: Sequence[Mask], start: int) -> int | None:
    """Where the segments begin that are to be merged, up to the last; None when they are few, or smaller than what is before."""
    sizes = [_size(mask) for mask in alive]
    first = len(sizes)
    while first > start and sizes[first - 1] <= sizes[-1]:
        first -= 1
    return first if len(sizes) - first >= _FAN else None


def _size(alive: Mask) -> int:
    return math.floor(math.log(max(int(alive.sum()), 1), _FAN))


def _step(total: int, count: int) -> int:
    return round(4 * math.log2(max(total, 1) / max(count, 1))) if total > count else 0
