"""Where a definition begins and ends in a file's lines: as its grammar told, else by indentation, braces and what lines begin with."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache

from reconvene.index.definitions import Definition, last_name
from reconvene.search.source import Source

_PREPROCESSOR = (
    r"#(?:[ \t]{2,}|\t)?(?:if|ifdef|ifndef|else|elif|endif|define|undef|include|import|pragma|error|warning|line)\b"
)
_LEADING = re.compile(rf"[ \t]*(?!{_PREPROCESSOR})(@|#|//|/\*|\*|--|\[\w)")
_DECORATES = re.compile(r"(@|#!?\[|\[)")
_CLOSES = re.compile(r"(\}|</|end\b|fi\b|done\b|esac\b)")
# Lines as far left as the definition that still belong to it: the end of its parameters, a brace of its own line, what follows a block.
_GOES_ON = re.compile(r"[)\]{]|->|=>|(else|elif|except|finally|catch|rescue|ensure|when|where|throws)\b")
# Lines that belong to it if more of it follows: comments, preprocessor lines, labels.
_MAY_GO_ON = re.compile(r"#|//|/\*|\*|--|(?!try:)\w+:\s*$")
# The return type of a function of C on a line of its own.
_TYPE_ONLY = re.compile(r"[A-Za-z_][\w \t*&:<>,]*$")
_ABOVE = 8
"""Lines of decorators and comments over a definition that are taken with it."""
_DECORATOR = 40
"""Lines of one decorator, at most."""


class Extents:
    """Where the definitions of one file are.

    Args:
        lines: the whole file.
        definitions: in the order of their lines.
        source: of these lines, when more is known of them.
    """

    def __init__(self, lines: Sequence[str], definitions: Sequence[Definition], source: Source | None = None) -> None:
        self._lines = lines
        self._source = Source(lines) if source is None else source
        self.definitions = definitions
        self._at = [d.line for d in definitions]
        self._begins = [0] * len(definitions)
        self._known: list[tuple[int, int] | None] = [None] * len(definitions)

    def of(self, i: int) -> tuple[int, int]:
        """First and last line of definition `i`, from 1, with the decorators and comments right above it."""
        known = self._known[i]
        if known is None:
            d = self.definitions[i]
            known = self._known[i] = (d.first, d.last) if d.last else (self._begin(i), self._end(i))
        return known

    def around(self, line: int) -> int:
        """The innermost definition that a line belongs to; -1 for none."""
        return self.stretch(line)[0]

    def stretch(self, line: int) -> tuple[int, int]:
        """The same, and until which line it holds for those that follow."""
        below, upto = bisect_right(self._at, line), len(self._lines)
        if below < len(self.definitions):
            begin = self._begin(below)
            if begin <= line:
                return below, self._at[below] - 1  # a comment or a decorator of it
            upto = begin - 1
        i = below - 1
        # A sibling before cannot hold the line when this one ended before it; what is around them can.
        while i >= 0:
            first, last = self._known[i] or self.of(i)
            if first <= line <= last:
                return i, min(upto, last)
            i = self.definitions[i].parent
        return i, upto

    def _begin(self, i: int) -> int:
        first = self._begins[i]
        if not first:
            d = self.definitions[i]
            first = self._begins[i] = d.first if d.last else _begin(self._lines, d)
        return first

    def _end(self, i: int) -> int:
        lines, definitions, definition = self._lines, self.definitions, self.definitions[i]
        after = next((j for j in range(i + 1, len(definitions)) if definitions[j].indent <= definition.indent), 0)
        if definition.kind == "macro":
            return _continued(lines, definition.line)
        if _names_what_closes(definition):
            return definition.line
        bound = len(lines)
        if after:
            following = definitions[after]
            begin = _begin(lines, following) if following.last else self._begin(after)
            bound = following.line if _names_what_closes(following) else begin - 1
        bound = max(bound, definition.line)
        if not _until_next(definition):
            bound = self._closing(definition, bound)
        while bound > definition.line and not lines[bound - 1].strip():
            bound -= 1
        return bound

    def _closing(self, definition: Definition, bound: int) -> int:
        """The last line that belongs to a definition by its look, up to `bound`; blank ones may follow."""
        source, lines = self._source, self._lines
        data, in_strings = source.data, source.in_strings
        at, limit = int(source.ends[definition.line - 1]), int(source.ends[bound - 1])
        outside = _outside(definition.indent)
        last = number = definition.line
        while number < bound:
            found = outside.search(data, at, limit)
            following = bound + 1 if found is None else number + data.count(b"\n", at, found.end())
            # Those between are blank or inside of it.
            between = following - 1
            while between > number and (not (line := lines[between - 1]) or line.isspace()):
                between -= 1
            last = between if between > number else last
            if found is None:
                break
            at, number = found.end(), following
            text = lines[number - 1].strip()
            if number in in_strings:
                last = number
                continue
            if not text:
                continue
            columns = _columns(lines[number - 1]) - text.startswith(
                "*"
            )  # the lines of a comment stand one further right
            if columns > definition.indent or (columns == definition.indent and _GOES_ON.match(text)):
                last = number
            elif columns == definition.indent and _CLOSES.match(text):
                return number
            elif not _MAY_GO_ON.match(text):
                break
        return last


@lru_cache(maxsize=64)
def _outside(indent: int) -> re.Pattern[bytes]:
    """The end of the line before one that is not blank and not so far to the right that it is inside whatever it says, were it a
    comment's asterisk: of most lines of a definition there is no more to know."""
    return re.compile(rb"\n(?! {%d}|\t{%d}|[^\S\n]*(?:\n|\Z))" % (indent + 2, (indent + 5) // 4))


def _continued(lines: Sequence[str], line: int) -> int:
    """The last line of a macro: all but that end with a backslash."""
    while line < len(lines) and lines[line - 1].endswith("\\"):
        line += 1
    return line


def _until_next(definition: Definition) -> bool:
    """Whether it lasts until the next one: a heading, a stage, a table of TOML."""
    return definition.kind in ("heading", "stage") or (definition.kind == "key" and definition.signature[:1] == "[")


def _names_what_closes(definition: Definition) -> bool:
    """Whether the name stands at the end: `} point_t;`."""
    return definition.kind == "type" and definition.signature.startswith("}")


def _begin(lines: Sequence[str], definition: Definition) -> int:
    first = definition.line
    if definition.kind == "heading":
        return first
    first = _head(lines, definition, first)
    for _ in range(_ABOVE):
        above = _decorator(lines, first - 1, definition.indent)
        if above is None:
            break
        first = above
    return first


def _head(lines: Sequence[str], definition: Definition, first: int) -> int:
    """Where the definition itself begins when its name is not on its first line."""
    above = lines[first - 2] if first > 1 else ""
    if _names_what_closes(definition):
        n = first - 1
        while n > 1 and (
            not lines[n - 1].strip() or _columns(lines[n - 1]) > definition.indent or lines[n - 1][0] in "{#"
        ):
            n -= 1
        return n if lines[n - 1].lstrip().startswith(("typedef", "struct", "union", "enum")) else first
    own = definition.signature.startswith((last_name(definition.name), f"*{definition.name}"))
    if definition.kind in ("function", "method") and own and definition.indent == 0 and _TYPE_ONLY.match(above):
        return first - 1
    return first


def _decorator(lines: Sequence[str], number: int, indent: int) -> int | None:
    """The first line of the comment or decorator that ends on a line; None when none does."""
    if number < 1:
        return None
    line = lines[number - 1]
    if _LEADING.match(line):
        return number
    if line.lstrip().startswith((")", "]", "}")) and _columns(line) == indent:
        for n in range(number - 1, max(0, number - _DECORATOR), -1):
            if lines[n - 1].strip() and _columns(lines[n - 1]) <= indent:
                return n if _DECORATES.match(lines[n - 1].lstrip()) else None
    return None


def _columns(line: str) -> int:
    margin = line[: len(line) - len(line.lstrip())]
    return len(margin) + 3 * margin.count("\t")
