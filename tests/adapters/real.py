"""A data folder, a small code base and the commands of editors and agents, in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from example import FILES
from reconvene.client.local import alive

LOOPBACK = {"NO_PROXY": "localhost,127.0.0.1", "no_proxy": "localhost,127.0.0.1"}
QUESTION = "Where are idle sessions removed?"
PEERS = Path(__file__).parents[1] / "peers"


class Place:
    """`serve` starts a server by hand; the bridges start one themselves."""

    def __init__(self, folder: Path, *, pause_ms: float = 40) -> None:
        self.data, self.root = folder / "data", folder / "project"
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("RECONVENE_")},
            **LOOPBACK,
            "RECONVENE_OFFLINE_DELAY_MS": str(pause_ms),
            "RECONVENE_PORT": "0",
        }
        for name, text in FILES.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self._started: list[subprocess.Popen[bytes]] = []
        self.kills = 0

    def command(self, name: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "reconvene.cli.main",
            name,
            "--data-dir",
            str(self.data),
            "--root",
            str(self.root),
        ]

    def serve(self, port: int = 0, *, pause_ms: float | None = None) -> None:
        """`pause_ms`: this server's, between two words; 0 after a kill, so that nobody waits for the rest of an answer."""
        command = [sys.executable, "-m", "reconvene.cli.main", "serve", str(self.root), "--no-browser"]
        command += ["--data-dir", str(self.data), "--port", str(port)]
        environ = self.environ if pause_ms is None else {**self.environ, "RECONVENE_OFFLINE_DELAY_MS": str(pause_ms)}
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._started.append(process)
        assert process.stdout is not None and process.stdout.readline().startswith(b"http")

    def serve_if_needed(self) -> None:
        """A server that an earlier test left running is taken."""
        if not _alive(self):
            self.serve()

    @property
    def server(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data / "server.json").read_text())
        return found

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server['port']}"

    @property
    def token(self) -> str:
        return (self.data / "owner.token").read_text().strip()

    def kill(self) -> int:
        """SIGKILL to the server; its port."""
        server = self.server
        self.kills += 1
        os.kill(server["pid"], signal.SIGKILL)
        for process in self._started:
            if process.pid == server["pid"]:
                process.wait()
        return int(server["port"])

    def end(self) -> None:
        """No server runs any more: the next one speaks slowly again."""
        if _alive(self):
            self.kill()

    def finish_unseen(self, bridge: int) -> None:
        """Kill the server, and have another one end what is going on before the bridge (its pid) sees it: so that there is something
        that it missed."""
        os.kill(bridge, signal.SIGSTOP)
        try:
            self.finish_elsewhere()
        finally:
            os.kill(bridge, signal.SIGCONT)

    def finish_elsewhere(self) -> None:
        """Kill the server; returns when another one, on its port, has ended what was going on."""
        self.serve(self.kill(), pause_ms=0)
        request = urllib.request.Request(f"{self.url}/api/sessions", headers={"Authorization": f"Bearer {self.token}"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + 60
        while True:
            with opener.open(request, timeout=30) as answer:
                if all(session["status"] == "idle" for session in json.load(answer)["sessions"]):
                    return
            assert time.monotonic() < deadline, "it does not end"
            time.sleep(0.02)

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            pid = self.server["pid"]
            os.kill(pid, signal.SIGKILL)
        for process in self._started:
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and _alive(self):
            time.sleep(0.02)


def _alive(place: Place) -> bool:
    try:
        return alive(int(place.server["pid"]))
    except (OSError, ValueError, KeyError):
        return False


def node() -> str:
    """The Node of the set-up, with which the other clients' packages were installed."""
    assert (PEERS / "node_modules").is_dir(), "tests/peers is not installed; `make test` does it"
    return str(Path(sys.executable).with_name("node"))
