"""What was spent today, over all sessions, and whether more may be: `spending.json` of the data folder.

The log of a session says what its runs cost; this says what a day cost, so that a cap needs no look at every log and a session that
is deleted does not make money come back. It is kept by run, as the run's whole cost so far: what a crash kept from being written is
made good when the run is loaded again.

A day is a calendar day of UTC, told by a clock that a person or a time server cannot move: while the machine is up, the time is what
it was at the last look plus what the machine's own clock counted since (`CLOCK_BOOTTIME`, which counts sleep too). It never goes back.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FILE = "spending.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LOOK = 60.0
"""Seconds after which the time is written down again; what the clock is moved by while the server is off counts."""
_RUNS = 1000
"""Of earlier days so many runs' costs are kept, for those that go on."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """`wall`: seconds since the epoch, which can be moved. `up`: seconds that cannot. `boot`: names the life that `up` counts in."""

    wall: Callable[[], float]
    up: Callable[[], float]
    boot: str

    @classmethod
    def of_this_machine(cls) -> Clocks:
        clock = getattr(time, "CLOCK_BOOTTIME", None)
        up = time.monotonic if clock is None else (lambda: time.clock_gettime(clock))
        boot = f"process {os.getpid()}"
        with contextlib.suppress(OSError):
            boot = _BOOT_ID.read_text("ascii").strip()
        return cls(time.time, up, boot)


def price_known(model: str) -> bool:
    """Whether what a model (`provider:name`) costs is in the price list that comes with pydantic-ai; else its use counts nothing."""
    from genai_prices import data_snapshot

    provider, _, name = model.removeprefix("constrained:").partition(":")
    provider = {"openai-chat": "openai", "openai-responses": "openai"}.get(provider, provider)
    try:
        data_snapshot.get_snapshot().find_provider_model(name, None, provider, None)
    except LookupError:
        return False
    return True


class Spending:
    """The ledger of one data folder. Every method blocks on the disk, shortly; safe to call from any thread.

    Args:
        keep: write it. Only the server does; who only wants to know does not.
    """

    def __init__(self, data_dir: Path, clocks: Clocks | None = None, *, keep: bool = True) -> None:
        self._path = data_dir / FILE
        self._clocks = clocks or Clocks.of_this_machine()
        self._lock = threading.Lock()
        self._keep = keep
        self._known: dict[str, Any] | None = None
        self._written = 0.0
        """The time that was written last."""

    def today(self) -> float:
        """US dollars spent on this day."""
        with self._lock:
            known = self._now()
            return float(sum(total - before for before, total in known["runs"].values()))

    def note(self, run: str, cost: float) -> None:
        """What a run (by a name that no other has) cost so far, in all. A smaller figure than one known is an old one."""
        with self._lock:
            known = self._now()
            before, total = known["runs"].get(run, (known["earlier"].get(run, 0.0),) * 2)
            if cost > total:
                known["runs"][run] = (before, cost)
                self._write(known)

    def _now(self) -> dict[str, Any]:
        """The ledger, of the day that it is; a new day is begun here."""
        known = self._known if self._known is not None else self._read()
        wall, up, boot = self._clocks.wall(), self._clocks.up(), self._clocks.boot
        at = known.get("at") or {"time": wall, "up": up, "boot": boot}
        now = at["time"] + max(0.0, up - at["up"]) if at["boot"] == boot else max(at["time"], wall)
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        if known.get("day") != day:
            # A run that goes on over midnight: what it cost before is yesterday's.
            costs = known.get("earlier", {}) | {run: total for run, (_, total) in known.get("runs", {}).items()}
            known = {"day": day, "runs": {}, "earlier": dict(list(costs.items())[-_RUNS:])}
        else:
            known = {"day": day, "runs": known["runs"], "earlier": known["earlier"]}
        known["at"] = {"time": now, "up": up, "boot": boot}
        self._known = known
        if now - self._written > _LOOK:
            self._write(known)
        return known

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text("utf-8"))
            at, runs = found["at"], found["runs"]
            time_, up = float(at["time"]), float(at["up"])
            return {
                "day": str(found["day"]),
                "runs": {str(run): (float(a), float(b)) for run, (a, b) in runs.items()},
                "earlier": {str(run): float(cost) for run, cost in found["earlier"].items()},
                "at": {"time": time_, "up": up, "boot": str(at["boot"])},
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}  # a ledger that is lost costs a day's count, and no run

    def _write(self, known: dict[str, Any]) -> None:
        if not self._keep:
            return
        self._written = known["at"]["time"]
        # What cannot be written now (a full disk) is counted in memory, and written with the next.
        with contextlib.suppress(OSError):
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{FILE}.")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as out:
                    json.dump(known, out)
                    out.flush()
                    os.fsync(out.fileno())
                os.replace(name, self._path)
            except OSError:
                os.unlink(name)
                raise
