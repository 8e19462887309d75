"""The states of sessions in memory: read from the log when needed, kept in step by what is committed, freed when nobody uses them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from reconvene.log.port import Log, Row
from reconvene.sessions.state import SessionState


@dataclass(slots=True)
class _Loaded:
    used: float
    """Total uptime."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the one command at work."""
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    state: SessionState | None = None
    head: int = 0
    """The last row that the state has; those that are not stateful count, as far as they are known of."""
    early: list[Row] = field(default_factory=list)
    """Rows that were committed while the state was being read."""

    def add(self, rows: Sequence[Row]) -> None:
        assert self.state is not None
        apply(self.state, rows)
        if rows:
            self.head = max(self.head, rows[-1].seq)


class Memory:
    """`committed` must be called for every commit, in order. `now` gives the total uptime."""

    def __init__(self, log: Log, now: Callable[[], float]) -> None:
        self._log, self._now = log, now
        self._loaded: dict[str, _Loaded] = {}
        self._connections: Counter[str] = Counter()
        self._plain: Counter[str] = Counter()
        self.folds = 0
        """How often a session's state was read from the log: reconnecting to a loaded one costs none."""

    def __len__(self) -> int:
        return len(self._loaded)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._loaded

    def committed(self, session_id: str, rows: Sequence[Row]) -> None:
        if loaded := self._loaded.get(session_id):
            if loaded.state is None:
                loaded.early.extend(rows)
            else:
                loaded.add(rows)

    async def state(self, session_id: str) -> SessionState:
        """The state as of the last commit. It lives: later commits change it."""
        while True:
            loaded = self._loaded.get(session_id)
            if loaded is None:
                loaded = self._loaded[session_id] = _Loaded(self._now())
            loaded.used = self._now()
            if loaded.state is not None:
                return loaded.state
            async with loaded.reading:
                if self._loaded.get(session_id) is not loaded:
                    continue  # whoever read before us failed; what is read into this one would not be kept in step
                if loaded.state is None:
                    await self._read(session_id, loaded)

    async def _read(self, session_id: str, loaded: _Loaded) -> None:
        try:
            await self._log.follow(session_id)
            rows = await self._log.read(session_id, 0, stateful=True)
        except BaseException:
            if self._loaded.get(session_id) is loaded:
                del self._loaded[session_id]
            raise
        self.folds += 1
        loaded.state = SessionState()
        loaded.add(rows)
        loaded.add(loaded.early)
        loaded.early.clear()

    async def catch_up(self, session_id: str, head: int) -> None:
        """Read what the state lacks up to row `head`, while it is held `alone`.

        A commit can be read by everybody a moment before `committed` tells of it here: who answers a question at once must not be
        told that there is none.
        """
        loaded = self._loaded.get(session_id)
        if loaded is None or loaded.state is None or loaded.head >= head:
            return
        loaded.add(await self._log.read(session_id, loaded.state.seq, upto=head, stateful=True))
        loaded.head = max(loaded.head, head)

    @contextlib.asynccontextmanager
    async def alone(self, session_id: str) -> AsyncIterator[SessionState]:
        """The state, while every other change of the session waits."""
        while True:
            await self.state(session_id)
            loaded = self._loaded.get(session_id)
            if loaded is None or loaded.state is None:
                continue
            async with loaded.lock:
                if self._loaded.get(session_id) is not loaded:
                    continue  # unloaded while waiting: what it holds is no longer kept in step
                yield loaded.state
                return

    def unload_idle(self, older_than: float) -> int:
        """Free what nobody used since this total uptime, unless it runs or is connected. Returns how many."""
        idle = [
            i
            for i, loaded in self._loaded.items()
            if loaded.state is not None
            and loaded.used < older_than
            and not self._connections[i]
            and not loaded.lock.locked()
            and loaded.state.status in ("idle", "waiting")
        ]
        for session_id in idle:
            del self._loaded[session_id]
        return len(idle)

    def forget(self, session_id: str) -> None:
        self._loaded.pop(session_id, None)

    @contextlib.contextmanager
    def connected(self, session_id: str, *, plain: bool = False) -> Iterator[None]:
        """While it lasts, the session is connected: it is neither unloaded nor swept."""
        counters = (self._connections, self._plain) if plain else (self._connections,)
        for c in counters:
            c[session_id] += 1
        try:
            yield
        finally:
            for c in counters:
                c[session_id] -= 1
                if not c[session_id]:
                    del c[session_id]

    def open_ids(self) -> list[str]:
        """The sessions that somebody is connected to."""
        return list(self._connections)

    def is_connected(self, session_id: str, *, plain: bool = False) -> bool:
        return (self._plain if plain else self._connections)[session_id] > 0


def apply(state: SessionState, rows: Sequence[Row]) -> None:
    """Fold rows; those that are not stateful change nothing."""
    for row in rows:
        if row.stateful:
            state.apply(row)
