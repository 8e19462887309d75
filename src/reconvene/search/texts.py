"""The texts that searches read last, with what was worked out of them: a content that is met again is not taken apart again.

A text is known by its fingerprint. Whoever uses one has read the file and hashed it before: what is spared is the decoding, not the look.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from reconvene.index.definitions import Definition
from reconvene.index.runs import Hits
from reconvene.search.atoms import atoms_of
from reconvene.search.extent import Extents
from reconvene.search.source import Source

KNOWN_BYTES = 6 * 1024 * 1024
_PER_CHARACTER, _PER_LINE = 4, 72
"""Bytes that a text takes, about: as lines, as bytes, and twice without case; of each line the string's own and where it ends."""


class Text(Source):
    """Args:
    characters: how many it has.
    """

    def __init__(self, lines: Sequence[str], characters: int = 0) -> None:
        super().__init__(lines)
        self.size = _PER_CHARACTER * characters + _PER_LINE * len(lines)
        self._extents: Extents | None = None
        self._atoms: tuple[Extents, list[tuple[int, int]]] | None = None

    def extents(self, definitions: Sequence[Definition]) -> Extents:
        """Those of these definitions. They become exact, and so others, once the grammar has read the file."""
        known = self._extents
        if known is None or known.definitions is not definitions:
            known = self._extents = Extents(self.lines, definitions, self)
        return known

    def terms_of_lines(self, spans: Iterable[tuple[int, int]] | None, hits: Hits) -> dict[int, int]:
        """Of each line that has any, in their order: those of its terms that are looked for, as `Hits` has them.

        Args:
            spans: lines that are looked at, from 1, inclusive, in their order; None for all.
        """
        whole = [(1, len(self.lines))]
        return self.runs.lines_with(hits, whole if spans is None else _joined(spans))

    def atoms(self, definitions: Sequence[Definition]) -> list[tuple[int, int]]:
        """See `atoms_of`."""
        extents = self.extents(definitions)
        if self._atoms is None or self._atoms[0] is not extents:
            self._atoms = extents, atoms_of(self.lines, definitions)
        return self._atoms[1]


def _joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same lines, those that follow each other as one."""
    begin = end = 0
    for first, last in spans:
        if first != end + 1 and end:
            yield begin, end
            begin = 0
        begin, end = begin or first, last
    if end:
        yield begin, end


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

    def of(self, fingerprint: str, lines: Sequence[str], characters: int | None = None) -> Text:
        """The text of these lines, known from now on."""
        if (known := self.get(fingerprint)) is not None and known.lines is lines:
            return known
        made = Text(lines, sum(map(len, lines)) if characters is None else characters)
        with self._lock:
            before = self._known.pop(fingerprint, None)
            self._known[fingerprint] = made
            self._size += made.size - (before.size if before is not None else 0)
            while self._size > self._most and len(self._known) > 1:
                self._size -= self._known.popitem(last=False)[1].size
        return made
