"""Whatever stands in a search, it is data: read, or refused with a sentence."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconvene.config import Limits
from reconvene.errors import KINDS, ReconveneError
from reconvene.index.query import Query, parse

LIMITS = Limits()
PIECES = [
    "path:",
    "-path:",
    "lang:",
    "-lang:",
    "def:",
    "uses:",
    "re:",
    '"',
    "'",
    " ",
    "\t",
    "\n",
    "-",
    ":",
    "*",
    "?",
    "[",
    "]",
    "(",
    ")",
    "\\",
    "|",
    ".",
    "/",
    "src/",
    "py",
    "go",
    "Cart",
    "add_item",
    "getUserName",
    "the",
    "==",
    "é",
    "ß",
    "漢字",
    "\u202e",
    "\ufeff",
    "\ud800",
    "\0",
    "NOT",
    "OR",
    "--pre=x",
    "{9999}",
    "(?i)",
    "(a+)+$",
    "$(id)",
    ";drop table file",
    "%00",
    "\x1b[31m",
]
texts = st.one_of(
    st.text(max_size=200),
    st.text(st.characters(), max_size=40),
    st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
    st.text(string.printable, max_size=200),
)


def read(text: str) -> Query | None:
    try:
        return parse(text, LIMITS)
    except ReconveneError as e:
        assert e.code in ("invalid_field", "pattern_too_big") and e.code in KINDS
        assert (e.message[0].isupper() and e.message.endswith((".", "?"))) or "`re:`" in e.message
        e.message.encode("utf-8", "surrogatepass")
        return None


@settings(max_examples=1500, deadline=None)
@given(texts)
@example('"')
@example('path:"')
@example("re:")
@example('re:""')
@example("-def:x")
@example("uses:-x")
def test_any_text_is_read_or_refused(text: str) -> None:
    query = read(text)
    if query is None:
        return
    assert query.terms or query.names or query.phrases or query.patterns or query.using or query.defining
    assert query == parse(text, LIMITS) and query.key == parse(text, LIMITS).key
    assert isinstance(query.wants("src/a b/c.py"), bool)
    assert query.concerns is None or query.concerns


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PIECES), st.integers(9_000, 11_000))
def test_ten_thousand_characters_are_refused_at_once(piece: str, size: int) -> None:
    assert read((piece * size)[:size]) is None


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["cart", "Cart", "total_price", "in", "Größe", "漢字"]), min_size=1, max_size=6))
def test_what_stands_in_quotes_is_looked_for_as_it_is(words: list[str]) -> None:
    text = " ".join(words)
    assert parse(f'"{text}"', LIMITS).phrases == (text,)
    assert parse(f'path:"{text}" cart', LIMITS).paths == (text.lower(),)


@settings(max_examples=300, deadline=None)
@given(st.permutations(["path:src/", "-path:test", "lang:go", "-lang:md", "def:Open"]), st.integers(0, 5))
def test_filters_are_filters_wherever_they_stand(filters: list[str], at: int) -> None:
    text = " ".join([*filters[:at], "cart", *filters[at:]])
    assert parse(text, LIMITS).key == parse("def:Open cart path:src/ -path:test lang:go -lang:md", LIMITS).key


@pytest.mark.parametrize(
    ("text", "path", "wanted"),
    [
        ("x path:src/**/*.py", "src/a/b/c.py", True),
        ("x path:src/**/*.py", "src/a/b/c.js", False),
        ("x path:*_test.go", "pkg/hub_test.go", True),
        ("x -path:*_test.go", "pkg/hub_test.go", False),
        ("x path:**/hub.go", "pkg/hub.go", True),
        ("x path:h?b.go", "pkg/hub.go", True),
        ("x path:[a", "a.go", False),
        ("x path:[a", "x/[a/b.go", True),
        ("x path:pkg -path:pkg/old", "pkg/old/hub.go", False),
        ('x path:"my dir/"', "my dir/hub.go", True),
    ],
)
def test_globs_of_paths(text: str, path: str, wanted: bool) -> None:
    assert parse(text, LIMITS).wants(path) is wanted
