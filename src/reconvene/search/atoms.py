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


def atoms_of(source: Source, definitions: Sequence[Definition]) -> Atoms:
    """The file in pieces."""
    blank = source.margins.blank
    filled = ~blank[1:]
    begins = blank[:-1] & filled  # of a paragraph, by the number of the line before
    cuts = np.array([d.line for d in definitions], np.int64) - 1
    for i in _MAY_LEAD[source.margins.codes[cuts]].nonzero()[0].tolist():
        cuts[i] = _with_what_is_above(source, definitions[i].line) - 1
    begins[cuts[(cuts >= 0) & (cuts < len(begins))]] = True
    begins &= filled
    starts = begins.nonzero()[0] + 1
    # A piece ends before the next one, or before a blank line.
    filled[:-1] &= blank[2:] | begins[1:]
    ends = filled.nonzero()[0] + 1
    pieces = (ends - starts + ATOM) // ATOM
    until = pieces.cumsum()
    of = np.arange(len(pieces)).repeat(pieces)
    within = np.arange(len(of)) - (until - pieces)[of]
    firsts = starts[of] + ATOM * within
    return Atoms(firsts, np.minimum(firsts + ATOM - 1, ends[of]))


def _with_what_is_above(source: Source, line: int) -> int:
    """Where the comments and decorators begin that stand right above a line."""
    for n in range(line, max(1, line - ATOM), -1):
        if not source.line(n - 1).lstrip().startswith(_LEADING):
            return n
    return line
