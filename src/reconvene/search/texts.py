"""The texts that searches read last, with what was worked out of them: a content that is met again is not taken apart again.

A text is known by its fingerprint. Whoever uses one has read the file and hashed it before: what is spared is the decoding, not the look.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from reconvene.index.definitions import Definition
from reconvene.index.languages.strings import lines_in_strings
from reconvene.index.runs import Hits, Runs
from reconvene.search.atoms import atoms_of
from reconvene.search.extent import Extents

KNOWN_BYTES = 6 * 1024 * 1024
_PER_CHARACTER, _PER_LINE = 6, 64
"""Bytes that a text takes, about: with its runs of word characters; of each line the string's own."""


class Text:
    """Of one file, whole. For any thread: what two work out at once is the same.

    Args:
        lines: nobody changes them.
        characters: how many it has.
    """

    def __init__(self, lines: Sequence[str], characters: int = 0) -> None:
        self.lines = lines
        self.size = _PER_CHARACTER * characters + _PER_LINE * len(lines)
        self._extents: Extents | None = None
        self._atoms: tuple[Extents, list[tuple[int, int]]] | None = None
        self._runs: dict[tuple[int, int], Runs] = {}

    @cached_property
    def in_strings(self) -> frozenset[int]:
        """See `lines_in_strings`."""
        return lines_in_strings(self.lines)

    def extents(self, definitions: Sequence[Definition]) -> Extents:
        """Those of these definitions. They become exact, and so others, once the grammar has read the file."""
        known = self._extents
        if known is None or known.definitions is not definitions:
            known = self._extents = Extents(self.lines, definitions, self)
        return known

    def terms_of_lines(self, spans: Iterable[tuple[int, int]] | None, hits: Hits) -> dict[int, set[int]]:
        """Of each line that has any, in their order: those of its terms that are looked for.

        Args:
            spans: lines that are looked at, from 1, inclusive, in their order; None for all.
        """
        found: dict[int, set[int]] = {}
        for first, last in [(1, len(self.lines))] if spans is None else _joined(spans):
            runs = self._runs.get((first, last))
            if runs is None:
                runs = self._runs[first, last] = Runs(self.lines[first - 1 : last])
            found.update(runs.lines_with(hits, first))
        return found

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

    def of(self, fingerprint: str, lines: Sequence[str]) -> Text:
        """The text of these lines, known from now on."""
        if (known := self.get(fingerprint)) is not None and known.lines is lines:
            return known
        made = Text(lines, sum(map(len, lines)))
        with self._lock:
            before = self._known.pop(fingerprint, None)
            self._known[fingerprint] = made
            self._size += made.size - (before.size if before is not None else 0)
            while self._size > self._most and len(self._known) > 1:
                self._size -= self._known.popitem(last=False)[1].size
        return made
