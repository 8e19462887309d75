"""Questions about a code base whose answers a program knows. The same code base and seed give the same questions.

Four kinds: where a name is defined; what is defined with such a description; who calls a function; which file has a message to be changed.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.eval.syntax import Definition, Facts, facts

SEED = 20261122
EACH = 5
"""Of a kind, of a code base."""
_DEV = 2
"""Of these, for development; the others are for the test."""
_IN_TESTS = re.compile(r"(^|/)(tests?|__tests__|spec|examples?|bench\w*|integration)/|\.test\.|_test\.", re.I)
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]+")
_NOISE = frozenset(
    """a an and any are as at be been by can cannot could did do does for from given has have how if in into is it its may must no not of
    on or our set should so than that the their then there these this to too use used uses using was we when where which will with you
    your return returns param true false none null undefined""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Question:
    """`places`: (path, line) that have to be seen to answer; `names`: what has to be named, for callers, one for each place."""

    id: str
    code_base: str
    kind: str
    split: str
    text: str
    places: tuple[tuple[str, int], ...]
    names: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    """What it asks about: the name, or the words."""


def questions(name: str, root: Path, seed: int = SEED, each: int = EACH) -> list[Question]:
    """The questions about one code base: `each` of every kind, fewer where it has no more."""
    known = facts(root)
    made: list[Question] = []
    kinds: dict[str, Callable[[Facts], list[tuple[str, Sequence[tuple[str, int]], Sequence[str], Sequence[str]]]]] = {
        "definition": _definitions,
        "description": _descriptions,
        "callers": _callers,
        "message": _messages,
    }
    for kind, candidates in kinds.items():
        found = candidates(known)
        random.Random(f"{seed}/{name}/{kind}").shuffle(found)
        for n, (text, places, names, about) in enumerate(found[:each]):
            split = "dev" if n < _DEV else "test"
            made.append(
                Question(f"{name}/{kind}/{n}", name, kind, split, text, tuple(places), tuple(names), tuple(about))
            )
    return made


def digest(made: Sequence[Question]) -> str:
    """SHA-256 of all of them: whether two sets are the same."""
    return hashlib.sha256("\n".join(json.dumps(asdict(q), sort_keys=True) for q in made).encode()).hexdigest()


Candidate = tuple[str, Sequence[tuple[str, int]], Sequence[str], Sequence[str]]


def _ours(path: str) -> bool:
    return not _IN_TESTS.search(path)


def _single(known: Facts) -> dict[str, Definition]:
    """Names that are defined once."""
    by_name: dict[str, list[Definition]] = defaultdict(list)
    for definition in known.definitions:
        by_name[definition.name].append(definition)
    return {n: d[0] for n, d in by_name.items() if len(d) == 1 and _ours(d[0].path) and len(n) > 3}


def _definitions(known: Facts) -> list[Candidate]:
    """Of names that at least three more files have: to find one of them is not to find the definition."""
    return [
        (f"In which file and on which line is `{name}` defined?", [(d.path, d.line)], [], [name])
        for name, d in _single(known).items()
        if len(known.words.get(name, ())) >= 4
    ]


def _descriptions(known: Facts) -> list[Candidate]:
    """Described by the words of its description that are not in its name, without their order."""
    found: list[Candidate] = []
    for name, d in _single(known).items():
        own = set(_parts(name))
        words = [w for w in _telling(d.about) if not own & set(_parts(w))]
        if len(words) >= 5 and len(d.about) < 200:
            asked = sorted(words[:6])
            what = f"Which function, method or class has to do with all of this: {', '.join(asked)}?"
            text = f"{what} In which file and on which line is it defined?"
            found.append((text, [(d.path, d.line)], [], asked))
    return found


def _callers(known: Facts) -> list[Candidate]:
    """Of functions that two to four others call, in two files at least, outside of tests.

    Names of one word are left out, since methods of the language's own libraries have them; and what C headers mention, where a
    declaration looks like a call.
    """
    single = {name: d for name, d in _single(known).items() if len(_parts(name)) > 1}
    in_headers = {call.name for call in known.calls if call.path.endswith(".h")}
    by_name: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for call in known.calls:
        if call.name in single and call.name not in in_headers and _ours(call.path) and call.inside != call.name:
            by_name[call.name].setdefault((call.path, call.inside), call.line)
    found: list[Candidate] = []
    for name, callers in sorted(by_name.items()):
        names = [inside for _, inside in callers]
        if 2 <= len(callers) <= 4 and len({path for path, _ in callers}) > 1 and len(set(names)) == len(names):
            text = f"Which functions or methods call `{name}`, outside of tests?"
            found.append((text, [(path, line) for (path, _), line in callers.items()], names, [name]))
    return found


def _messages(known: Facts) -> list[Candidate]:
    """Of texts that stand in one place."""
    by_text: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for t in known.texts:
        by_text[t.text].append((t.path, t.line))
    found: list[Candidate] = []
    for text, places in by_text.items():
        words = _telling(text)
        if len(places) == 1 and _ours(places[0][0]) and len(words) >= 4 and len(text) < 160 and "\n" not in text:
            asked = words[:6]
            about = " … ".join(asked)
            question = f'A message that says something like "{about}" should be worded differently. Which file has it, and on which line?'
            found.append((question, places, [], asked))
    return found


def _telling(text: str) -> list[str]:
    """Its words that say something, in order, each once."""
    words = (w.strip("'-").lower() for w in _WORD.findall(text))
    return list(dict.fromkeys(w for w in words if len(w) > 2 and w not in _NOISE))


def _parts(name: str) -> list[str]:
    return [p.lower() for p in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name) if len(p) > 2]
