"""Markdown on a terminal, styled while it comes.

What was printed is never printed again: a mark is held back until it is known what it is, one to a few characters, and a line's styles end
with the line. What is no mark for us (tables, links, HTML) is shown as it was written, which markdown is made for.
"""

from __future__ import annotations

import re

_BOLD, _ITALIC, _CODE, _HEADING, _DIM, _PLAIN = (
    "\x1b[1m",
    "\x1b[3m",
    "\x1b[36m",
    "\x1b[1;4m",
    "\x1b[2m",
    "\x1b[0m",
)
_LINE_START = re.compile(r"( *)(#{1,6} |[-*+] |> ?|`{3,}|~{3,})?")
_COULD_BECOME = re.compile(r" {0,12}(#{0,6}|[-*+>]|`{0,2}|~{0,2})")
"""The beginning of a line that may turn out to be one of those marks."""

_FENCE_LINE = re.compile(r" *(`{3,}|~{3,})[^\n]*")


class Markdown:
    """Feed it the text as it comes.

    >>> Markdown().feed("Use **bold**.") == "Use \\x1b[1mbold\\x1b[0m."
    True
    >>> Markdown().feed("# One\\n- two") == "\\x1b[1;4mOne\\x1b[0m\\n• two"
    True
    """

    def __init__(self) -> None:
        self._held = ""
        self._at_start = True
        self._fence = ""
        """The mark that the code block we are in ends with; empty outside of one."""
        self._base = ""
        """Style of the whole line: a heading's, a quote's."""
        self._on: list[str] = []
        self._last = " "

    def feed(self, text: str) -> str:
        """What to print for a further piece."""
        self._held += text
        return self._take(end=False)

    def end(self) -> str:
        """What is still held back, and the end of every style: something else is printed now."""
        shown = self._take(end=True)
        if self._base or self._on:
            shown += _PLAIN
        self._base, self._on, self._at_start, self._last = "", [], True, " "
        return shown

    def _take(self, *, end: bool) -> str:
        out: list[str] = []
        while self._held:
            if self._fence:
                if not self._code_line(out, end=end):
                    break
            elif self._at_start:
                if not end and (_COULD_BECOME.fullmatch(self._held) or _FENCE_LINE.fullmatch(self._held)):
                    break
                self._begin_line(out)
            elif not self._inline(out, end=end):
                break
        return "".join(out)

    def _code_line(self, out: list[str], *, end: bool) -> bool:
        """A line of a code block, or as much of one as there is; whether to go on."""
        if self._at_start:
            beginning = self._held.lstrip(" ")
            if not end and "\n" not in beginning and beginning == self._fence[0] * len(beginning):
                return False  # it may become the end of the block
            line = beginning.split("\n", 1)[0].rstrip()
            if line and line == self._fence[0] * len(line) and len(line) >= len(self._fence):
                out.append(f"{_DIM}{line}{_PLAIN}")
                self._held = beginning[len(line) :].lstrip(" ")
                self._fence, self._at_start = "", False
                return True
        line, newline, self._held = self._held.partition("\n")
        if line:
            out.append(f"{_CODE}{line}{_PLAIN}")
        out.append(newline)
        self._at_start = bool(newline)
        return True

    def _begin_line(self, out: list[str]) -> None:
        found = _LINE_START.match(self._held)
        assert found is not None
        indent, mark = found[1], found[2] or ""
        self._held = self._held[found.end() :]
        self._at_start = False
        out.append(indent)
        if mark[:3] in ("```", "~~~"):
            self._fence = mark
            language, newline, self._held = self._held.partition("\n")
            out.append(f"{_DIM}{mark}{language}{_PLAIN}{newline}")
            self._at_start = bool(newline)
        elif mark.startswith("#"):
            self._style(out, _HEADING)
        elif mark.startswith(">"):
            self._style(out, _DIM)
            out.append("│ ")
        elif mark:
            out.append("• ")

    def _style(self, out: list[str], base: str) -> None:
        self._base = base
        out.append(base)

    def _inline(self, out: list[str], *, end: bool) -> bool:
        """The next character or mark of a line; whether to go on."""
        text = self._held
        first = text[0]
        if first == "\n":
            if self._base or self._on:
                out.append(_PLAIN)
            out.append("\n")
            self._held, self._base, self._on, self._at_start, self._last = text[1:], "", [], True, " "
            return True
        if first == "`":
            self._turn(out, _CODE)
            self._held = text[1:]
        elif first == "*" and _CODE not in self._on:
            if len(text) == 1 and not end:
                return False  # one or two?
            if text[1:2] == "*":
                self._turn(out, _BOLD)
                self._held = text[2:]
            else:
                # Emphasis hugs its words: `a * b` and a lone star are none.
                opens = bool(text[1:2].strip()) and not self._last.isalnum()
                if (_ITALIC in self._on and not self._last.isspace()) or (_ITALIC not in self._on and opens):
                    self._turn(out, _ITALIC)
                else:
                    out.append("*")
                self._held = text[1:]
        else:
            stop = re.search(r"[\n`*]", text[1:])
            piece = text[: 1 + stop.start()] if stop else text
            out.append(piece)
            self._held = text[len(piece) :]
            self._last = piece[-1]
            return True
        self._last = first
        return True

    def _turn(self, out: list[str], style: str) -> None:
        """Switch a style on or off; off means all off and the others on again, as terminals have it."""
        if style in self._on:
            self._on.remove(style)
            out.append(_PLAIN + self._base + "".join(self._on))
        else:
            self._on.append(style)
            out.append(style)


def coloured(diff: str) -> str:
    """Unified text with its lines in the colours everybody knows.

    >>> coloured("+new\\n") == "\\x1b[32m+new\\x1b[0m\\n"
    True
    """
    return "".join(_diff_line(line) for line in diff.splitlines(keepends=True))


def _diff_line(line: str) -> str:
    text = line.rstrip("\n")
    for mark, style in (
        ("+++", _BOLD),
        ("---", _BOLD),
        ("# part", _BOLD),
        ("@@", "\x1b[36m"),
        ("+", "\x1b[32m"),
        ("-", "\x1b[31m"),
    ):
        if text.startswith(mark):
            return f"{style}{text}{_PLAIN}{line[len(text) :]}"
    return line
