"""A file in the pieces that are shown together or not at all: its paragraphs, cut where definitions begin."""

from __future__ import annotations

from collections.abc import Sequence

from reconvene.index.definitions import Definition

ATOM = 12
"""Lines of one, at most: a paragraph, or a piece of one."""
_LEADING = ("@", "//", "/*", "*", "# ", "#[", "--")


def atoms_of(lines: Sequence[str], definitions: Sequence[Definition]) -> list[tuple[int, int]]:
    """The file in pieces, each from a line to a line (from 1, inclusive), none of them blank at its ends."""
    begins = {_with_what_is_above(lines, d.line) for d in definitions}
    pieces: list[tuple[int, int]] = []
    start = 0
    for n, line in enumerate(lines, 1):
        if not line or line.isspace():
            if start:
                pieces.append((start, n - 1))
                start = 0
        elif not start:
            start = n
        elif n - start >= ATOM or n in begins:
            pieces.append((start, n - 1))
            start = n
    if start:
        pieces.append((start, len(lines)))
    return pieces


def _with_what_is_above(lines: Sequence[str], line: int) -> int:
    """Where the comments and decorators begin that stand right above a line."""
    for n in range(line, max(1, line - ATOM), -1):
        if not lines[n - 2].lstrip().startswith(_LEADING):
            return n
    return line
