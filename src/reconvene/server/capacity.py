"""How many WebSocket connections there may be, and how fast new ones may come."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.protocol.frames import Retry
from reconvene.server.token_bucket import TokenBucket


class Capacity:
    """Admission of connections: handshakes a second, connections of one owner, connections of all."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._bucket = TokenBucket(limits.handshakes_per_second, limits.handshakes_per_second)
        self._of: Counter[str] = Counter()

    @property
    def connections(self) -> int:
        return self._of.total()

    def enter(self, owner: str) -> None:
        """Take a place; give it back with `leave`.

        Raises:
            ReconveneError: `limit_reached`, with `retry_after` in seconds.
        """
        limits = self._limits
        if self.connections >= limits.connections:
            raise ReconveneError(
                "limit_reached",
                f"This server holds {limits.connections} connections, its limit. Close one and try again.",
                limit=limits.connections,
                retry_after=5,
            )
        if self._of[owner] >= limits.connections_per_user:
            raise ReconveneError(
                "limit_reached",
                f"You have {limits.connections_per_user} connections open, the limit of one user. Close one and try again.",
                limit=limits.connections_per_user,
                retry_after=5,
            )
        if wait := self._bucket.take(self._clock()):
            raise ReconveneError(
                "limit_reached",
                f"More than {limits.handshakes_per_second:g} connections a second are being made. Try again in a moment.",
                limit=limits.handshakes_per_second,
                retry_after=round(wait, 3),
            )
        self._of[owner] += 1

    def of(self, owner: str) -> int:
        """Open connections of one owner."""
        return self._of[owner]

    def leave(self, owner: str) -> None:
        self._of[owner] -= 1
        if self._of[owner] <= 0:
            del self._of[owner]

    def retry(self) -> Retry:
        """How clients are to pace their return, were all of them to lose their connection now.

        `spread` gives each a place in the time that it takes to shake hands with all; see PROTOCOL "Delivery and liveness".
        """
        spread = round(1000 * self.connections / self._limits.handshakes_per_second)
        return Retry(base_ms=300, cap_ms=max(2000, 2 * spread), spread_ms=spread)
