"""Which words of a query stand on which lines of a text, without taking every word of it to its stem.

A word with a wanted term has a piece of that term in it (`_hint`), so those pieces are looked for in the whole text at once, and only the
words they are found in are taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reconvene.index.words import BLANKED, parts, term_of_part, terms_of_run

_LOWERED = BLANKED.lower().encode() + bytes(range(128, 256))
"""Bytes of ASCII that no word has as blanks, the others without case; what is outside of ASCII may be in a word."""
_RUN, _ODD = re.compile(rb"[^ ]+"), re.compile(rb"[\x80-\xff]")
_NEWLINE, _UNDERSCORE = b"\n_"
_OTHERWISE = {"sky": "skies"}
"""Stems of which a word has not even the beginning."""


class Hits(dict[str, int]):
    """For each run of word characters that is looked up, those of its terms that are wanted: a bit for each, by its number in `terms`.

    (Sets of them would be as many containers as lines are found, for the garbage collector to go through.)

    Args:
        wanted: terms.
        texts: what they are the numbers of; without one of them, every word of a text is taken apart.
    """

    def __init__(self, wanted: Iterable[int], texts: Mapping[int, str] | None = None) -> None:
        super().__init__()
        self.terms = tuple(wanted)
        self._bits = {term: 1 << i for i, term in enumerate(self.terms)}
        known = [(texts or {}).get(term, "") for term in self.terms]
        self.known = all(known)
        """Whether every ASCII run with one of the terms has one of `parts` or `wholes` in it."""
        self.parts = frozenset(p.encode() for text in known if not text.startswith("=") for p in _hints(text))
        """What stands in a run as it is, its case aside."""
        self.wholes = frozenset(p.encode() for text in known if text.startswith("=") for p in _hints(text))
        """What stands in a run, its case and underscores aside."""

        self._of_parts = _OfParts([p.decode() for p in self.parts], self._bits)
        self._of_wholes = {
            text[1:]: self._bits[t] for t, text in zip(self.terms, known, strict=True) if text[:1] == "="
        }
        self.in_bytes = _InBytes(self)
        self.of = _Terms(self.terms)
        """The terms that some bits are of."""

    def __missing__(self, run: str) -> int:
        bits = 0
        if self.known and run.isascii() and run.isidentifier():
            split = parts(run)
            for part in split:
                bits |= self._of_parts[part]
            if self._of_wholes and len(split) > 1:
                bits |= self._of_wholes.get("".join(split), 0)
        else:
            for term in terms_of_run(run):
                bits |= self._bits.get(term, 0)
        self[run] = bits
        return bits

    def may_be_in(self, text: str) -> bool:
        """Whether there may be a word with one of the terms in a text; it costs less than to see."""
        if not self.known or not text.isascii():
            return True
        lower = text.lower()
        flat = lower.replace("_", "") if self._of_wholes else ""
        return any(p in lower for p in self._of_parts.pieces) or any(w in flat for w in self._of_wholes)


class _OfParts(dict[str, int]):
    """The same of a part of a word, in small letters. `pieces`: of which each that has one of the terms has one in it."""

    def __init__(self, pieces: Sequence[str], bits: Mapping[int, int]) -> None:
        super().__init__()
        self.pieces = pieces
        self._bits = bits

    def __missing__(self, part: str) -> int:
        found = self._bits.get(term_of_part(part), 0) if any(piece in part for piece in self.pieces) else 0
        self[part] = found
        return found


class _InBytes(dict[bytes, int]):
    """The same of a run in UTF-8; what is outside of ASCII in it may be several."""

    def __init__(self, hits: Hits) -> None:
        super().__init__()
        self._hits = hits

    def __missing__(self, run: bytes) -> int:
        bits = self[run] = self._hits[run.decode("utf-8", "surrogatepass")]
        return bits


class _Terms(dict[int, tuple[int, ...]]):
    def __init__(self, terms: Sequence[int]) -> None:
        super().__init__()
        self._terms = terms

    def __missing__(self, bits: int) -> tuple[int, ...]:
        found = self[bits] = tuple(term for i, term in enumerate(self._terms) if bits >> i & 1)
        return found


class Runs:
    """The runs of word characters in a text.

    Args:
        data: in UTF-8.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._lower = data.translate(_LOWERED) + b" "

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Where each line ends: at its newline, the last one with the text."""
        newlines = np.flatnonzero(np.frombuffer(self._data, np.uint8) == _NEWLINE)
        return np.append(newlines, len(self._data))

    def lines_with(self, wanted: Hits, spans: Iterable[tuple[int, int]]) -> dict[int, int]:
        """For each line that has any, in their order: those of its terms that are wanted, as `Hits` has them.

        Args:
            spans: lines that are looked at, from 1, inclusive, in their order.
        """
        runs: dict[int, int] = {}
        for first, last in spans:
            runs |= self._wanted(wanted, first, last)
        places = sorted(runs)
        found: dict[int, int] = {}
        for number, place in zip((np.searchsorted(self.ends, places) + 1).tolist(), places, strict=True):
            found[number] = found.get(number, 0) | runs[place]
        return found

    def with_any(self, wanted: Hits, first: int, last: int) -> Iterator[str]:
        """The runs with wanted terms in some lines (from 1, inclusive), in their order."""
        for at in sorted(self._wanted(wanted, first, last)):
            yield self._data[at : self._lower.find(b" ", at)].decode("utf-8", "surrogatepass")

    def _wanted(self, wanted: Hits, first: int, last: int) -> dict[int, int]:
        """Where the runs with wanted terms begin, and those terms of each."""
        begin = int(self.ends[first - 2]) + 1 if first > 1 else 0
        end = int(self.ends[last - 1])
        data, lower, terms_of = self._data, self._lower, wanted.in_bytes
        find, before = lower.find, lower.rfind
        found: dict[int, int] = {}
        for piece in wanted.parts if wanted.known else ():
            place = find(piece, begin, end)
            while place >= 0:
                at = before(b" ", begin, place) + 1 or begin
                upto = find(b" ", place)
                if terms := terms_of[data[at:upto]]:
                    found[at] = terms
                place = find(piece, upto, end)
        for place in self._others(wanted, begin, end):
            at = before(b" ", begin, place) + 1 or begin
            if terms := terms_of[data[at : find(b" ", place)]]:
                found[at] = terms
        return found

    def _others(self, wanted: Hits, begin: int, end: int) -> Iterator[int]:
        """A place in each run that may have a wanted term though it has none of their parts as they are."""
        lower = self._lower
        if not wanted.known:
            yield from (run.start() for run in _RUN.finditer(lower, begin, end))
            return
        for piece in wanted.wholes:
            if piece in self._flat:
                yield from self._places_of_whole(piece, begin, end)
        if _is_odd(lower):
            odd = _ODD.search(lower, begin, end)
            while odd is not None:
                yield odd.start()
                odd = _ODD.search(lower, lower.find(b" ", odd.start()), end)

    def _places_of_whole(self, piece: bytes, begin: int, end: int) -> Iterator[int]:
        """Where it stands once the underscores are left out."""
        underscores = np.flatnonzero(np.frombuffer(self._lower, np.uint8) == _UNDERSCORE)
        before = underscores - np.arange(len(underscores))
        low, high = (place - int(np.searchsorted(underscores, place)) for place in (begin, end))
        place = self._flat.find(piece, low, high)
        while place >= 0:
            yield place + int(np.searchsorted(before, place, side="right"))
            place = self._flat.find(piece, place + 1, high)

    @cached_property
    def _flat(self) -> bytes:
        return self._lower.replace(b"_", b"")


def _is_odd(text: bytes) -> bool:
    """Whether what terms it has is not told by its letters alone: `Maße` has `masse`."""
    return not text.isascii()


def _hints(text: str) -> Iterable[str]:
    """What every ASCII run with a term has one of in it. `text`: what the term is the number of, see `words`.

    A stem is the beginning of its words but for what the stemmer changes at its end: `happi` of `happy`, `hope` of `hoping`, `capabl` of
    `capability`.
    """
    if not text.isascii():
        return ()  # stands in no such run
    if text.startswith("="):
        return (text[1:],)
    piece = text.rstrip("e")
    if piece.endswith(("bl", "i")):
        piece = piece[:-1]
    return (piece or text[:1], *((_OTHERWISE[text],) if text in _OTHERWISE else ()))
