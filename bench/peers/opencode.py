"""opencode's server, over HTTP and server-sent events."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from bench.peers.peer import INSTALLED, EventStream, Page, Peer
from bench.peers.provider import MODEL, Provider


class Opencode(Peer):
    name = "opencode"
    package = "opencode-linux-x64"
    an_id = "msg_0123456789abcdefghijklmnop"
    limits = (
        "Its events have no ids. The same release has a second API under `/api` that keeps a log and takes a prompt's id; its log has no "
        "pieces of answers."
    )
    setting = "`/event` and `/session/{id}/message`, as its page; `permission.bash: ask`; `Last-Event-ID` is sent"

    def __init__(self, folder: Path, provider: Provider) -> None:
        super().__init__(folder, provider)
        model = {"name": MODEL, "limit": {"context": 128000, "output": 64000}, "tool_call": True}
        options = {"baseURL": provider.url, "apiKey": "none"}
        config = {
            "provider": {
                "scripted": {
                    "npm": "@ai-sdk/openai-compatible",
                    "name": "x",
                    "options": options,
                    "models": {MODEL: model},
                }
            },
            "model": f"scripted/{MODEL}",
            "small_model": f"scripted/{MODEL}",
            "permission": {"bash": "ask"},
            "autoupdate": False,
            "share": "disabled",
        }
        (self.root / "opencode.json").write_text(json.dumps(config))

    def command(self) -> tuple[list[str], dict[str, str]]:
        program = str(INSTALLED / "node_modules" / self.package / "bin/opencode")
        home = {name: str(self.folder / name) for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")}
        home["XDG_CACHE_HOME"] = str(INSTALLED / "opencode-cache")
        quiet = {
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        }
        return [program, "serve", "--port", str(self.port), "--hostname", "127.0.0.1"], home | quiet

    async def ready(self) -> None:
        await self.http("GET", "/session")

    async def new(self) -> str:
        return str((await self.http("POST", "/session", {"title": "bench"}))["id"])

    async def send(self, session: str, text: str, id: str | None = None) -> None:
        body = {"parts": [{"type": "text", "text": text}], **({"messageID": id} if id else {})}
        await self.http("POST", f"/session/{session}/prompt_async", body)

    async def state(self, session: str) -> str:
        status = (await self.http("GET", "/session/status")).get(session, {}).get("type", "idle")
        messages = await self.http("GET", f"/session/{session}/message")
        last = messages[-1]
        done = "completed" if last["info"]["time"].get("completed") else "never completed"
        tools = [f"tool {part['state']['status']}" for part in last["parts"] if part["type"] == "tool"]
        return ", ".join([status, f"{last['info']['role']} message {done}", *tools])

    async def asked(self, session: str) -> list[str]:
        return [p["id"] for p in await self.http("GET", "/permission") if p["sessionID"] == session]

    async def allow(self, session: str, id: str) -> None:
        await self.http("POST", f"/permission/{id}/reply", {"reply": "once"})

    async def page(self, session: str, kept: Any = None) -> Page:
        page = _Page(session)
        headers = {"Last-Event-ID": kept["last"]} if kept and kept["last"] else {}
        if kept:
            page.parts = dict(kept["parts"])
        page.stream = EventStream(self.port, "/event", page.heard, headers)
        await page.stream.open()
        for message in await self.http("GET", f"/session/{session}/message"):
            for part in message["parts"]:
                if part["type"] == "text" and message["info"]["role"] == "assistant" and part["text"]:
                    page.parts[part["id"]] = part["text"]
        page.show()
        return page


class _Page(Page):
    """It shows the messages that it fetched, and adds what comes."""

    stream: EventStream

    def __init__(self, session: str) -> None:
        self._session = session
        self._mine: set[str] = set()
        self.parts: dict[str, str] = {}
        self._last = ""

    def heard(self, _event: str, said: dict[str, Any]) -> None:
        self._last = str(said.get("id", ""))
        of = said.get("properties", {})
        if of.get("sessionID", of.get("part", {}).get("sessionID")) not in (self._session, None):
            return
        match said.get("type"):
            case "message.updated" if of["info"]["role"] == "user":
                self._mine.add(of["info"]["id"])
            case "message.part.delta" if of.get("field") == "text":
                self.parts[of["partID"]] = self.parts.get(of["partID"], "") + of["delta"]
            case "message.part.updated" if of["part"]["type"] == "text" and of["part"]["messageID"] not in self._mine:
                if len(of["part"]["text"]) >= len(self.parts.get(of["part"]["id"], "")):
                    self.parts[of["part"]["id"]] = of["part"]["text"]
            case _:
                return
        self.show()

    def show(self) -> None:
        self.text = "\n".join(self.parts.values())

    async def cut(self) -> None:
        self.kept = {"parts": self.parts, "last": self._last}
        with contextlib.suppress(OSError):
            await self.stream.cut()
