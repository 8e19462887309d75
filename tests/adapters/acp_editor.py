"""An editor written by hand: ACP's messages on `/acp`, one a frame."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection


class Editor:
    """`seen` is every message that came, in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._ids = 0
        self.seen: list[dict[str, Any]] = []

    async def send(self, method: str, **params: Any) -> int:
        self._ids += 1
        await self.socket.send(json.dumps({"jsonrpc": "2.0", "id": self._ids, "method": method, "params": params}))
        return self._ids

    async def next(self, wanted: Any) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                message: dict[str, Any] = json.loads(await self.socket.recv())
                self.seen.append(message)
                if wanted(message):
                    return message

    async def call(self, method: str, **params: Any) -> Any:
        id = await self.send(method, **params)
        answer = await self.next(lambda m: m.get("id") == id and "method" not in m)
        return answer["result"] if "result" in answer else answer["error"]

    async def asked(self, method: str) -> dict[str, Any]:
        return await self.next(lambda m: m.get("method") == method)

    async def answer(self, request: dict[str, Any], **result: Any) -> None:
        await self.socket.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}))

    async def choose(self, request: dict[str, Any], option: str) -> None:
        await self.answer(request, outcome={"outcome": "selected", "optionId": option})

    @property
    def updates(self) -> list[dict[str, Any]]:
        return [m["params"]["update"] for m in self.seen if m.get("method") == "session/update"]


def text(said: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": said}]
