"""The definitions that were asked for lately: those of the last files as objects, those of many more as rows.

Every object is looked at by every full garbage collection, which stops all there is; a header of registers has thousands. Rows are not
(see `workspace.records`), and a definition is made of one in a fifth of a microsecond.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sized
from typing import Generic, TypeVar

from reconvene.index.definitions import Definition, Rows, made, rows
from reconvene.index.store import BlobKey

AT_HAND, KNOWN = 12_000, 30_000
"""Definitions, as objects and as rows: those of the files of a few answers, less than a millisecond of a collection, and 9 MB."""

S = TypeVar("S", bound=Sized)


class KnownDefinitions:
    """Thread-safe.

    Args:
        load: the packed definitions of a content (see `definitions.pack`).
    """

    def __init__(self, load: Callable[[BlobKey], bytes]) -> None:
        self._load = load
        self._objects: _Latest[tuple[Definition, ...]] = _Latest(AT_HAND)
        self._rows: _Latest[Rows] = _Latest(KNOWN)

    def of(self, key: BlobKey) -> tuple[Definition, ...]:
        """The definitions of a content, in the order of their lines; the same object as before while it is at hand. Blocking."""
        found = self._objects.get(key)
        if found is None:
            kept = self._rows.get(key)
            if kept is None:
                kept = self._rows.put(key, rows(self._load(key)))
            found = self._objects.put(key, made(kept))
        return found

    def forget(self) -> None:
        self._objects.clear()
        self._rows.clear()


class _Latest(Generic[S]):
    """What was used last, of up to so many items in all; the very last whatever it has."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[BlobKey, S] = OrderedDict()
        self._items = 0

    def get(self, key: BlobKey) -> S | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: BlobKey, made: S) -> S:
        """What is kept under the key from now on: this, or what another thread put there meanwhile."""
        with self._lock:
            found = self._kept.setdefault(key, made)
            if found is made:
                self._items += len(made) + 1
            while self._items > self._most and len(self._kept) > 1:
                self._items -= len(self._kept.popitem(last=False)[1]) + 1
            return found

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._items = 0
