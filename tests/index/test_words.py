from __future__ import annotations

import pytest

from reconvene.index.words import WORD, parts, stem, symbol_term, term, terms, text_counter


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("parseHTTPRequest", ["parse", "http", "request"]),
        ("snake_case_name", ["snake", "case", "name"]),
        ("SCREAMING_CASE", ["screaming", "case"]),
        ("utf8Decoder2", ["utf", "8", "decoder", "2"]),
        ("__init__", ["init"]),
        ("plain", ["plain"]),
        ("Größe", ["grösse"]),
        ("длина_слова", ["длина", "слова"]),
        ("検索結果", ["検索", "索結", "結果"]),
        ("_", []),
    ],
)
def test_a_word_is_split_into_its_parts(word: str, expected: list[str]) -> None:
    assert parts(word) == expected


def test_an_identifier_is_found_by_its_parts_their_stems_and_as_a_whole() -> None:
    found = terms("loadedSessions")
    assert term("load") in found and term("session") in found
    assert term("=loadedsessions") in found


def test_the_same_name_in_another_style_has_the_same_terms() -> None:
    assert set(terms("getUserName")) == set(terms("get_user_name")) == set(terms("GetUserName"))


def test_what_is_too_long_to_be_a_word_is_no_term() -> None:
    assert terms("a" * 40) == ()
    assert terms("x") == ()
    assert term("=" + "a" * 30 + "b" * 30) not in terms("a" * 30 + "_" + "b" * 30)


def test_stems_meet() -> None:
    assert stem("expired") == stem("expires") == stem("expire") == stem("expiring")


def test_a_defined_name_is_exact() -> None:
    assert symbol_term("Cart") != symbol_term("cart")


@pytest.mark.parametrize(
    "text",
    [
        "def getUserName(self, x2=12345678): # 2nd 3d 0x1F _ __a__",
        "Größe = 検索結果2nd 12ab",
        "a1b2c3 1234 12 1",
        "\x00\x1f\x7f a",
    ],
)
def test_terms_of_a_text_are_those_of_its_words(text: str) -> None:
    expected: dict[int, int] = {}
    for word in WORD.findall(text):
        for t in terms(word):
            expected[t] = expected.get(t, 0) + 1
    assert list(text_counter()(text).items()) == list(expected.items())


def test_what_is_remembered_of_words_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.index.words._KNOWN", 3)
    text = " ".join(f"someName{i}" for i in range(20))
    assert text_counter()(text) == text_counter()(text) and len(text_counter()(text)) == 22 + 10


@pytest.mark.parametrize(
    ("word", "stemmed"),
    [
        ("sessions", "session"),
        ("relational", "relat"),
        ("hoping", "hope"),
        ("dying", "die"),
        ("is", "is"),
        ("größen", "größen"),
    ],
)
def test_english_endings_are_left_out(word: str, stemmed: str) -> None:
    assert stem(word) == stemmed
