"""How lines begin, worked out for all of a text at once, against each line taken by itself."""

from __future__ import annotations

import random

import numpy as np
import pytest

from reconvene.index.languages.strings import HASH, long_strings
from reconvene.search import margins, source
from reconvene.search.files import text_bytes
from reconvene.search.source import Source
from reconvene.workspace.reading import decode_text

PIECES = [
    "",
    "",
    " ",
    "    ",
    "\t",
    " \t ",
    "\x01",
    "\x0c",
    "\x1c",
    "\x7f",
    "\xa0",
    "\u2028",
    "\u3000",
    "\u2009\t",
    "é",
    "x",
    "*",
    "# a",
    "\U0001f600",
]
DOCUMENTED = [
    '    """',
    '"""\n',
    '\\"""\n',
    '"""',
    'a = """',
    "a",
    "b\n",
    "\n",
    " ",
    "\\d",
    "# c\n",
    "'x'",
    "\\\n",
    '""""',
]
QUOTED = ["'", '"', '"""', "'''", "#", "\\", "\n", "a", " ", "\\\n", "é"]


def text(chance: random.Random, pieces: list[str], end: str) -> str:
    return "".join(chance.choice(pieces) + chance.choice(["", "", end]) for _ in range(chance.randrange(40)))


def check(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(300):
        pieces = chance.sample(PIECES, chance.randrange(1, len(PIECES)))
        lines = text(chance, pieces, "\n").split("\n")
        whole = Source.of_lines(lines)
        found = whole.margins
        last = 0
        for n, line in enumerate(lines, 1):
            margin = line[: len(line) - len(line.lstrip())]
            bare = line.lstrip().encode()
            assert whole.line(n) == line and whole.count == len(lines)
            assert bool(found.blank[n]) == (not bare)
            if bare:
                last = n
                assert found.columns[n] == len(margin) + 3 * margin.count("\t"), (line, lines)
                assert found.firsts[n] == bare[0]
            assert found.upto[n] == last
        assert whole.lines == lines and found.blank[0] and not found.upto[0]


def test_a_text_at_once_is_as_each_line_by_itself() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    check(seed)


@pytest.mark.parametrize("bolder", ["blanks of ASCII alone", "no control characters", "a tab is one column"])
def test_control_looking_at_less_is_noticed(monkeypatch: pytest.MonkeyPatch, bolder: str) -> None:
    if bolder == "blanks of ASCII alone":
        monkeypatch.setattr(margins, "_wide", lambda data, codes: [])
    elif bolder == "no control characters":
        monkeypatch.setattr(margins, "has_others_so_low", lambda codes, newlines: False)
    else:
        monkeypatch.setattr(margins, "_TAB", 0)
    with pytest.raises(AssertionError):
        check(1)


def lines_in_strings(data: bytes) -> set[int]:
    return set(np.flatnonzero(Source(data).in_strings).tolist())


def test_lines_that_begin_in_a_string_are_known() -> None:
    assert lines_in_strings(b'a = """one\ntwo\n"""\nb = 1\n\'\'\'\nfour') == {2, 3, 6}
    assert lines_in_strings(b"a = 1") == set()


def check_strings(seed: int) -> None:
    chance = random.Random(seed)
    for n in range(3000):
        pieces = chance.sample(DOCUMENTED, chance.randrange(3, len(DOCUMENTED))) if n % 2 else QUOTED
        data = "".join(chance.choices(pieces, k=chance.randrange(30))).encode()
        plain = [m.span(1) for m in HASH.finditer(data) if b"\n" in m[1]]
        assert long_strings(data, HASH) == plain, data
        assert lines_in_strings(data) == {
            n + 2 for begin, end in plain for n in range(data.count(b"\n", 0, begin), data.count(b"\n", 0, end))
        }, data


def test_strings_over_several_lines_are_those_of_the_plain_search_for_them() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    check_strings(seed)


@pytest.mark.parametrize("bolder", ["whatever stands before", "backslashes and all"])
def test_control_taking_strings_for_plain_that_are_not_is_noticed(monkeypatch: pytest.MonkeyPatch, bolder: str) -> None:
    if bolder == "backslashes and all":
        monkeypatch.setattr(source, "_BACKSLASH", 0)
    else:
        monkeypatch.setattr(
            Source, "_plain_strings", lambda self, quotes: None if len(quotes) % 2 else quotes.reshape(-1, 2).T
        )
    with pytest.raises(AssertionError):
        check_strings(1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"a\r\nb\rc\n",
        b"\xef\xbb\xbfa\n",
        "ä\n".encode("utf-16"),
        b"a\x0cb\x7f",
        b"\xff\xfea",
        b"GIF89a",
        b"%PDF-1",
        b"a\0b",
        "é\n\n".encode(),
    ],
)
def test_a_texts_bytes_are_those_of_what_is_shown_of_it(data: bytes) -> None:
    shown = decode_text(data)
    assert text_bytes(data) == (None if shown is None else shown.removesuffix("\n").encode())
