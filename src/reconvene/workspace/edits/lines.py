"""Where two texts differ, line by line. Lines end with "\\n" and are bytes: nothing is decoded, so nothing is lost.

What the two begin and end with alike is set aside, lines that stand once in both hold the rest together (Bram Cohen's
patience diff), and what is left between them goes to difflib. A place where the same few lines repeat so often that
difflib would take seconds is shown as replaced as a whole: longer to read, and just as exact.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

CONTEXT = 3
"""Unchanged lines around a change, as git shows them."""
_PAIRS = 60_000
"""Pairs of equal lines up to which difflib is asked: its time grows with them."""

Span = tuple[int, int, int, int]
"""`(i1, i2, j1, j2)`: lines `[i1, i2)` of the old text became lines `[j1, j2)` of the new one. From 0."""


def split(text: bytes) -> list[bytes]:
    """The lines with their ends; the last one may have none.

    >>> split(b"a\\r\\nb")
    [b'a\\r\\n', b'b']
    """
    lines = text.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


def changes(old: Sequence[bytes], new: Sequence[bytes]) -> list[Span]:
    """What differs, in order, never touching one another.

    >>> changes([b"a", b"b", b"c"], [b"a", b"x", b"c", b"d"])
    [(1, 2, 1, 2), (3, 3, 3, 4)]
    """
    found: list[Span] = []
    for i1, i2, j1, j2 in _between(old, new, 0, len(old), 0, len(new)):
        if found and found[-1][1] == i1 and found[-1][3] == j1:
            found[-1] = (found[-1][0], i2, found[-1][2], j2)
        else:
            found.append((i1, i2, j1, j2))
    return found


def groups(spans: Sequence[Span]) -> list[list[Span]]:
    """Changes that are shown together because their contexts touch."""
    grouped: list[list[Span]] = []
    for span in spans:
        if grouped and span[0] - grouped[-1][-1][1] <= 2 * CONTEXT:
            grouped[-1].append(span)
        else:
            grouped.append([span])
    return grouped


def _between(old: Sequence[bytes], new: Sequence[bytes], i1: int, i2: int, j1: int, j2: int) -> Iterator[Span]:
    # A stack instead of recursion: a text can have more anchors inside of anchors than Python has frames.
    todo = [(i1, i2, j1, j2)]
    while todo:
        i1, i2, j1, j2 = todo.pop()
        while i1 < i2 and j1 < j2 and old[i1] == new[j1]:
            i1, j1 = i1 + 1, j1 + 1
        while i1 < i2 and j1 < j2 and old[i2 - 1] == new[j2 - 1]:
            i2, j2 = i2 - 1, j2 - 1
        if i1 == i2 or j1 == j2:
            if i1 != i2 or j1 != j2:
                yield i1, i2, j1, j2
            continue
        in_old, in_new = Counter(old[i1:i2]), Counter(new[j1:j2])
        if anchors := _anchors(old, new, (i1, i2, j1, j2), in_old, in_new):
            pieces = []
            for i, j in [*anchors, (i2, j2)]:
                pieces.append((i1, i, j1, j))
                i1, j1 = i, j
            # The pieces begin at an anchor, which is alike in both and falls off above.
            todo += pieces[::-1]
        elif sum(n * in_new[line] for line, n in in_old.items()) <= _PAIRS:
            matcher = SequenceMatcher(None, old[i1:i2], new[j1:j2], autojunk=False)
            for tag, a1, a2, b1, b2 in matcher.get_opcodes():
                if tag != "equal":
                    yield i1 + a1, i1 + a2, j1 + b1, j1 + b2
        else:
            yield i1, i2, j1, j2


def _anchors(
    old: Sequence[bytes], new: Sequence[bytes], span: Span, in_old: Counter[bytes], in_new: Counter[bytes]
) -> list[tuple[int, int]]:
    """Lines that stand once in both, as many as keep their order: the longest increasing subsequence."""
    i1, i2, j1, j2 = span
    where = {line: j for j in range(j1, j2) if in_new[line := new[j]] == 1}
    pairs = [(i, where[line]) for i in range(i1, i2) if in_old[line := old[i]] == 1 and line in where]
    tops: list[int] = []
    """Of the shortest runs of each length, the smallest end."""
    ends: list[int] = []
    before: list[int] = []
    for at, (_, j) in enumerate(pairs):
        length = bisect_left(tops, j)
        before.append(ends[length - 1] if length else -1)
        if length == len(tops):
            tops.append(j)
            ends.append(at)
        else:
            tops[length], ends[length] = j, at
    run: list[tuple[int, int]] = []
    at = ends[-1] if ends else -1
    while at >= 0:
        run.append(pairs[at])
        at = before[at]
    return run[::-1]
