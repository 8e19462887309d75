from concurrent.futures import ThreadPoolExecutor

import pytest
from snowballstemmer.english_stemmer import EnglishStemmer

from reconvene.index import words

WORDS = [
    f"{head}{tail}"
    for head in ("relat", "connect", "general", "hope", "organ", "sens")
    for tail in ("ation", "ing", "ness", "fully", "izer", "ed")
]


def stemmed_together() -> list[list[str]]:
    def all_of_them(_: int) -> list[str]:
        return [words.stem.__wrapped__(w) for _ in range(40) for w in WORDS]

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(all_of_them, range(8)))


def test_searches_in_several_threads_stem_as_one_does() -> None:
    alone = [words.stem.__wrapped__(w) for _ in range(40) for w in WORDS]
    assert all(found == alone for found in stemmed_together())


def test_a_stemmer_that_threads_share_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation control."""
    import sys

    shared = EnglishStemmer()
    monkeypatch.setattr(words, "_stemmer", lambda: shared)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with pytest.raises((IndexError, AssertionError)):
            test_searches_in_several_threads_stem_as_one_does()
    finally:
        sys.setswitchinterval(interval)
