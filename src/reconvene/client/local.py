"""The running server of a data folder on this machine: whether there is one, and where. Standard library only, so that it starts fast."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reconvene.client.http import TIMEOUT, Endpoint, as_json
from reconvene.errors import ReconveneError

LOCK = "server.lock"
"""As in `reconvene.log.folder`, which would have to import SQLite."""
ANSWER = 5.0
"""Seconds that a server may take to say that it is there."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers, and the owner's token for it."""

    pid: int
    host: str
    port: int
    token: str
    status: str = "ok"
    """What it says of itself; else the code of what is wrong with its database."""

    @property
    def endpoint(self) -> Endpoint:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return Endpoint(f"http://{host}:{self.port}", self.token)

    @property
    def ws_url(self) -> str:
        return self.endpoint.ws_url

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float = TIMEOUT) -> Any:
        """One request; see `Endpoint.call`."""
        return self.endpoint.call(method, path, body, timeout=timeout)

    def text(self, method: str, path: str, *, timeout: float = TIMEOUT) -> str:
        """Like `call`, for an answer that is no JSON."""
        return self.endpoint.text(method, path, timeout=timeout)


def find(data_dir: Path) -> Server | None:
    """The server that uses this data folder now; None when there is none (the file of a killed one is passed over)."""
    try:
        said = json.loads((data_dir / "server.json").read_text("utf-8"))
        token = (data_dir / "owner.token").read_text("ascii").strip()
        server = Server(int(said["pid"]), str(said["host"]), int(said["port"]), token)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not (alive(server.pid) and claimed(data_dir)):
        return None
    status = health(server)
    return None if status is None else replace(server, status=status)


def need(data_dir: Path) -> Server:
    """Like `find`, for commands that make no sense without a server.

    Raises:
        ReconveneError: `not_running`; `starting` when there is one that does not answer.
    """
    if (server := find(data_dir)) is not None:
        return server
    if claimed(data_dir):
        raise not_answering(data_dir)
    raise ReconveneError("not_running", f"No server is running for {data_dir}. Start one with `reconvene serve`.")


def not_answering(data_dir: Path) -> ReconveneError:
    """What is said of a process that has the data folder and does not answer."""
    try:
        pid = (data_dir / LOCK).read_text("ascii").split()[0]
    except (OSError, ValueError, IndexError):
        pid = ""
    who = f"process {pid}" if pid.isdigit() else "a process"
    return ReconveneError(
        "starting",
        f"A server has {data_dir} ({who}), but does not answer. Try again in a moment; `reconvene doctor` says more.",
    )


def claimed(data_dir: Path) -> bool:
    """Whether a living process holds the data folder's lock.

    Without it, what listens on the port of a killed server could be anything, and would be shown the owner's token.
    """
    try:
        lock = os.open(data_dir / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def health(server: Server) -> str | None:
    """What it says of itself at `/healthz`, which needs no credential; None when it does not answer."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=ANSWER)
    try:
        connection.request("GET", "/healthz")
        said = as_json(connection.getresponse().read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return str(said.get("status")) if isinstance(said, dict) and "version" in said else None


def alive(pid: int) -> bool:
    """Whether a process of this id exists and is not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0]
    except OSError:  # no /proc, or gone this moment; the next question will tell
        return True
    return state != "Z"


def wait_gone(pid: int, seconds: float) -> bool:
    """Wait for a process to end; whether it did."""
    deadline = time.monotonic() + seconds
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
