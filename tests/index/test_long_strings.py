"""Strings over several lines: found where the pattern alone finds them, with every line of code looked at by it."""

from __future__ import annotations

import random
import re

import pytest

from reconvene.index.languages import strings
from reconvene.index.languages.strings import HASH, long_strings

PIECES = [b'"', b"'", b'"""', b"'''", b'""', b"\\", b"\\\n", b"\n", b"#", b"a ", b"\n    "]


def by_pattern(data: bytes) -> list[tuple[int, int]]:
    found = (match.span(1) for match in HASH.finditer(data))
    return [(begin, end) for begin, end in found if data.find(b"\n", begin, end) >= 0]


def check(seed: int, rounds: int) -> None:
    chance = random.Random(seed)
    for _ in range(rounds):
        data = b"".join(chance.choices(PIECES, k=chance.randrange(1, 25)))
        assert long_strings(data, HASH) == by_pattern(data), data


def test_they_are_those_that_the_pattern_finds() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    check(seed, 5_000)


@pytest.mark.parametrize("bolder", [rb"[\"']", rb"[\"#]", rb"['#]"])
def test_control_to_believe_more_quotes_is_noticed(monkeypatch: pytest.MonkeyPatch, bolder: bytes) -> None:
    monkeypatch.setattr(strings, "_UNCLEAR", re.compile(bolder))
    with pytest.raises(AssertionError):
        check(1, 20_000)
