"""What a commit tells the other nodes, by NOTIFY: which sessions it wrote to and, while they are few bytes, the rows themselves.

A payload is lines. The first names the node that wrote. Then, a line each: `session first last`, and after it the rows as JSON where they
fit, so that whoever follows the session need not ask for them; `! session reason`: it was deleted; `= name`: a value was set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from reconvene.log.port import Row

PAYLOAD = 7900
"""Bytes; PostgreSQL takes fewer than 8000 in one NOTIFY."""
ROWS = 6000
"""Bytes of a session's rows in it. What is longer is read from the tables, by those who follow the session."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def told(session_id: str, rows: Sequence[Row]) -> str:
    """The line about new rows of a session, which are in order and without gaps."""
    place = f"{session_id} {rows[0].seq} {rows[-1].seq}"
    if sum(len(row.content) for row in rows) > ROWS:
        return place
    text = _encode([_columns(row) for row in rows])
    return f"{place} {text}" if len(text.encode()) <= ROWS else place


def heard(session_id: str, text: str) -> list[Row]:
    """The rows that came with a line."""
    return [to_row(session_id, columns) for columns in json.loads(text)]


def payloads(node: str, lines: Iterable[str]) -> list[str]:
    """As few as take all lines."""
    packed: list[str] = []
    text, size = node, len(node)
    for line in lines:
        length = 1 + len(line.encode())
        if size + length > PAYLOAD and size > len(node):
            packed.append(text)
            text, size = node, len(node)
        text, size = f"{text}\n{line}", size + length
    return [*packed, text] if size > len(node) else packed


def to_row(session_id: str, c: Any) -> Row:
    """From the columns of `event`, in the order of the queries."""
    seq, type, run_id, item_id, parent_id, key, public, stateful, at, tag, content = c
    return Row(session_id, seq, type, content, run_id, item_id, parent_id, key, public, stateful, at, tag)


def _columns(row: Row) -> tuple[Any, ...]:
    about = (row.run_id, row.item_id, row.parent_id, row.key, row.public, row.stateful, row.at, row.tag)
    return (row.seq, row.type, *about, row.content)
