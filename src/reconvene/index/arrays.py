"""An analysis as numpy arrays: views of the bytes that a worker packed."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

import numpy as np
from numpy.typing import NDArray

_HEAD = Struct("<4I")

U32 = NDArray[np.uint32]
U16 = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Arrays:
    """Columns of one file's analysis.

    `terms[i]` stands `counts[i]` times in chunk `chunks[i]`; chunk `c` begins at line `starts[c]` and has `lengths[c]` terms.
    `name_terms`, `name_counts`: terms of the names it defines. `symbols`, `weights`: those names exactly (2: holds others, 1: does not).
    """

    terms: U32
    counts: U16
    chunks: U16
    starts: U32
    lengths: U32
    name_terms: U32
    name_counts: U16
    symbols: U32
    weights: U16

    @classmethod
    def unpack(cls, postings: bytes) -> Arrays:
        if not postings:
            return EMPTY
        n, chunks, names, symbols = _HEAD.unpack_from(postings)
        at = _HEAD.size
        wide: list[U32] = []
        for size in (n, chunks, chunks, names, symbols):
            wide.append(np.frombuffer(postings, np.uint32, size, at))
            at += 4 * size
        narrow: list[U16] = []
        for size in (n, n, names, symbols):
            narrow.append(np.frombuffer(postings, np.uint16, size, at))
            at += 2 * size
        return cls(wide[0], narrow[0], narrow[1], wide[1], wide[2], wide[3], narrow[2], wide[4], narrow[3])


_NONE32, _NONE16 = np.zeros(0, np.uint32), np.zeros(0, np.uint16)
EMPTY = Arrays(_NONE32, _NONE16, _NONE16, _NONE32, _NONE32, _NONE32, _NONE16, _NONE32, _NONE16)
