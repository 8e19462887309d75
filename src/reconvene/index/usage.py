"""How many files mention each term: what tells a name that everybody uses from one that is used where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconvene.index.definitions import last_name
from reconvene.index.words import parts, stem, term, whole

Counted = tuple[NDArray[np.uint32], NDArray[np.integer[Any]]]


class Usage:
    """
    Args:
        parts: terms, ascending, and how many files have each, of parts of the code base that have no file in common.
        less: the same of files that are counted there and are not to count.
    """

    def __init__(self, parts: Iterable[Counted], less: Iterable[Counted] = ()) -> None:
        self._parts = [(terms, files, 1) for terms, files in parts if len(terms)]
        self._parts += [(terms, files, -1) for terms, files in less if len(terms)]

    def of(self, terms: Sequence[int] | NDArray[np.uint32]) -> NDArray[np.int64]:
        """Files that mention each of the terms."""
        wanted = np.asarray(terms, np.uint32)
        found = np.zeros(len(wanted), np.int64)
        for known, files, sign in self._parts:
            at = np.minimum(known.searchsorted(wanted), len(known) - 1)
            found += np.where(known[at] == wanted, files[at], 0) * np.int64(sign)
        return found

    def of_name(self, name: str) -> int:
        """Files that mention a name: as a whole identifier when it has parts, else as a word."""
        split = parts(last_name(name))
        joined = whole("".join(split)) if len(split) > 1 else None
        return self._of_one(np.uint32(term(joined or (stem(split[0]) if split else ""))))

    def _of_one(self, wanted: np.uint32) -> int:
        found = 0
        for known, files, sign in self._parts:
            at = known.searchsorted(wanted)
            if at < len(known) and known[at] == wanted:
                found += sign * int(files[at])
        return found
