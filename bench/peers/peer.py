"""What a server has to offer to be measured: each of the others is a file beside this one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.peers.provider import Provider

INSTALLED = Path(__file__).parents[2] / "build" / "peers"
"""Where the released packages of the others are installed."""


class Page(ABC):
    """A client of one session, as the server's documentation describes one: it shows a text.

    `kept`: what it would keep over a cut connection of the same page.
    """

    text = ""
    """Of the newest answer, as the page shows it."""
    kept: Any = None

    @abstractmethod
    async def cut(self) -> None:
        """The network is gone: no goodbye."""

    @property
    def tokens(self) -> list[int]:
        return [int(n) for n in re.findall(r"\btok(\d+)\b", self.text)]

    async def until(self, tokens: int, patience: float = 60.0) -> None:
        """Until so many tokens are shown."""
        await until(lambda: len(self.tokens) >= tokens, patience, f"{len(self.tokens)} of {tokens} tokens are shown")


class Peer(ABC):
    """One server, with its data in `folder`, its code base in `folder/project`, and the scripted model."""

    name = ""
    version = ""
    setting = ""
    """How it was run, where its documentation leaves a choice."""
    limits = ""
    """What its documentation or its release says of what it does not do."""
    package = ""
    an_id = "0b0c5f3e-6f2f-4d3a-9a53-1f0b1f7b6a11"
    """A client's id of a message, in the form that it takes."""
    can_ask = True
    """Whether it can be told to ask a person before a command."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        self.folder, self.provider = folder, provider
        self.root = folder / "project"
        self.root.mkdir(parents=True)
        (self.root / "hub.py").write_text("def sweep():\n    return []\n")
        provider.marks = self.root / "marks"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    # -- the process

    @abstractmethod
    def command(self) -> tuple[list[str], dict[str, str]]:
        """What starts it, and what is set in its environment."""

    @abstractmethod
    async def ready(self) -> None:
        """Raises until it answers what a page asks first."""

    async def start(self) -> float:
        """Start it; seconds until it answered."""
        program, environ = self.command()
        began = time.monotonic()
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                program, cwd=self.root, stdout=log, stderr=log, env=_environment() | environ, start_new_session=True
            )
        while True:
            try:
                await self.ready()
                return time.monotonic() - began
            except Exception:
                if self.process.poll() is not None or time.monotonic() - began > 120:
                    said = (self.folder / "server.log").read_bytes()[-800:].decode("utf-8", "replace")
                    raise RuntimeError(f"{self.name} did not start: {said}") from None
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """SIGKILL to the server's process, and to the others that it is made of; not to what it runs for its user."""
        for pid in self.server_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.process is not None
        await asyncio.to_thread(self.process.wait)

    def server_processes(self) -> list[int]:
        assert self.process is not None
        return [self.process.pid]

    async def close(self) -> None:
        """End it, and what it may have left."""
        if self.process is not None and self.process.poll() is None:
            left = list(below(self.process.pid))
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self.process.wait, 10)
            for pid in [self.process.pid, *left]:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(self.process.wait)

    # -- sessions

    @abstractmethod
    async def new(self) -> str:
        """A new session."""

    @abstractmethod
    async def send(self, session: str, text: str, id: str | None = None) -> None:
        """A prompt, with the client's own id of it where the server takes one."""

    @abstractmethod
    async def page(self, session: str, kept: Any = None) -> Page:
        """A page that opens: anew, or again with what it had kept when its connection was cut."""

    @abstractmethod
    async def state(self, session: str) -> str:
        """What the server says of it, in its own words."""

    async def asked(self, session: str) -> list[str]:
        """Ids of what waits for a person's leave."""
        return []

    async def allow(self, session: str, id: str) -> None:
        """Give leave."""
        raise NotImplementedError

    # -- HTTP

    async def http(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Any:
        """A request; the answer as JSON. Raises for all but 2xx."""

        def ask() -> Any:
            data = None if body is None else json.dumps(body).encode()
            more = {"Content-Type": "application/json", **self.headers(), **(headers or {})}
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, more, method=method)
            with _DIRECT.open(request, timeout=30) as answer:
                text = answer.read()
                return json.loads(text) if text.strip() else None

        return await asyncio.to_thread(ask)

    def headers(self) -> dict[str, str]:
        return {}


class EventStream:
    """Server-sent events, read until they end or are cut."""

    def __init__(self, port: int, path: str, heard: Callable[[str, Any], None], headers: dict[str, str]) -> None:
        self._port, self._path, self._heard, self._headers = port, path, heard, headers
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self.last_id: str | None = None
        self.ended = False

    async def open(self) -> None:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=64 * 1024**2)
        lines = [f"GET {self._path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", "Accept: text/event-stream"]
        lines += [f"{name}: {value}" for name, value in self._headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(head.split(b"\r\n")[0].decode())
        self._task = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Sizes of chunks stand in lines of their own, which are no fields, and so fall out."""
        event, data = "", ""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                if text.startswith("data:"):
                    data += text[5:].strip()
                elif text.startswith("event:"):
                    event = text[6:].strip()
                elif text.startswith("id:"):
                    self.last_id = text[3:].strip()
                elif not text and data:
                    with contextlib.suppress(ValueError):
                        self._heard(event, json.loads(data))
                    event, data = "", ""
        self.ended = True

    async def cut(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "USER", "SSL_CERT_FILE")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "NO_PROXY": "localhost,127.0.0.1",
        "no_proxy": "localhost,127.0.0.1",
    }


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def below(pid: int) -> list[int]:
    """All processes that a process has started, and those that these have."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += [int(child), *below(int(child))]
    return found


def memory(pid: int) -> float:
    """MB that a process and those below it hold, what they share counted once (PSS)."""
    total = 0
    for one in (pid, *below(pid)):
        with contextlib.suppress(OSError):
            found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{one}/smaps_rollup").read_text(), re.M)
            total += int(found[1]) if found else 0
    return total / 1000


async def until(
    done: Callable[[], bool | Awaitable[bool]], patience: float, what: str | Callable[[], str], every: float = 0.05
) -> None:
    """Raises TimeoutError, saying what was waited for."""
    end = time.monotonic() + patience
    while True:
        found = done()
        if found if isinstance(found, bool) else await found:
            return
        if time.monotonic() > end:
            raise TimeoutError(f"after {patience:.0f} s: {what if isinstance(what, str) else what()}")
        await asyncio.sleep(every)
