"""A conversation on the terminal with a server that follows a script, and what such a server says."""

from __future__ import annotations

import asyncio
from typing import Any

from peer import SESSION, Life, Peer, server, session
from reconvene.cli.conversation import Conversation, Screen
from reconvene.client.link import Link
from reconvene.protocol.follower import Follower


def event(
    seq: int, type: str, content: dict[str, Any], item: str | None = None, run: str | None = "r1"
) -> dict[str, Any]:
    return {"type": type, "seq": seq, "run_id": run, "item_id": item, "parent_id": None, "at": 0.0, "content": content}


def events(after: str, upto: str, *events: dict[str, Any]) -> dict[str, Any]:
    return {"type": "batch", "content": {"after": after, "upto": upto, "events": list(events), "synced": True}}


EMPTY = {"type": "snapshot", "content": {"cursor": "c0", "events": [], "synced": True}}
ANSWER = [
    event(2, "text", {"attempt": 1, "text": "Sessions are "}, "i1"),
    event(3, "message", {"text": "Sessions are swept."}, "i1"),
    event(4, "completed", {"outcome": "success", "text": "Sessions are swept."}),
]
QUESTION = event(2, "question", {"id": "q1", "text": "Which one?", "schema": {"enum": ["hub", "pool"]}})


def screen(*, json: bool = False, asks: bool = False) -> Screen:
    return Screen(json, asks, lambda session: f"reconvene attach {session}")


async def begin(peer: Peer) -> dict[str, Any]:
    """The start of a session with its first prompt; returns the prompt's frame."""
    frame = await peer.get()
    await peer.send(session(base_ms=1, cap_ms=1), EMPTY)
    await peer.ack(frame)
    await peer.send(events("c0", "c1", event(1, "prompt", {"id": frame["id"], "text": frame["content"]})))
    return frame


async def ask(*lives: Life, prompt: str | None = "How?", **how: bool) -> int:
    follower = Follower() if prompt is not None else Follower(SESSION)
    link = Link(client={"id": "c1", "name": "terminal"}, follower=follower, random=lambda: 0.0)
    async with server(*lives) as where:
        return await asyncio.wait_for(Conversation(where, link, screen(**how), prompt).run(), 60)


async def until(seqs: asyncio.Queue[int], seq: int) -> None:
    while await seqs.get() != seq:
        pass
