"""Files that go with those a session works on: what speaks of the same things, and what was changed in the same commits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from reconvene.index.query import Query, Weighted
from reconvene.index.root import RootIndex
from reconvene.index.view import View

_TERMS = 40


def like(index: RootIndex, view: View, paths: Iterable[str]) -> Query:
    """A query for what these files are about: their most telling terms, of those that other files have too. Blocking."""
    found: dict[int, float] = defaultdict(float)
    for path in paths:
        arrays = index.arrays(path)
        if not len(arrays.terms):
            continue
        terms, where = np.unique(arrays.terms, return_inverse=True)
        counts = np.bincount(where, weights=arrays.counts)
        used = view.usage.of(terms)
        weight = np.where(
            (used > 1) & (used < max(8, view.files // 10)),
            np.log1p(counts) * np.log(max(view.files, 2) / np.maximum(used, 1)),
            0,
        )
        for i in np.argsort(-weight, kind="stable")[:_TERMS].tolist():
            if weight[i] > 0:
                found[int(terms[i])] += float(weight[i])
    best = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:_TERMS]
    top = best[0][1] if best else 1.0
    return Query(
        text="",
        terms=tuple(sorted((Weighted(t, w / top) for t, w in best), key=lambda w: w.term)),
        names=(),
        single=False,
    )


def together(view: View, paths: Iterable[str]) -> NDArray[np.float64]:
    """Per file, counted through all segments, how often it was changed together with these, at most 1; a commit of few files says more."""
    found: NDArray[np.float64] = np.r_[view.history.together(paths), 0.0][view.past]
    top = float(found.max(initial=0.0))
    return found / top if top > 0 else found
