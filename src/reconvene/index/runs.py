"""Which words of a query stand on which lines of a text, without taking every word of it to its stem.

The different words of some lines, without case and underscores, are one short text. A word with a wanted term has a piece of that term in
it (`_hint`), so those pieces are looked for there, and only the words they are found in are taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress, groupby

from reconvene.index.words import BLANKED, terms_of_run

_RUN = re.compile(r"\w+")
_BLANKED_LINES = BLANKED[:10] + "\n" + BLANKED[11:]
_END = "\x01"
_OTHERWISE = {"sky": "skies"}
"""Stems of which a word has not even the beginning."""


class Hits(dict[str, list[int]]):
    """For each run of word characters that is looked up, those of its terms that are wanted.

    Args:
        wanted: terms.
        texts: what they are the numbers of; without one of them, every word of a text is taken apart.
    """

    def __init__(self, wanted: Iterable[int], texts: Mapping[int, str] | None = None) -> None:
        super().__init__()
        self.terms = frozenset(wanted)
        known = [(texts or {}).get(term, "") for term in self.terms]
        self[_END] = []
        self.hints = frozenset(piece for text in known for piece in _hints(text)) if all(known) else None
        """Every ASCII run with one of the terms has one of these in it, its case and underscores aside; None: they are not known."""

    def __missing__(self, run: str) -> list[int]:
        found = self[run] = [t for t in terms_of_run(run) if t in self.terms]
        return found


class Runs:
    """The runs of word characters in some lines."""

    __slots__ = ("_different", "_flat", "_split", "_text")

    def __init__(self, lines: Sequence[str]) -> None:
        text = "\n".join(lines)
        words = text.translate(_BLANKED_LINES) if text.isascii() else "\n".join(_of_mixed(lines))
        self._text = words.replace("\n", f" {_END} ")
        self._split: list[str] | None = self._text.split()
        """Until it was needed a second time: the list takes ten times as much as the text."""
        self._different = "\n".join(set(self._split))
        self._flat = self._different.lower().replace("_", "")
        """Line for line as the different ones, without case and underscores."""

    def lines_with(self, wanted: Hits, first: int) -> dict[int, set[int]]:
        """For each line that has any, in their order: those of its terms that are wanted.

        Args:
            first: number of the first line.
        """
        found: dict[int, set[int]] = {}
        number = first
        for run in self.with_any(wanted):
            if run == _END:
                number += 1
            elif number in found:
                found[number].update(wanted[run])
            else:
                found[number] = set(wanted[run])
        return found

    def with_any(self, wanted: Hits) -> Iterator[str]:
        """The runs with wanted terms and the ends of lines, in their order; nothing when there is no such run."""
        kept = self._with(wanted)
        split, self._split = self._split, None
        if not kept:
            return iter(())
        kept.add(_END)
        runs = split or self._text.split()
        return compress(runs, map(kept.__contains__, runs))

    def _with(self, wanted: Hits) -> set[str]:
        if wanted.hints is None:
            return {run for run in self._different.split("\n") if wanted[run]}
        flat, find = self._flat, self._flat.find
        at: list[int] = []
        for hint in wanted.hints:
            place = find(hint)
            while place >= 0:
                at.append(place)
                place = find(hint, place + 1)
        ascii_only = flat.isascii()
        if not at and ascii_only:
            return set()
        runs = self._different.split("\n")
        found = set() if ascii_only else set(filter(_is_odd, runs))
        number = counted = 0
        for place in sorted(at):
            number += flat.count("\n", counted, place)
            counted = place
            found.add(runs[number])
        return {run for run in found if wanted[run]}


def _is_odd(run: str) -> bool:
    """Whether what its terms are is not told by its letters alone: `Maße` has `masse`."""
    return not run.isascii()


def _of_mixed(lines: Sequence[str]) -> Iterator[str]:
    """Each line's runs, with blanks between; lines of ASCII that follow each other are done at once."""
    for ascii_only, some in groupby(lines, str.isascii):
        if ascii_only:
            yield "\n".join(some).translate(_BLANKED_LINES)
        else:
            yield from (" ".join(_RUN.findall(line)) for line in some)


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
