"""How fast, and how much at once: the one measure for handshakes, messages and raw frames."""

from __future__ import annotations


class TokenBucket:
    """`burst` at once, `rate` a second in the long run. Time is given, not read, so that a test can say what it is.

    >>> bucket = TokenBucket(rate=2, burst=1)
    >>> bucket.take(0.0), bucket.take(0.0), bucket.take(0.5)
    (0.0, 0.5, 0.0)
    """

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._level = self._burst
        self._at: float | None = None

    def take(self, now: float, amount: float = 1.0) -> float:
        """0.0 when `amount` was there and is taken; else the seconds until it is, and nothing is taken. `now` is monotonic."""
        if self._at is not None:
            self._level = min(self._burst, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._level >= amount:
            self._level -= amount
            return 0.0
        return (amount - self._level) / self._rate
