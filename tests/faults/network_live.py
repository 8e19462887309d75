"""A few clients that follow a session all the time, in a process of their own: how long an event takes from its commit to each of them.

    python tests/faults/network_live.py '{"port": 8000, "token": "…", "session": "s_…", "clients": 5}'

Each line on stdin is answered with the times of all events since the line before, in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from reconvene.client.following import Address, Following, Lost
from reconvene.client.link import Advanced, Happening, Link
from reconvene.protocol.follower import Follower


async def main() -> None:
    job = json.loads(sys.argv[1])
    took: list[float] = []

    def happened(happening: Happening | Lost) -> None:
        now = time.monotonic()
        if isinstance(happening, Advanced):
            took.extend(1000 * (now - float(e["content"]["text"])) for e in happening.events if e["type"] == "text")

    async def where() -> Address:
        return Address(f"ws://127.0.0.1:{job['port']}/ws", job["token"])

    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    clients = [
        Following(where, Link(client={"id": f"live{n}", "name": "live"}, follower=Follower(job["session"])), happened)
        for n in range(job["clients"])
    ]
    for client in clients:
        await client.__aenter__()
    await asyncio.gather(*(client.synced() for client in clients))
    took.clear()
    print("{}", flush=True)
    while await lines.readline():
        print(json.dumps([round(t, 3) for t in took]), flush=True)
        took.clear()
    for client in clients:
        await client.__aexit__(None, None, None)


if __name__ == "__main__":
    asyncio.run(main())
