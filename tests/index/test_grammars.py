"""Each language as its grammar has it: kinds, names, nesting, first line with what stands over it, line of the name, last line."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
from grammar_samples import SAMPLES
from test_languages import SAMPLES as PLAIN_SAMPLES

from reconvene.index.definitions import find, last_name, qualified, unpack
from reconvene.index.languages.registry import LANGUAGES, language_of
from reconvene.index.syntax.outline import Quoted
from reconvene.index.syntax.parsing import outline

ROOT = Path(__file__).parents[2] / "src"


def found_in(name: str, text: str) -> list[str]:
    found = unpack(outline(text.encode(), language_of(name)).definitions)
    return [f"{d.kind} {qualified(found, i)} {d.first}-{d.line}-{d.last}" for i, d in enumerate(found)]


@pytest.mark.parametrize("name", SAMPLES)
def test_what_the_grammar_finds(name: str) -> None:
    text, expected = SAMPLES[name]
    assert found_in(name, text) == [line.strip() for line in expected.split("\n")]


def test_every_language_with_a_grammar_has_a_sample() -> None:
    assert {language_of(name).name for name in SAMPLES} == {x.name for x in LANGUAGES.values() if x.grammars}


BROKEN = {
    "a.py": (
        "def first():\n    pass\n\nclass Half(\n    def inside(self:\n        x = (1,\n\ndef last():\n    return 1\n",
        {"first", "last"},
    ),
    "a.js": ("function first() {\n}\nclass Half {\n  inside( {\n\nfunction last() {\n  return 1\n}\n", {"first", "last"}),
    "a.go": ("func First() {\n}\n\nfunc (s *Half {\n\nfunc Last() {\n}\n", {"First", "Last"}),
    "a.rs": ("fn first() {\n}\nimpl Half for {\nfn last() {\n}\n", {"first", "last"}),
    "A.java": ("class A {\n  void first() {\n  }\n  void half( {\n  void last() {\n  }\n}\n", {"A", "first", "last"}),
    "a.c": ("int first(void)\n{\n}\nstruct half {\nint last(void)\n{\n}\n", {"first", "last"}),
    "a.rb": ("def first\nend\nclass Half <\n  def last\n  end\n", {"first", "last"}),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_source_that_is_being_written_keeps_its_names(name: str) -> None:
    text, names = BROKEN[name]
    found = unpack(outline(text.encode(), language_of(name)).definitions)
    assert {last_name(d.name) for d in found} >= names
    lines = text.split("\n")
    for d in found:
        assert last_name(d.name) in lines[d.line - 1]
        assert d.parent < len(found) and (d.last == 0 or d.first <= d.line <= d.last <= len(lines))


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("cut", [0.2, 0.5, 0.8])
def test_a_file_that_is_cut_off_anywhere_has_an_outline(name: str, cut: float) -> None:
    text = SAMPLES[name][0]
    for ending in (text[: int(len(text) * cut)], text[int(len(text) * cut) :], text.replace("\n", "\r\n")):
        found = outline(ending.encode(), language_of(name))
        assert found.state == "exact"
        last = ending.count("\n") + 1
        for d in unpack(found.definitions):
            assert 1 <= d.line <= last and (d.last == 0 or 1 <= d.first <= d.line <= d.last <= last)
            assert "\r" not in d.name and "\n" not in d.signature


def test_line_ends_of_another_system_change_nothing() -> None:
    for name, (text, _) in SAMPLES.items():
        assert found_in(name, text.replace("\n", "\r\n")) == found_in(name, text), name


def test_comments_and_strings_are_told_from_code() -> None:
    texts = {
        "a.py": 'use(name)  # name\nx = "name" + f"{name}"\n',
        "a.js": 'use(name)  // name\nx = "name" + `${name}`\n',
        "a.rs": 'use_it(name); // name\nlet x = "name"; name\n',
        "a.go": 'use(name)  // name\nx := "name" + name\n',
    }
    for path, text in texts.items():
        quoted = Quoted.unpack(outline(text.encode(), language_of(path)).postings)
        held = [
            [quoted.holds(n, at) for at in range(len(line)) if line.startswith("name", at)]
            for n, line in enumerate(text.split("\n")[:2], 1)
        ]
        assert held == [[False, True], [True, False]], path


# -- the linear tier against the grammar


def agreement(files: list[tuple[str, bytes]]) -> tuple[int, int, int]:
    """Names that both tiers have, that the grammar has, that the linear tier has; each as often as it stands in a file."""
    both = exact = linear = 0
    for path, data in files:
        language = language_of(path)
        a = Counter(last_name(d.name) for d in unpack(outline(data, language).definitions))
        b = Counter(last_name(d.name) for d in find(data, language))
        both, exact, linear = both + (a & b).total(), exact + a.total(), linear + b.total()
    return both, exact, linear


def test_the_linear_tier_finds_what_the_grammar_does(capsys: pytest.CaptureFixture[str]) -> None:
    """On plain samples of each language, and on this repository: the figures are printed."""
    files = [(name, text.encode()) for name, (text, _) in PLAIN_SAMPLES.items() if language_of(name).grammars]
    figures = {language_of(name).name: agreement([(name, data)]) for name, data in files}
    sources = [(str(p), p.read_bytes()) for p in sorted(ROOT.rglob("*.py")) if "grammar_samples" not in p.name]
    figures["python, this repository"] = agreement(sources)
    with capsys.disabled():
        for name, (both, exact, linear) in figures.items():
            print(f"\n{name:26} recall {both / exact:.3f} precision {both / linear:.3f} of {exact}", end="")
    for name, (both, exact, linear) in figures.items():
        assert both >= 0.8 * exact and both >= 0.9 * linear, name
    both, exact, linear = figures["python, this repository"]
    assert exact > 1000 and both >= 0.99 * exact and both >= 0.99 * linear


def test_control_without_the_strings_the_linear_tier_takes_text_for_code() -> None:
    text = SAMPLES["a.py"][0].encode()
    assert agreement([("a.py", text)]) == (6, 6, 6)
    blind = dataclasses.replace(LANGUAGES["python"], strings=None)
    assert {d.name for d in find(text, blind)} > {d.name for d in find(text, LANGUAGES["python"])}
