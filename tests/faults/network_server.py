"""A server in a process of its own, whose runs are played, for proofs that measure it: memory, latency, a thousand connections.

    python tests/faults/network_server.py '{"folder": "/tmp/x", "limits": {}}'

Says `{"port", "token"}`, then answers each JSON line on stdin with one: `stats`, `fill` (events into a session), `live` (an event every so
often, with the time at which it was committed in it), `views` (what the log of each session shows, as a digest).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

from network import Players
from serving import Serving, serving

from reconvene.protocol import events as ev
from reconvene.protocol.view import View, reduce
from reconvene.sessions.rows import event


def shown(view: View) -> str:
    return hashlib.blake2b(json.dumps(view.to_json(), sort_keys=True).encode(), digest_size=12).hexdigest()


class Control:
    def __init__(self, server: Serving) -> None:
        self.server, self.sessions = server, server.sessions
        self.players = Players(server.sessions, words=3, asks=False)
        self.living: asyncio.Task[None] | None = None

    async def stats(self) -> dict[str, Any]:
        connections = self.server.services.connections
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return {
            "rss": pages * os.sysconf("SC_PAGE_SIZE"),
            "connections": len(connections),
            "blocked": sum(c.wire.blocked for c in connections._all),
            "dropped": self.server.services.metrics.slow_clients,
            "cpu": time.process_time(),
            "broken": [repr(e) for e in self.players.broken],
        }

    async def fill(self, session: str, events: int, bytes: int) -> dict[str, Any]:
        for n in range(events):
            text = ev.Text(text="x" * bytes, attempt=1)
            await self.sessions.log.append(session, [event(text, run_id="r9", item_id=f"r9.{n}")])
        return {}

    async def live(self, session: str, seconds: float) -> dict[str, Any]:
        async def emit() -> None:
            while True:
                text = ev.Text(text=f"{time.monotonic():.6f}", attempt=1)
                await self.sessions.log.append(session, [event(text, run_id="r9", item_id="r9.0.0")])
                await asyncio.sleep(seconds)

        self.living = asyncio.get_running_loop().create_task(emit())
        return {}

    async def views(self) -> dict[str, str]:
        if self.living is not None:
            self.living.cancel()
        found = {}
        for session in await self.sessions.log.sessions():
            rows = await self.sessions.log.read(session.id, 0)
            found[session.id] = shown(reduce([json.loads(r.wire()) for r in rows if r.public]))
        return found


async def main() -> None:
    job = json.loads(sys.argv[1])
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(Path(job["folder"]) / "out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 1)
    async with serving(Path(job["folder"]), limits=job["limits"]) as server:
        control = Control(server)
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        print(json.dumps({"port": server.port, "token": server.token}), file=out)
        while line := await lines.readline():
            command = json.loads(line)
            answer = await getattr(control, command.pop("do"))(**command)
            print(json.dumps(answer), file=out)


if __name__ == "__main__":
    asyncio.run(main())
