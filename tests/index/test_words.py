from __future__ import annotations

import pytest

from reconvene.index.words import parts, stem, symbol_term, term, terms


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
