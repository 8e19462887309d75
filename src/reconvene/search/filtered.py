"""Which files the filters of a question leave in: who searches within a folder does so again, and each file is asked once only."""

from __future__ import annotations

import threading
from collections import OrderedDict
from weakref import WeakKeyDictionary

from reconvene.index.query import Query
from reconvene.index.view import View

UNKNOWN, NO, YES = range(3)
KEPT = 8
"""Filters that are remembered of a view: a byte for each of its files."""
_lock = threading.Lock()
_known: WeakKeyDictionary[View, OrderedDict[tuple[tuple[str, ...], ...], bytearray]] = WeakKeyDictionary()


def left_in(view: View, query: Query) -> bytearray:
    """For each file, counted through all segments: `YES`, `NO`, or `UNKNOWN` until somebody has asked and notes it here.

    Paths and their languages are all that filters look at, and those of a view stay as they are.
    """
    filters = (query.paths, query.not_paths, query.languages, query.not_languages)
    with _lock:
        kept = _known.setdefault(view, OrderedDict())
        found = kept.get(filters)
        if found is None:
            found = kept[filters] = bytearray(view.offsets[-1])
        kept.move_to_end(filters)
        while len(kept) > KEPT:
            kept.popitem(last=False)
        return found
