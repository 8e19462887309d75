"""Codex's app-server, over its WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from bench.peers.peer import INSTALLED, Page, Peer, until
from bench.peers.provider import MODEL, Provider


class Codex(Peer):
    name = "Codex app-server"
    package = "@openai/codex"
    limits = "Its own help calls the app-server experimental."
    setting = (
        "listens on WebSocket; a page resumes its thread (`thread/resume`); commands ask (`approvalPolicy: untrusted`)"
    )

    def __init__(self, folder: Path, provider: Provider) -> None:
        super().__init__(folder, provider)
        self.home = folder / "home"
        self.home.mkdir()
        (self.home / "config.toml").write_text(
            f'model = "{MODEL}"\nmodel_provider = "scripted"\n[model_providers.scripted]\nname = "scripted"\n'
            f'base_url = "{provider.url}"\nwire_api = "responses"\nrequires_openai_auth = false\n'
        )
        self._asked: dict[str, list[tuple[str, _Page]]] = {}
        self._talk: _Page | None = None

    def command(self) -> tuple[list[str], dict[str, str]]:
        (program,) = (INSTALLED / "node_modules/@openai").glob("codex-linux-*/vendor/*/bin/codex")
        self._talk = None
        return [str(program), "app-server", "--listen", f"ws://127.0.0.1:{self.port}"], {"CODEX_HOME": str(self.home)}

    async def ready(self) -> None:
        await (await self._own()).call("thread/list", {})

    async def _own(self) -> _Page:
        if self._talk is None:
            self._talk = await _Page().connect(self)
        return self._talk

    async def new(self) -> str:
        options = {"cwd": str(self.root), "approvalPolicy": "untrusted", "sandbox": "danger-full-access"}
        talk = await self._own()
        session = str((await talk.call("thread/start", options))["thread"]["id"])
        # A thread in which nothing was said cannot be resumed, so no second page could hear it.
        await self.send(session, "hello")

        async def answered() -> bool:
            with contextlib.suppress(RuntimeError):
                return "turn completed" in await self.state(session)
            return False

        await until(answered, 30, "the first turn does not end", every=0.2)
        return session

    async def send(self, session: str, text: str, id: str | None = None) -> None:
        more = {"clientUserMessageId": id} if id else {}
        talk = await self._own()
        await talk.call("turn/start", {"threadId": session, "input": [{"type": "text", "text": text}], **more})

    async def state(self, session: str) -> str:
        thread = (await (await self._own()).call("thread/resume", {"threadId": session}))["thread"]
        turns = [turn["status"] for turn in thread["turns"]]
        return f"{thread['status']['type']}, turn {turns[-1] if turns else 'none'}"

    async def page(self, session: str, kept: Any = None) -> Page:
        page = await _Page(kept).connect(self)
        page.session = session
        page.show((await page.call("thread/resume", {"threadId": session}))["thread"])
        return page

    async def asked(self, session: str) -> list[str]:
        """What the server asks of a page that resumes the thread."""
        talk = await self._own()
        if not talk.requests:
            with contextlib.suppress(RuntimeError):
                await talk.call("thread/resume", {"threadId": session})
            await asyncio.sleep(0.5)
        return [id for id, of in talk.requests.items() if of == session]

    async def allow(self, session: str, id: str) -> None:
        talk = await self._own()
        talk.requests.pop(id)
        await talk.answer(json.loads(id), {"decision": "accept"})


class _Page(Page):
    """JSON-RPC both ways. What it shows: the answers in the thread that it was given, and what comes of them."""

    def __init__(self, kept: Any = None) -> None:
        self._socket: ClientConnection | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._items: dict[str, str] = kept or {}
        self._task: asyncio.Task[None] | None = None
        self.requests: dict[str, str] = {}
        self.session: str | None = None

    async def connect(self, server: Codex) -> _Page:
        self._socket = await connect(f"ws://127.0.0.1:{server.port}", max_size=None, proxy=None, compression=None)
        self._task = asyncio.create_task(self._read(self._socket))
        info = {"name": "bench", "title": "bench", "version": "0"}
        await self.call("initialize", {"clientInfo": info, "capabilities": {"experimentalApi": True}})
        await self._socket.send(json.dumps({"method": "initialized"}))
        return self

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        assert self._socket is not None
        number = len(self._waiting) + 1
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        async with asyncio.timeout(60):
            said = await answer
        if "error" in said:
            raise RuntimeError(str(said["error"])[:300])
        return said["result"]

    async def answer(self, id: Any, result: dict[str, Any]) -> None:
        assert self._socket is not None
        await self._socket.send(json.dumps({"id": id, "result": result}))

    def show(self, thread: dict[str, Any]) -> None:
        for turn in thread["turns"]:
            for item in turn["items"]:
                if item["type"] == "agentMessage":
                    self._items[item["id"]] = item["text"]
        self.text = "\n".join(self._items.values())

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(Exception):
            async for text in socket:
                said = json.loads(text)
                if "method" not in said:
                    self._waiting[said["id"]].set_result(said)
                elif "id" in said:
                    self.requests[json.dumps(said["id"])] = said["params"].get("threadId", "")
                else:
                    self._heard(said["method"], said.get("params", {}))

    def _heard(self, method: str, params: dict[str, Any]) -> None:
        if self.session is not None and params.get("threadId", self.session) != self.session:
            return
        if method == "item/agentMessage/delta":
            self._items[params["itemId"]] = self._items.get(params["itemId"], "") + params["delta"]
        elif method == "item/completed" and params["item"]["type"] == "agentMessage":
            self._items[params["item"]["id"]] = params["item"]["text"]
        else:
            return
        self.text = "\n".join(self._items.values())

    async def cut(self) -> None:
        assert self._socket is not None and self._task is not None
        self.kept = self._items
        self._socket.transport.abort()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
