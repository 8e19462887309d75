from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace

import pytest

from reconvene.index import words

WORDS = [
    f"{head}{tail}"
    for head in ("relat", "connect", "general", "hope", "organ", "sens")
    for tail in ("ation", "ing", "ness", "fully", "izer", "ed")
]


def test_searches_in_several_threads_stem_as_one_does_each_with_a_stemmer_of_its_own() -> None:
    all_there = Barrier(8)

    def all_of_them(_: int) -> tuple[object, list[str]]:
        all_there.wait(30)
        return words._stemmer(), [words.stem(w) for _ in range(40) for w in WORDS]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(all_of_them, range(8)))
    alone = [words.stem(w) for _ in range(40) for w in WORDS]
    assert all(stems == alone for _, stems in found)
    assert len({id(stemmer) for stemmer, _ in found}) == 8


def test_a_stemmer_that_threads_share_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation control."""
    monkeypatch.setattr(words, "_own", SimpleNamespace())
    words._stemmer()
    with pytest.raises(AssertionError):
        test_searches_in_several_threads_stem_as_one_does_each_with_a_stemmer_of_its_own()
