"""Servers that follow a script: the frames they send, and one life of theirs for each connection."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from reconvene.client.following import Address

SESSION = "s_" + "a" * 22
Life = Callable[["Peer"], Awaitable[None]]


def session(id: str = SESSION, mode: str = "fresh", reason: str | None = None, **retry: int) -> dict[str, Any]:
    pacing = {"base_ms": 300, "cap_ms": 10_000, "spread_ms": 0, **retry}
    content = {
        "session_id": id,
        "mode": mode,
        "reason": reason,
        "head": 0,
        "state": "idle",
        "run_id": None,
        "root": "r",
    }
    return {
        "type": "session",
        "content": {**content, "hb_ms": 15_000, "retry": pacing, "server": {"boot": "b", "version": "1"}},
    }


def snapshot(cursor: str, *seqs: int, synced: bool = False) -> dict[str, Any]:
    return {"type": "snapshot", "content": {"cursor": cursor, "events": [event(s) for s in seqs], "synced": synced}}


def batch(after: str, upto: str, *seqs: int, synced: bool = False) -> dict[str, Any]:
    return {
        "type": "batch",
        "content": {"after": after, "upto": upto, "events": [event(s) for s in seqs], "synced": synced},
    }


def event(seq: int) -> dict[str, Any]:
    content = {"id": f"p{seq}", "text": "?"}
    return {
        "type": "prompt",
        "seq": seq,
        "run_id": "r1",
        "item_id": None,
        "parent_id": None,
        "at": 0.0,
        "content": content,
    }


class Peer:
    """The server's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket

    async def get(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await self.socket.recv())
        return frame

    async def send(self, *frames: dict[str, Any]) -> None:
        for frame in frames:
            await self.socket.send(json.dumps(frame))

    async def ack(self, frame: dict[str, Any], status: str = "accepted") -> None:
        await self.send(
            {"type": "ack", "reply_to": frame["id"], "content": {"status": status, "seq": 1, "run_id": "r1"}}
        )

    async def cut(self) -> None:
        self.socket.transport.abort()

    async def rest(self) -> None:
        """Nothing more from here; wait for the client to go."""
        with contextlib.suppress(Exception):
            await self.socket.wait_closed()


@contextlib.asynccontextmanager
async def server(*lives: Life) -> AsyncIterator[Callable[[], Awaitable[Address]]]:
    """One script for each connection, in order; a failing script fails the test."""
    left = list(lives)
    failures: list[BaseException] = []

    async def handle(socket: ServerConnection) -> None:
        try:
            await left.pop(0)(Peer(socket))
        except Exception as e:
            failures.append(e)

    async with serve(handle, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]

        async def where() -> Address:
            return Address(f"ws://127.0.0.1:{port}/ws", "secret")

        yield where
    assert not failures
    assert not left
