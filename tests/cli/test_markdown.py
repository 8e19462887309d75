"""Markdown and changes on a terminal: what is seen is what was written, however it comes in pieces."""

from __future__ import annotations

import io
import re
from random import Random

import pytest

from reconvene.cli import printing, terminal
from reconvene.cli.markdown import Markdown, coloured
from reconvene.cli.printing import Printer
from reconvene.cli.transcript import Piece

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
BOLD, ITALIC, CODE, PLAIN = "\x1b[1m", "\x1b[3m", "\x1b[36m", "\x1b[0m"
ANSWER = """# How it works

Idle *sessions* are **removed** by `Hub.sweep(now)`, see `hub.py:2-4`.

- one, with 2 * 3 and a*b and **nested `code`**
  * two
> quoted

```python
def sweep(self): # **no bold here**
    return `x`
```
Done: ~~~ and # no heading.
~~~
last
~~~"""


def seen(text: str) -> str:
    return ESCAPE.sub("", text)


def shown(*pieces: str) -> str:
    markdown = Markdown()
    return "".join([markdown.feed(piece) for piece in pieces] + [markdown.end()])


def test_an_answer_as_a_whole() -> None:
    text = shown(ANSWER)
    assert seen(text) == (
        ANSWER.replace("# How", "How", 1)
        .replace("*sessions*", "sessions")
        .replace("**removed**", "removed")
        .replace("`Hub.sweep(now)`", "Hub.sweep(now)")
        .replace("`hub.py:2-4`", "hub.py:2-4")
        .replace("- one", "• one")
        .replace("**nested `code`**", "nested code")
        .replace("  * two", "  • two")
        .replace("> quoted", "│ quoted")
    )
    assert f"{BOLD}removed{PLAIN}" in text
    assert f"{ITALIC}sessions{PLAIN}" in text
    assert f"{CODE}def sweep(self): # **no bold here**{PLAIN}\n" in text
    assert f"{BOLD}nested {CODE}code{PLAIN}{BOLD}{PLAIN}" in text


@pytest.mark.parametrize("seed", range(40))
def test_pieces_change_nothing_that_is_seen(seed: int) -> None:
    rng = Random(seed)
    alphabet = ["*", "**", "`", "```", "~~~", "\n", "#", " ", "- ", "> ", "word", "a", "_", "1."]
    text = ANSWER if seed == 0 else "".join(rng.choices(alphabet, k=80))
    pieces, at = [], 0
    while at < len(text):
        step = rng.randint(1, 4)
        pieces.append(text[at : at + step])
        at += step
    assert seen(shown(*pieces)) == seen(shown(text)), f"seed {seed}: {text!r}"
    assert seen(shown(text)).count("\n") == text.count("\n")


@pytest.mark.parametrize("text", ["**bold", "`code", "# heading", "*it", "> q", "```py\ncode", "**a\nb", "*"])
def test_no_style_stays_on(text: str) -> None:
    escapes = ESCAPE.findall(shown(text))
    assert not escapes or escapes[-1] == PLAIN
    assert f"{PLAIN}\nb" in shown("**a\nb"), "a mark that is never closed ends with its line"


def test_text_is_not_held_back_longer_than_a_mark() -> None:
    markdown = Markdown()
    assert markdown.feed("Sess") == "Sess"
    assert markdown.feed("ions *") == "ions "
    assert markdown.feed("*are") == f"{BOLD}are"


def test_a_change_has_colours_and_all_of_its_text() -> None:
    diff = "--- a/x\n+++ b/x\n# part 1\n@@ -1 +1 @@\n-old\n+new\n same\n"
    assert seen(coloured(diff)) == diff
    assert "\x1b[31m-old\x1b[0m\n" in coloured(diff)
    assert "\x1b[32m+new\x1b[0m\n" in coloured(diff)
    assert coloured(" same\n") == " same\n"


class Screen(io.StringIO):
    def __init__(self, tty: bool) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


@pytest.mark.parametrize(
    ("tty", "environment", "styled"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False)],
)
def test_a_pipe_gets_what_was_written(
    tty: bool, environment: dict[str, str], styled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screen = Screen(tty)
    monkeypatch.setattr(printing.sys, "stdout", screen)
    printer = Printer()
    printer.show([Piece("answer", "**Yes**, "), Piece("answer", "`no`\n"), Piece("diff", "+new\n")])
    printer.end()
    text = screen.getvalue()
    assert ("\x1b" in text) is styled
    assert seen(text) == ("Yes, no\n+new\n" if styled else "**Yes**, `no`\n+new\n")
    assert terminal.colours(screen) is styled
