"""How many files mention each term: what tells a name that everybody uses from one that is used where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from reconvene.index.definitions import last_name
from reconvene.index.words import parts, stem, term, whole


class Usage:
    """
    Args:
        parts: terms and how many files have each, of parts of the code base that have no file in common.
    """

    def __init__(self, parts: Iterable[tuple[NDArray[np.uint32], NDArray[np.int64]]]) -> None:
        known = list(parts)
        terms = np.concatenate([np.zeros(0, np.uint32), *(t for t, _ in known)])
        counts = np.concatenate([np.zeros(0, np.int64), *(n for _, n in known)])
        self._terms, which = np.unique(terms, return_inverse=True)
        self._files = np.bincount(which, weights=counts, minlength=len(self._terms)).astype(np.int64)

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
