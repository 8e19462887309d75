"""What of batches and snapshots a program has not seen yet, as events in order.

A batch is new as a whole. A snapshot of the same log begins at the beginning, with texts that were shown merged and struck ones left
out: of it comes what is new, the rest of a text that was seen in part, and the striking that it left out. A snapshot of another log
comes whole, after a `snapshot` event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from reconvene.client.told import SNAPSHOT, Event

Json = dict[str, Any]
_OTHER_LOG = frozenset({"epoch", "rollback", "diverged"})
_DELTAS = ("text", "reasoning")


class Unseen:
    """What one iteration over a session's events has given out.

    Args:
        after: the place of an event that was seen (`Event.place`), or a cursor; None: nothing was.
    """

    def __init__(self, after: str | None = None) -> None:
        self.cursor, _, seq = (after or "").partition("/")
        self._began = after is not None
        """Whether the program knows of something that could have become invalid."""
        self._texts_known = after is None
        """Whether every text that is being written was seen by this object."""
        self._seq = int(seq) if seq.isdigit() else 0
        self._open: dict[tuple[str, str], tuple[int, int]] = {}
        """Of each text that is not finished: the attempt, and how many characters of it were seen."""

    def batch(self, events: Sequence[Json], upto: str) -> Iterator[Event]:
        """Events that join on to those seen; `upto` is the cursor behind the last one."""
        for event in events:
            if event["seq"] > self._seq:
                yield self._see(event, self.cursor)
        self.cursor = upto

    def snapshot(self, events: Sequence[Json], cursor: str, reason: str | None) -> Iterator[Event]:
        """The whole log, folded. `reason`: why it came instead of what was missed."""
        other = reason in _OTHER_LOG
        if self._began and (other or not self._texts_known):
            self._seq = 0
            self._open.clear()
            yield Event(SNAPSHOT, 0, None, None, None, 0.0, {"reason": reason or "lag"}, cursor)
        self._texts_known = True
        # A text of the same attempt stands where it stood. Any other was struck meanwhile, even if it was written anew since.
        kept = {
            _key(e)
            for e in events
            if e["type"] in _DELTAS
            and e["seq"] <= self._seq
            and self._open.get(_key(e), (0,))[0] == e["content"]["attempt"]
        }
        for key, (attempt, _) in list(self._open.items()):
            if key not in kept:
                del self._open[key]
                struck = {"type": "item_aborted", "seq": self._seq, "run_id": key[0], "item_id": key[1], "at": 0.0}
                yield Event.of({**struck, "content": {"attempt": attempt}}, cursor)
        passed: dict[tuple[str, str], int] = {}
        for event in events:
            if event["type"] in _DELTAS and event["content"]["text"]:
                key, text = _key(event), event["content"]["text"]
                before = passed.get(key, 0)
                passed[key] = before + len(text)
                # Merged texts have the seq of their first piece; how much of them was seen is counted in characters.
                if rest := text[max(0, self._open.get(key, (0, 0))[1] - before) :]:
                    yield self._see({**event, "content": {**event["content"], "text": rest}}, cursor)
            elif event["seq"] > self._seq:
                yield self._see(event, cursor)
        self.cursor = cursor

    def _see(self, event: Json, cursor: str) -> Event:
        self._began = True
        self._seq = max(self._seq, event["seq"])
        content = event["content"]
        match event["type"]:
            case "text" | "reasoning":
                attempt, seen = self._open.get(_key(event), (content["attempt"], 0))
                if content["attempt"] > attempt:
                    attempt, seen = content["attempt"], 0
                if content["attempt"] == attempt:
                    self._open[_key(event)] = (attempt, seen + len(content["text"]))
            case "message" | "item_aborted":
                self._open.pop(_key(event), None)
        return Event.of(event, f"{cursor}/{event['seq']}")


def _key(event: Json) -> tuple[str, str]:
    return event.get("run_id") or "", event.get("item_id") or ""
