"""What a search takes for granted without looking closer, against the closer look."""

from __future__ import annotations

import random
import re
from itertools import islice

import numpy as np
import pytest

from reconvene.index import ranking, runs
from reconvene.index.definitions import columns, find
from reconvene.index.languages.registry import language_of
from reconvene.index.runs import Hits
from reconvene.index.words import parts, stem, term, whole
from reconvene.search import extent, files
from reconvene.search.density import Density
from reconvene.search.extent import Extents
from reconvene.search.files import text_bytes
from reconvene.search.source import Source
from reconvene.search.texts import Text
from reconvene.search.windows import Window, words_of
from reconvene.workspace.reading import decode_text

ENCODED = [b"a", b"\n", b"\r\n", b"\t", b"\x1b", b"\x7f", b"\0", b"\xc3\xa9", b"\xc2\xa0", b"\xc2\x85", b"\xe2\x80\xa8"]
BROKEN = [b"\xff", b"\xfe", b"\xc2", b"\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xf0\x9f\x98\x80"]
WORDS = ["zebra", "zebras", "garden", "zebra_garden", "ZebraGarden", "zeb_ragarden", "gard", "x", "größe", "zebra2"]
NAMES = [
    "zebra",
    "make_zebra",
    "getZebra",
    "zebra_garden",
    "ze_brag_arden",
    "other",
    "__init__",
    "größe",
    "a\nzebra",
    "k",
]
PYTHON = ["", "", "x = 1", "    y()", "def f():", "    def g(self):", "class A:", "# c", "@d", ")", "    )", '"""', "}"]
BRACES = [
    "",
    "int f(void)",
    "{",
    "\tint x;",
    "}",
    "\t}",
    "// c",
    "* d",
    "static int g(int a)",
    "struct s {",
    "} s_t;",
    "#if X",
]


def text_of(chance: random.Random, pieces: list[str], most: int) -> str:
    return "\n".join(chance.choices(pieces, k=chance.randrange(1, most)))


def seeded() -> int:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    return seed


# -- a text as it is written


def check_bytes(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(4000):
        pieces = chance.sample(ENCODED + BROKEN, chance.randrange(1, 5))
        data = b"".join(chance.choices(pieces, k=chance.randrange(7)))
        shown = decode_text(data)
        assert text_bytes(data) == (None if shown is None else shown.removesuffix("\n").encode()), data


def test_a_text_is_taken_as_it_is_written_where_it_would_be_shown_so() -> None:
    check_bytes(seeded())


@pytest.mark.parametrize("bolder", ["_WIDE_CONTROL", "BOM_UTF8", "_NO_CONTROLS"])
def test_control_taking_more_texts_as_they_are_is_noticed(monkeypatch: pytest.MonkeyPatch, bolder: str) -> None:
    nothing = {
        "_WIDE_CONTROL": re.compile(rb"(?!)"),
        "BOM_UTF8": b"no mark",
        "_NO_CONTROLS": bytes(range(256)),
    }
    monkeypatch.setattr(files, bolder, nothing[bolder])
    with pytest.raises(AssertionError):
        check_bytes(1)


# -- where definitions begin and end


class LineByLine(Extents):
    """Without looking at the margins of all lines at once."""

    def _begin(self, i: int) -> int:
        return extent._begin(self._source, self.definitions[i])

    def _closing(self, line: int, indent: int, bound: int) -> int:
        last = line
        for n in range(line + 1, bound + 1):
            text = self._source.line(n).strip()
            right = columns(self._source.line(n)) - text.startswith("*")
            if not text:
                continue
            if self._source.in_strings[n] or right > indent or (right == indent and extent._GOES_ON.match(text)):
                last = n
            elif right == indent and extent._CLOSES.match(text):
                return n
            elif not extent._MAY_GO_ON.match(text):
                break
        return last


def check_extents(seed: int) -> None:
    chance = random.Random(seed)
    for n in range(600):
        pieces, name = ((PYTHON, "a.py"), (BRACES, "a.c"))[n % 2]
        text = text_of(chance, chance.sample(pieces, chance.randrange(3, len(pieces))), 25)
        definitions = find(text.encode(), language_of(name))
        quick, slow = (kind(Source(text.encode()), definitions) for kind in (Extents, LineByLine))
        assert [quick.of(i) for i in range(len(definitions))] == [slow.of(i) for i in range(len(definitions))], text


def test_definitions_are_where_a_look_at_each_line_finds_them() -> None:
    check_extents(seeded())


@pytest.mark.parametrize("bolder", ["nothing stands above", "any line closes", "nothing stands beside"])
def test_control_telling_more_by_margins_alone_is_noticed(monkeypatch: pytest.MonkeyPatch, bolder: str) -> None:
    if bolder == "nothing stands above":
        monkeypatch.setattr(extent, "_MAY_STAND_ABOVE", frozenset())
        monkeypatch.setattr(LineByLine, "_begin", lambda self, i: begin_of(self, i))
    elif bolder == "any line closes":
        monkeypatch.setattr(extent, "_BRACE", ord("#"))
    else:
        monkeypatch.setattr(Extents, "_not_inside", lambda self, indent: [])
    with pytest.raises(AssertionError):
        check_extents(1)


def begin_of(extents: Extents, i: int) -> int:
    """With what may stand above as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extent, "_MAY_STAND_ABOVE", frozenset(b"@#/*-[)]}"))
        return extent._begin(extents._source, extents.definitions[i])


# -- words in names, on lines and in places


def wanted(chance: random.Random) -> Hits:
    """Of one to three words, and of whole names alone now and then."""
    texts: dict[int, str] = {}
    for word in chance.sample(["zebra", "garden", "gard", "zebraGarden", "größe"], chance.randrange(1, 4)):
        split = parts(word)
        texts |= {term(stem(part)): stem(part) for part in split}
        if len(split) > 1 and (joined := whole("".join(split))):
            texts[term(joined)] = joined
    if chance.random() < 0.4:
        texts = {t: text for t, text in texts.items() if text.startswith("=")} or texts
    return Hits(texts, texts)


def check_names(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(1000):
        hits, names = wanted(chance), chance.choices(NAMES, k=chance.randrange(6))
        with_any = {i for i, name in enumerate(names) if hits[name]}
        assert with_any <= set(hits.may_be_in(names)), names


def test_every_name_with_a_word_is_among_those_that_may_have_one() -> None:
    check_names(seeded())
    some = Hits([term("zebra")], {term("zebra"): "zebra"})
    assert set(some.may_be_in(["Zebra", "other", "my_zebra_zebra", "z"])) == {0, 2}, "the others are not looked at"


def test_control_looking_for_no_whole_names_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_without_underscores", lambda text: text)
    with pytest.raises(AssertionError):
        check_names(1)


def check_words(seed: int) -> None:
    """The words that a place is shown for, with the lines that tell them and with all lines."""
    chance = random.Random(seed)
    for _ in range(600):
        lines = [
            " ".join(chance.choices([*WORDS, "", "="], k=chance.randrange(4))) for _ in range(chance.randrange(1, 30))
        ]
        text, hits = Text("\n".join(lines).encode()), wanted(chance)
        weights = {t: 1.0 + i for i, t in enumerate(hits.terms)}
        cut = sorted(chance.sample(range(1, len(lines) + 1), min(len(lines), 4)))
        spans = chance.choice([None, list(zip(cut[::2], cut[1::2], strict=False)) or None])
        density = Density(text, (), weights, (), hits, spans)
        start = chance.randint(1, len(lines))
        window = Window(start, chance.randint(start, len(lines)), None, 0.0)
        whole = text.runs.with_any(hits, [(window.start, window.end)])
        told = density.telling(window.start, window.end)
        assert words_of(told, hits, weights) == words_of(whole, hits, weights), lines


def test_a_places_words_are_told_by_a_few_of_its_lines() -> None:
    check_words(seeded())


@pytest.mark.parametrize("bolder", ["the first line with any", "all lines were looked at"])
def test_control_fewer_lines_do_not_tell_all_words(monkeypatch: pytest.MonkeyPatch, bolder: str) -> None:
    telling = Density.telling
    if bolder == "the first line with any":
        monkeypatch.setattr(Density, "telling", lambda self, start, end: islice(telling(self, start, end), 1))
    else:
        made = Density.__init__

        def init(self: Density, *args: object) -> None:
            made(self, *args)  # type: ignore[arg-type]
            self._spans = None

        monkeypatch.setattr(Density, "__init__", init)
    with pytest.raises(AssertionError):
        check_words(1)


def check_held(seed: int) -> None:
    """What the definitions have of each term, against each line asked for its own."""
    chance = random.Random(seed)
    for _ in range(300):
        pieces = [*PYTHON, "zebra()", "    garden(zebra)", "        zebra"]
        text = text_of(chance, pieces, 40)
        definitions, hits = tuple(find(text.encode(), language_of("a.py"))), wanted(chance)
        density = Density(Text(text.encode()), definitions, dict.fromkeys(hits.terms, 1.0), (), hits)
        if not density._found:
            continue
        extents = Extents(Source(text.encode()), definitions)
        expected: dict[int, list[float]] = {}
        for at, line in enumerate(density._found):
            if (around := extents.around(line)) >= 0:
                before = expected.get(around, [0.0] * len(density._stands))
                expected[around] = [a + b for a, b in zip(before, density._stands[:, at].tolist(), strict=True)]
        held, counts = density._held()
        assert dict(zip(held, counts.T.tolist(), strict=True)) == expected


def test_each_line_counts_for_the_definition_around_it() -> None:
    check_held(seeded())


def test_control_one_definition_for_all_lines_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    stretch = Extents.stretch
    monkeypatch.setattr(Extents, "stretch", lambda self, line: (stretch(self, line)[0], 1 << 30))
    monkeypatch.setattr(Extents, "around", lambda self, line: stretch(self, line)[0])
    with pytest.raises(AssertionError):
        check_held(1)


# -- the best chunks of each file


def check_chunks(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(300):
        files_of = sorted(chance.choices(range(8), k=chance.randrange(40)))
        values = [chance.choice([0.0, 0.5, 0.5, 1 / 3, chance.random()]) for _ in files_of]
        expected = np.zeros(8)
        for file in range(8):
            best = sorted((v for v, f in zip(values, files_of, strict=True) if f == file), reverse=True)
            for i, value in enumerate(best[:5]):
                expected[file] += 0.5**i * value
        found = ranking._best_chunks(np.array(values), np.array(files_of, np.int64), 8)
        assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-8), (values, files_of)
        for file in range(8):  # to the bit, whatever the others have and whichever number it has
            own = np.array([v for v, f in zip(values, files_of, strict=True) if f == file])
            alone = ranking._best_chunks(own, np.full(len(own), 70_000), 70_001)
            assert alone[70_000] == found[file], (values, files_of)


def test_a_files_chunks_count_the_best_first_and_equals_one_by_one() -> None:
    check_chunks(seeded())


@pytest.mark.parametrize("bolder", ["those before count", "files run together", "fewer bits"])
def test_control_another_order_of_chunks_is_noticed(monkeypatch: pytest.MonkeyPatch, bolder: str) -> None:
    if bolder == "those before count":
        monkeypatch.setattr(ranking, "_SHARES", np.append(0.5 ** np.arange(4), [0.0, 0.0]))
    elif bolder == "files run together":
        monkeypatch.setattr(ranking, "_VALUE_BITS", 50)
    else:
        monkeypatch.setattr(ranking, "_CUT", 48)
        monkeypatch.setattr(ranking, "_LOWEST", (1 << 16) - 1)
    with pytest.raises((AssertionError, OverflowError, IndexError)):
        check_chunks(1)
