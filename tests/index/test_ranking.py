"""What moves the order of files, each rule beside what happens without it."""

from __future__ import annotations

from array import array
from dataclasses import replace

import numpy as np
import pytest

from reconvene.config import Limits
from reconvene.index import query as queries
from reconvene.index import ranking, tested
from reconvene.index.analysis import analyse
from reconvene.index.arrays import Arrays
from reconvene.index.forms import in_names, joined, parted
from reconvene.index.history import Note, build
from reconvene.index.languages.registry import language_of
from reconvene.index.query import parse
from reconvene.index.ranking import rank
from reconvene.index.segment import Document
from reconvene.index.tested import name_tested, name_tested_in_part
from reconvene.index.view import View
from reconvene.index.words import stem, term

LIMITS = Limits()


def document(path: str, text: str) -> Document:
    found = analyse(text.encode(), language_of(path))
    arrays = Arrays.unpack(found.postings)
    return Document(path, bytes(20), language_of(path).name, found.state, found.lines, found.symbols, arrays)


def view_of(files: dict[str, str], messages: dict[str, list[str]] | None = None) -> View:
    """`messages`: of commits, with the files each touched."""
    notes = [
        Note(
            1,
            array("I", {term(stem(w)) for w in text.split()}),
            array("H", [1] * len(set(text.split()))),
            tuple(paths),
            (),
        )
        for text, paths in (messages or {}).items()
    ]
    view = View(history=build("made" if notes else "", notes))
    return view.replace((), [document(path, text) for path, text in files.items()], epoch=1, partial=False)


def order(view: View, question: str) -> list[str]:
    score = rank(view, parse(question, LIMITS)).score.tolist()
    return sorted((view.path(n) for n in range(len(score)) if score[n] > 0), key=lambda p: -score[number(view, p)])


def number(view: View, path: str) -> int:
    return next(n for n in range(view.offsets[-1]) if view.path(n) == path)


OTHERS = {f"other/part{i}.py": f"wheel garden zebra{i} owner\n" * 3 for i in range(12)}


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("where is the filename checked", "def check(file_name): return file_name\n"),
        ("where are filenames checked", "def check(fileName): return fileName\n"),
        ("check of the file name", "def check(filename): return filename\n"),
        ("session store limit of garden", "session_store_limit = 3\n"),
    ],
)
def test_a_word_is_found_however_it_is_written(question: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of({**OTHERS, "app/here.py": text, "app/wheel.py": "def check(name): return checked\n"})
    assert order(view, question)[0] == "app/here.py"
    if "limit" not in question:  # control: taken letter for letter it is not found by that word
        monkeypatch.setattr(queries, "joined", lambda text: ())
        monkeypatch.setattr(queries, "parted", lambda parts: {})
        assert order(view, question)[0] == "app/wheel.py"


def test_the_forms_of_a_word_count_as_one_word() -> None:
    assert joined("=filename") == ("filenam",) and joined("filenam") == ()
    assert parted(["filename", "filenames", "cached", "x"]) == {"filenam": "=filename"}
    query = parse("the file name of filename", LIMITS)
    both = [t for t in query.terms if t.text in ("filenam", "=filename")]
    assert len(both) == 2 and all(not t.others for t in both), "what is asked for itself is no other form"
    query = parse("the file name", LIMITS)
    assert query.concerns is not None and term("filenam") in query.concerns
    assert query.key != replace(query, terms=tuple(replace(t, others=()) for t in query.terms)).key


def test_places_of_all_forms_are_counted_together() -> None:
    files = {**OTHERS, "app/one.py": "filename\n", "app/two.py": "file_name\n", "app/both.py": "filename\nfile_name\n"}
    signals = rank(view_of(files), parse("filename zebra3", LIMITS))
    assert signals.weights.keys() >= {term("filenam")} and term("=filename") not in signals.weights
    # In a code base that has only the other form, its lines are looked for by that.
    del files["app/one.py"], files["app/both.py"]
    assert term("=filename") in rank(view_of(files), parse("filename zebra3", LIMITS)).weights


def test_a_file_may_be_named_in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    same = "wheel of authentication garden\n"
    view = view_of({**OTHERS, "app/a.py": same, "app/auth.py": same, "app/z.py": same})
    question = "how does authentication work with the wheel"
    assert order(view, question)[0] == "app/auth.py"
    monkeypatch.setattr(queries, "in_names", lambda stemmed: ())
    assert order(view, question)[0] == "app/a.py"


def test_short_forms_count_for_names_of_files_alone() -> None:
    assert "auth" in in_names(stem("authentication")) and stem("configuration") in in_names("config")
    view = view_of({**OTHERS, "app/a.py": "authentication\n", "app/b.py": "auth auth auth\n"})
    assert "app/b.py" not in order(view, "authentication zebra3")


def test_two_words_with_one_short_form_count_it_once_each() -> None:
    view = view_of({**OTHERS, "app/auth.py": "wheel\n"})
    one, two = (
        rank(view, parse(text, LIMITS)).stem.max()
        for text in ("authentication wheel", "authentication authorization wheel")
    )
    assert two == pytest.approx(2 * one)


def test_the_part_before_a_colon_is_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    more, less = "def parse(): quote, quote, escape\n" * 4, "def parse(): quote, escape\nprinter = 1\n" + "wheel\n" * 30
    view = view_of(
        {**OTHERS, "src/reader/lines.py": more, "src/printer/lines.py": less, "src/reader/printer2.py": "wheel\n"}
    )
    assert order(view, "printer: escape the quote")[0] == "src/printer/lines.py"
    assert order(view, "escape the quote")[0] == "src/reader/lines.py"
    monkeypatch.setattr(ranking, "AREA", 0.0)
    assert order(view, "printer: escape the quote")[0] == "src/reader/lines.py"


def test_every_commit_fixes_something() -> None:
    assert parse("fix: the cart", LIMITS).area == frozenset()
    assert parse("fix(cart): the total", LIMITS).area == {term("cart")}
    assert parse("the cart: a total", LIMITS).area == frozenset(), "only one word before a colon is a part"


def test_a_word_of_many_messages_tells_less() -> None:
    said = {f"cache number{i}": ["other/part1.py"] for i in range(60)}
    view = view_of({**OTHERS, "app/cache.py": "cache\n", "app/ember.py": "ember\n"}, said)
    query = parse("cache of ember", LIMITS)
    weights = rank(view, query).weights
    assert weights[term("cach")] == pytest.approx(0.7 * weights[term("ember")])
    few = view_of({**OTHERS, "app/cache.py": "cache\n", "app/ember.py": "ember\n"}, dict(list(said.items())[:20]))
    weights = rank(few, query).weights
    assert weights[term("cach")] == pytest.approx(weights[term("ember")]), "of few commits nobody can tell"


# -- what tests say


def shop(tests: dict[str, str]) -> View:
    """Six files that say what is asked for, and two that hardly do."""
    best = {f"app/best{i}.py": "coupon expired\n" * (8 - i) + "wheel\n" * 9 for i in range(5)}
    best["app/best5.py"] = "coupon expired\n" + "wheel\n" * 60
    hardly = {"app/aisle.py": "coupon\n" + "wheel\n" * 90, "app/basket.py": "coupon\n" + "wheel\n" * 90}
    return view_of({**OTHERS, **best, **hardly, **tests})


def test_what_its_test_says_brings_a_file_among_those_after_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    says = "def test_it(): coupon, expired\n" * 9
    alone, tried = shop({}), shop({"tests/test_basket.py": says})
    assert order(alone, "expired coupon")[:8] == [f"app/best{i}.py" for i in range(6)] + [
        "app/aisle.py",
        "app/basket.py",
    ]
    found = [p for p in order(tried, "expired coupon") if p.startswith("app")]
    assert found[:5] == [f"app/best{i}.py" for i in range(5)], "the first are first for what they say themselves"
    assert found[5] == "app/basket.py"
    assert rank(tried, parse("expired coupon", LIMITS)).tested[number(tried, "app/basket.py")] > 0
    monkeypatch.setattr(ranking, "TESTED", 0.0)
    found = [p for p in order(tried, "expired coupon") if p.startswith("app")]
    assert found[7] == "app/basket.py"


def test_however_much_a_test_says_the_best_stay_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "TESTED", 1000.0)
    says = "def test_it(): coupon, expired\n" * 9
    view = shop({"tests/test_basket.py": says, "tests/test_aisle.py": "coupon\n"})
    found = [p for p in order(view, "expired coupon") if p.startswith("app")]
    assert found[:7] == [*(f"app/best{i}.py" for i in range(5)), "app/basket.py", "app/aisle.py"]


def test_a_file_that_has_no_word_of_the_question_plays_no_part() -> None:
    """Else a remembered answer would have to know of it."""
    says = {"tests/test_basket.py": "def test_it(): coupon, expired\n" * 9}
    silent = {f"lib{i}/basket.py": "wheel\n" for i in range(5)}
    few, many = shop(says), shop({**says, **silent})
    assert order(few, "expired coupon") == order(many, "expired coupon")


def test_of_more_namesakes_nobody_knows_which_is_tested() -> None:
    says = {"tests/test_basket.py": "def test_it(): coupon, expired\n" * 9}
    view = shop({**says, **{f"lib{i}/basket.py": "coupon\n" + "wheel\n" * 90 for i in range(5)}})
    assert not rank(view, parse("expired coupon", LIMITS)).tested.any()


@pytest.mark.parametrize(
    ("path", "of"),
    [
        ("tests/test_cart.py", "cart"),
        ("cart_test.go", "cart"),
        ("src/Cart.test.tsx", "cart"),
        ("spec/models/line_item_spec.rb", "lineitem"),
        ("app/src/test/java/LineItemTest.java", "lineitem"),
        ("web/line-item.spec.ts", "lineitem"),
        ("tests/.test_cart.py", "cart"),
        ("tests/conftest.py", "conftest"),
        ("tests/\udcff.py", "\udcff"),
    ],
)
def test_what_a_test_is_of(path: str, of: str) -> None:
    assert name_tested(path) == of


@pytest.mark.parametrize("test", ["tests/test_basket_empty.py", "BasketEmptyTest.java", "web/basket-empty.spec.ts"])
def test_a_test_of_one_side_is_of_the_file_unless_another_has_its_whole_name(test: str) -> None:
    says = {test: "def test_it(): coupon, expired\n" * 9}
    question = parse("expired coupon", LIMITS)
    view = shop(says)
    assert np.flatnonzero(rank(view, question).tested).tolist() == [number(view, "app/basket.py")]
    view = shop({**says, "app/basket_empty.py": "coupon\n" + "wheel\n" * 90})
    assert np.flatnonzero(rank(view, question).tested).tolist() == [number(view, "app/basket_empty.py")]
    assert name_tested_in_part("test_in_it.py") == "", "too short to be a name"
    view = shop({"tests/test_it.py": "def test_it(): coupon, expired\n" * 9, "app/_.py": "coupon\n" + "wheel\n" * 90})
    assert not rank(view, question).tested.any()


def test_names_are_known_per_segment_and_follow_an_edit() -> None:
    view = shop({"tests/test_basket.py": "def test_it(): coupon, expired\n" * 9})
    question = parse("expired coupon", LIMITS)
    assert rank(view, question).tested.any()
    moved = view.replace(
        ["app/basket.py"], [document("app/hamper.py", "coupon\n" + "wheel\n" * 90)], epoch=2, partial=False
    )
    assert not rank(moved, question).tested.any()
    back = moved.replace(
        ["app/hamper.py"], [document("app/basket.py", "coupon\n" + "wheel\n" * 90)], epoch=3, partial=False
    )
    assert rank(back, question).tested.any()
    assert not tested.said_by_tests(back, np.arange(len(back.columns.roles)), np.zeros(len(back.columns.roles))).any()
