"""A real server, a real Chromium, and a network that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium_path
from playwright.async_api import Browser, BrowserContext, async_playwright

from example import FILES


class Server:
    """`reconvene serve` as a person starts it. `kill` is SIGKILL; `start` again on the same port and data folder."""

    def __init__(self, folder: Path, environ: dict[str, str] | None = None) -> None:
        self.folder, self.data = folder, folder / "data"
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self.environ = {"RECONVENE_OFFLINE_DELAY_MS": "2", **(environ or {})}
        root = folder / "project"
        for name, text in FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.root = root

    def start(self, *more: str) -> str:
        """Start, and return the one-time sign-in URL it prints."""
        command = [sys.executable, "-m", "reconvene.cli.main", "serve", str(self.root), "--port", str(self.port)]
        command += ["--data-dir", str(self.data), "--no-browser", *more]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("RECONVENE_")} | self.environ
        log = (self.folder / "server.err").open("a")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environ)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line.startswith("http"), (line, (self.folder / "server.err").read_text()[-2000:])
        self.port = json.loads((self.data / "server.json").read_text())["port"]
        return line

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    def kill(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def rows(self, session_id: str) -> list[dict[str, Any]]:
        """The public events of a session, over HTTP."""
        import urllib.request

        token = (self.data / "owner.token").read_text().strip()
        after, events = 0, []
        while True:
            request = urllib.request.Request(
                f"{self.origin}/api/sessions/{session_id}/events?after={after}&limit=1000",
                headers={"Authorization": f"Bearer {token}"},
            )
            with urllib.request.urlopen(request) as answer:
                page = json.load(answer)
            events += page["events"]
            if not page["events"] or page["next"] is None or page["events"][-1]["seq"] >= page["head"]:
                return events
            after = page["events"][-1]["seq"]


class Proxy:
    """A TCP proxy on loopback between the page and the server. `cut` breaks every connection, in the middle of a frame if
    `after` bytes say so; `down` refuses new ones until `up`."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = 0
        self.is_up = True
        self.bytes = 0
        self.cut_after: int | None = None
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_up:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        self._writers |= {writer, up_writer}
        await asyncio.gather(self._pump(reader, up_writer, False), self._pump(up_reader, writer, True))
        self._writers -= {writer, up_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, down: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if down:
                    self.bytes += len(data)
                    if self.cut_after is not None and self.bytes >= self.cut_after:
                        # only a part of what the server sent arrives: the last frame is cut in two
                        writer.write(data[: max(1, len(data) // 2)])
                        self.cut_after = None
                        await asyncio.sleep(0)
                        self.cut()
                        return
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def down(self) -> None:
        self.is_up = False
        self.cut()

    def up(self) -> None:
        self.is_up = True

    async def close(self) -> None:
        self._server.close()
        self.cut()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    if server.process and server.process.poll() is None:
        server.process.kill()
        server.process.wait()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(chromium_path()), args=flags)
        yield browser
        await browser.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context()
    yield context
    await context.close()


async def until(condition: Any, patience: float = 20.0, what: str = "") -> Any:
    """Poll something of the browser that has no event to wait for."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, f"not reached: {what or condition}"
        await asyncio.sleep(0.02)
