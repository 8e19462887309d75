"""The clocks of the server that is soaked. Imported before the server is: some of it keeps the clock that it finds."""

from __future__ import annotations

import time

_monotonic, _time = time.monotonic, time.time
skipped = 0.0
"""Seconds of idle time that were left out: by them all clocks of lifetimes are ahead."""
ahead = 0.0
"""Seconds by which the clock on the wall is set wrong."""


def uptime() -> float:
    return _monotonic() + skipped


def wall() -> float:
    return _time() + skipped + ahead


time.time = wall
