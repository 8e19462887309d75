"""One session over a network that goes wrong: two prompts, two answers, one client. In the end it shows exactly the log.

Server, proxy and client are in one process and one loop; between them are real sockets. What a run does is played (`playing`), so that a
conversation takes milliseconds and thousands of them can be cut, each at another byte.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from playing import play
from proxy import Fault, Proxy

from house import check_log
from reconvene.client.following import Address, Following, Lost
from reconvene.client.link import Happening, Link, Receipt, Settled
from reconvene.errors import ReconveneError
from reconvene.log.port import Row
from reconvene.protocol.view import reduce
from reconvene.sessions.service import Sessions

PROMPTS, WORDS = 2, 6
LIMITS: dict[str, Any] = {
    "heartbeat": 0.4,
    "send_time": 1.0,
    "connections": 4000,
    "connections_per_user": 4000,
    "handshakes_per_second": 4000,
}
MARGIN = 0.6
"""Seconds beyond the heartbeat after which a client takes a silent connection for dead. A machine that is slower than this costs a
connection more, nothing else."""
PATIENCE = 120.0
"""Seconds for a conversation, of which one takes less than one."""


class Players:
    """Play what is asked for in the sessions of a server."""

    def __init__(self, sessions: Sessions, words: int = WORDS, *, asks: bool = True) -> None:
        self.sessions, self.words, self.asks = sessions, words, asks
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.broken: list[BaseException] = []
        sessions.listeners.append(self._committed)

    def _committed(self, id: str, _rows: Sequence[Row]) -> None:
        if id not in self.tasks:
            self.tasks[id] = asyncio.get_running_loop().create_task(self._play(id))

    async def _play(self, id: str) -> None:
        try:
            # Played again if something came while it was found that there is nothing to do.
            seen = -1
            while seen != (seen := (await self.sessions.state(id)).seq):
                await play(self.sessions, id, self.words, lambda: asyncio.sleep(0), asks=self.asks)
        except Exception as e:
            self.broken.append(e)
        finally:
            del self.tasks[id]


@dataclass
class Conversation:
    """A client, and what is known of its session from its side alone."""

    client: Following
    link: Link
    receipts: dict[str, Receipt] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    lost: int = 0

    @classmethod
    def over(cls, port: int, token: str, rng: random.Random) -> Conversation:
        async def where() -> Address:
            return Address(f"ws://127.0.0.1:{port}/ws", token)

        link = Link(client={"id": f"client-{rng.getrandbits(64):x}", "name": "test"}, random=lambda: 0.0)
        talk: Conversation

        def happened(happening: Happening | Lost) -> None:
            if isinstance(happening, Settled):
                if happening.receipt is not None:
                    talk.receipts[happening.id] = happening.receipt
                elif happening.error is not None and happening.error.code != "already_answered":
                    talk.refused.append(str(happening.error))
            talk.lost += isinstance(happening, Lost)
            talk.changed.set()

        talk = cls(Following(where, link, happened, margin=MARGIN), link)
        return talk

    def over_with(self) -> bool:
        runs = self.link.follower.view.runs
        return len(runs) == PROMPTS and all(r.get("outcome") for r in runs.values()) and not self.link.outbox

    async def run(self) -> None:
        """Two prompts, and an answer to each question, once. Raises TimeoutError."""
        for n in range(PROMPTS):
            self.link.put(
                {"type": "default", "id": f"{self.link.client['id']}-{n}", "content": f"prompt {n}", "config": {}}
            )
        answered: set[str] = set()
        sending: set[asyncio.Task[Any]] = set()
        async with asyncio.timeout(PATIENCE), self.client as client:
            try:
                while not self.over_with():
                    for item in self.link.follower.view.pending():
                        if item["id"] not in answered:
                            answered.add(item["id"])
                            frame = {"type": "answer", "reply_to": item["id"], "content": "this one"}
                            sending.add(asyncio.create_task(client.submit(frame)))
                    self.changed.clear()
                    await client.until(self.changed.wait())
            finally:
                # An answer that is never acknowledged would be waited for without end.
                if not self.over_with():
                    for task in sending:
                        task.cancel()
                await asyncio.gather(*sending, return_exceptions=True)


async def judged(sessions: Sessions, talk: Conversation) -> list[str]:
    """What is wrong, from the log and from what the client was told and shows."""
    assert talk.link.session_id is not None
    rows = await sessions.log.read(talk.link.session_id, 0)
    check_log(rows)
    wrong = list(talk.refused)
    for kind in ("prompt", "answered", "completed"):
        if (found := sum(r.type == kind for r in rows)) != PROMPTS:
            wrong.append(f"{found} rows of {kind}, {PROMPTS} wanted")
    if reduce([json.loads(r.wire()) for r in rows if r.public]).to_json() != talk.link.follower.view.to_json():
        wrong.append("the client shows something else than the log")
    at = {r.seq: r.type for r in rows}
    for id, receipt in talk.receipts.items():
        if at.get(receipt.seq or 0) not in ("prompt", "answered"):
            wrong.append(f"{id} was acknowledged as {receipt}, and is not in the log")
    return wrong


async def one(
    sessions: Sessions, port: int, token: str, plan: Callable[[int], Fault], seed: int
) -> tuple[list[str], Proxy, Conversation]:
    """A conversation over a proxy with these faults: what is wrong in the end."""
    async with Proxy(port, plan) as proxy:
        talk = Conversation.over(proxy.port, token, random.Random(seed))
        try:
            await talk.run()
        except TimeoutError:
            view = talk.link.follower.view.to_json()
            return [f"stuck after {proxy.accepted} connections: {str(view)[:800]}"], proxy, talk
        except ReconveneError as e:
            return [f"the client stopped: {e}"], proxy, talk
        return await judged(sessions, talk), proxy, talk
