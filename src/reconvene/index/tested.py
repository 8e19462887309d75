"""What tests say of the files they test. A test is of the file that has its name: `test_cart.py`, `cart_test.go`, `cart.spec.ts`,
`CartTest.java` of `cart`; where no file has it whole, of the one that has all but its last word: `test_cart_discount.py`.

What a file is asked for is often said in its tests alone: there stand the words of those who use it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from reconvene.index.plain_names import NOTHING, number, plain, stem
from reconvene.index.roles import ROLES
from reconvene.index.segment import Segment
from reconvene.index.view import View
from reconvene.index.words import parts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_AFFIX = re.compile(r"^tests?[_-]|[_-](?:tests?|spec)$|(?:Tests?|TestCase|Spec)$")
_TEST = ROLES.index("test")
_TESTED = [ROLES.index("source"), ROLES.index("types"), ROLES.index("tool")]
_TESTS = 64
"""Tests that are heard: those that say most."""
_SHORTEST = 4
"""Letters of a name that a part of a test's is taken for."""
_NAMESAKES = 3
"""Of more files with the name of a test nobody knows which it is of."""


def name_tested(path: str) -> str:
    """The name of what a test is of.

    >>> name_tested("tests/test_shopping_cart.py"), name_tested("src/ShoppingCartTest.java"), name_tested("cart.spec.ts")
    ('shoppingcart', 'shoppingcart', 'cart')
    """
    return plain(_AFFIX.sub("", stem(path)))


def name_tested_in_part(path: str) -> str:
    """The same without its last word, for a test of one side of a file; nothing when too little is left to be a name.

    >>> name_tested_in_part("tests/test_requests_async.py"), name_tested_in_part("test_cart.py")
    ('requests', '')
    """
    words = parts(_AFFIX.sub("", stem(path)).replace("-", "_"))[:-1]
    return name if len(name := "".join(words)) >= _SHORTEST else ""


def said_by_tests(view: View, files: Ints, says: Floats) -> Floats:
    """For each of some files, what the test that says most says for it; of two files with its name, half for each.

    Args:
        files: those that may be an answer, in ascending order. No others play a part, so they may change without changing this.
        says: what each of them says itself.
    """
    found = np.zeros(len(files))
    tests = np.flatnonzero((view.columns.roles[files] == _TEST) & (says > 0))
    if not len(tests):
        return found
    if len(tests) > _TESTS:
        tests = tests[says[tests] >= np.partition(says[tests], -_TESTS)[-_TESTS]]
    paths = [view.path(n) for n in files[tests].tolist()]
    place = np.full(len(view.columns.roles), -1)
    place[files] = np.arange(len(files))
    whose, of = _named(view, [_number(path) for path in paths], place)
    none = (np.bincount(whose, minlength=len(tests)) == 0).nonzero()[0]
    if len(none):
        others, of_others = _named(view, [_shorter_number(paths[i]) for i in none.tolist()], place)
        whose, of = np.concatenate((whose, none[others])), np.concatenate((of, of_others))
    namesakes = np.bincount(whose, minlength=len(tests))[whose]
    few = namesakes <= _NAMESAKES
    np.maximum.at(found, of[few], (says[tests][whose] / namesakes)[few])
    return found


@lru_cache(maxsize=1 << 13)
def _number(path: str) -> int:
    return number(name_tested(path))


def _named(view: View, names: Sequence[int], place: Ints) -> tuple[Ints, Ints]:
    """Which of the names which files have, by their places; those of which that is less than 0 are left out."""
    wanted = np.array(names, np.uint32)
    whose, of = [], []
    for segment, base in zip(view.segments, view.offsets, strict=False):
        known, files = _names(segment)
        first, last = known.searchsorted(wanted), known.searchsorted(wanted, side="right")
        count = last - first
        at = np.arange(count.sum()) + (first - count.cumsum() + count).repeat(count)
        places = place[files[at] + base]
        there = places >= 0
        whose.append(np.arange(len(names)).repeat(count)[there])
        of.append(places[there])
    return np.concatenate(whose), np.concatenate(of)


@lru_cache(maxsize=1 << 13)
def _shorter_number(path: str) -> int:
    return number(name_tested_in_part(path))


def _names(segment: Segment) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The names of its files that tests may be of, as numbers, ascending, and the file of each. Of each segment it is worked out once."""
    known = _NAMES.get(segment)
    if known is None:
        files = np.flatnonzero(np.isin(segment.roles, _TESTED) & (segment.names_numbers != NOTHING))
        numbers = segment.names_numbers[files]
        order = np.argsort(numbers, kind="stable")
        known = _NAMES[segment] = numbers[order], files[order]
    return known


_NAMES: WeakKeyDictionary[Segment, tuple[NDArray[np.uint32], NDArray[np.int64]]] = WeakKeyDictionary()
