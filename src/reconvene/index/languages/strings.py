"""Strings over several lines between triple quotes: what stands in them looks like code and is none.

One pass in linear time: whatever a part begins with decides which it is, and every attempt ends in a match, so that nothing is ever
tried a second way. (Possessive repetition would say the same; Python 3.11.2, which Debian 12 has, matches it wrongly.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ESCAPE = rb"\\(?:.|\Z)"
_QUOTED = rb'"(?!"")(?:[^"\\\n]+|' + _ESCAPE + rb""")*"?""" + rb"|'(?!'')(?:[^'\\\n]+|" + _ESCAPE + rb")*'?"
_TRIPLE = (
    rb'"""(?:[^"\\]+|' + _ESCAPE + rb'|"(?!""))*(?:"""|\Z)' + rb"|'''(?:[^'\\]+|" + _ESCAPE + rb"|'(?!''))*(?:'''|\Z)"
)


def _pattern(comment: bytes, first: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?s)(?:[^\"'" + first + rb"]+|" + comment + rb"|" + _QUOTED + rb")*(" + _TRIPLE + rb"|\Z)")


HASH = _pattern(rb"#[^\n]*", rb"#")
"""Comments begin with a number sign, strings with either quote: Python."""
SLASHES = _pattern(rb"//[^\n]*|/\*(?:[^*]+|\*(?!/))*(?:\*/|\Z)|/", rb"/")
"""Comments as in C: Kotlin, Java, Scala, Swift."""


def long_strings(data: bytes, pattern: re.Pattern[bytes]) -> list[tuple[int, int]]:
    """Begin and end of each string between triple quotes that has a line end in it, in their order."""
    if b'"""' not in data and b"'''" not in data:
        return []
    found = (match.span(1) for match in pattern.finditer(data))
    return [(begin, end) for begin, end in found if data.find(b"\n", begin, end) >= 0]


def lines_in_strings(lines: Sequence[str]) -> frozenset[int]:
    """Numbers of the lines, from 1, that begin in such a string; for a file of whichever language has them."""
    text = "\n".join(lines)
    if '"""' not in text and "'''" not in text:
        return frozenset()
    data = text.encode("utf-8", "replace")
    found: set[int] = set()
    line, counted = 1, 0
    for begin, end in long_strings(data, HASH):
        line += data.count(b"\n", counted, begin)
        inside = data.count(b"\n", begin, end)
        found.update(range(line + 1, line + inside + 1))
        line, counted = line + inside, end
    return frozenset(found)
