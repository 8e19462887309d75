"""What is found in one file's content, and its form on disk and between processes. Pure, and without numpy: workers run it.

A file is cut into chunks of about 40 lines that begin where a definition begins, or after a blank line. For each chunk: which terms it
has and how often. For the file: the terms of the names it defines, and those names exactly.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from struct import Struct

from reconvene.index.definitions import Definition, find, last_name, pack
from reconvene.index.languages.language import HOLDERS, OUTLINE, Language
from reconvene.index.words import symbol_term, text_counter

VERSION = 1
"""Raise it when the same content would be analysed otherwise than before."""
CHUNK, SHORT = 60, 25
"""Lines of a chunk: at most, and the fewest before it may end at a good place."""
MINIFIED = 400
"""Bytes a line, on average: above, it is minified code or data."""
_SMALL = 0xFFFF
_LOW = 0 if sys.byteorder == "little" else 1
_HEAD = Struct("<4I")
_count = text_counter()


@dataclass(frozen=True, slots=True)
class Analysis:
    """`postings`: see `arrays.Arrays`. `definitions`: see `definitions.pack`. `state`: `indexed`, or why its words were not taken."""

    state: str
    lines: int
    symbols: int
    definitions: bytes = b""
    postings: bytes = b""


def analyse(data: bytes, language: Language, codec: str = "utf-8") -> Analysis:
    """Analyse a text file's bytes. Never raises for what is in them."""
    text = data.decode(codec, "replace")
    if codec != "utf-8":
        data = text.encode("utf-8", "replace")
    lines = text.split("\n")
    count = len(lines) - (not lines[-1])
    if len(data) > MINIFIED * max(len(lines), 1):
        return Analysis("minified", count, 0)
    definitions = find(data, language)
    starts = _chunk_starts(lines, definitions)
    columns = _Columns()
    for begin, end in pairwise([*starts, len(lines) + 1]):
        columns.chunk(begin, _count("\n".join(lines[begin - 1 : end - 1])))
    named = sum(d.kind not in OUTLINE for d in definitions)
    return Analysis("indexed", count, named, pack(definitions), columns.pack(definitions))


class _Columns:
    def __init__(self) -> None:
        self.terms: list[int] = []  # an array is made of a list in a third of the time in which it grows
        self.counts = bytearray()
        self.chunks, self.starts, self.lengths = array("H"), array("I"), array("I")

    def chunk(self, start: int, counts: dict[int, int]) -> None:
        number = len(self.starts)
        self.terms.extend(counts)
        self.counts += _narrow(counts.values())
        self.chunks.extend(array("H", [number]) * len(counts))
        self.starts.append(start)
        self.lengths.append(sum(counts.values()))

    def pack(self, definitions: Sequence[Definition]) -> bytes:
        symbols: dict[int, int] = {}
        defining = [d for d in definitions if d.kind != "impl" and d.kind not in OUTLINE]
        names = _count("\n".join(d.name for d in defining))
        for d in defining:
            if d.kind != "heading":
                exact = symbol_term(last_name(d.name))
                symbols[exact] = max(symbols.get(exact, 0), 2 if d.kind in HOLDERS else 1)
        head = _HEAD.pack(len(self.terms), len(self.starts), len(names), len(symbols))
        wide = (array("I", self.terms), self.starts, self.lengths, array("I", list(names)), array("I", list(symbols)))
        narrow = (self.counts, self.chunks.tobytes(), _narrow(names.values()), _narrow(symbols.values()))
        return b"".join((head, *(column.tobytes() for column in wide), *narrow))


def _narrow(counts: Collection[int]) -> bytes | bytearray:
    """As numbers of 16 bits. Most are small: bytes are made of them in a third of the time."""
    try:
        small = bytes(counts)
    except ValueError:
        return array("H", [min(n, _SMALL) for n in counts]).tobytes()
    wide = bytearray(2 * len(small))
    wide[_LOW::2] = small
    return wide


def _chunk_starts(lines: Sequence[str], definitions: Sequence[Definition]) -> list[int]:
    """First lines of the chunks, from 1. At most 65,535 chunks (a file of a limit's size has fewer lines)."""
    indent_at = {d.line: d.indent for d in reversed(definitions)}
    defined_at = sorted(indent_at)
    starts = [1]
    last = len(lines)
    while last - starts[-1] >= CHUNK and len(starts) < _SMALL:
        begin = starts[-1]
        first, upto = begin + SHORT + 1, min(begin + CHUNK, last)
        if defined := defined_at[bisect_left(defined_at, first) : bisect_right(defined_at, upto)]:
            cut = min(defined, key=lambda n: (indent_at[n], -n))
            # Decorators, annotations and comments right above belong to what they stand over.
            while (
                cut - 1 > begin + SHORT
                and (above := lines[cut - 2].strip())
                and above.startswith(("@", "#", "//", "*", "/*", "--", '"""'))
            ):
                cut -= 1
        else:
            cut = next((n for n in range(upto, first - 1, -1) if not lines[n - 2].strip()), begin + CHUNK)
        starts.append(cut)
    return starts
