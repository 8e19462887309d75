"""A server started in the background, for commands that need one and find none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from reconvene.client.local import Server, claimed, find, not_answering
from reconvene.errors import ReconveneError

IDLE_EXIT = "10m"
START_TIME = 60.0
"""Seconds; a cold start on a slow disk compiles every module first."""
OTHERS = 30.0
"""Seconds that a server which somebody else has begun to start is waited for."""


def start(data_dir: Path, root: Path, *, port: int, port_is_chosen: bool) -> Server:
    """Start a server that outlives this command and stops after ten idle minutes; wait until it answers.

    Args:
        root: the code base it serves.
        port: taken when it is free; when it is not and nobody chose it (`port_is_chosen`), the system gives another. The port of a
            server that was killed goes before one that nobody chose: pages that were open on it find their server again.

    Raises:
        ReconveneError: `data_dir_unusable`; `starting` when it did not come up, naming its log, or when another one does not answer.
    """
    if (server := _somebody_elses(data_dir)) is not None:
        return server
    if not port_is_chosen:
        port = left_behind(data_dir) or port
    log = data_dir / "logs" / "background.log"
    try:
        for folder in (data_dir, log.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise ReconveneError(
            "data_dir_unusable", f"{log} cannot be written: {e.strerror}. Choose another --data-dir."
        ) from e
    command = [
        sys.executable,
        "-m",
        "reconvene.cli.main",
        "serve",
        str(root),
        "--data-dir",
        str(data_dir),
        "--no-browser",
    ]
    command += ["--port", str(port if port_is_chosen or _free(port) else 0), "--idle-exit", IDLE_EXIT]
    try:
        written = os.lseek(output, 0, os.SEEK_END)
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=output, cwd="/", start_new_session=True
        )
    finally:
        os.close(output)
    deadline = time.monotonic() + START_TIME
    while time.monotonic() < deadline:
        if (server := find(data_dir)) is not None:
            return server
        # Another command may have started one in the same moment: then ours ends, and theirs is found.
        if (code := process.poll()) is not None:
            if (server := _coming_up(data_dir, min(deadline, time.monotonic() + 2.0))) is not None:
                return server
            raise ReconveneError("starting", f"The server did not start (exit {code}): {_last_words(log, written)}")
        time.sleep(0.05)
    raise ReconveneError("starting", f"The server did not answer within {START_TIME:.0f} s. Its log is {log}.")


def left_behind(data_dir: Path) -> int | None:
    """The port of a server that was killed: one that is stopped takes its `server.json` with it. None: there was no such end."""
    try:
        port = int(json.loads((data_dir / "server.json").read_text("utf-8"))["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if claimed(data_dir) else port


def _somebody_elses(data_dir: Path) -> Server | None:
    """A server that another command has begun to start; None as soon as nobody has the folder (a dead one may keep it for a while)."""
    until = time.monotonic() + OTHERS
    while claimed(data_dir):
        if (server := find(data_dir)) is not None:
            return server
        if time.monotonic() > until:
            raise not_answering(data_dir)
        time.sleep(0.1)
    return None


def _coming_up(data_dir: Path, until: float) -> Server | None:
    """Another process's server, if it appears in time."""
    while time.monotonic() < until:
        if (server := find(data_dir)) is not None:
            return server
        time.sleep(0.05)
    return None


def _free(port: int) -> bool:
    """Whether both loopbacks have this port free."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((host, port))
        except OSError as e:
            if family == socket.AF_INET or e.errno not in (socket.EAI_ADDRFAMILY, 97, 99):
                return False
    return True


def _last_words(log: Path, since: int) -> str:
    with open(log, encoding="utf-8", errors="replace") as file:
        file.seek(since)
        lines = [line.strip() for line in file if line.strip()]
    return f"{lines[-1] if lines else 'it said nothing'} (see {log})"
