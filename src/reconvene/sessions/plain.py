"""What a plain client's first frame attaches to, instead of starting the same work again (PROTOCOL §1)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from reconvene.log.port import SessionRow
from reconvene.sessions.state import RunState, SessionState

if TYPE_CHECKING:
    from reconvene.sessions.entrance import Entrance

TURN_KEPT = 600.0
"""Seconds of uptime for which a completed turn is attached to by the same first frame."""
SESSION_KEPT = 120.0
"""Seconds for which a first frame without a session finds the session that it made a moment ago."""


def same_turn(state: SessionState, key: str, now: float) -> RunState | None:
    """The newest turn with this content and config that is unfinished or was answered a moment ago; failed ones run again."""
    for run in reversed(state.runs.values()):
        recent = run.outcome == "success" and run.ended_at is not None and now - run.ended_at < TURN_KEPT
        if run.plain == key and (run.status != "completed" or recent):
            return run
    return None


async def just_made(sessions: Entrance, owner: str, key: str) -> SessionRow | None:
    """The session that this owner's same first frame made less than two minutes ago, if no plain client is on it now.

    This is the client whose connection broke before it could keep the id that the server gave it.
    """
    for session in await sessions.log.sessions(owner=owner, limit=16):
        young = time.time() - session.created_at < SESSION_KEPT
        if young and session.head and not sessions.memory.is_connected(session.id, plain=True):
            state = await sessions.state(session.id)
            if any(run.plain == key for run in state.runs.values()):
                return session
    return None
