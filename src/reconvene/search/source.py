"""A file's text, as lines and as bytes, with what is worked out of it once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reconvene.index.languages.strings import HASH, long_strings
from reconvene.index.runs import Runs
from reconvene.search.margins import Margins


class Source:
    """Of one file, whole. For any thread: what two work out at once is the same.

    Args:
        data: in UTF-8, lines ended by "\\n", the last one by the end of the text.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    @classmethod
    def of_lines(cls, lines: Sequence[str]) -> Source:
        return cls("\n".join(lines).encode("utf-8", "surrogatepass"))

    @property
    def lines(self) -> list[str]:
        """All of them, made anew each time: few questions need more than some."""
        return self.data.decode("utf-8", "surrogatepass").split("\n")

    @cached_property
    def count(self) -> int:
        """Of lines."""
        return len(self.ends)

    def line(self, number: int) -> str:
        """Numbers of lines count from 1."""
        return self.text(number, number)

    def text(self, first: int, last: int) -> str:
        """Lines from one to another, inclusive, as far as there are such."""
        ends, count = self._ends, self.count
        begin = ends[min(first - 1, count) - 1] + 1 if first > 1 else 0
        return self.data[begin : ends[min(last, count) - 1]].decode("utf-8", "surrogatepass")

    def has_longer(self, first: int, last: int, size: int) -> bool:
        """Whether a line of these may have more characters than so many."""
        margins = self.margins
        return bool((margins.ends[first : last + 1] - margins.starts[first : last + 1]).max(initial=0) > size)

    @cached_property
    def runs(self) -> Runs:
        return Runs(self.data)

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Where each line ends in `data`."""
        return self.runs.ends

    @cached_property
    def _ends(self) -> memoryview[int]:
        """The same: a single one is had from it in a third of the time."""
        return self.ends.data

    @cached_property
    def margins(self) -> Margins:
        return Margins(self.data, self.ends)

    @cached_property
    def in_strings(self) -> NDArray[np.bool_]:
        """Of each line, by its number: whether it begins in a string between triple quotes, in whichever language has them."""
        found = np.zeros(self.count + 1, np.bool_)
        if strings := long_strings(self.data, HASH, _triple_quotes(self.data)):
            # How many lines end before a place is the number of the line before its own.
            firsts, lasts = (np.searchsorted(self.ends, np.array(strings)) + 1).T
            for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
                found[first + 1 : last + 1] = True
        return found


def _triple_quotes(data: bytes) -> dict[bytes, list[int]]:
    """Where they stand."""
    codes = np.frombuffer(data, np.uint8)
    found: dict[bytes, list[int]] = {}
    for mark in (b'"', b"'"):
        here = codes == mark[0]
        found[3 * mark] = np.flatnonzero(here[:-2] & here[1:-1] & here[2:]).tolist()
    return found
