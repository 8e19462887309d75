import textwrap
from dataclasses import replace

import pytest

from reconvene.agents import extract, passage
from reconvene.agents.evidence import Place
from reconvene.agents.question import stems, understand


def place(text: str, symbol: str | None = None, path: str = "a.py", start: int = 1) -> Place:
    lines = textwrap.dedent(text).strip("\n").split("\n")
    return Place(path, start, start + len(lines) - 1, symbol, dict(enumerate(lines, start)))


HUB = """
    import os

    LIMIT = 10
    # Wakes readers.
    # Slowly.
    @cached
    def wake(
        readers: list[str],
    ) -> None:
        \"\"\"Wake every reader at once. More is said here.\"\"\"
        for r in readers:
            r.poke()

    def rest() -> None:
        pass
"""


def test_a_definition_is_found_with_its_ends_and_words() -> None:
    found = passage.whole(place(HUB, "wake"), [])
    assert (passage.definition_line(found), found.start, found.end) == (7, 4, 12)
    assert passage.described(found) == "Wake every reader at once."


@pytest.mark.parametrize(
    ("line", "name", "is_definition"),
    [
        ("async def go(x):", "go", True),
        ("  export default function go() {", "go", True),
        ("pub(crate) fn go<T>(x: T) {", "go", True),
        ("func (h *Hub) Go() error {", "Go", True),
        ("  private send(entry: Entry): void {", "send", True),
        ("public static void main(String[] args) {", "main", True),
        ("LIMIT: int = 3", "LIMIT", True),
        ("  if (go(x)) {", "go", False),
        ("  else if (this.attached) this.send(entry) {", "send", False),
        ("  return go(x)", "go", False),
        ("def going():", "go", False),
        ("x == LIMIT", "LIMIT", False),
    ],
)
def test_lines_that_define(line: str, name: str, is_definition: bool) -> None:
    assert passage.defines(line, name) is is_definition


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f():\n    '''One line'''", "One line"),
        ("// Closes the door. Always.\nfunction f() {", "Closes the door."),
        ("/**\n * Closes the door.\n */\nfunction f() {", "Closes the door."),
        ("def f():\n    return 'x'", ""),
    ],
)
def test_what_a_definition_says_of_itself(text: str, said: str) -> None:
    assert passage.described(place(text, "f")) == said


def test_braces_end_a_definition() -> None:
    found = passage.whole(place("function f() {\n  a()\n}\n\nfunction g() {\n}", "f", "a.ts"), [])
    assert found.end == 3


def test_what_was_read_completes_what_was_found() -> None:
    snippet = place("def f():\n    a = 1", "f", start=10)
    read = place("# before\ndef f():\n    a = 1\n    b = 2\n\nx = 1", start=9)
    assert passage.whole(snippet, [read]).end == 12


def test_a_place_of_no_one_definition_is_narrowed_to_the_telling_one() -> None:
    wanted = stems(["reader", "wake"])
    assert passage.focused(place(HUB), wanted).symbol == "wake"
    assert passage.focused(place(HUB, "Hub"), wanted).symbol == "wake"
    assert (
        passage.focused(place("class Hub:\n    def wake(readers):\n        pass", "Hub"), wanted).symbol == "Hub.wake"
    )
    assert (
        passage.focused(place("class Hub:\n    readers = []\n    def wake():\n        pass", "Hub"), wanted).symbol
        == "Hub"
    )
    assert passage.focused(place("a = 1\n\nreaders = wake", "Hub"), wanted).start == 3
    beside = place(
        "def __init__(self):\n    self.readers = []\n\ndef wake(self, readers):\n    readers.wake()", "Hub.__init__"
    )
    beside.lines.update((n, f"    {line}") for n, line in beside.lines.items())
    assert passage.focused(beside, wanted).symbol == "Hub.wake"
    assert passage.enclosing(beside, 5) == "Hub.wake" and passage.enclosing(beside, 2) == "Hub.__init__"
    around = place(
        "def wake(self, readers):\n    def each(reader):\n        reader()\n    each(readers)", "Hub.wake.each"
    )
    around.lines.update((n, f"    {line}") for n, line in around.lines.items())
    assert passage.focused(around, wanted).symbol == passage.enclosing(around, 4) == "Hub.wake"
    of_class = replace(beside, symbol="Hub")
    assert passage.enclosing(of_class, 5) == "Hub.wake"
    cut = replace(beside, start=2, lines={n: line for n, line in beside.lines.items() if n > 1})
    assert passage.enclosing(cut, 5) == "Hub.wake" and passage.enclosing(cut, 2) == "Hub.__init__"


def test_uses_are_calls_then_other_lines_and_no_definition_comment_or_text() -> None:
    code = place("def go():\n    go()\n# go()\nprint('go')\nrun(go)\nlet_go()\n>>> go()", path="src/a.py")
    calls, others = extract.uses("go", [code])
    assert ([n for _, n in calls], [n for _, n in others]) == ([2], [5])
    told = place("Then it is go() that goes.", path="docs/a.txt")
    assert extract.uses("go", [told]) == ([], [(told, 1)]), "nothing is called where it is written about"


def test_what_to_follow_is_a_name_of_the_question_first() -> None:
    code = place(
        "def run(x):\n    y = other(x)\n    os.sweep_all()\n    self.sweep_idle(y)\n    raise RunError()", "run"
    )
    assert extract.to_follow(understand("how are idle things swept?"), code) == "sweep_idle"


def test_words_that_are_like_the_one_asked_for_count_less() -> None:
    question = understand("where is the link removed?")
    exact, like, none = place("def remove_link(): ..."), place("def delete_link(): ..."), place("def move_link(): ...")
    assert extract.covers(question, exact) > extract.covers(question, like) > extract.covers(question, none)
    assert extract.missing(question, [none]) == ["removed"]
    assert extract.covers(understand("how are things swept?"), place("x", path="sweeper.py")) == 1.0
