"""A thousand clients lose their connections in one moment: when is the last of them back? The product's own pacing, in virtual time.

Client and server decide with what they have in earnest, `Link` and `Capacity`; there is no network and no clock between them, so that
it is a matter of the seed alone.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass

from reconvene.client.link import Link
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.server.asgi import retry_after
from reconvene.server.capacity import Capacity


@dataclass(frozen=True)
class Storm:
    back: Sequence[float]
    """Seconds after the cut at which each was back, in order."""
    refused: int
    ideal: float
    """Seconds in which so many can be let in."""

    @property
    def p99(self) -> float:
        return self.back[int(len(self.back) * 0.99) - 1]


def storm(clients: int, seed: int, *, heartbeats: bool = True, sees_refusals: bool = True) -> Storm:
    """Cut so many clients that came one after the other.

    Args:
        heartbeats: whether they had one since, which says how many they are by now.
        sees_refusals: whether they learn when to come again, as a browser does not by itself.
    """
    rng, now = random.Random(seed), 0.0
    limits = Limits(connections=clients, connections_per_user=clients)
    capacity = Capacity(limits, lambda: now)
    links = [Link(client={"id": str(n)}, random=rng.random) for n in range(clients)]
    for link in links:
        now += 1.2 / limits.handshakes_per_second
        capacity.enter("owner")
        link._pace(capacity.retry().model_dump())
    for link in links if heartbeats else ():
        link._pace(capacity.retry().model_dump())
    cut = now = now + 60
    due: list[tuple[float, int]] = []
    for n, link in enumerate(links):
        capacity.leave("owner")
        due.append((cut + link.closed(None, lived=60.0).delay, n))
    heapq.heapify(due)
    back: list[float] = []
    refused = 0
    while due:
        now, n = heapq.heappop(due)
        try:
            capacity.enter("owner")
            back.append(now - cut)
        except ReconveneError as e:
            refused += 1
            seconds = float(dict(retry_after(e))[b"retry-after"])
            after = links[n].refused(503, seconds) if sees_refusals else links[n].refused(None)
            heapq.heappush(due, (now + after.delay, n))
    return Storm(back, refused, clients / limits.handshakes_per_second)
