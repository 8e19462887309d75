"""What is known of one content's structure, and its form between processes and on disk."""

from __future__ import annotations

import sys
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconvene.index.definitions import Definition, qualified

Span = tuple[int, int, int, int]
"""First line and column, last line and the column after: lines from 1, columns from 0 in bytes of UTF-8."""


class Quoted:
    """The comments of a file and what its strings say: where a name stands without being used.

    >>> quoted = Quoted([(1, 4, 1, 9), (3, 0, 5, 2)])
    >>> quoted.holds(1, 4), quoted.holds(1, 9), quoted.holds(4, 70), quoted.holds(2, 0)
    (True, False, True, False)
    """

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        merged: list[Span] = []
        for span in sorted(spans):
            if not merged or span[2:] > merged[-1][2:]:  # one that lies in another says nothing more
                merged.append(span)
        self.spans: Sequence[Span] = merged

    def holds(self, line: int, column: int) -> bool:
        """Whether the byte at a place (line from 1, column in bytes from 0) is in a comment or a string."""
        i = bisect_right(self.spans, (line, column), key=lambda span: span[:2]) - 1
        return i >= 0 and (line, column) < self.spans[i][2:]

    def pack(self) -> bytes:
        flat = array("I", (n for span in self.spans for n in span))
        if sys.byteorder == "big":
            flat.byteswap()
        return zlib.compress(flat.tobytes(), 1) if flat else b""

    @classmethod
    def unpack(cls, packed: bytes) -> Quoted:
        flat = array("I", zlib.decompress(packed) if packed else b"")
        if sys.byteorder == "big":
            flat.byteswap()
        made = cls()
        made.spans = list(zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True))
        return made


@dataclass(frozen=True, slots=True)
class Syntax:
    """The structure of one content.

    `fingerprint`: its blob id in hex. `state`: `exact`, as the grammar has it; else why it is the linear tier's guess: `no grammar`,
    `minified`, `poison: <reason>` (its parser hung or died, and it is not tried again) or `unread` (no parser could be started).
    `definitions`: in the order of their lines; those of the grammar have `first` and `last`.
    """

    fingerprint: str
    state: str
    definitions: tuple[Definition, ...]
    quoted: Quoted

    @property
    def exact(self) -> bool:
        return self.state == EXACT

    def around(self, line: int) -> int:
        """The innermost definition whose exact lines hold a line; -1 for none."""
        held = [i for i, d in enumerate(self.definitions) if d.first <= line <= d.last]
        return min(held, key=lambda i: (self.definitions[i].last - self.definitions[i].first, -i), default=-1)

    def symbol(self, i: int) -> str:
        """The qualified name of a definition: `Session.close`."""
        return qualified(self.definitions, i)


EXACT = "exact"
