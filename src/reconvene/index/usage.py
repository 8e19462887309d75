"""How many files mention each term: what tells a name that everybody uses from one that is used where it stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reconvene.index.definitions import last_name
from reconvene.index.words import parts, stem, term, whole


class Usage:
    """
    Args:
        terms: of every posting.
        files: the file each is in; a file's postings of one term need not follow each other.
    """

    def __init__(self, terms: NDArray[np.uint32], files: NDArray[np.int64]) -> None:
        pairs = terms.astype(np.uint64) << np.uint64(32)
        pairs |= files.astype(np.uint64)
        pairs.sort()
        if len(pairs):
            pairs = pairs[np.r_[True, pairs[1:] != pairs[:-1]]]
        self._terms, self._files = np.unique((pairs >> np.uint64(32)).astype(np.uint32), return_counts=True)

    def of(self, terms: Sequence[int] | NDArray[np.uint32]) -> NDArray[np.int64]:
        """Files that mention each of the terms."""
        wanted = np.asarray(terms, np.uint32)
        if not len(self._terms):
            return np.zeros(len(wanted), np.int64)
        at = np.minimum(np.searchsorted(self._terms, wanted), len(self._terms) - 1)
        return np.where(self._terms[at] == wanted, self._files[at], 0)

    def of_name(self, name: str) -> int:
        """Files that mention a name: as a whole identifier when it has parts, else as a word."""
        split = parts(last_name(name))
        joined = whole("".join(split)) if len(split) > 1 else None
        return int(self.of([term(joined or (stem(split[0]) if split else ""))])[0])
