"""Words of code, and the terms they are found by.

A word is an identifier, a word of prose or a short number. Its terms are its parts (camelCase, snake_case, acronyms), lower-cased and
reduced to their English stem, and, when it has several parts, the whole of it joined: `getUserName` is found by `get`, `user`, `name`
and `=getusername`. A term is kept as the CRC-32 of its text: no shared dictionary, so processes and branches need no agreement, and two
terms of one repository seldom meet (100,000 terms: about one pair).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import chain
from threading import local
from typing import Protocol
from zlib import crc32

from Stemmer import Stemmer

WORD = re.compile(r"[^\W\d]\w*|\d{2,5}")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
# Scripts written without spaces: their words are found by pairs of neighbours.
_DENSE = re.compile(
    "[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+|[^\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff_]+"
)
_LONGEST_PART, _LONGEST_WHOLE = 39, 59
"""Longer ones are hashes and data, not words."""
_RUN = re.compile(r"\w+")
# ASCII characters that no word has, as blanks: splitting there costs a quarter of what finding words by pattern does.
BLANKED = "".join(c if c.isalnum() or c == "_" else " " for c in map(chr, range(128)))
_KNOWN = 1 << 17
_NONE = -1


class _Stemmer(Protocol):
    def stemWord(self, word: str, /) -> str: ...


def term(text: str) -> int:
    return crc32(text.encode() if text.isascii() else text.encode("utf-8", "surrogatepass"))


def parts(word: str) -> list[str]:
    """A word's parts in order, lower case, not stemmed.

    >>> parts("HTTPServer_v2"), parts("Größe")
    (['http', 'server', 'v', '2'], ['größe'])
    """
    if word.isascii():
        if word.islower():  # most are, and letters or letters between underscores: no pattern need look at them
            if word.isalpha():
                return [word]
            if word.replace("_", "").isalpha():
                return list(filter(None, word.split("_")))
        return list(map(str.lower, _PART.findall(word)))
    found: list[str] = []
    for run in _DENSE.findall(word.casefold()):
        dense = len(run) > 1 and run[0] >= "\u2e80"
        found += [run[i : i + 2] for i in range(len(run) - 1)] if dense else [run]
    return found


def whole(joined: str) -> str | None:
    """The term of a whole identifier, from its parts joined; None when it is too short or too long to be worth one."""
    return "=" + joined if 3 < len(joined) <= _LONGEST_WHOLE else None


_own = local()


def _stemmer() -> _Stemmer:
    """This thread's: a stemmer works on the word in its own memory, so two threads must not share one."""
    found: _Stemmer | None = getattr(_own, "stemmer", None)
    if found is None:
        found = _own.stemmer = Stemmer("english", 0)  # it stems a word faster than it would look one up
    return found


def stem(part: str) -> str:
    return _stemmer().stemWord(part) if len(part) > 2 and part.isascii() else part


def counts_as_term(part: str) -> bool:
    return 1 < len(part) <= _LONGEST_PART


class _PartTerms(dict[str, int]):
    """The term of each part that was met, up to `_KNOWN` of them; -1 for one that is none."""

    def __missing__(self, part: str) -> int:
        if len(self) >= _KNOWN:
            self.clear()
        found = self[part] = term(stem(part)) if counts_as_term(part) else _NONE
        return found


_part_terms = _PartTerms()


def term_of_part(part: str) -> int:
    """The term of a part of a word (see `parts`); -1 when it is none."""
    return _part_terms[part]


@lru_cache(maxsize=1 << 14)
def terms(word: str) -> tuple[int, ...]:
    """The terms a word is indexed under."""
    return _terms(word)


def _terms(word: str) -> tuple[int, ...]:
    split = parts(word)
    if len(split) == 1:
        t = _part_terms[split[0]]
        return (t,) if t != _NONE else ()
    found = list(map(_part_terms.__getitem__, split))
    if len(split) > 1 and (joined := whole("".join(split))):
        found.append(term(joined))
    return tuple(found) if _NONE not in found else tuple([t for t in found if t != _NONE])


class _Known(dict[str, tuple[int, ...]]):
    """The terms of each run of word characters (one word, but for `2nd` and the like) that was met, up to so many of them."""

    def __init__(self, most: int = _KNOWN) -> None:
        super().__init__()
        self._most = most

    def __missing__(self, run: str) -> tuple[int, ...]:
        if len(self) >= self._most:
            self.clear()
        one = run.isascii() and run.isidentifier()  # as most are
        found = self[run] = _terms(run) if one else tuple(t for word in WORD.findall(run) for t in _terms(word))
        return found


def text_counter() -> Callable[[str], dict[int, int]]:
    """A function that counts how often each term stands in a text. It remembers words: a program that counts texts keeps one."""
    known = _Known()

    def count(text: str) -> dict[int, int]:
        runs = text.translate(BLANKED).split() if text.isascii() else _RUN.findall(text)
        return Counter(chain.from_iterable(map(known.__getitem__, runs)))

    return count


_met = _Known(1 << 14)
"""Of the files that searches showed."""


def terms_of_run(run: str) -> tuple[int, ...]:
    """The terms of a run of word characters: of one word, but for `2nd` and the like."""
    return _met[run]


def terms_of(text: str) -> set[int]:
    return set(many_terms(WORD.findall(text)))


def many_terms(words: Iterable[str]) -> Iterable[int]:
    for word in words:
        yield from terms(word)


def symbol_term(name: str) -> int:
    """The term of a defined name, exactly as it is written, case and all."""
    return term("#" + name)
