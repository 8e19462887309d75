"""The texts that searches read last, with what was worked out of them: a content that is met again is not taken apart again.

A text is known by its fingerprint. Whoever uses one has read the file and hashed it before: what is spared is the decoding, not the look.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from reconvene.index.definitions import Definition
from reconvene.index.runs import Hits
from reconvene.search.atoms import Atoms, atoms_of
from reconvene.search.extent import Extents
from reconvene.search.result import LINE_CHARS, cut_lines
from reconvene.search.source import Source

KNOWN_BYTES = 6 * 1024 * 1024
_PER_BYTE, _PER_LINE = 3, 96
"""Bytes that a text takes, about: as it is, and twice without case; of each line where it begins and ends and how, and what of the
definitions in it is known."""


class Text(Source):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.size = _PER_BYTE * len(data) + _PER_LINE * self.count
        self._extents: Extents | None = None
        self._atoms: tuple[Extents, Atoms] | None = None

    def extents(self, definitions: Sequence[Definition]) -> Extents:
        """Those of these definitions. They become exact, and so others, once the grammar has read the file."""
        known = self._extents
        if known is None or known.definitions is not definitions:
            known = self._extents = Extents(self, definitions)
        return known

    def places(self, spans: Iterable[tuple[int, int]] | None, hits: Hits) -> dict[int, int]:
        """Where terms stand that are looked for, in their order, and which, as `Hits` has them: see `Runs.places`.

        Args:
            spans: lines that are looked at, from 1, inclusive, in their order; None for all.
        """
        whole = [(1, self.count)]
        return self.runs.places(hits, whole if spans is None else joined(spans))

    def atoms(self, definitions: Sequence[Definition]) -> Atoms:
        """See `atoms_of`."""
        extents = self.extents(definitions)
        if self._atoms is None or self._atoms[0] is not extents:
            self._atoms = extents, atoms_of(self, definitions)
        return self._atoms[1]


def joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same lines, those that follow each other as one."""
    begin = end = 0
    for first, last in spans:
        if first != end + 1 and end:
            yield begin, end
            begin = 0
        begin, end = begin or first, last
    if end:
        yield begin, end


def cut_text(text: Source, first: int, last: int) -> str:
    """As `cut_lines`, of lines from one to another."""
    found = text.text(first, last)
    return cut_lines(found.split("\n")) if text.has_longer(first, last, LINE_CHARS) else found


class KnownTexts:
    """The last ones of up to so many bytes in all, by their fingerprints."""

    def __init__(self, most: int = KNOWN_BYTES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Text] = OrderedDict()
        self._size = 0

    def get(self, fingerprint: str) -> Text | None:
        with self._lock:
            found = self._known.get(fingerprint)
            if found is not None:
                self._known.move_to_end(fingerprint)
            return found

    def of(self, fingerprint: str, data: bytes) -> Text:
        """The text of these bytes, known from now on."""
        if (known := self.get(fingerprint)) is not None and known.data == data:
            return known
        made = Text(data)
        with self._lock:
            before = self._known.pop(fingerprint, None)
            self._known[fingerprint] = made
            self._size += made.size - (before.size if before is not None else 0)
            while self._size > self._most and len(self._known) > 1:
                self._size -= self._known.popitem(last=False)[1].size
        return made
