"""Text that a model streams, on its way into the log: cleaned, and gathered into pieces of 20 to 40 ms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from reconvene.agents.scrub import scrub
from reconvene.log.port import NewEvent
from reconvene.protocol import events as ev

GATHER = 0.03
"""Seconds. Shorter pieces cost a row each, longer ones are seen to stutter."""


class Deltas:
    """Gathers what is streamed and hands events to `write`, in order. `take` is for who writes the rest along with other rows."""

    def __init__(
        self, run_id: str, attempt: int, write: Callable[[list[NewEvent]], None], parent_id: str | None = None
    ) -> None:
        self.run_id, self.attempt, self._write, self._parent_id = run_id, attempt, write, parent_id
        self._gathered: list[tuple[type[ev.Delta], str, list[str]]] = []
        self._held: dict[str, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.texts: dict[str, str] = {}
        """What each open item shows so far."""

    def add(self, kind: type[ev.Text] | type[ev.Reasoning], item_id: str, text: str) -> None:
        text = self._held.pop(item_id, "") + text
        if text and 0xD800 <= ord(text[-1]) < 0xDC00:  # half of a pair: the other half comes with the next piece
            self._held[item_id], text = text[-1], text[:-1]
        text = scrub(text)
        if not text:
            return
        self.texts[item_id] = self.texts.get(item_id, "") + text
        if self._gathered and self._gathered[-1][1] == item_id:
            self._gathered[-1][2].append(text)
        else:
            self._gathered.append((kind, item_id, [text]))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER, self.flush)

    def flush(self) -> None:
        if events := self.take():
            self._write(events)

    def take(self) -> list[NewEvent]:
        """What was not handed over yet."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        events = [
            NewEvent(
                kind.type,
                kind(attempt=self.attempt, text="".join(parts)).json_text(),
                self.run_id,
                item_id,
                self._parent_id,
            )
            for kind, item_id, parts in self._gathered
        ]
        self._gathered.clear()
        return events

    def close(self, item_ids: list[str]) -> None:
        """These items are finished: their text stands in a message."""
        for item_id in item_ids:
            self.texts.pop(item_id, None)
            self._held.pop(item_id, None)
