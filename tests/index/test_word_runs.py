from __future__ import annotations

import random
import re
import string

import pytest

from reconvene.index import runs
from reconvene.index.runs import Hits, Runs
from reconvene.index.words import WORD, parts, stem, term, terms, whole

RUN = re.compile(r"\w+")
STEMS = ["capab", "relat", "happ", "hop", "organ", "natur", "sessi", "key", "id", "x"]
ENDS = [
    "",
    "le",
    "ility",
    "ilities",
    "ed",
    "ing",
    "ation",
    "ational",
    "y",
    "ies",
    "ness",
    "fulness",
    "ly",
    "e",
    "s",
    "ee",
    "i",
]
ODD = [
    "größe",
    "Maße",
    "名前",
    "2nd",
    "v2",
    "_private",
    "__init__",
    "HTTPServer",
    "sky",
    "skies",
    "dying",
    "die",
    "Kelvin",
]


def texts_of(words: list[str]) -> dict[int, str]:
    """Of all terms a query of these words may have."""
    found: dict[int, str] = {}
    for word in words:
        split = parts(word)
        found |= {term(stem(part)): stem(part) for part in split if len(part) > 1}
        if (joined := whole("".join(split))) is not None:
            found[term(joined)] = joined
    return found


def word(chance: random.Random) -> str:
    if chance.random() < 0.1:
        return chance.choice(ODD)
    pieces = [chance.choice(STEMS) + chance.choice(ENDS) for _ in range(chance.choice((1, 1, 2, 3)))]
    match chance.randrange(4):
        case 0:
            return "_".join(pieces)
        case 1:
            return "".join(piece.title() for piece in pieces)
        case 2:
            return "_".join(pieces).upper()
    return "".join(pieces)


def one_by_one(lines: list[str], wanted: set[int], first: int, last: int) -> dict[int, set[int]]:
    found = {}
    for number, line in list(enumerate(lines, 1))[first - 1 : last]:
        if here := {t for w in WORD.findall(line) for t in terms(w)} & wanted:
            found[number] = here
    return found


def check(seed: int, rounds: int = 60) -> None:
    chance = random.Random(seed)
    for _ in range(rounds):
        lines = [
            chance.choice(["", "\t", "  # ", "\x01", "¶ "])
            + chance.choice([" ", ".", "(", ", ", " é ", "\x0c"]).join(word(chance) for _ in range(chance.randrange(7)))
            for _ in range(chance.randrange(1, 30))
        ]
        there = RUN.findall(" ".join(lines)) or ["x"]
        texts = texts_of([chance.choice([word(chance), chance.choice(there)]) for _ in range(chance.randrange(1, 6))])
        if chance.random() < 0.3:
            texts = {t: text for t, text in texts.items() if text.startswith("=")}
        text = Runs("\n".join(lines).encode())
        first = chance.randint(1, len(lines))
        last = chance.randint(first, len(lines))
        for begin, end in ((1, len(lines)), (first, last)):
            expected = one_by_one(lines, set(texts), begin, end)
            for wanted in (Hits(texts, texts), Hits(texts), Hits(texts, texts)):
                found = text.lines_with(wanted, [(begin, end)])
                assert {n: set(wanted.of[bits]) for n, bits in found.items()} == expected
                assert list(found) == sorted(found)
                runs = [run for line in lines[begin - 1 : end] for run in RUN.findall(line) if wanted[run]]
                assert [
                    run for piece in text.with_any(wanted, [(begin, end)]) for run in RUN.findall(piece) if wanted[run]
                ] == runs


def test_the_lines_with_a_querys_words_are_those_found_word_by_word() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    check(seed)


def test_what_one_piece_says_of_a_run_does_not_take_the_place_of_what_another_says() -> None:
    texts = {t: text for t, text in texts_of(["test", "tester"]).items() if text[0] != "="}
    hits = Hits(texts, texts)
    found = Runs(b"tester_test\ntes_ter = x\nx_test\nTesters").lines_with(hits, [(1, 4)])
    assert {n: {texts[t] for t in hits.of[bits]} for n, bits in found.items()} == {
        1: {"test", "tester"},
        3: {"test"},
        4: {"tester"},
    }


@pytest.mark.parametrize(
    "bolder", ["the stem itself", "without what is not ASCII", "underscores and all", "a part wherever it begins"]
)
def test_looking_for_less_than_every_word_has_is_noticed(monkeypatch: pytest.MonkeyPatch, bolder: str) -> None:
    """Mutation control."""
    if bolder == "the stem itself":
        monkeypatch.setattr(runs, "_hints", lambda text: (text.removeprefix("="),))
    elif bolder == "without what is not ASCII":
        monkeypatch.setattr(runs, "_is_odd", lambda text: False)
    elif bolder == "underscores and all":
        monkeypatch.setattr(Runs, "_flat", property(lambda self: self._lower))
    else:
        monkeypatch.setattr(runs, "_BOUNDS", bytes(range(128)))
    with pytest.raises(AssertionError):
        check(1, rounds=400)


def test_a_word_begins_with_what_its_stem_is_looked_for_by() -> None:
    """Of words of any ending, not only of those that there are."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(20_000):
        body = "".join(chance.choices(string.ascii_lowercase, k=chance.randint(1, 5)))
        made = body + "".join(chance.choices(ENDS, k=chance.choice((1, 1, 2))))
        assert any(hint in made for hint in runs._hints(stem(made))), (made, stem(made))
