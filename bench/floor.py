"""A child process that is the floor: the same web server, a raw ASGI application, the same frames, no log and no batches.

`python -m bench.floor FD PADDING`. A first message `{"group": "g", "missed": n}` is answered with as many frames of one event; after
that the connection gets the live events of its group. `python -m bench.floor - PADDING PORT` listens there and takes no commands.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvicorn

from bench.control import cpu, obey
from bench.pace import keep_pace
from bench.wire import stamped

Send = Callable[[Any], Awaitable[None]]
CURSOR = "YWJjZGVmYWJjZGVmLjEwMDAwLjAwMDAwMDAw"
"""As long as one of ours."""


class Floor:
    """The application, and the driver of its load."""

    def __init__(self, padding: str) -> None:
        self._padding = padding
        self._groups: dict[str, list[Send]] = {}
        self._seq = 0

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        asked = json.loads((await receive())["text"])
        await send({"type": "websocket.send", "text": '{"type":"session","content":{"session_id":"floor"}}'})
        for left in range(asked["missed"], 0, -1):
            await send({"type": "websocket.send", "text": self.frame(200, synced=left == 1)})
        if not asked["missed"]:
            await send({"type": "websocket.send", "text": '{"type":"snapshot","content":{"events":[],"synced":true}}'})
        group = self._groups.setdefault(asked["group"], [])
        group.append(send)
        while (await receive())["type"] != "websocket.disconnect":
            pass
        group.remove(send)

    def frame(self, size: int, *, synced: bool = False) -> str:
        """A batch of one event, as ours is when nothing can be batched."""
        self._seq += 1
        mark = ',"synced":true' if synced else ""
        event = (
            f'{{"type":"text","seq":{self._seq},"run_id":"r1","item_id":"r1.m1","parent_id":null,"at":1790000000.000,'
            f'"content":{{"attempt":1,"text":"{stamped(self._padding, size)}"}}}}'
        )
        return f'{{"type":"batch","content":{{"after":"{CURSOR}","upto":"{CURSOR}","events":[{event}]{mark}}}}}'

    async def load(self, sessions: list[str], rate: float, seconds: float, size: int) -> dict[str, float]:
        groups = [self._groups[name] for name in sessions]

        async def emit(due: Sequence[int]) -> None:
            for i in due:
                message = {"type": "websocket.send", "text": self.frame(size)}
                for send in groups[i]:
                    await send(message)

        return {"late_ms": await keep_pace(len(sessions), rate, seconds, emit)}


async def serve(fd: str, padding: str, port: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    floor = Floor(padding)
    # The protocol is named for asyncio, which switches Nagle's algorithm off only then.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(2048)
    # As the server of ours: web.py, `web_config`.
    config = uvicorn.Config(
        floor,
        http="h11",
        ws="websockets-sansio",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        ws_per_message_deflate=False,
    )

    async def ready() -> dict[str, Any]:
        return {"port": listening.getsockname()[1], "token": "none"}

    if fd != "-":
        obey(int(fd), {"ready": ready, "load": floor.load, "cpu": cpu})
    await uvicorn.Server(config).serve([listening])


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0))
