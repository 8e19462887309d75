"""`reconvene serve` as a person starts it, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext

from example import FILES

LOOPBACK = {"NO_PROXY": "localhost,127.0.0.1", "no_proxy": "localhost,127.0.0.1"}
"""The scripted provider is on this machine: no proxy of the environment stands between."""


def free_port() -> int:
    """A port for a server that is ended and comes back: not one that the system lends to whoever asks for any, as a page or another
    test does in between."""
    tries = random.SystemRandom()
    while True:
        port = tries.randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """`kill` is SIGKILL, `stop` SIGTERM; `start` again takes the same port and data folder."""

    def __init__(
        self, folder: Path, *arguments: str, environ: dict[str, str] | None = None, mutation: str | None = None
    ) -> None:
        """`mutation`: Python that is run before it starts: a control."""
        self.folder, self.data, self.root = folder, folder / "data", folder / "project"
        self.arguments, self.mutation = arguments, mutation
        self.environ = {"RECONVENE_OFFLINE_DELAY_MS": "0", **LOOPBACK, **(environ or {})}
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None
        for name, text in FILES.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def start(self) -> str:
        """Start, and return the one-time sign-in URL that it prints."""
        program = ["-m", "reconvene.cli.main"]
        if self.mutation is not None:
            program = ["-c", f"{self.mutation}\nfrom reconvene.cli.main import main\nmain()"]
        command = [sys.executable, *program, "serve", str(self.root), "--port", str(self.port)]
        command += ["--data-dir", str(self.data), "--no-browser", *self.arguments]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("RECONVENE_")} | self.environ
        with (self.folder / "server.err").open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environ)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line.startswith("http"), (line, (self.folder / "server.err").read_text()[-2000:])
        assert json.loads((self.data / "server.json").read_text())["port"] == self.port
        return line

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def is_up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        assert self._end(signal.SIGTERM) == 0

    def _end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def close(self) -> None:
        if self.is_up:
            with contextlib.suppress(OSError):
                self.kill()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The HTTP API with the owner's token."""
        token = (self.data / "owner.token").read_text().strip()
        request = urllib.request.Request(
            f"{self.origin}{path}",
            method=method,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def new_link(self) -> str:
        return str(self.call("POST", "/api/sign-in-links")["url"])

    async def sign_in(self, context: BrowserContext) -> None:
        """As by the printed link, without drawing the page."""
        answer = await context.request.get(self.new_link(), max_redirects=0)
        assert answer.status == 303, answer.status

    def rows(self, session_id: str) -> list[dict[str, Any]]:
        """The public events of a session."""
        after, events = 0, []
        while True:
            page = self.call("GET", f"/api/sessions/{session_id}/events?after={after}&limit=1000")
            events += page["events"]
            if not page["events"] or page["next"] is None or page["events"][-1]["seq"] >= page["head"]:
                return events
            after = page["events"][-1]["seq"]
