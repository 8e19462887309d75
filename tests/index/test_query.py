from __future__ import annotations

import pytest

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.index.query import parse, phrase_pattern, required_terms
from reconvene.index.words import stem, symbol_term, term

LIMITS = Limits()


def weights(text: str) -> dict[int, float]:
    return {t.term: t.weight for t in parse(text, LIMITS).terms}


def test_words_become_terms_and_neighbours_a_compound() -> None:
    found = weights("expired session stores")
    assert found == {
        term(stem("expired")): 1.0,
        term("session"): 1.0,
        term("store"): 1.0,
        term("=expiredsession"): 1.0,
        term("=sessionstores"): 1.0,
        term("=expiredsessionstores"): 1.0,
    }


def test_small_words_are_dropped_and_general_verbs_count_less() -> None:
    found = weights("how do I fix the cart")
    assert found[term("cart")] == 1.0
    assert found[term("fix")] == 0.3
    assert term("how") not in found and term("the") not in found


def test_the_first_sentence_says_what_and_what_follows_says_why() -> None:
    found = weights("expired sessions are kept. The store never sweeps sessions")
    assert found[term(stem("expired"))] == 1.0
    assert found[term("session")] == pytest.approx(1.4), "what both speak of is what it is about"
    assert found[term("store")] == found[term(stem("sweeps"))] == pytest.approx(0.7)
    assert set(weights("the session of a session").values()) == {1.0}, "said twice in one sentence is grammar"
    assert weights("cart. v1.2 of cart.py") == weights("cart. v1.2 of\tcart.py"), "a dot in a name ends no sentence"
    assert weights("cart items\nthe store")[term("store")] == pytest.approx(0.7), "nor does it take a dot to end one"
    assert weights("\n. cart") == weights("cart"), "a sentence without words is none"


@pytest.mark.parametrize("text", ["parser: refuse empty keys", "fix(parser): refuse empty keys", "  parser: refuse"])
def test_a_word_before_a_colon_names_the_part(text: str) -> None:
    found = weights(text)
    assert found[term(stem("parser"))] == pytest.approx(1.5)
    assert found[term(stem("refuse"))] == 1.0


@pytest.mark.parametrize("text", ["parser::refuse", "empty keys: parser", "parser :refuse"])
def test_other_colons_say_nothing(text: str) -> None:
    assert max(weights(text).values()) == 1.0


def test_only_small_words_are_better_than_nothing() -> None:
    assert weights("to be or not to be")


def test_the_key_reads_what_the_ranking_reads() -> None:
    key = lambda text: parse(text, LIMITS).key  # noqa: E731
    assert key("sessions, the cart") == key("the CART or a session".lower()), (
        "order, small words and endings play no part"
    )
    assert key("session cart") != key("cart session"), "but neighbours may be one identifier"
    assert key("carts path:a of money -lang:py path:b") == key("path:b money path:a in cart -lang:python")
    assert key("cart") != key("cart path:a")
    assert key('cart "x y"') != key("cart x y")
    assert key("Cart") != key("cart"), "an exact name is another question"


def test_filters() -> None:
    query = parse('cart path:src/ -path:test path:"my dir" lang:py -lang:MD def:shop.Cart', LIMITS)
    assert (query.paths, query.not_paths) == (("my dir", "src/"), ("test",))
    assert (query.languages, query.not_languages) == (("python",), ("markdown",))
    assert query.defining == ("Cart",)
    assert {t.term for t in query.terms} == {term("cart")}
    assert symbol_term("Cart") in (query.concerns or ())


@pytest.mark.parametrize(
    ("text", "path", "wanted"),
    [
        ("cart path:shop/", "shop/cart.py", True),
        ("cart path:SHOP", "shop/cart.py", True),
        ("cart path:/shop", "shop/cart.py", True),
        ("cart path:/cart", "shop/cart.py", True),
        ("cart path:/art", "shop/cart.py", False),
        ("cart path:*.py", "shop/cart.py", True),
        ("cart path:shop/*.js", "shop/cart.py", False),
        ("cart -path:test", "tests/a.py", False),
        ("cart lang:go", "a.py", False),
        ("cart lang:golang", "a.go", True),
        ("cart -lang:py", "a.py", False),
    ],
)
def test_which_files_filters_leave_in(text: str, path: str, wanted: bool) -> None:
    assert parse(text, LIMITS).wants(path) is wanted


def test_what_is_no_filter_is_words() -> None:
    query = parse("lang:klingon path: def:a/b http://x.y", LIMITS)
    assert not query.filtered and not query.defining
    assert term("klingon") in {t.term for t in query.terms}


@pytest.mark.parametrize("text", ["Cart", "shop.Cart", "Cart::total", "Cart#total()", "parse_amount()"])
def test_one_identifier_alone(text: str) -> None:
    query = parse(text, LIMITS)
    assert query.single
    assert query.names == (text.rstrip("()").replace("::", ".").replace("#", ".").split(".")[-1],)


def test_names_among_words() -> None:
    query = parse("where does SessionStore call parse_amount and the Cart", LIMITS)
    assert (query.names, query.single) == (("Cart", "SessionStore", "parse_amount"), False)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid_field"),
        (" \n\t", "invalid_field"),
        ("x" * 100_000, "invalid_field"),
        ("a\0b", "invalid_field"),
        ("path:src lang:py", "invalid_field"),
        ("=> !", "invalid_field"),
        ("(a{1000}){1000}" * 100, "pattern_too_big"),
        ("(((((((((a" * 120, "pattern_too_big"),
    ],
    ids=[
        "bad110-empty",
        "bad110-blank",
        "bad110-huge",
        "bad38-nul",
        "bad110-filters-only",
        "bad110-no-words",
        "bad109-repeats",
        "bad109-nesting",
    ],
)
def test_what_cannot_be_searched(text: str, code: str) -> None:
    with pytest.raises(ReconveneError) as e:
        parse(text, LIMITS)
    assert e.value.code == code


def test_lone_surrogates_do_no_harm() -> None:
    assert parse("cart \ud800 \udfff", LIMITS).terms


@pytest.mark.parametrize(
    ("phrase", "line", "found"),
    [
        ("add_item", "cart.add_item(book)", True),
        ("add_item", "cart.add_items(book)", False),
        ("cart total", "the Cart   total", True),
        ("=>", "x => y", True),
        ("(a+)+$", "literally (a+)+$ here", True),
        ("item.", "item.name", True),
    ],
)
def test_a_phrase_is_literal_with_whole_words_at_its_ends(phrase: str, line: str, found: bool) -> None:
    assert bool(phrase_pattern(phrase).search(line)) is found


def test_every_line_with_a_phrase_has_its_required_terms() -> None:
    assert required_terms("cart.add_item(1)") <= {t for w in ("cart", "add", "item") for t in (term(stem(w)),)}
    assert required_terms("=>") == frozenset()


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ('"connection refused"', ("connection refused",)),
        ('where is it "connection refused" then', ("connection refused",)),
        ('retry socket pool "connection refused"', ("connection refused",)),
        ('The pool says "connection refused" after sockets were closed by servers', ()),
        ('report collection errors as "ERROR" in short summaries', ()),
        ('Fixes integration with "connection-pool"', ()),
        ('integration pool "connection refused"', ("connection refused",)),
    ],
)
def test_a_phrase_is_a_condition_unless_it_stands_in_a_sentence(text: str, phrases: tuple[str, ...]) -> None:
    query = parse(text, LIMITS)
    assert query.phrases == phrases
    assert term(stem("connection" if "conn" in text else "error")) in {t.term for t in query.terms}


def test_patterns_and_uses() -> None:
    query = parse(r're:def\s+add re:"x = \d" uses:shop.Cart rest', LIMITS)
    assert query.patterns == (r"def\s+add", r"x = \d")
    assert query.using == ("Cart",)
    assert query.by_lines and not query.single
    assert {term("cart"), term("rest")} <= {t.term for t in query.terms}
    assert parse("re:cart", LIMITS).concerns is None, "any file may match"
    assert parse("re:cart", LIMITS).key != parse("re:Cart", LIMITS).key
    assert parse("core:cart re: -re:x", LIMITS).patterns == ()


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ("(", "invalid_field"),
        (r"(a)\1", "invalid_field"),
        ("(?=a)", "invalid_field"),
        ("\udc00", "invalid_field"),
        ("(a{1000}){1000}", "pattern_too_big"),
        ("((a{100}){100}){100}", "pattern_too_big"),
    ],
    ids=["open", "back-reference", "look-ahead", "surrogate", "bad109-repeats", "bad109-nested-repeats"],
)
def test_a_pattern_that_cannot_be_used_is_refused(pattern: str, code: str) -> None:
    with pytest.raises(ReconveneError) as e:
        parse(f"re:{pattern}", LIMITS)
    assert e.value.code == code
