"""What a pattern needs is proved, never guessed: narrowing a search by it must not lose a file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reconvene.index.literals as rules
from reconvene.errors import ReconveneError
from reconvene.index.literals import required
from reconvene.index.query import compiled
from reconvene.index.words import terms, terms_of


def needs(*words: str) -> frozenset[int]:
    return frozenset(t for word in words for t in terms(word))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"def close\(", [("close",)]),
        (r"^def\s+close\s*\(", [("def", "close")]),
        (r"\.close\(\)", [("close",)]),
        (r"^import os$", [("import", "os")]),
        (r" SessionStore\(", [("SessionStore",)]),
        (r" open\(| close\(", [("open",), ("close",)]),
        (r"(?:self|cls)\.token_bucket\.", [("token_bucket",)]),
        (r"[ .]wheel[(,]", [("wheel",)]),
        (r"get_session_by\w+", [("session",)]),
        (r" (wheel )+spoke$", [("wheel",)]),
        (r'"kind": *"wheel"', [("kind", "wheel")]),
    ],
)
def test_what_is_needed(pattern: str, found: list[tuple[str, ...]]) -> None:
    assert required(pattern) == tuple(needs(*words) for words in found)


@pytest.mark.parametrize(
    "pattern",
    [
        "close",
        r"\bclose\b",
        "c.ose",
        ".*",
        "(?i) close ",
        "(?i: close )",
        r" close? ",
        " (close)? ",
        r" close{0,3}",
        " close | ",
        r" [abc]lose ",
        r"\Q close \E",
        " a|b|c|d|e|f|g|h|i ",
        "((((",
        r"[é]close[é]",
        "éclose ",
        r" getName_",
        r"\x20close ",
        "[[:space:]]close ",
        r"\Wclose\W",
        r" close*x ",
        "-[^-]close ",
    ],
)
def test_what_proves_nothing(pattern: str) -> None:
    assert required(pattern) == ()


def has_what_it_needs(pattern: str, text: str) -> bool:
    """Whether a text whose lines the pattern matches has all terms of one of its alternatives."""
    needed = required(pattern)
    if not needed or not any(compiled(pattern).search(line) for line in text.split("\n")):
        return True
    had = terms_of(text)
    return any(terms <= had for terms in needed)


PIECES = [
    "foo",
    "Bar",
    "getName",
    "x_y",
    "foo_bar",
    "_id",
    "42",
    "é",
    "漢字",
    " ",
    "(",
    "\\(",
    ")",
    ".",
    "\\.",
    "|",
    "*",
    "+",
    "?",
    "{2}",
    "{0,1}",
    "^",
    "$",
    "\\s",
    "\\s*",
    "\\w",
    "\\b",
    "\\W",
    "[ab]",
    "[ ,]",
    "[^a]",
    "(?:",
    "(?i)",
    "\\d",
    "-",
    "\t",
    "\\",
    "[",
    "]",
    "\\pL",
    "\\Q",
    "\\E",
    "\\x41",
]
pattern_texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map("".join)
LINES = [
    "foo",
    "Bar",
    "getName",
    "GETNAME",
    "x_y",
    "xfoo_bars",
    "_id",
    "42",
    "1foo",
    "é",
    "ı",
    "漢字",
    " ",
    "(",
    ")",
    ".",
    ",",
    "-",
    "\t",
    "a",
    "",
    "\n",
    "\r",
]
texts = st.lists(st.sampled_from(LINES), max_size=12).map("".join)


@settings(max_examples=1500, deadline=None)
@given(pattern=pattern_texts, text=texts)
def test_a_match_always_has_what_is_needed(pattern: str, text: str) -> None:
    try:
        compiled(pattern)
    except ReconveneError:
        required(pattern)
        return
    assert has_what_it_needs(pattern, text)


@pytest.mark.parametrize(
    ("broken", "pattern", "text"),
    [
        ("bounds", "foo_bar", "xfoo_bars"),
        ("quantifiers", " (foo)? ", "  "),
        ("alternatives", " (foo |bar )", " bar "),
    ],
)
def test_control_a_bolder_rule_is_caught(broken: str, pattern: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_what_it_needs(pattern, text)
    if broken == "bounds":
        monkeypatch.setattr(rules, "_bounded", lambda beyond: True)
    elif broken == "quantifiers":
        monkeypatch.setattr(rules, "_repeated", lambda pieces, found: pieces)
    else:
        real = rules._atom

        def first_only(pattern: str, at: int) -> object:
            if pattern[at] == "(":
                inner, end = rules._alternatives(pattern, at + 1)
                return inner[0], end + 1
            return real(pattern, at)

        monkeypatch.setattr(rules, "_atom", first_only)
    assert not has_what_it_needs(pattern, text)


def test_it_takes_no_time_whatever_the_pattern() -> None:
    for pattern in ("(" * 400 + "a" + ")" * 400, " a" * 500, "a|" * 500, "[" * 900, "\\" * 900, "{" * 900, "(?:" * 300):
        required(pattern)
