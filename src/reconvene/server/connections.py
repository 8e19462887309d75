"""All connections of the server: who is on which session, whose turn it is, and one clock for every deadline."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import structlog

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.log.port import SessionRow
from reconvene.protocol.frames import ServerInfo
from reconvene.server.capacity import Capacity
from reconvene.server.connection import Connection
from reconvene.server.delivery import close_text
from reconvene.server.gate import Principal
from reconvene.server.metrics import Metrics
from reconvene.sessions.service import Sessions

TURN = 128
"""Connections that are pumped before the loop does something else."""
_log = structlog.get_logger("reconvene.ws")


class Connections:
    """Keeps every open connection. `start` its clock; `drain` it before the process ends."""

    def __init__(
        self,
        sessions: Sessions,
        capacity: Capacity,
        metrics: Metrics,
        limits: Limits,
        server: ServerInfo,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sessions = sessions
        self.capacity = capacity
        self.metrics = metrics
        self.limits = limits
        self.server = server
        self.clock = clock
        self.draining = asyncio.Event()
        # In the order in which they came, so that what is done for all is done in one order.
        self._all: dict[Connection, int] = {}
        self._came = 0
        self._by_client: dict[tuple[str, str], Connection] = {}
        self._by_session: dict[str, dict[Connection, None]] = {}
        self._first_prompts: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._woken: dict[Connection, None] = {}
        self._turn: asyncio.Handle | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._interval = min(1.0, limits.send_time / 20, limits.heartbeat / 4, limits.first_frame_time / 4)
        """Seconds between two looks at the deadlines."""
        self._empty = asyncio.Event()
        self._empty.set()
        self.deletions = 0
        """Sessions that were deleted: while it stands still, a session that was found is still there."""
        self.idle_since = clock()
        """When the last connection was closed, if there is none."""
        self.on_open: list[Callable[[str], None]] = []
        """Called with the root of a session that a client has come to."""
        sessions.on_gone.append(self._gone)

    def __len__(self) -> int:
        return len(self._all)

    # -- registry

    def add(self, connection: Connection) -> None:
        self._came += 1
        self._all[connection] = self._came
        self._empty.clear()
        self.metrics.handshakes += 1

    def bringing(self, owner: str, prompt_id: str) -> asyncio.Lock:
        """Held while a prompt that makes its own session is taken: two connections that bring the same one at the same time, as after a
        cut, must come to the same session."""
        return self._first_prompts.setdefault((owner, prompt_id), asyncio.Lock())

    def remove(self, connection: Connection) -> None:
        self._all.pop(connection, None)
        self._woken.pop(connection, None)
        key = (connection.principal.owner, connection.client_id or "")
        if self._by_client.get(key) is connection:
            del self._by_client[key]
        self._unbind(connection)
        if not self._all:
            self.idle_since = self.clock()
            self._empty.set()

    def bind(self, connection: Connection, session_id: str, root: str) -> None:
        """The connection belongs to this session of this code base from now on, and is told when it is deleted."""
        self._unbind(connection)
        connection.session_id, connection.root = session_id, root
        if connection in self._all:
            self._by_session.setdefault(session_id, {})[connection] = None
            for tell in self.on_open:
                tell(root)

    def on_root(self, root: str) -> bool:
        """Whether anybody is on a session of this code base."""
        return any(connection.root == root for connection in self._all)

    def notify(self, root: str, message: dict[str, Any]) -> None:
        """Say something that is not part of any session to the pages on this code base. Whoever reads slowly misses it."""
        for connection in tuple(self._all):
            greeted = connection.client is not None and connection.shape == "resumable"  # `session` is the first frame
            if greeted and connection.root == root and not connection.wire.blocked:
                connection.send_json(message)

    def _unbind(self, connection: Connection) -> None:
        if connection.session_id is not None and (others := self._by_session.get(connection.session_id)):
            others.pop(connection, None)
            if not others:
                del self._by_session[connection.session_id]

    def supersede(self, connection: Connection, client_id: str) -> None:
        """One page, one connection: an older one of the same client, alive or half open, ends now.

        Older is what came earlier, not what was slower to find its session: a client that was cut and came again may have both under way.
        """
        key = (connection.principal.owner, client_id)
        other = self._by_client.get(key)
        connection.client_id = client_id
        if other is not None and self._all.get(other, 0) > self._all.get(connection, 0):
            connection.end(4410, "This client connected again.")
            return
        if connection in self._all:
            self._by_client[key] = connection
        if other is not None and other is not connection:
            other.end(4410, "This client connected again.")

    async def still_there(self, session_id: str, deletions: int) -> bool:
        """Whether a session was not deleted since there had been so many `deletions`."""
        if self.deletions == deletions:
            return True
        return isinstance(await self.sessions.log.session(session_id), SessionRow)

    def _gone(self, session_id: str, reason: str) -> None:
        self.deletions += 1
        self.sessions.feed.forget(session_id)
        code, sentence = (4301, "The session expired.") if reason == "expired" else (4302, "The session was deleted.")
        for connection in tuple(self._by_session.get(session_id, ())):
            connection.end(code, sentence)

    def revoked(self, gone: Callable[[Principal], bool]) -> None:
        """A sign-in, a token or a link ended: so do the connections that were made with it."""
        for connection in tuple(self._all):
            if gone(connection.principal):
                connection.end(4401, "You are signed out. Run `reconvene open` for a sign-in link.")

    # -- turns

    def wake(self, connection: Connection) -> None:
        """Pump this connection in this turn of the loop, once, however often it is woken."""
        self._woken[connection] = None
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._turn = None
        for connection in list(self._woken)[:TURN]:
            del self._woken[connection]
            if connection.client is not None:
                connection.client.pump()
        if self._woken and self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._pump)

    # -- the one clock

    def start(self) -> None:
        self._ticker = asyncio.create_task(self._tick_for_ever(), name="connections")

    async def stop(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                self.tick()
            except Exception:
                _log.exception("a tick failed")

    def tick(self) -> None:
        """Every deadline of every connection: first frame, heartbeat, and progress of what was sent."""
        now = self.clock()
        limits = self.limits
        for connection in tuple(self._all):
            wire = connection.wire
            flushed, seen = connection.progress
            if wire.flushed != flushed or not wire.buffered:
                connection.progress = (wire.flushed, now)
            elif now - seen + 2 * self._interval > limits.send_time:
                # It was seen up to an interval late, and would be too late by the next look.
                # A close frame would wait behind all the rest: the client finds out by itself, and resumes (4008 in spirit).
                self.metrics.slow_clients += 1
                _log.info("slow client dropped", session_id=connection.session_id, buffered=wire.buffered)
                connection.end(4008, "You did not read for too long.")
                wire.abort()
                continue
            if connection.client is not None:
                if now - connection.last_sent >= limits.heartbeat:
                    connection.client.beat()
            elif connection.awaits_first_frame and now - connection.opened >= limits.first_frame_time:
                connection.end(4408, f"No frame came within {limits.first_frame_time:g} s.")

    # -- the end

    async def drain(self, patience: float = 2.0) -> None:
        """Send everybody away, each with a time of its own to return. Waits until they left, at most `patience` seconds."""
        self.draining.set()
        retry = self.capacity.retry()
        for connection in tuple(self._all):
            if connection.client is not None:
                connection.client.pump()
                connection.client.farewell(retry.base_ms + round(random.random() * retry.spread_ms))
            connection.end(1012, "The server restarts. Your session goes on.")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._empty.wait()

    def lost(self, error: ReconveneError) -> None:
        """The store is gone: nobody is told anything about sessions that could be wrong."""
        for connection in tuple(self._all):
            connection.end(1013, close_text(error.message))
