"""Rows that nobody waits for: they go into the log with the next ones that somebody does wait for, or a few milliseconds later.

Which act needs which row in the log decides what may be held:

* What a tool only looked up. The next act is to ask the model, which changes nothing here, and what it makes of the result is written
  after it, or with it. After a crash in between the tool looks once more.
* The model's answer at the end of a run. The next act is to end the run, which is written after it, or with it.

Everything else is on the disk before it is acted on. Held rows keep their place in the order of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from reconvene.errors import ReconveneError
from reconvene.log.port import NewEvent

PATIENCE = 0.03
"""Seconds for which a row waits for others, as streamed text does. People do not see it, and after a crash little is looked up again."""


class Held:
    """The rows of one attempt. `write` takes them, in order, when nobody else did in time; it may raise ReconveneError."""

    def __init__(self, write: Callable[[list[NewEvent]], None]) -> None:
        self._write = write
        self._rows: list[NewEvent] = []
        self._timer: asyncio.TimerHandle | None = None
        self.answer = False
        """Whether the model's answer was among them since somebody last waited for the disk: it has to be there before the model is asked
        once more after all."""

    def add(self, rows: Sequence[NewEvent], *, answer: bool = False) -> None:
        self._rows += rows
        self.answer = self.answer or answer
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._late)

    def take(self) -> list[NewEvent]:
        """All of them, for whoever writes now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        rows, self._rows = self._rows, []
        return rows

    def _late(self) -> None:
        rows = self.take()
        try:
            self._write(rows)
        except ReconveneError:  # whoever writes next finds out too, and has somebody to tell
            self._rows = rows
