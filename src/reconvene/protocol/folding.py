"""The snapshot's folding: fewer events that reduce to the same view, now and with everything that comes later.

It keeps step with the rules of `view`: an item's text is struck, restarted or finished here exactly when it is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from reconvene.protocol.events import EventRow, wire

_ItemKey = tuple[str, str]
_LAST_PER_RUN = frozenset({"run", "usage", "plan"})
_PLACELESS = _LAST_PER_RUN | {"action", "answered", "applied", "completed", "decided", "output", "tool_result"}
"""Events that show nothing of their own, so that it does not matter which side of them an item stands."""


@dataclass(slots=True)
class _Kept:
    """An event that stays. `texts`: of a delta, with those merged into it; `holds_place_of`: its item's message."""

    row: EventRow
    attempt: int = 0
    texts: list[str] | None = None
    struck: bool = False
    holds_place_of: _Kept | None = None

    def wire(self) -> str:
        row, content = self.row, self.row.content
        if self.texts is not None and (len(self.texts) > 1 or self.holds_place_of):
            text = "" if self.holds_place_of else "".join(self.texts)
            content = json.dumps({"attempt": self.attempt, "text": text}, ensure_ascii=False, separators=(",", ":"))
        return wire(row.type, row.seq, row.run_id, row.item_id, row.parent_id, row.at, content)


@dataclass(slots=True)
class _Open:
    """An item that is being written: the deltas of its newest attempt."""

    attempt: int
    deltas: list[_Kept] = field(default_factory=list)


def fold(rows: Iterable[EventRow]) -> list[str]:
    """The folded events as JSON texts, in order of seq. Rows that are not public are left out.

    * Deltas of an item that has a `message` go. Where something else was shown between the two, the first delta stays
      without its text and holds the item's place.
    * Struck deltas and those of older attempts go, and every `item_aborted`.
    * Deltas of an item that is still open are merged into the first of them.
    * Of `run`, `usage` and `plan` the last of each run stays.
    """
    kept: list[_Kept] = []
    texts: dict[_ItemKey, _Open | None] = {}  # None: it has its message
    last: dict[tuple[str, str | None], _Kept] = {}
    for row in rows:
        if not row.public:
            continue
        item = (row.run_id or "", row.item_id or "")
        entry = _Kept(row)
        match row.type:
            case "text" | "reasoning":
                if item in texts and texts[item] is None:
                    continue
                content = json.loads(row.content)
                entry.attempt, entry.texts = content["attempt"], [content["text"]]
                if not _take_delta(texts, item, entry):
                    continue
            case "item_aborted":
                opened = texts.get(item)
                if opened and opened.attempt <= json.loads(row.content)["attempt"]:
                    _strike(opened.deltas)
                    del texts[item]
                continue
            case "message":
                if opened := texts.get(item):
                    opened.deltas[0].holds_place_of = entry
                    _strike(opened.deltas[1:])
                texts[item] = None
            case kind if kind in _LAST_PER_RUN:
                if before := last.get((kind, row.run_id)):
                    before.struck = True
                last[kind, row.run_id] = entry
        kept.append(entry)
    return [entry.wire() for entry in _without_needless_places([e for e in kept if not e.struck])]


def _take_delta(texts: dict[_ItemKey, _Open | None], item: _ItemKey, delta: _Kept) -> bool:
    """Whether this delta stays as an event of its own."""
    opened = texts.get(item)
    if opened and delta.attempt < opened.attempt:
        return False
    if opened and delta.attempt > opened.attempt:
        _strike(opened.deltas)
        opened = None
    if opened is None:
        opened = texts[item] = _Open(delta.attempt)
    assert delta.texts is not None
    if opened.deltas and (before := opened.deltas[-1]).row.type == delta.row.type and before.texts is not None:
        before.texts += delta.texts
        return False
    opened.deltas.append(delta)
    return True


def _strike(deltas: list[_Kept]) -> None:
    for delta in deltas:
        delta.struck = True


def _without_needless_places(kept: list[_Kept]) -> list[_Kept]:
    """Drop the place holders between which and their message nothing else is shown."""
    needed: list[_Kept] = []
    shown_after: _Kept | None = None
    for entry in reversed(kept):
        if entry.holds_place_of is not None and entry.holds_place_of is shown_after:
            continue
        if entry.row.type not in _PLACELESS:
            shown_after = entry
        needed.append(entry)
    needed.reverse()
    return needed
