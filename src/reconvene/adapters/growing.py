"""Texts that may be struck and written anew, for protocols in which a text only grows.

It remembers how much of each text its client has. A finished text that does not begin with what was sent, or one that was struck,
goes on as a text of another id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EventJson = Mapping[str, Any]


@dataclass(slots=True)
class _Written:
    attempt: int
    text: str


@dataclass(frozen=True, slots=True)
class Piece:
    """More of the text `id`. `begins`: nothing of it was sent before; `ends`: nothing more of it will be."""

    id: str
    text: str
    begins: bool = False
    ends: bool = False


@dataclass(slots=True)
class Growing:
    """Give it `text`, `reasoning`, `message` and `item_aborted` events in order."""

    _writing: dict[str, _Written] = field(default_factory=dict)

    def delta(self, event: EventJson) -> list[Piece]:
        content, item = event["content"], _item(event)
        attempt, text = content["attempt"], content["text"]
        if not text:
            return []  # of a folded log: it only holds the item's place
        pieces: list[Piece] = []
        written = self._writing.get(item)
        if written is not None and attempt < written.attempt:
            return []
        begins = written is None or attempt > written.attempt
        if written is None or begins:
            if written is not None:
                pieces.append(Piece(_id(item, written.attempt), "", ends=True))
            written = self._writing[item] = _Written(attempt, "")
        written.text += text
        return [*pieces, Piece(_id(item, attempt), text, begins)]

    def finished(self, event: EventJson) -> list[Piece]:
        item, text = _item(event), event["content"]["text"]
        written = self._writing.pop(item, None)
        if written is None:
            return [Piece(_id(item, 0), text, True, True)] if text else []
        if text.startswith(written.text):
            return [Piece(_id(item, written.attempt), text[len(written.text) :], ends=True)]
        old = Piece(_id(item, written.attempt), "", ends=True)
        return [old, Piece(_id(item, written.attempt + 1), text, True, True)]

    def struck(self, event: EventJson) -> str | None:
        """The id of the text that ends here unfinished."""
        item = _item(event)
        written = self._writing.get(item)
        if written is None or written.attempt > event["content"]["attempt"]:
            return None
        del self._writing[item]
        return _id(item, written.attempt)


def _item(event: EventJson) -> str:
    return f"{event['run_id'] or ''}/{event['item_id'] or ''}"


def _id(item: str, attempt: int) -> str:
    return f"{item}.{attempt}" if attempt > 1 else item
