"""A file's text, as lines and as bytes, with what is worked out of it once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reconvene.index.languages.strings import HASH, long_strings
from reconvene.index.runs import Runs
from reconvene.search.margins import Margins

_BACKSLASH, _NEWLINE = ord("\\"), ord("\n")


class Source:
    """Of one file, whole. For any thread: what two work out at once is the same.

    Args:
        data: in UTF-8, lines ended by "\\n", the last one by the end of the text.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.runs = Runs(data)
        self.ends = self.runs.ends
        """Where each line ends in `data`."""
        self.count = len(self.ends)
        """Of lines."""
        self._ends = self.runs.end

    @classmethod
    def of_lines(cls, lines: Sequence[str]) -> Source:
        return cls("\n".join(lines).encode("utf-8", "surrogatepass"))

    @property
    def lines(self) -> list[str]:
        """All of them, made anew each time: few questions need more than some."""
        return self.data.decode("utf-8", "surrogatepass").split("\n")

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
    def margins(self) -> Margins:
        return Margins(self.data, self.ends)

    @cached_property
    def in_strings(self) -> NDArray[np.bool_]:
        """Of each line, by its number: whether it begins in a string between triple quotes, in whichever language has them."""
        found = np.zeros(self.count + 1, np.bool_)
        double, single = (_triples(self.data, quote) for quote in b"\"'")
        if not len(double) and not len(single):
            return found
        strings = None if len(single) else self._plain_strings(double)
        if strings is None:
            places = {b'"""': double.tolist(), b"'''": single.tolist()}
            strings = np.array(long_strings(self.data, HASH, places), np.int64).reshape(-1, 2).T
        # How many lines end before a place is the number of the line before its own.
        firsts, lasts = self.ends.searchsorted(strings) + 1
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
            found[first + 1 : last + 1] = True
        return found

    def _plain_strings(self, quotes: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Begins and ends, when that is plain of all at once: each has nothing before it on its line, and no backslash in it. Then a file
        is as `long_strings` has it, string by string, and so are nearly all."""
        if len(quotes) % 2 or np.count_nonzero(quotes[1:] - quotes[:-1] < 3):
            return None
        begins, ends = strings = quotes.reshape(-1, 2).T
        if np.count_nonzero(self.margins.leads[self.ends.searchsorted(begins) + 1] != begins):
            return None
        if b"\\" in self.data:
            codes = np.frombuffer(self.data, np.uint8)
            places = (codes == _BACKSLASH).nonzero()[0]
            if np.count_nonzero(codes.take(places + 1, mode="clip") == _NEWLINE):
                return None
            if np.count_nonzero(places.searchsorted(begins) != places.searchsorted(ends)):
                return None
        return strings


def _triples(data: bytes, quote: int) -> NDArray[np.int64]:
    """Where three of them stand."""
    if bytes((quote, quote, quote)) not in data:  # as in most, of one of the two
        return np.zeros(0, np.int64)
    here = np.frombuffer(data, np.uint8) == quote
    found: NDArray[np.int64] = (here[:-2] & here[1:-1] & here[2:]).nonzero()[0]
    return found
