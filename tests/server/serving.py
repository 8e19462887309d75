"""A real server on loopback, without runs: tests write a run's events themselves, through the sessions."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from reconvene.adapters import endpoints
from reconvene.config import Limits, Settings
from reconvene.log.port import Fence, NewEvent
from reconvene.protocol import events as ev
from reconvene.server.lifecycle import Ended, Ready, Server
from reconvene.server.services import Services
from reconvene.sessions.rows import event
from reconvene.sessions.service import Sessions

PATIENCE = 10.0


class _WithoutRuns(Server):
    async def _start_runs(self, *_: Any) -> None:
        """Runs are played by the test."""


class Serving:
    """A server that is up; `async with serving(tmp_path) as server`."""

    def __init__(self, data_dir: Path, server: Server, ready: Ready, task: asyncio.Task[Ended]) -> None:
        self.data_dir, self.server, self.ready, self.task = data_dir, server, ready, task
        self.port = ready.port
        self.token = (data_dir / "owner.token").read_text().strip()

    @property
    def services(self) -> Services:
        assert self.server.services is not None
        return self.server.services

    @property
    def sessions(self) -> Sessions:
        return self.services.sessions

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def connect(self, **options: Any) -> connect:
        headers = {**self.bearer, **options.pop("headers", {})}
        options = {
            "compression": None,
            "max_size": None,
            "ping_interval": None,
            "proxy": None,
            "close_timeout": 1,
            **options,
        }
        return connect(f"ws://localhost:{self.port}/ws", additional_headers=headers, **options)

    async def http(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None, bearer: bool = True
    ) -> Answer:
        """One request, by hand, so that a test can send what no client library would."""
        lines = {
            "Host": f"localhost:{self.port}",
            "Connection": "close",
            **(self.bearer if bearer else {}),
            **(headers or {}),
        }
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if data or method in ("POST", "PATCH"):
            lines = {"Content-Length": str(len(data)), **lines}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n"
        return await self.raw(head.encode() + data)

    async def raw(self, data: bytes) -> Answer:
        """Send bytes, read until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            async with asyncio.timeout(PATIENCE):
                got = await reader.read()
        finally:
            writer.close()
        return Answer.parse(got)

    async def play(self, session_id: str, run_id: str, *contents: ev.Content, item_id: str | None = None) -> None:
        """Append events as a run does."""
        new = [event(content, run_id=run_id, item_id=item_id) for content in contents]
        await self.sessions.log.append(session_id, new)

    async def append(self, session_id: str, *events: NewEvent, fence: Fence | None = None) -> None:
        await self.sessions.log.append(session_id, events, fence=fence)


class Answer:
    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @classmethod
    def parse(cls, got: bytes) -> Answer:
        head, _, body = got.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        if not lines[0].startswith("HTTP/"):
            return cls(0, [], got)
        headers = [(k.strip().lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines[1:])]
        if ("transfer-encoding", "chunked") in headers:
            whole = b""
            while body:
                size, _, body = body.partition(b"\r\n")
                whole += body[: int(size, 16)]
                body = body[int(size, 16) + 2 :]
            body = whole
        return cls(int(lines[0].split()[1]), headers, body)

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@contextlib.asynccontextmanager
async def serving(
    tmp_path: Path, *, limits: dict[str, Any] | None = None, kind: type[Server] = _WithoutRuns, **settings: Any
) -> AsyncIterator[Serving]:
    root = tmp_path / "project"
    root.mkdir(exist_ok=True)
    (root / "main.py").write_text("def start() -> int:\n    return 1\n")
    data_dir = tmp_path / "data"
    wide = {"connections": 500, "connections_per_user": 500, "handshakes_per_second": 1000}
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    made = Settings(
        data_dir=data_dir, port=settings.pop("port", 0), limits=Limits(**{**wide, **(limits or {})}), **settings
    )
    server = kind(made, [root], on_ready=ready.set_result, endpoints=endpoints)
    task = asyncio.create_task(server.run())
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield Serving(data_dir, server, ready.result(), task)
    finally:
        server.stop()
        async with asyncio.timeout(PATIENCE):
            await task


async def receive(
    socket: ClientConnection, *types: str, until: Callable[[dict[str, Any]], bool] | None = None
) -> dict[str, Any]:
    """The next frame (of one of these types, if any are named)."""
    async with asyncio.timeout(PATIENCE):
        while True:
            frame: dict[str, Any] = json.loads(await socket.recv())
            if (not types or frame["type"] in types) and (until is None or until(frame)):
                return frame


async def send(socket: ClientConnection, frame: object) -> None:
    await socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))


async def closed(socket: ClientConnection) -> tuple[int, str]:
    """Read on until the server closes; the close code and reason."""
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(Exception):
            while True:
                await socket.recv()
    await socket.wait_closed()
    return socket.close_code or 1006, socket.close_reason or ""


def hello(
    session_id: str | None = None, cursor: str | None = None, client: str | None = None, **config: Any
) -> dict[str, Any]:
    config = {k: v for k, v in {"session_id": session_id, "cursor": cursor, **config}.items() if v is not None}
    frame: dict[str, Any] = {"type": "hello", "proto": 1, "config": config}
    if client is not None:
        frame["client"] = {"id": client, "name": client}
    return frame


def prompt(id: str, text: str, **more: Any) -> dict[str, Any]:
    return {"type": "default", "id": id, "content": text, **more}
