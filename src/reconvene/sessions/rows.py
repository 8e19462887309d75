"""The small values that commands are made of, and the two ways to make a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reconvene.log.port import NewEvent
from reconvene.protocol import events as ev


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: the owner of the sessions, and the client's name, which others are shown."""

    owner: str
    name: str = "client"
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    status: Literal["accepted", "duplicate", "noop"]
    seq: int | None
    run_id: str | None
    session_id: str


def event(
    content: ev.Content,
    *,
    run_id: str | None = None,
    item_id: str | None = None,
    parent_id: str | None = None,
    key: str | None = None,
) -> NewEvent:
    """A public event from its content."""
    return NewEvent(content.type, content.json_text(), run_id, item_id, parent_id, key, stateful=content.stateful)


def private(
    type: str, content: Mapping[str, Any], *, run_id: str | None = None, key: str | None = None, stateful: bool = True
) -> NewEvent:
    """A private row from a JSON object."""
    return NewEvent(type, json.dumps(content), run_id, key=key, public=False, stateful=stateful)
