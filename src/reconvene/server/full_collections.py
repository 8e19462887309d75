"""Full garbage collections, which stop the whole process: a third of a second for a million objects. They are made while nobody waits.

Python makes one in whichever thread asks for an object at the wrong moment, and the sessions and indexes of a server are objects enough for
it to be felt. Here one is made when it is due and neither does a run go on nor is an index built. While one is built, which makes objects
by the million, Python makes them by itself a twentieth as often; else as before. The small collections, which find most of what is to be
found, stay as they are.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

EVERY = 1.0
"""Seconds between two looks."""
DUE = 10
"""Middle collections since the last full one, from which on the next is due: as Python has it."""
BY_ITSELF = 200
"""The same while an index is built. What becomes a cycle and useless meanwhile is seldom over a few megabytes."""
_BEFORE = gc.get_threshold()
_SHARE = 4
"""It is due as well only when what is new may be so large a part of what there was: else its cost would grow with each that is kept."""


class FullCollections:
    """
    Args:
        busy: whether somebody would feel it.
        building: whether an index is built.
    """

    def __init__(self, busy: Callable[[], bool], building: Callable[[], bool] = lambda: False) -> None:
        self._busy, self._building = busy, building
        self._left = 0

    def look(self) -> bool:
        """Make one, if it is due and nobody would feel it; whether it was made."""
        if not self._due or self._busy():
            return False
        gc.collect()
        self._left = len(gc.get_objects(generation=2))
        return True

    async def keep(self) -> None:
        """From now on, until it is cancelled."""
        young, middle, old = _BEFORE
        try:
            while True:
                gc.set_threshold(young, middle, BY_ITSELF if self._building() else old)
                await asyncio.sleep(EVERY)
                self.look()
        finally:
            gc.set_threshold(*_BEFORE)

    @property
    def _due(self) -> bool:
        young, middle, _ = gc.get_threshold()
        since = gc.get_count()[2]
        return since > DUE and since * young * middle > self._left // _SHARE
