"""A file in the pieces that are shown together or not at all: its paragraphs, cut where definitions begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconvene.index.definitions import Definition
from reconvene.search.source import Source

ATOM = 12
"""Lines of one, at most: a paragraph, or a piece of one."""
_LEADING = ("@", "//", "/*", "*", "# ", "#[", "--")
_MAY_LEAD = np.zeros(256, np.bool_)
_MAY_LEAD[[ord(text[0]) for text in _LEADING]] = True


@dataclass(frozen=True, slots=True)
class Atoms:
    """Pieces of a file, each from a line to a line (from 1, inclusive), none of them blank at its ends."""

    firsts: NDArray[np.int64]
    lasts: NDArray[np.int64]

    def pairs(self) -> list[tuple[int, int]]:
        return list(zip(self.firsts.tolist(), self.lasts.tolist(), strict=True))


def atoms_of(source: Source, definitions: Sequence[Definition]) -> Atoms:
    """The file in pieces."""
    blank = source.margins.blank
    begins = blank[:-1] & ~blank[1:]  # of a paragraph, by the number of the line before
    lines = np.array([d.line for d in definitions], np.int64)
    cuts = lines - 1
    for i in np.flatnonzero(_MAY_LEAD[source.margins.codes[cuts]]).tolist():
        cuts[i] = _with_what_is_above(source, int(lines[i])) - 1
    begins[cuts[(cuts >= 0) & (cuts < len(begins))]] = True
    begins &= ~blank[1:]
    starts = np.flatnonzero(begins) + 1
    # A piece ends before the next one, or before a blank line.
    ends = np.flatnonzero(~blank & np.append(blank[1:] | begins, True)[: len(blank)])
    lengths = ends - starts + 1
    pieces = -(-lengths // ATOM)
    within = np.arange(int(pieces.sum())) - np.repeat(pieces.cumsum() - pieces, pieces)
    firsts = np.repeat(starts, pieces) + ATOM * within
    return Atoms(firsts, np.minimum(firsts + ATOM - 1, np.repeat(ends, pieces)))


def _with_what_is_above(source: Source, line: int) -> int:
    """Where the comments and decorators begin that stand right above a line."""
    for n in range(line, max(1, line - ATOM), -1):
        if not source.line(n - 1).lstrip().startswith(_LEADING):
            return n
    return line
