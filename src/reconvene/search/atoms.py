"""A file in the pieces that are shown together or not at all: its paragraphs, cut where definitions begin."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from reconvene.index.definitions import Definition

ATOM = 12
"""Lines of one, at most: a paragraph, or a piece of one."""
_LEADING = ("@", "//", "/*", "*", "# ", "#[", "--")


def atoms_of(lines: Sequence[str], definitions: Sequence[Definition]) -> list[tuple[int, int]]:
    """The file in pieces, each from a line to a line (from 1, inclusive), none of them blank at its ends."""
    begins = sorted({_with_what_is_above(lines, d.line) for d in definitions})
    pieces: list[tuple[int, int]] = []
    blank = [n for n, line in enumerate(lines, 1) if not line or line.isspace()]
    for before, after in pairwise([0, *blank, len(lines) + 1]):
        start = before + 1
        while (
            (inside := bisect_right(begins, start)) < len(begins) and begins[inside] < after
        ) or after - start > ATOM:
            cut = start + ATOM
            if inside < len(begins):
                cut = min(cut, begins[inside])
            pieces.append((start, cut - 1))
            start = cut
        if start < after:
            pieces.append((start, after - 1))
    return pieces


def _with_what_is_above(lines: Sequence[str], line: int) -> int:
    """Where the comments and decorators begin that stand right above a line."""
    for n in range(line, max(1, line - ATOM), -1):
        if not lines[n - 2].lstrip().startswith(_LEADING):
            return n
    return line
