"""The client's side of the wire, without I/O: which frame is applied, which is dropped, and when to connect again.

What `PROTOCOL` asks of every resumable client, in Python; the page's client does the same and both replay `tests/conformance`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

from reconvene.protocol.view import View, reduce

Outcome = Literal["applied", "dropped", "gap", "other"]

REMEMBERED = 512
"""Cursors a client remembers to have had. A batch that ends at one of them is a repetition."""


class Follower:
    """What one client knows of one session.

    >>> follower = Follower()
    >>> follower.connect()
    {'session_id': None, 'cursor': None}
    >>> follower.receive({"type": "snapshot", "content": {"cursor": "c0", "events": []}})
    'applied'
    >>> follower.receive({"type": "batch", "content": {"after": "c7", "upto": "c9", "events": []}})
    'gap'
    >>> follower.connect()
    {'session_id': None, 'cursor': 'c0'}
    """

    def __init__(self, session_id: str | None = None) -> None:
        self.session_id = session_id
        self.cursor: str | None = None
        self.view = View()
        self.synced = False
        """The head at the time of attaching was reached on this connection."""
        self.mode: str | None = None
        """How the server attached this connection: fresh, resume or snapshot."""
        self.applied = 0
        """Events applied in all."""
        self._had: deque[str] = deque(maxlen=REMEMBERED)
        self._gap = False

    def connect(self) -> dict[str, str | None]:
        """A new connection: what its hello has as config."""
        self._gap = self.synced = False
        self.mode = None
        return {"session_id": self.session_id, "cursor": self.cursor}

    def receive(self, frame: Mapping[str, Any]) -> Outcome:
        """One frame of the current connection.

        On `gap` close it with 4002 and connect again: until then every durable frame is `dropped`.
        """
        content = frame["content"]
        match frame["type"]:
            case "session":
                self.session_id, self.mode = content["session_id"], content.get("mode")
                return "other"
            case "snapshot" | "batch" if self._gap:
                return "dropped"
            case "snapshot":
                self.view = View()
                self._had.clear()
                self._apply(content["cursor"], content)
                return "applied"
            case "batch" if content["after"] == self.cursor:
                self._apply(content["upto"], content)
                return "applied"
            case "batch" if content["upto"] in self._had:
                return "dropped"
            case "batch":
                self._gap = True
                return "gap"
        return "other"

    def _apply(self, cursor: str, content: Mapping[str, Any]) -> None:
        reduce(content["events"], self.view)
        self.applied += len(content["events"])
        self.cursor = cursor
        self._had.append(cursor)
        self.synced = self.synced or bool(content.get("synced"))
