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
_RUN = re.compile(rb"[^ ]+")
_ASCII = 128
_KEPT = 1000
"""Places that a text remembers, at most."""
_NEWLINE, _UNDERSCORE = b"\n_"
_BOUNDS = b" _"
"""What stands around a part of a word in small letters, if that is to be seen at once."""
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
        pieces = dict.fromkeys(p for text in known if not text.startswith("=") for p in _hints(text))
        self._of_parts = _OfParts(list(pieces), self._bits)
        self.parts = {piece.encode(): self._of_parts[piece] for piece in pieces}
        """What stands in a run as it is, its case aside, and the terms it is of by itself."""
        self.wholes = frozenset(p.encode() for text in known if text.startswith("=") for p in _hints(text))
        """What stands in a run, its case and underscores aside."""

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

    def may_be_in(self, texts: Sequence[str]) -> Iterable[int]:
        """The numbers of those of some lines in which there may be a word with one of the terms; it costs less than to see."""
        joined = "\n".join(texts)
        if not self.known or not joined.isascii() or joined.count("\n") >= len(texts):
            return range(len(texts))
        lower = joined.lower()
        found: set[int] = set()
        for text, pieces in ((lower, self._of_parts.pieces), (_without_underscores(lower), self._of_wholes)):
            for piece in pieces:
                place = text.find(piece)
                while place >= 0:
                    found.add(text.count("\n", 0, place))
                    after = text.find("\n", place)
                    place = text.find(piece, after) if after >= 0 else -1
        return found


class _OfParts(dict[str, int]):
    """The same of a part of a word, in small letters. `pieces`: of which each that has one of the terms has one in it."""

    def __init__(self, pieces: Sequence[str], bits: Mapping[int, int]) -> None:
        super().__init__()
        self.pieces = pieces
        self._bits = bits

    def __missing__(self, part: str) -> int:
        found = 0
        for piece in self.pieces:
            if piece in part:
                found = self._bits.get(term_of_part(part), 0)
                break
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
        newlines = (np.frombuffer(data, np.uint8) == _NEWLINE).nonzero()[0]
        self.ends: NDArray[np.int64] = np.concatenate((newlines, (len(data),)))
        """Where each line ends: at its newline, the last one with the text."""
        self._wholes: tuple[frozenset[bytes], list[int]] = frozenset(), []
        """What was looked for last of `Hits.wholes`, and where it stands."""
        self.end: memoryview[int] = self.ends.data
        """The same: a single one is had from it in a third of the time."""

    def lines_with(self, wanted: Hits, spans: Iterable[tuple[int, int]]) -> dict[int, int]:
        """For each line that has any, in their order: those of its terms that are wanted, as `Hits` has them.

        Args:
            spans: lines that are looked at, from 1, inclusive, in their order.
        """
        runs = self.places(wanted, spans)
        found: dict[int, int] = {}
        for number, terms in zip(self.lines_of(list(runs)), runs.values(), strict=True):
            found[number] = found.get(number, 0) | terms
        return found

    def lines_of(self, places: Sequence[int]) -> list[int]:
        """The number of the line that each place is on."""
        lines: list[int] = (self.ends.searchsorted(np.array(places, np.int64)) + 1).tolist()
        return lines

    def with_any(self, wanted: Hits, spans: Iterable[tuple[int, int]]) -> Iterator[str]:
        """The runs with wanted terms in some lines (as for `lines_with`), in their order."""
        return self.at(self.places(wanted, spans))

    def at(self, places: Iterable[int]) -> Iterator[str]:
        """The runs at some places, each once."""
        before, find = self._lower.rfind, self._lower.find
        for at in dict.fromkeys(before(b" ", 0, place) + 1 for place in places):
            yield self._data[at : find(b" ", at)].decode("utf-8", "surrogatepass")

    def places(self, wanted: Hits, spans: Iterable[tuple[int, int]]) -> dict[int, int]:
        """Places in some lines (as for `lines_with`), in their order, where runs with wanted terms stand, one or more in each, and terms;
        those of a run are all that it has."""
        data, lower, terms_of = self._data, self._lower, wanted.in_bytes
        find, before = lower.find, lower.rfind
        ends = self.end
        within = [(ends[first - 2] + 1 if first > 1 else 0, ends[last - 1]) for first, last in spans]
        found: dict[int, int] = {}
        for piece, own in wanted.parts.items() if wanted.known else ():
            size = len(piece)
            for begin, end in within:
                place = find(piece, begin, end)
                while place >= 0:
                    upto = place + size
                    if own and lower[upto] in _BOUNDS and lower[place - 1] in _BOUNDS and data[place:upto] == piece:
                        # A part of the run: this term it has, and its others are found by their own pieces.
                        found[place] = found.get(place, 0) | own
                    else:
                        upto = find(b" ", upto)
                        if terms := terms_of[data[before(b" ", 0, place) + 1 : upto]]:
                            found[place] = found.get(place, 0) | terms
                    place = find(piece, upto, end)
        for place in self._others(wanted, within):
            if terms := terms_of[data[before(b" ", 0, place) + 1 : find(b" ", place)]]:
                found[place] = terms
        return {place: found[place] for place in sorted(found)}

    def _others(self, wanted: Hits, within: Sequence[tuple[int, int]]) -> Iterator[int]:
        """A place in each run that may have a wanted term though it has none of their parts as they are."""
        lower = self._lower
        if not wanted.known:
            yield from (run.start() for begin, end in within for run in _RUN.finditer(lower, begin, end))
            return
        if wanted.wholes:
            asked, places = self._wholes
            if asked != wanted.wholes:
                places = [place for piece in wanted.wholes for place in self._places_of_whole(piece)]
                if len(places) <= _KEPT:  # the same question asks again, of a few lines
                    self._wholes = wanted.wholes, places
            yield from (place for place in places if any(begin <= place < end for begin, end in within))
        if _is_odd(lower):
            odd = np.frombuffer(lower, np.uint8) >= _ASCII
            odd[1:] &= ~odd[:-1]
            for begin, end in within:
                yield from (odd[begin:end].nonzero()[0] + begin).tolist()

    def _places_of_whole(self, piece: bytes) -> list[int]:
        """Where it stands once the underscores are left out."""
        found: list[int] = []
        place = self._flat.find(piece)
        while place >= 0:
            found.append(place)
            place = self._flat.find(piece, place + 1)
        if not found:
            return found
        underscores = (np.frombuffer(self._lower, np.uint8) == _UNDERSCORE).nonzero()[0]
        before = underscores - np.arange(len(underscores))
        places: list[int] = (before.searchsorted(found, side="right") + found).tolist()
        return places

    @cached_property
    def _flat(self) -> bytes:
        return self._lower.replace(b"_", b"")


def _without_underscores(text: str) -> str:
    return text.replace("_", "")


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
