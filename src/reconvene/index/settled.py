"""What of an index has settled: all files of one moment as a mapped snapshot, under what changed since.

The store names the one snapshot that counts, and at which epoch it was taken. It is named after the file is on the disk, and the one
before is deleted after that: killed at any point, the server finds a whole snapshot or none. The changes since come from the store.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from pathlib import Path

import numpy as np

from reconvene.index import snapshot
from reconvene.index.segment import Segment
from reconvene.index.store import Store
from reconvene.index.view import View
from reconvene.workspace.git_files import StoppedError

SMALLEST = 200
"""Files; fewer are loaded from their analyses as fast."""
_BESIDE, _SHARE = 64, 16
"""Changed files beside a snapshot, at least, and one in how many of it, from which on a new one is worth its cost."""
_AGAIN_SECONDS = 600.0
"""After a snapshot could not be written."""
_NAME = "snapshot"


class Settled:
    """
    Args:
        store: path of the store; snapshots lie beside it.
        made_by: see `snapshot.write`.
    """

    def __init__(self, store: Path, made_by: str) -> None:
        self._store, self._made_by = store, made_by
        self._base: Segment | None = None
        self._not_before = 0.0

    def load(self, store: Store) -> tuple[Segment, int] | None:
        """The snapshot that counts and its epoch, when it is of this store and whole. Others are deleted, when this process may."""
        name, _, at = (store.meta(_NAME) or "").partition(" ")
        self._base = None
        if at and store.floor <= int(at) <= store.epoch:
            self._base = snapshot.read(self._path(name), self._made_by)
        if not store.shared:
            self._remove_but(name if self._base is not None else "")
        return (self._base, int(at)) if self._base is not None else None

    @property
    def exists(self) -> bool:
        """Whether there is one."""
        return self._base is not None

    def is_due(self, view: View) -> bool:
        """Whether a new one is worth being made."""
        if not view.segments or view.files < SMALLEST or time.monotonic() < self._not_before:
            return False
        if view.segments[0] is not self._base:
            return True
        files, left = len(self._base.paths), int(view.alive[0].sum())
        return (files - left) + (view.files - left) > max(_BESIDE, files // _SHARE)

    def write(self, view: View, stop: threading.Event) -> str:
        """Write a snapshot of a view, which does not count yet; its name. Takes seconds for a large one.

        Raises:
            OSError: it cannot be written; `is_due` says no for a while.
            StoppedError: `stop` was set.
        """

        def go_on() -> None:
            if stop.is_set():
                raise StoppedError

        name = secrets.token_hex(6)
        try:
            snapshot.write(self._path(name), Segment.merge(view.segments, view.alive, go_on), self._made_by)
        except OSError:
            self._not_before = time.monotonic() + _AGAIN_SECONDS
            raise
        return name

    def name(self, store: Store, name: str, epoch: int) -> None:
        """From now on this one counts."""
        store.keep_meta(_NAME, f"{name} {epoch}")

    def take(self, store: Store, name: str, epoch: int) -> Segment | None:
        """`name` it, and map it."""
        self.name(store, name, epoch)
        found = self.load(store)
        return found[0] if found else None

    def drop(self, name: str) -> None:
        """It was not taken."""
        with contextlib.suppress(OSError):
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._store.with_suffix(f".{name}.snapshot")

    def _remove_but(self, name: str) -> None:
        kept = self._path(name).name
        for path in self._store.parent.glob(f"{self._store.stem}.*.snapshot*"):
            if path.name != kept:
                with contextlib.suppress(OSError):
                    path.unlink()


def alone(segment: Segment, view: View) -> View:
    """A view of nothing but this segment, with the history of another."""
    return View((segment,), (np.ones(len(segment.paths), np.bool_),), view.epoch, view.partial, view.history)
