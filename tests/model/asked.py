"""A session of a real server, asked and read over HTTP as any client would."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.eval.local_model import LocalModel
from real_server import Server

from reconvene.agents.providers import CONSTRAINED

Event = dict[str, Any]


def server_of(model: LocalModel, folder: Path, *, constrained: bool = True, **limits: Any) -> Server:
    """A server on a small code base that this model answers for; not started."""
    environ = {f"RECONVENE_LIMIT_{name.upper()}": str(value) for name, value in limits.items()}
    name = model.name if constrained else model.name.removeprefix(CONSTRAINED)
    return Server(folder, environ=model.environ | {"RECONVENE_MODEL": name} | environ)


def ask(server: Server, text: str, session_id: str | None = None) -> str:
    session_id = session_id or server.call("POST", "/api/sessions", {})["session_id"]
    server.call(
        "POST", f"/api/sessions/{session_id}/messages", {"type": "default", "id": str(uuid4()), "content": text}
    )
    return session_id


def until(server: Server, session_id: str, done: Callable[[list[Event]], Any], patience: float) -> list[Event]:
    """The session's events, as soon as `done(events)` holds; looked at ten times a second."""
    deadline = time.monotonic() + patience
    while True:
        events = server.rows(session_id)
        if done(events):
            return events
        assert time.monotonic() < deadline, [(e["type"], str(e)[:200]) for e in events[-12:]]
        time.sleep(0.1)


def of(events: list[Event], type: str) -> list[Event]:
    return [e for e in events if e["type"] == type]


def completed(times: int = 1) -> Callable[[list[Event]], bool]:
    return lambda events: len(of(events, "completed")) >= times


def streamed(events: list[Event], attempt: int = 1) -> str:
    """The text that came in pieces during one attempt."""
    return "".join(e["content"]["text"] for e in of(events, "text") if e["content"]["attempt"] == attempt)


def answered(events: list[Event]) -> list[str]:
    return [e["content"]["text"] for e in of(events, "message")]


def without_gaps(events: list[Event]) -> bool:
    """Whether every event came once and in order; what is private to the server has numbers, too."""
    seqs = [e["seq"] for e in events]
    return seqs == sorted(set(seqs))
