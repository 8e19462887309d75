"""Where a definition begins and ends in a file's lines, told by indentation and braces."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from reconvene.index.definitions import Definition

_LEADING = re.compile(r"[ \t]*(@|#|//|/\*|\*|--|\"\"\"|'''|\[\w)")
_CLOSES = re.compile(r"(\}|end\b|fi\b|done\b|esac\b)")
# Lines as far left as the definition that still belong to it: the end of its parameters, a brace of its own line, preprocessor lines,
# labels, comments, what follows a block (else, except).
_GOES_ON = re.compile(
    r"[)\]{#]|//|/\*|\*|->|\w+:\s*$|(else|elif|except|finally|catch|rescue|ensure|when|where|throws)\b"
)
_ABOVE = 8
"""Lines of decorators and comments over a definition that are taken with it."""


class Extents:
    """Where the definitions of one file are.

    Args:
        lines: the whole file.
        definitions: in the order of their lines.
    """

    def __init__(self, lines: Sequence[str], definitions: Sequence[Definition]) -> None:
        self._lines = lines
        self._definitions = definitions
        self._known: dict[int, tuple[int, int]] = {}

    def of(self, i: int) -> tuple[int, int]:
        """First and last line of definition `i`, from 1, with the decorators and comments right above it."""
        if i not in self._known:
            self._known[i] = (_begin(self._lines, self._definitions[i]), _end(self._lines, self._definitions, i))
        return self._known[i]

    def around(self, line: int) -> int:
        """The innermost definition that a line belongs to; -1 for none."""
        below = bisect_right(self._definitions, line, key=lambda d: d.line)
        if below < len(self._definitions) and self.of(below)[0] <= line:
            return below  # a comment or a decorator of it
        i = below - 1
        # A sibling before cannot hold the line when this one ended before it; what is around them can.
        while i >= 0 and not self.of(i)[0] <= line <= self.of(i)[1]:
            i = self._definitions[i].parent
        return i


def _begin(lines: Sequence[str], definition: Definition) -> int:
    first = definition.line
    if definition.kind == "heading":
        return first
    for above in range(first - 1, max(0, first - 1 - _ABOVE), -1):
        if not _LEADING.match(lines[above - 1]):
            break
        first = above
    return first


def _end(lines: Sequence[str], definitions: Sequence[Definition], i: int) -> int:
    definition = definitions[i]
    following = next((d for d in definitions[i + 1 :] if d.indent <= definition.indent), None)
    bound = _begin(lines, following) - 1 if following else len(lines)
    bound = max(bound, definition.line)
    if definition.kind != "heading":
        bound = _closing(lines, definition, bound)
    while bound > definition.line and not lines[bound - 1].strip():
        bound -= 1
    return bound


def _closing(lines: Sequence[str], definition: Definition, bound: int) -> int:
    last = definition.line
    for number in range(definition.line + 1, bound + 1):
        line = lines[number - 1]
        text = line.strip()
        if not text:
            continue
        if _columns(line) > definition.indent or _GOES_ON.match(text):
            last = number
        elif _CLOSES.match(text):
            return number
        else:
            break
    return last


def _columns(line: str) -> int:
    margin = line[: len(line) - len(line.lstrip())]
    return len(margin) + 3 * margin.count("\t")
