"""Words of code, and the terms they are found by.

A word is an identifier, a word of prose or a short number. Its terms are its parts (camelCase, snake_case, acronyms), lower-cased and
reduced to their English stem, and, when it has several parts, the whole of it joined: `getUserName` is found by `get`, `user`, `name`
and `=getusername`. A term is kept as the CRC-32 of its text: no shared dictionary, so processes and branches need no agreement, and two
terms of one repository seldom meet (100,000 terms: about one pair).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from threading import local
from typing import Protocol
from zlib import crc32

WORD = re.compile(r"[^\W\d]\w*|\d{2,5}")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
# Scripts written without spaces: their words are found by pairs of neighbours.
_DENSE = re.compile(
    "[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+|[^\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff_]+"
)
_LONGEST_PART, _LONGEST_WHOLE = 39, 59
"""Longer ones are hashes and data, not words."""


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...


def term(text: str) -> int:
    return crc32(text.encode("utf-8", "surrogatepass"))


def parts(word: str) -> list[str]:
    """A word's parts in order, lower case, not stemmed.

    >>> parts("HTTPServer_v2"), parts("Größe")
    (['http', 'server', 'v', '2'], ['größe'])
    """
    if word.isascii():
        return [p.lower() for p in _PART.findall(word)]
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
    """This thread's: a stemmer works on the word in its own fields, so two threads must not share one."""
    found: _Stemmer | None = getattr(_own, "stemmer", None)
    if found is None:
        from snowballstemmer.english_stemmer import EnglishStemmer

        found = _own.stemmer = EnglishStemmer()
    return found


@lru_cache(maxsize=1 << 15)
def stem(part: str) -> str:
    return _stemmer().stemWord(part) if len(part) > 2 and part.isascii() else part


def counts_as_term(part: str) -> bool:
    return 1 < len(part) <= _LONGEST_PART


@lru_cache(maxsize=1 << 17)
def terms(word: str) -> tuple[int, ...]:
    """The terms a word is indexed under."""
    split = parts(word)
    found = [term(stem(p)) for p in split if counts_as_term(p)]
    if len(split) > 1 and (joined := whole("".join(split))):
        found.append(term(joined))
    return tuple(found)


def count_terms(words: Mapping[str, int]) -> dict[int, int]:
    """How often each term stands in a text, from how often each word does."""
    counts: dict[int, int] = {}
    for word, n in words.items():
        for t in terms(word):
            counts[t] = counts.get(t, 0) + n
    return counts


def terms_of(text: str) -> set[int]:
    return set(many_terms(WORD.findall(text)))


def many_terms(words: Iterable[str]) -> Iterable[int]:
    for word in words:
        yield from terms(word)


def symbol_term(name: str) -> int:
    """The term of a defined name, exactly as it is written, case and all."""
    return term("#" + name)
