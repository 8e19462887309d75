"""Strings over several lines between triple quotes: what stands in them looks like code and is none.

One pass in linear time: whatever a part begins with decides which it is, and every attempt ends in a match, so that nothing is ever
tried a second way. (Possessive repetition would say the same; Python 3.11.2, which Debian 12 has, matches it wrongly.)
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

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
_ONE = re.compile(_TRIPLE, re.DOTALL)
_UNCLEAR = re.compile(rb"[\"'#]")


def long_strings(
    data: bytes, pattern: re.Pattern[bytes], quotes: Mapping[bytes, Sequence[int]] | None = None
) -> list[tuple[int, int]]:
    """Begin and end of each string between triple quotes that has a line end in it, in their order.

    Args:
        quotes: where either kind of triple quotes stands, each place of it, when that is known.
    """
    if not any(quotes.values()) if quotes is not None else b'"""' not in data and b"'''" not in data:
        return []
    found = _plainly(data, quotes) if pattern is HASH else (match.span(1) for match in pattern.finditer(data))
    return [(begin, end) for begin, end in found if data.find(b"\n", begin, end) >= 0]


def _plainly(data: bytes, known: Mapping[bytes, Sequence[int]] | None) -> Iterator[tuple[int, int]]:
    """Each string between triple quotes, as `HASH` finds them, which is asked only where that is not plain; half of its time.

    A comment and a string in single quotes end with their line, but for a backslash at its end. So with neither quote nor number sign
    before them on their line, three quotes begin such a string.
    """
    at, size = 0, len(data)
    continued = b"\\" in data and b"\\\n" in data  # one character is found several times as fast as two

    places_of = known or {}

    def placed(quotes: bytes, at: int) -> int:
        places = places_of[quotes]
        found = bisect_left(places, at)
        return places[found] if found < len(places) else -1

    find = data.find if known is None else placed
    coming = dict.fromkeys((b'"""', b"'''"), -1)
    while True:
        for quotes, place in coming.items():
            if place < at:
                place = find(quotes, at)
                coming[quotes] = place if place >= 0 else size
        quotes = min(coming, key=coming.__getitem__)
        begin = coming[quotes]
        if begin == size:
            return
        line = max(at, data.rfind(b"\n", at, begin) + 1)
        before = data[line:begin]
        if (before and not before.isspace() and _UNCLEAR.search(before)) or (
            continued and data.find(b"\\\n", at, line) >= 0
        ):
            match = HASH.match(data, at)
            if match is None or match.start(1) == size:
                return
            begin, end = match.span(1)
        else:
            end = find(quotes, begin + 3) + 3
            if end < 3:
                end = size
            if data.find(b"\\", begin, end) >= 0 and (match := _ONE.match(data, begin)) is not None:
                end = match.end()
        yield begin, end
        at = end
