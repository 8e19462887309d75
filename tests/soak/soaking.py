"""The load of a soak, and what has to be flat in the end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

Figures = dict[str, float]
PATIENCE = 120.0
KINDS = ("look", "look", "look", "slow", "ask", "change", "plain", "plain", "http", "dropped", "left")
"""What a session is: a prompt with tools (`look`), a longer answer, a question that is answered, a change that is accepted, the plain
sample, HTTP with server-sent events, a client that is cut off in the middle and comes back, one that is and does not."""


class Child:
    """The server in its process (`soaked.py`)."""

    def __init__(self, process: asyncio.subprocess.Process, root: Path) -> None:
        self._process, self.root = process, root
        self.port, self.token = 0, ""

    async def order(self, do: str, **more: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write((json.dumps({"do": do, **more}) + "\n").encode())
        async with asyncio.timeout(PATIENCE):
            line = await self._process.stdout.readline()
        assert line, "the server has ended"
        said = json.loads(line)
        assert "ok" in said, said
        return said["ok"]

    async def swept(self, idle: float) -> dict[str, int]:
        """Let so many seconds pass in which nobody comes, and sweep. Runs that somebody left are given time to end before."""
        await self.order("skip", seconds=idle)
        found: dict[str, int] = await self.order("sweep")
        return found

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def connect(self) -> connect:
        return connect(
            f"ws://localhost:{self.port}/ws",
            additional_headers=self.headers,
            compression=None,
            max_size=None,
            proxy=None,
            ping_interval=None,
            open_timeout=PATIENCE,
        )

    async def http(self, method: str, path: str, body: object = None) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost:{self.port}\r\nAuthorization: Bearer {self.token}\r\n"
        head += f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        got = await reader.read()
        writer.close()
        status = int(got.split(b" ", 2)[1])
        assert status < 300, got[:500]
        answer = got.partition(b"\r\n\r\n")[2]
        return json.loads(answer) if answer else None


@contextlib.asynccontextmanager
async def server(folder: Path, leak: str = "none") -> AsyncIterator[Child]:
    root = folder / "project"
    (root / "src").mkdir(parents=True)
    (root / "src" / "hub.py").write_text(
        "class Hub:\n    def sweep(self, now):\n        return [s for s in self.sessions]\n"
    )
    program = [sys.executable, str(Path(__file__).with_name("soaked.py")), str(folder / "data"), str(root), leak]
    with (folder / "server.err").open("w") as errors:
        process = await asyncio.create_subprocess_exec(
            *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
    child = Child(process, root)
    try:
        child.__dict__.update(await child.order("ready"))
        yield child
    finally:
        assert process.stdin
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (folder / "server.err").read_text()[-2000:]


class Load:
    """Sessions of all kinds, one after the other, `at_once` of them together."""

    def __init__(self, child: Child, seed: int, at_once: int = 8) -> None:
        self.child, self.at_once = child, at_once
        self._rng, self._numbers = random.Random(seed), itertools.count(1)
        self.done: Counter[str] = Counter()
        self.left: list[str] = []

    async def sessions(self, number: int, kinds: Sequence[str] = KINDS) -> None:
        turn = asyncio.Semaphore(self.at_once)

        async def one(kind: str, n: int) -> None:
            async with turn, asyncio.timeout(PATIENCE):
                await getattr(self, f"_{kind}")(n)
                self.done[kind] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(number):
                group.create_task(one(self._rng.choice(kinds), next(self._numbers)))
        await self._ended()

    async def _ended(self) -> None:
        """Those that somebody left go on by themselves: until they are done."""
        for session in self.left:
            while (await self.child.http("GET", f"/api/sessions/{session}"))["status"] != "idle":
                await asyncio.sleep(0.05)
        self.left.clear()

    async def _look(self, n: int) -> None:
        async with self.child.connect() as socket:
            await _send(socket, _hello())
            await _send(socket, {"type": "default", "id": f"p{n}", "content": f"look {n}"})
            await _completed(socket)

    async def _slow(self, n: int) -> None:
        async with self.child.connect() as socket:
            await _send(socket, {"type": "default", "proto": 1, "id": f"p{n}", "content": f"slow {n}"})
            await _completed(socket)

    async def _ask(self, n: int) -> None:
        async with self.child.connect() as socket:
            await _send(socket, {"type": "default", "proto": 1, "id": f"p{n}", "content": f"ask {n}"})
            question = await _event(socket, "question")
            answer = {"type": "answer", "id": f"a{n}", "reply_to": question["content"]["id"], "content": "this one"}
            await _send(socket, answer)
            await _completed(socket)

    async def _change(self, n: int) -> None:
        async with self.child.connect() as socket:
            await _send(socket, {"type": "default", "proto": 1, "id": f"p{n}", "content": f"change {n}"})
            diff = await _event(socket, "diff")
            content = {"verdict": "accept", "hunks": None, "feedback": None}
            await _send(
                socket, {"type": "decision", "id": f"d{n}", "reply_to": diff["content"]["id"], "content": content}
            )
            await _completed(socket)
        (self.child.root / f"made{n}.py").unlink()

    async def _plain(self, n: int) -> None:
        async with self.child.connect() as socket:
            await _send(socket, {"type": "default", "content": f"look {n}", "config": {"session_id": None}})
            while json.loads(await socket.recv())["type"] != "completed":
                pass

    async def _http(self, n: int) -> None:
        session = (await self.child.http("POST", "/api/sessions", {}))["session_id"]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.child.port)
        lines = [
            f"GET /api/sessions/{session}/events HTTP/1.1",
            f"Host: localhost:{self.child.port}",
            "Accept: text/event-stream",
        ]
        writer.write("\r\n".join([*lines, f"Authorization: Bearer {self.child.token}", "", ""]).encode())
        await self.child.http(
            "POST", f"/api/sessions/{session}/messages", {"type": "default", "id": f"p{n}", "content": "look"}
        )
        while b'"type":"completed"' not in await reader.readline():
            pass
        writer.close()
        await self.child.http("DELETE", f"/api/sessions/{session}")

    async def _dropped(self, n: int) -> None:
        async with self.child.connect() as socket:
            await _send(socket, {"type": "default", "proto": 1, "id": f"p{n}", "content": f"slow {n}"})
            session = json.loads(await socket.recv())["content"]["session_id"]
            cursor = (await _frame(socket, "batch", "snapshot"))["content"]
            socket.transport.abort()
        async with self.child.connect() as socket:
            await _send(socket, _hello(session_id=session, cursor=cursor.get("upto") or cursor["cursor"]))
            await _completed(socket)

    async def _left(self, n: int) -> None:
        async with self.child.connect() as socket:
            await _send(socket, {"type": "default", "proto": 1, "id": f"p{n}", "content": f"slow {n}"})
            self.left.append(json.loads(await socket.recv())["content"]["session_id"])
            await _frame(socket, "ack")
            socket.transport.abort()


def _hello(**config: Any) -> dict[str, Any]:
    return {"type": "hello", "proto": 1, "config": config}


async def _send(socket: ClientConnection, frame: dict[str, Any]) -> None:
    await socket.send(json.dumps(frame))


async def _frame(socket: ClientConnection, *types: str) -> Any:
    while True:
        frame = json.loads(await socket.recv())
        assert frame["type"] not in ("nack", "error"), frame
        if frame["type"] in types:
            return frame


async def _event(socket: ClientConnection, type: str) -> Any:
    while True:
        for event in (await _frame(socket, "batch", "snapshot"))["content"]["events"]:
            assert event["type"] != "error", event
            if event["type"] == type:
                return event


async def _completed(socket: ClientConnection) -> None:
    assert (await _event(socket, "completed"))["content"]["outcome"] == "success"


# -- what has to be flat

GONE = ("loaded", "sessions")
"""Of which there must be none: in memory after an hour of idleness, in the log after a month of it."""
EXACT = {"descriptors": 3, "threads": (os.cpu_count() or 1) + 4, "tasks": 2, "contents": 2}
"""How many more there may be in the end than in the beginning: a keep-alive that is not over, the threads of asyncio's own pool."""
IN_PROPORTION = {"memory": 1.10, "stored": 1.10, "objects": 1.10}
"""By how much the median of the last third may be above that of the third before it; in the first one caches fill."""


def grown(rounds: Sequence[Figures], *, small: bool = False) -> list[str]:
    """What is not flat over rounds that all did the same. `small`: too few rounds for what is not exact."""
    found = [f"{name}: {' '.join(f'{r[name]:g}' for r in rounds)}" for name in GONE if any(r[name] for r in rounds)]
    for name, more in EXACT.items():
        if rounds[-1][name] > rounds[0][name] + more:
            found.append(f"{name}: {' '.join(f'{r[name]:g}' for r in rounds)}")
    part = max(1, len(rounds) // 3)
    for name, factor in IN_PROPORTION.items() if not small else ():
        first, last = (median(r[name] for r in some) for some in (rounds[-2 * part : -part], rounds[-part:]))
        if last > first * factor:
            found.append(f"{name}: {' '.join(f'{r[name]:.1f}' for r in rounds)}")
    return found


def slope(values: Sequence[float]) -> float:
    """Least squares: by how much it grows from one to the next."""
    n = len(values)
    middle, mean = (n - 1) / 2, sum(values) / n
    return sum((i - middle) * (v - mean) for i, v in enumerate(values)) / max(
        1e-9, sum((i - middle) ** 2 for i in range(n))
    )
