"""From the start of a process, after `kill -9`, to the first frame that a returning client gets."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.attaching import LONG, MISSED
from bench.control import HERE, Child, clean_environment
from bench.machine import cpu_seconds
from bench.plan import Plan
from bench.stage import source
from bench.table import Row, ratio
from bench.wire import SYNCED, TEXT, Incoming, frame, handshake, hello

PATIENCE = 30.0


@dataclass(slots=True)
class _Figures:
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    synced: list[float] = field(default_factory=list)


def measure(folder: Path, padding: str, plan: Plan) -> list[Row]:
    root, data = source(folder), folder / "data"
    served = Child("bench.served", str(data), str(root), padding)
    token = served.call("ready")["token"]
    session = served.call("long_session", events=LONG, size=plan.size)
    cursor = served.call("cursor", session_id=session, missed=MISSED)
    served.stop(signal.SIGKILL)
    ours, floor = _Figures(), _Figures()
    returning = hello("c", session, cursor)
    for _ in range(plan.restarts):
        port = _free_port()
        start = ["reconvene.cli.main", "serve", str(root), "--data-dir", str(data), "--no-browser", "--port", str(port)]
        _restart(start, port, token, returning, ours)
        port = _free_port()
        _restart(
            ["bench.floor", "-", padding, str(port)], port, "none", json.dumps({"group": "g", "missed": MISSED}), floor
        )
    cpu, wall = median(ours.cpu), median(ours.wall)
    name = "restart after kill -9 to first frame"
    return [
        Row(
            f"{name}: CPU s",
            f"{cpu:.2f}",
            f"{median(floor.cpu):.2f}",
            f"{ratio(ours.cpu, floor.cpu):.2f}",
            "≤ 1 s",
            cpu <= 1,
            f"`reconvene serve` on a data folder with a session of {LONG:,} events; the floor is the web server alone.",
        ),
        Row(
            f"{name}: wall s",
            f"{wall:.2f}",
            f"{median(floor.wall):.2f}",
            f"{ratio(ours.wall, floor.wall):.2f}",
            note=f"all {MISSED} missed events were there after {median(ours.synced):.2f} s.",
        ),
    ]


def _restart(module: Sequence[str], port: int, token: str, hello: str, figures: _Figures) -> None:
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *module], cwd=HERE, env=clean_environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        with _shake_hands(process, port, token, started) as client:
            client.sendall(frame(TEXT, hello.encode()))
            incoming, first = Incoming(), True
            while data := client.recv(1 << 16):
                now = time.perf_counter() - started
                payloads = [payload for opcode, payload in incoming.feed(data) if opcode == TEXT]
                if payloads and first:
                    first = False
                    figures.cpu.append(cpu_seconds(process.pid))
                    figures.wall.append(now)
                    assert payloads[0].startswith(b'{"type":"session"'), payloads[0][:200]
                if any(SYNCED in payload[-32:] for payload in payloads):
                    figures.synced.append(now)
                    return
            raise RuntimeError("the server closed the connection")
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def _shake_hands(process: subprocess.Popen[bytes], port: int, token: str, started: float) -> socket.socket:
    """A connection that was upgraded; tried until the server is there."""
    while time.perf_counter() - started < PATIENCE:
        if process.poll() is not None:
            assert process.stderr is not None
            raise RuntimeError(f"{process.args!r} ended: {process.stderr.read().decode()[-500:]}")
        client = socket.socket()
        client.settimeout(PATIENCE)
        try:
            client.connect(("127.0.0.1", port))
            client.sendall(handshake(port, token))
            head = b""
            while b"\r\n\r\n" not in head and (byte := client.recv(1)):
                head += byte
            if b" 101 " in head[:16]:
                return client
        except ConnectionError:
            pass
        client.close()
        time.sleep(0.005)
    raise RuntimeError(f"no server on port {port} after {PATIENCE:g} s")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
