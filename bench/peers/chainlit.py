"""Chainlit, over its Socket.IO."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from bench.peers.peer import INSTALLED, Page, Peer
from bench.peers.provider import Provider


class Chainlit(Peer):
    name = "Chainlit"
    package = "chainlit"
    limits = "What is shown of a session is in memory; its documentation has data layers that keep finished messages."
    setting = "`chainlit run`, without a data layer; a page that is loaded anew is given the session's id, which its own page does not keep"

    def __init__(self, folder: Path, provider: Provider) -> None:
        super().__init__(folder, provider)
        shutil.copy(Path(__file__).with_name("chainlit_app.py"), self.root / "app.py")
        self.pages: dict[str, list[_Page]] = {}

    def command(self) -> tuple[list[str], dict[str, str]]:
        program = str(INSTALLED / "chainlit/bin/chainlit")
        return [program, "run", "app.py", "--headless", "--port", str(self.port)], {"BENCH_PROVIDER": self.provider.url}

    async def ready(self) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.close()
        page = await self.page(str(uuid.uuid4()))
        await page.cut()

    async def new(self) -> str:
        return str(uuid.uuid4())

    async def send(self, session: str, text: str, id: str | None = None) -> None:
        """Through the newest page that is open: only that one is heard, and one that is opened for it would take its place."""
        page = next((page for page in reversed(self.pages.get(session, ())) if page.is_open), None)
        if page is None:
            page = await self.page(session)  # type: ignore[assignment]
        assert isinstance(page, _Page)
        message = {"id": id or str(uuid.uuid4()), "name": "user", "type": "user_message", "output": text}
        message["createdAt"] = "2026-01-01T00:00:00Z"
        await page.emit("client_message", {"message": message, "fileReferences": []})

    async def state(self, session: str) -> str:
        page = next((page for page in self.pages.get(session, ()) if page.is_open), None)
        return page.last_task if page else "nothing is known of it"

    async def asked(self, session: str) -> list[str]:
        return [ask for page in self.pages.get(session, ()) if page.is_open for ask in page.asks]

    async def allow(self, session: str, id: str) -> None:
        page = next(page for page in self.pages[session] if page.is_open and id in page.asks)
        page.asks.remove(id)
        await page.answer(id, {"name": "yes", "payload": {"value": "yes"}, "label": "yes", "forId": "x", "id": "x"})

    async def page(self, session: str, kept: Any = None) -> Page:
        page = _Page(kept)
        await page.open(self, session)
        self.pages.setdefault(session, []).append(page)
        return page


class _Page(Page):
    """Engine.IO 4 and Socket.IO 5, as far as it takes. It shows the messages that came, and adds the tokens."""

    def __init__(self, kept: Any) -> None:
        self.kept: dict[str, str] = kept or {}
        self.asks: list[str] = []
        self.last_task = "no task"
        self.is_open = False

    async def open(self, server: Chainlit, session: str) -> None:
        self._socket: ClientConnection = await connect(
            f"ws://127.0.0.1:{server.port}/ws/socket.io/?EIO=4&transport=websocket", proxy=None, max_size=None
        )
        who = {"clientType": "webapp", "sessionId": session, "threadId": "", "userEnv": "{}", "chatProfile": ""}
        assert str(await self._socket.recv()).startswith("0")
        await self._socket.send("40" + json.dumps(who))
        assert str(await self._socket.recv()).startswith("40")
        self.is_open = True
        self._task = asyncio.create_task(self._read())
        await self.emit("connection_successful")
        await asyncio.sleep(0.3)

    async def emit(self, name: str, *values: Any) -> None:
        await self._socket.send("42" + json.dumps([name, *values]))

    async def answer(self, id: str, value: Any) -> None:
        await self._socket.send(f"43{id}{json.dumps([value])}")

    async def _read(self) -> None:
        with contextlib.suppress(Exception):
            async for text in self._socket:
                said = str(text)
                if said == "2":
                    await self._socket.send("3")
                elif said.startswith("42"):
                    number, _, rest = said[2:].partition("[")
                    name, *values = json.loads("[" + rest)
                    self._heard(number, name, values[0] if values else {})
        self.is_open = False

    def _heard(self, number: str, name: str, said: Any) -> None:
        match name:
            case "stream_start" | "new_message" | "update_message" if said.get("type") == "assistant_message":
                if len(said["output"]) >= len(self.kept.get(said["id"], "")):
                    self.kept[said["id"]] = said["output"]
            case "stream_token":
                whole = "" if said.get("isSequence") else self.kept.get(said["id"], "")
                self.kept[said["id"]] = whole + said["token"]
            case "ask":
                self.asks.append(number)
            case "clear_ask":
                self.asks.clear()
            case "task_start" | "task_end":
                self.last_task = name
        self.text = "\n".join(self.kept.values())

    async def cut(self) -> None:
        self.is_open = False
        self._socket.transport.abort()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
