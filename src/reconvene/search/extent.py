"""Where a definition begins and ends in a file's lines: as its grammar told, else by indentation, braces and what lines begin with."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

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
_MAY_STAND_ABOVE = frozenset(b"@#/*-[)]}")
"""What begins a decorator or a comment, or ends a decorator."""
_MAY_LAST = ("heading", "stage", "key")
_ABOVE = 8
"""Lines of decorators and comments over a definition that are taken with it."""
_ASTERISK, _BRACE = ord("*"), ord("}")
_DECORATOR = 40
"""Lines of one decorator, at most."""


class Extents:
    """Where the definitions of one file are.

    Args:
        definitions: in the order of their lines.
    """

    def __init__(self, source: Source, definitions: Sequence[Definition]) -> None:
        self._source = source
        self.definitions = definitions
        self._at = [d.line for d in definitions]
        self._indents = [d.indent for d in definitions]
        self._begins, self._ends = [0] * len(definitions), [0] * len(definitions)
        """As far as they are known; in pairs they would be something for the garbage collector to go through."""
        self._outside: dict[int, list[int]] = {}

    def of(self, i: int) -> tuple[int, int]:
        """First and last line of definition `i`, from 1, with the decorators and comments right above it."""
        return self._begins[i] or self._begin(i), self._ends[i] or self._end(i)

    def around(self, line: int) -> int:
        """The innermost definition that a line belongs to; -1 for none."""
        return self.stretch(line)[0]

    def stretch(self, line: int) -> tuple[int, int]:
        """The same, and until which line it holds for those that follow."""
        below, upto = bisect_right(self._at, line), self._source.count
        if below < len(self._at):
            begin = self._begins[below] or self._begin(below)
            if begin <= line:
                return below, self._at[below] - 1  # a comment or a decorator of it
            upto = begin - 1
        i = below - 1
        # A sibling before cannot hold the line when this one ended before it; what is around them can.
        while i >= 0:
            if line >= (self._begins[i] or self._begin(i)):
                last = self._ends[i] or self._end(i)
                if line <= last:
                    return i, min(upto, last)
            i = self.definitions[i].parent
        return i, upto

    def _begin(self, i: int) -> int:
        d = self.definitions[i]
        if d.last:
            first = d.first
        else:
            above = self._firsts[d.line - 1]
            # As `_begin` finds it, for most, or else that.
            plain = above not in _MAY_STAND_ABOVE and (d.indent or not above) and d.kind != "type"
            first = d.line if plain else _begin(self._source, d)
        self._begins[i] = first
        return first

    def _end(self, i: int) -> int:
        definition = self.definitions[i]
        last = self._ends[i] = definition.last or self._end_by_look(i, definition)
        return last

    def _end_by_look(self, i: int, definition: Definition) -> int:
        definitions, indents = self.definitions, self._indents
        line, kind, indent, after, count = definition.line, definition.kind, indents[i], i + 1, len(indents)
        if kind == "macro":
            return _continued(self._source, line)
        if kind == "type" and _names_what_closes(definition):
            return line
        while after < count and indents[after] > indent:
            after += 1
        bound = self._source.count
        if after < count:
            following = definitions[after]
            if following.kind == "type" and _names_what_closes(following):
                bound = following.line
            elif following.last:
                bound = _begin(self._source, following) - 1
            else:
                bound = (self._begins[after] or self._begin(after)) - 1
            bound = max(bound, line)
        if kind not in _MAY_LAST or not _until_next(definition):
            bound = self._closing(line, indent, bound)
        # Blank lines at its end are not of it.
        return max(self._upto[bound], line)

    def _closing(self, line: int, indent: int, bound: int) -> int:
        """The last line, by their look, that belongs to a definition of this line and indent, up to `bound`; blank ones may follow."""
        if (outside := self._outside.get(indent)) is None:
            outside = self._outside[indent] = self._not_inside(indent)
        last = number = line
        at = bisect_right(outside, number)
        if at == len(outside) or outside[at] > bound:  # so ends whatever is told by its margin alone
            return bound
        columns, upto = self._columns, self._upto
        while number < bound:
            following = outside[at] if at < len(outside) else bound + 1
            # Those between are blank or inside of it.
            between = upto[min(following - 1, bound)]
            last = between if between > number else last
            if following > bound:
                break
            number, at = following, at + 1
            aside = columns[number] < indent
            if not aside and self._firsts[number] == _BRACE:  # it closes, and no more need be known
                return number
            text = self._source.line(number).strip()
            if not aside and _GOES_ON.match(text):
                last = number
            elif not aside and _CLOSES.match(text):
                return number
            elif not _MAY_GO_ON.match(text):
                break
        return last

    def _not_inside(self, indent: int) -> list[int]:
        """The lines, in their order, that are not blank, nor in a string, nor further to the right: of most there is no more to know."""
        lines: list[int] = ((self._starred <= indent) & self._plain).nonzero()[0].tolist()
        return lines

    @cached_property
    def _plain(self) -> NDArray[np.bool_]:
        """Whether a line is neither blank nor in a string."""
        plain: NDArray[np.bool_] = ~(self._source.margins.blank | self._source.in_strings)
        return plain

    @cached_property
    def _firsts(self) -> bytes:
        return self._source.margins.firsts

    @cached_property
    def _starred(self) -> NDArray[np.int64]:
        """How far to the right each line is. The lines of a comment that begin with an asterisk stand one further than it does."""
        margins = self._source.margins
        starred: NDArray[np.int64] = margins.columns - (margins.codes == _ASTERISK)
        return starred

    @cached_property
    def _columns(self) -> memoryview[int]:
        return self._starred.data

    @cached_property
    def _upto(self) -> memoryview[int]:
        return self._source.margins.upto.data


def _continued(source: Source, line: int) -> int:
    """The last line of a macro: all but that end with a backslash."""
    while line < source.count and source.line(line).endswith("\\"):
        line += 1
    return line


def _until_next(definition: Definition) -> bool:
    """Whether it lasts until the next one: a heading, a stage, a table of TOML."""
    return definition.kind in _MAY_LAST and (definition.kind != "key" or definition.signature[:1] == "[")


def _names_what_closes(definition: Definition) -> bool:
    """Whether the name stands at the end: `} point_t;`."""
    return definition.kind == "type" and definition.signature.startswith("}")


def _begin(source: Source, definition: Definition) -> int:
    first = definition.line
    if definition.kind == "heading":
        return first
    first = _head(source, definition)
    for _ in range(_ABOVE):
        above = _decorator(source, first - 1, definition.indent)
        if above is None:
            break
        first = above
    return first


def _head(source: Source, definition: Definition) -> int:
    """Where the definition itself begins when its name is not on its first line."""
    first, margins = definition.line, source.margins
    if _names_what_closes(definition):
        n = first - 1
        while n > 1 and (margins.blank[n] or margins.columns[n] > definition.indent or source.line(n)[0] in "{#"):
            n -= 1
        return n if n > 0 and source.line(n).lstrip().startswith(("typedef", "struct", "union", "enum")) else first
    if definition.kind in ("function", "method") and definition.indent == 0 and first > 1 and margins.firsts[first - 1]:
        own = definition.signature.startswith((last_name(definition.name), f"*{definition.name}"))
        if own and _TYPE_ONLY.match(source.line(first - 1)):
            return first - 1
    return first


def _decorator(source: Source, number: int, indent: int) -> int | None:
    """The first line of the comment or decorator that ends on a line; None when none does."""
    margins = source.margins
    if number < 1 or margins.firsts[number] not in _MAY_STAND_ABOVE:
        return None
    line = source.line(number)
    if _LEADING.match(line):
        return number
    if line.lstrip().startswith((")", "]", "}")) and margins.columns[number] == indent:
        for n in range(number - 1, max(0, number - _DECORATOR), -1):
            if not margins.blank[n] and margins.columns[n] <= indent:
                return n if _DECORATES.match(source.line(n).lstrip()) else None
    return None
