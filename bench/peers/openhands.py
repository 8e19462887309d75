"""OpenHands' agent server, over HTTP and its session socket. It needs Python 3.12."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from bench.peers.peer import INSTALLED, Page, Peer
from bench.peers.provider import MODEL, Provider


class OpenHands(Peer):
    name = "OpenHands agent server"
    package = "openhands-agent-server"
    limits = (
        "Pieces of answers are never replayed: what a client shows has a gap until the whole answer is there, as its protocol says. It "
        "takes no id of a message."
    )
    setting = (
        "`/sockets/session` with `after_seq`, the newer of its two sockets; the model streams; `AlwaysConfirm`; a secret key, so that the "
        "model's key survives a restart"
    )

    def __init__(self, folder: Path, provider: Provider) -> None:
        super().__init__(folder, provider)
        (folder / "home").mkdir()
        (folder / "tmux").mkdir(mode=0o700)

    def command(self) -> tuple[list[str], dict[str, str]]:
        program = [str(INSTALLED / "openhands/bin/python"), "-m", "openhands.agent_server", "--port", str(self.port)]
        return program, {
            "HOME": str(self.folder / "home"),
            "OH_CONVERSATIONS_PATH": str(self.folder / "conversations"),
            "OH_SECRET_KEY": "0" * 64,
            "OH_ENABLE_VSCODE": "false",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "DO_NOT_TRACK": "1",
            "TMUX_TMPDIR": str(self.folder / "tmux"),
        }

    async def close(self) -> None:
        """It runs commands in tmux servers that outlive it."""
        await super().close()
        for socket in (self.folder / "tmux").glob("tmux-*/*"):
            subprocess.run(["tmux", "-S", str(socket), "kill-server"], capture_output=True, check=False)

    async def ready(self) -> None:
        await self.http("GET", "/api/conversations/search")

    async def new(self) -> str:
        llm = {"model": f"openai/{MODEL}", "api_key": "none", "base_url": self.provider.url, "stream": True}
        agent = {"kind": "Agent", "llm": {**llm, "usage_id": "bench"}, "tools": [{"name": "terminal"}]}
        body = {
            "agent": agent,
            "workspace": {"kind": "LocalWorkspace", "working_dir": str(self.root)},
            "confirmation_policy": {"kind": "AlwaysConfirm"},
            "autotitle": False,
        }
        return str(uuid.UUID((await self.http("POST", "/api/conversations", body))["id"]))

    async def send(self, session: str, text: str, id: str | None = None) -> None:
        body = {"role": "user", "content": [{"type": "text", "text": text}], "run": True}
        await self.http("POST", f"/api/conversations/{session}/events", body)

    async def state(self, session: str) -> str:
        return str((await self.http("GET", f"/api/conversations/{session}"))["execution_status"])

    async def asked(self, session: str) -> list[str]:
        """It asks for the newest action, of which there is one here."""
        if await self.state(session) != "waiting_for_confirmation":
            return []
        events = await self.http("GET", f"/api/conversations/{session}/events/search?kind=ActionEvent&limit=100")
        return [event["id"] for event in events["items"][-1:]]

    async def allow(self, session: str, id: str) -> None:
        await self.http("POST", f"/api/conversations/{session}/events/respond_to_confirmation", {"accept": True})

    async def page(self, session: str, kept: Any = None) -> Page:
        page = _Page(kept)
        await page.open(self, session)
        return page


class _Page(Page):
    """It shows the messages, and of those that are not whole yet the pieces that came."""

    def __init__(self, kept: Any) -> None:
        self.kept: dict[str, Any] = kept or {"seq": -1, "messages": {}, "open": {}}

    async def open(self, server: OpenHands, session: str) -> None:
        where = f"ws://127.0.0.1:{server.port}/sockets/session/{session}?after_seq={self.kept['seq']}"
        self._socket: ClientConnection = await connect(where, proxy=None, max_size=None, compression=None)
        self._show()
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(Exception):
            async for text in self._socket:
                self._heard(json.loads(text))
                self._show()

    def _heard(self, frame: dict[str, Any]) -> None:
        pieces = self.kept["open"]
        match frame["type"]:
            case "item_started":
                pieces[frame["item_id"]] = ""
            case "delta" if frame.get("kind") == "text":
                pieces[frame["item_id"]] = pieces.get(frame["item_id"], "") + frame["content"]
            case "item_aborted":
                pieces.pop(frame["item_id"], None)
            case "durable" | "transient":
                event = frame["event"]
                pieces.pop(event["id"], None)
                self.kept["seq"] = max(self.kept["seq"], frame.get("seq", -1))
                if event["kind"] == "MessageEvent" and event["source"] == "agent":
                    parts = event["llm_message"]["content"]
                    self.kept["messages"][event["id"]] = "".join(p["text"] for p in parts if p["type"] == "text")

    def _show(self) -> None:
        self.text = "\n".join([*self.kept["messages"].values(), *self.kept["open"].values()])

    async def cut(self) -> None:
        self._socket.transport.abort()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
