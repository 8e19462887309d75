"""What a file defines beyond what is shown of it: so that its other pages need not be read to know what is there."""

from __future__ import annotations

from collections.abc import Sequence

from reconvene.agents.redact import redact
from reconvene.agents.scrub import scrub
from reconvene.index.definitions import Definition

ROWS, CHARS = 40, 2000
"""Of an outline, at most."""
_SIGNATURE = 100


def outlined(definitions: Sequence[Definition], after: int) -> list[str]:
    """A row for each definition that begins after a line, in their order; the innermost are left out when there are too many.

    The first row says what the others are; nothing when there are none.
    """
    depths: list[int] = []
    for definition in definitions:
        depths.append(depths[definition.parent] + 1 if 0 <= definition.parent < len(depths) else 0)
    there = [i for i, definition in enumerate(definitions) if definition.line > after]
    chosen: list[int] = []
    for depth in sorted({depths[i] for i in there}):
        level = [i for i in there if depths[i] == depth]
        if chosen and len(chosen) + len(level) > ROWS:
            break
        chosen += level
    rows: list[str] = []
    room = CHARS
    for i in sorted(chosen):
        row = f"{'  ' * depths[i]}- line {definitions[i].line}: {scrub(redact(definitions[i].signature))[:_SIGNATURE]}"
        room -= len(row) + 1
        if room < 0 or len(rows) == ROWS:
            break
        rows.append(row)
    if not rows:
        return []
    left = len(there) - len(rows)
    return [f"(further on are{f', and {left:,} more' if left else ''}:)", *rows]
