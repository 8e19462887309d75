"""Reconvene, as `reconvene serve` starts it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import uuid
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from bench.peers.peer import Page, Peer
from bench.peers.provider import MODEL, Provider
from reconvene import __version__
from reconvene.workspace.permissions import Permission, Permissions


class Reconvene(Peer):
    name = "Reconvene"
    version = __version__
    setting = "`reconvene serve`, defaults; commands switched on for this code base; a page keeps its cursor"
    limits = (
        "A model's answer that was cut off by a crash is asked for again, and its beginning is struck and written anew."
    )

    def __init__(self, folder: Path, provider: Provider) -> None:
        super().__init__(folder, provider)
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        Permissions(self.data).allow(str(self.root), Permission(commands=True))

    def command(self) -> tuple[list[str], dict[str, str]]:
        program = [sys.executable, "-m", "reconvene.cli.main", "serve", str(self.root), "--port", str(self.port)]
        program += ["--data-dir", str(self.data), "--no-browser", "--model", f"openai:{MODEL}"]
        return program, {"OPENAI_BASE_URL": self.provider.url, "OPENAI_API_KEY": "none"}

    def headers(self) -> dict[str, str]:
        token = (self.data / "owner.token").read_text().strip()
        return {"Authorization": f"Bearer {token}", "Host": f"localhost:{self.port}"}

    async def ready(self) -> None:
        await self.http("GET", "/api/sessions")

    async def new(self) -> str:
        return str((await self.http("POST", "/api/sessions", {}))["session_id"])

    async def send(self, session: str, text: str, id: str | None = None) -> None:
        frame = {"type": "default", "content": text, **({"id": id} if id else {})}
        await self.http("POST", f"/api/sessions/{session}/messages", frame)

    async def state(self, session: str) -> str:
        return str((await self.http("GET", f"/api/sessions/{session}"))["status"])

    async def asked(self, session: str) -> list[str]:
        events = (await self.http("GET", f"/api/sessions/{session}/events?limit=1000"))["events"]
        answered = {e["content"]["id"] for e in events if e["type"] == "answered"}
        return [e["content"]["id"] for e in events if e["type"] == "question" and e["content"]["id"] not in answered]

    async def allow(self, session: str, id: str) -> None:
        frame = {"type": "answer", "id": str(uuid.uuid4()), "reply_to": id, "content": "once"}
        await self.http("POST", f"/api/sessions/{session}/messages", frame)

    async def page(self, session: str, kept: Any = None) -> Page:
        page = _Page(kept)
        await page.open(self, session)
        return page


class _Page(Page):
    """A resumable client: it keeps its cursor and what it shows, and goes on from there."""

    def __init__(self, kept: Any) -> None:
        self.kept: dict[str, Any] = kept or {"cursor": None, "items": {}}
        self._socket: ClientConnection | None = None

    async def open(self, server: Reconvene, session: str) -> None:
        headers = {"Authorization": server.headers()["Authorization"]}
        self._socket = await connect(
            f"ws://localhost:{server.port}/ws", additional_headers=headers, compression=None, max_size=None, proxy=None
        )
        config = {"session_id": session, **({"cursor": self.kept["cursor"]} if self.kept["cursor"] else {})}
        await self._socket.send(json.dumps({"type": "hello", "proto": 1, "config": config}))
        self._task = asyncio.create_task(self._read(self._socket))

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(Exception):
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] == "snapshot":
                    self.kept["items"].clear()
                if frame["type"] in ("snapshot", "batch"):
                    self._fold(frame["content"]["events"])
                    self.kept["cursor"] = frame["content"].get("upto") or frame["content"]["cursor"]

    def _fold(self, events: list[dict[str, Any]]) -> None:
        items = self.kept["items"]
        for event in events:
            match event["type"]:
                case "text":
                    items[event["item_id"]] = items.get(event["item_id"], "") + event["content"]["text"]
                case "message":
                    items[event["item_id"]] = event["content"]["text"]
                case "item_aborted":
                    items.pop(event["item_id"], None)
        self.text = "\n".join(items.values())

    async def cut(self) -> None:
        assert self._socket is not None
        self._socket.transport.abort()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
