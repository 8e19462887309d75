"""How the lines of a text begin, all of them at once: where what is not blank begins, how far to the right, and with which character.

Most of what is asked of a line when definitions are looked for by their look is answered by that, so that few lines are taken as text.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_BLANK = np.zeros(256, np.bool_)
_BLANK[[ord(c) for c in string.whitespace] + [0x1C, 0x1D, 0x1E, 0x1F]] = True
"""Bytes that are white space to Python's `str`; outside of ASCII those of `_WIDE`."""
_WIDE = re.compile(rb"\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80")
_TAB = ord("\t")
_ZERO = np.zeros(1, np.int64)


class Margins:
    """Each column has an entry for a line before the first, which is blank, so the number of a line is its place.

    `starts`, `ends`: bytes. `leads`: where what is not blank begins; the line's end in a blank one. `columns`: how far to the right, a tab
    counts four. `firsts`, `codes`: the byte there, 0 in a blank line. `upto`: the last line up to this one that is not blank, 0 for none.

    Args:
        data: in UTF-8.
        ends: where each line ends.
    """

    def __init__(self, data: bytes, ends: Ints) -> None:
        codes = np.frombuffer(data, np.uint8)
        self.ends = np.concatenate((_ZERO, ends))
        self.starts = np.concatenate((_ZERO, _ZERO, ends[:-1] + 1))
        wide = _wide(data, codes)
        spots = _words(codes, wide, len(ends) - 1)
        self.leads = np.minimum(spots[spots.searchsorted(self.starts)], self.ends)
        self.blank = self.leads == self.ends
        self.columns = self.leads - self.starts
        if b"\t" in data:
            tabs = (codes == _TAB).nonzero()[0]
            self.columns += 3 * (tabs.searchsorted(self.leads) - tabs.searchsorted(self.starts))
        for at, _ in wide:
            self._count_wide(data, at)
        self.codes = codes.take(self.leads, mode="clip") * ~self.blank if len(codes) else np.zeros(2, np.uint8)
        self.firsts = self.codes.tobytes()
        self.upto: Ints = np.maximum.accumulate(np.arange(len(self.ends)) * ~self.blank)

    def _count_wide(self, data: bytes, at: int) -> None:
        """White space of several bytes is one column."""
        line = int(np.searchsorted(self.ends[1:], at)) + 1
        if at < self.leads[line]:
            margin = data[self.starts[line] : self.leads[line]].decode("utf-8", "surrogatepass")
            self.columns[line] = len(margin) + 3 * margin.count("\t")


def _wide(data: bytes, codes: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Where white space of several bytes begins and ends."""
    if data.isascii():
        return []
    first = (codes == 0xC2) | ((codes >= 0xE1) & (codes <= 0xE3))
    return [found.span() for at in np.flatnonzero(first).tolist() if (found := _WIDE.match(data, at))]


def _words(codes: NDArray[np.uint8], wide: Sequence[tuple[int, int]], newlines: int) -> Ints:
    """Where what is not blank begins, and the end of the text. `newlines`: how many there are."""
    seen = np.empty(len(codes) + 1, np.bool_)
    seen[-1] = True
    # Nearly every text has no other characters so low than these, and then none need be looked up.
    if has_others_so_low(codes, newlines):
        seen[:-1] = ~_BLANK[codes]
    else:
        np.greater(codes, ord(" "), out=seen[:-1])
    for begin, end in wide:
        seen[begin:end] = False
    begins = seen.copy()
    np.greater(seen[1:-1], seen[:-2], out=begins[1:-1])
    return begins.nonzero()[0]


def has_others_so_low(codes: NDArray[np.uint8], newlines: int) -> bool:
    """Whether a text has characters before the blank in ASCII other than tabs and line ends, of which there are so many."""
    low = np.count_nonzero(codes < ord(" ")) - newlines
    return bool(low and low != np.count_nonzero(codes == _TAB))
