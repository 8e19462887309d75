"""Which of the places that were found answer a question, and what else in them is worth a look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from reconvene.agents import passage
from reconvene.agents.evidence import Place, Turn
from reconvene.agents.question import Question, alike, last_name, stems
from reconvene.index.languages.registry import language_of
from reconvene.index.roles import role_of
from reconvene.index.words import WORD

_CALLED = re.compile(r"(?:(?<![\w.])|\b(?:self|cls|this)\.)([A-Za-z_]\w{3,})\s*\(")
"""Of what may be defined in the code base: not a method of just any object."""
_LIKE = 0.6
"""How much a word like the one asked for counts of it."""
_STRING = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
_WELL_KNOWN = frozenset(
    """append assert await bool callable catch close decode dict encode enumerate exit extend filter float format frozenset getattr
    hasattr insert isinstance issubclass items join keys lambda list open pass pop print property push range replace repr require
    reversed round self setattr slice sorted split startswith endswith staticmethod strip super switch throw tuple type update values
    while yield""".split()  # noqa: SIM905
)


def rank(question: Question, turn: Turn) -> list[Place]:
    """The places of a turn's searches, best first, those that overlap once.

    A place counts by its rank in each search, and by how many of the question's words its name, path and lines have.
    """
    points: dict[tuple[str, int, int], float] = {}
    found: dict[tuple[str, int, int], Place] = {}
    asked = [(query, hits) for query, hits in turn.searches if not query.startswith("def:")]
    for number, (_, hits) in enumerate(asked):
        for position, place in enumerate(hits):
            key = (place.path, place.start, place.end)
            # What is asked for by its name is wanted whole.
            whole = defines(place, (*question.names, *question.words))
            found.setdefault(key, place if whole else passage.focused(place, question.stems))
            # The first search asked for the whole of it, in its own words.
            points[key] = points.get(key, 0.0) + (1.0 if number == 0 else 0.2) / (position + 5)
    for key, place in found.items():
        named = _wider(stems([place.symbol or "", place.path.rpartition("/")[2]]))
        points[key] *= 0.5 + covers(question, place) + _share(question.stems, named)
        if defines(place, question.names):
            points[key] *= 2.5
        if key[2] and place.symbol is None and passage.is_code(place):
            points[key] *= 0.8
    return distinct(found[k] for k in sorted(found, key=lambda k: (-points[k], k)))


def distinct(places: Iterable[Place]) -> list[Place]:
    """The places in order, without those that overlap an earlier one."""
    kept: list[Place] = []
    for place in places:
        if not any(place.overlaps(p) for p in kept):
            kept.append(place)
    return kept


def covers(question: Question, place: Place) -> float:
    """The part of the question's words, 0 to 1, that a place has, or words like them, in its lines, its name or its path."""
    return _share(question.stems, _stems_of(place))


def missing(question: Question, places: Iterable[Place]) -> list[str]:
    """The question's own words that no place has."""
    had = frozenset[str]().union(*(_stems_of(p) for p in places))
    return [w for w in question.words if _share(stems([w]), had) < _LIKE]


def defines(place: Place, names: Sequence[str]) -> bool:
    """Whether the place is of the definition of one of the names."""
    return place.symbol is not None and last_name(place.symbol) in {last_name(n) for n in names}


def to_follow(question: Question, place: Place) -> str | None:
    """A name that the place calls and whose definition may be worth a look: one of the question's words, or called again and again."""
    skipped = {last_name(place.symbol or "")} | set(
        re.findall(r"\b(\w+)\s*(?::[^=\n]{1,40})?=(?!=)", place.text)
    )  # its own variables
    points: dict[str, float] = {}
    at = passage.definition_line(place)
    for number, line in place.lines.items():
        if number == at or passage.is_comment(line) or passage.DEFINES.match(line):
            continue
        for name in _CALLED.findall(_STRING.sub('""', line)):
            if name.lower() in _WELL_KNOWN or name in skipped or name.endswith(("Error", "Exception")):
                continue
            points[name] = points.get(name, 0.0) + 0.5
    for name in points:
        points[name] = min(points[name], 1.0) + 2 * len(question.stems & stems([name]))
    best = max(points, key=lambda n: (points[n], len(n), n), default=None)
    return best if best and points[best] >= 1.0 else None


def uses(name: str, places: Iterable[Place]) -> tuple[list[tuple[Place, int]], list[tuple[Place, int]]]:
    """Lines of code that call the name, and other lines that have it; neither define it nor are comments. Sources first."""
    word = re.compile(rf"(?<![\w$-]){re.escape(name)}(?![\w$-])")
    called = re.compile(rf"(?<![\w$-]){re.escape(name)}\s*[({{]")
    calls: dict[tuple[str, int], tuple[Place, int]] = {}
    others: dict[tuple[str, int], tuple[Place, int]] = {}
    for place in places:
        for number, line in place.lines.items():
            bare = _STRING.sub('""', line)
            if word.search(bare) and not passage.is_comment(line) and not passage.defines(line, name):
                found = calls if called.search(bare) and role_of(place.path) != "docs" else others
                if (place.path, number) not in found or place.symbol:
                    found[place.path, number] = place, number

    def ordered(found: dict[tuple[str, int], tuple[Place, int]]) -> list[tuple[Place, int]]:
        return [found[k] for k in sorted(found, key=lambda k: (role_of(k[0]) not in ("source", "types"), k))]

    return ordered(calls), ordered(others)


def is_test(place: Place) -> bool:
    return role_of(place.path) == "test"


def language(place: Place) -> str:
    return language_of(place.path).name


def _share(wanted: frozenset[str], had: frozenset[str]) -> float:
    if not wanted:
        return 0.0
    return sum(1.0 if w in had else _LIKE if alike(w) & had else 0.0 for w in wanted) / len(wanted)


def _wider(found: frozenset[str]) -> frozenset[str]:
    """With what a doer does: a sweeper sweeps, a parser parses."""
    return found | {s[:-2] for s in found if len(s) > 5 and s.endswith(("er", "or"))}


@lru_cache(maxsize=4096)
def stems_of_line(line: str) -> frozenset[str]:
    return stems(WORD.findall(line))


def _stems_of(place: Place) -> frozenset[str]:
    own = stems([place.symbol or "", *WORD.findall(place.path)])
    return _wider(own).union(*(stems_of_line(line) for line in place.lines.values()))
