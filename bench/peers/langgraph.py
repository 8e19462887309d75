"""LangGraph's development server, over HTTP and server-sent events."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from bench.peers.peer import INSTALLED, EventStream, Page, Peer, below
from bench.peers.provider import Provider


class LangGraph(Peer):
    name = "LangGraph dev server"
    package = "langgraph-api"
    limits = (
        "The development server holds its data in memory and writes it to disk every 10 s: what survives `kill -9` depends on when. Its "
        "production server has PostgreSQL and Redis."
    )
    setting = "`langgraph dev`; `stream_resumable: true` (default: false), pages join with `Last-Event-ID`; `durability: sync`"

    def __init__(self, folder: Path, provider: Provider) -> None:
        super().__init__(folder, provider)
        shutil.copy(Path(__file__).with_name("langgraph_app.py"), self.root / "app.py")
        (self.root / "langgraph.json").write_text(
            json.dumps({"dependencies": ["."], "graphs": {"agent": "./app.py:graph"}})
        )

    def command(self) -> tuple[list[str], dict[str, str]]:
        program = str(INSTALLED / "langgraph/bin/langgraph")
        options = ["--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(self.port), "--allow-blocking"]
        environ = {"BENCH_PROVIDER": self.provider.url, "LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1"}
        return [program, "dev", *options], environ

    async def ready(self) -> None:
        await self.http("GET", "/ok")

    def server_processes(self) -> list[int]:
        assert self.process is not None
        return [self.process.pid, *(pid for pid in below(self.process.pid) if "python" in _program(pid))]

    async def new(self) -> str:
        return str((await self.http("POST", "/threads", {}))["thread_id"])

    async def send(self, session: str, text: str, id: str | None = None) -> None:
        message = {"role": "user", "content": text, **({"id": id} if id else {})}
        await self._run(session, {"input": {"messages": [message]}})

    async def _run(self, session: str, more: dict[str, Any]) -> None:
        body = {
            "assistant_id": "agent",
            "stream_mode": ["messages-tuple"],
            "stream_resumable": True,
            "durability": "sync",
            **more,
        }
        await self.http("POST", f"/threads/{session}/runs", body)

    async def state(self, session: str) -> str:
        thread = await self.http("GET", f"/threads/{session}")
        runs = await self.http("GET", f"/threads/{session}/runs")
        return f"{thread['status']}, run {runs[0]['status'] if runs else 'gone'}"

    async def asked(self, session: str) -> list[str]:
        """By the thread's state, and by the thread itself."""
        tasks = (await self.http("GET", f"/threads/{session}/state"))["tasks"]
        kept = (await self.http("GET", f"/threads/{session}")).get("interrupts") or {}
        of_all = [*(task.get("interrupts", []) for task in tasks), *kept.values()]
        return list(dict.fromkeys(interrupt["id"] for interrupts in of_all for interrupt in interrupts))

    async def allow(self, session: str, id: str) -> None:
        await self._run(session, {"command": {"resume": {id: "yes"}}})

    async def page(self, session: str, kept: Any = None) -> Page:
        page = _Page(self, session, kept)
        await page.open()
        return page


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""


class _Page(Page):
    """It shows the thread's messages, and joins the newest run from where it was, or from its beginning."""

    def __init__(self, server: LangGraph, session: str, kept: Any) -> None:
        self._server, self._session = server, session
        self.kept: dict[str, Any] = kept or {"run": None, "last": None, "messages": {}}
        self._stream: EventStream | None = None
        self._watch: Any = None

    async def open(self) -> None:
        state = await self._server.http("GET", f"/threads/{self._session}/state")
        for message in (state.get("values") or {}).get("messages", []):
            if message["type"] == "ai":
                self.kept["messages"][message["id"]] = message["content"]
        self._show()
        self._watch = asyncio.create_task(self._join())

    async def _join(self) -> None:
        """Every run of the thread, one after the other, as they come."""
        while True:
            runs = await self._server.http("GET", f"/threads/{self._session}/runs")
            if runs and (runs[0]["run_id"] != self.kept["run"] or self._stream is None):
                if runs[0]["run_id"] != self.kept["run"]:
                    self.kept["run"], self.kept["last"] = runs[0]["run_id"], None
                path = f"/threads/{self._session}/runs/{runs[0]['run_id']}/stream?stream_mode=messages-tuple"
                self._stream = EventStream(
                    self._server.port, path, self._heard, {"Last-Event-ID": self.kept["last"] or "-1"}
                )
                await self._stream.open()
            await asyncio.sleep(0.2)

    def _heard(self, event: str, said: Any) -> None:
        if self._stream is not None:
            self.kept["last"] = self._stream.last_id
        if event == "messages" and isinstance(said, list) and said[0]["type"] == "AIMessageChunk":
            id = said[0]["id"]
            self.kept["messages"][id] = self.kept["messages"].get(id, "") + said[0]["content"]
            self._show()

    def _show(self) -> None:
        self.text = "\n".join(self.kept["messages"].values())

    async def cut(self) -> None:
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        if self._stream is not None:
            await self._stream.cut()
