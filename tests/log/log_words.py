"""Short words for the log's tests."""

from __future__ import annotations

import json
from typing import Any

from reconvene.log.port import NewEvent, NewSession, Row


def E(type: str, n: int = 0, **about: Any) -> NewEvent:
    """An event with a little content."""
    return NewEvent(type, json.dumps({"n": n}), **about)


def seqs(rows: list[Row] | tuple[Row, ...]) -> list[int]:
    return [row.seq for row in rows]


async def a_session(log: Any, id: str) -> str:
    await log.create(NewSession(id, "owner", "/root", f"e_{id}"))
    return id
