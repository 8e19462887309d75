"""What keeps several nodes in step besides the log: one clock for all lifetimes, and no node sweeps what is open at another."""

from __future__ import annotations

import asyncio

import structlog

from reconvene.errors import ReconveneError
from reconvene.sessions.service import Sessions

_log = structlog.get_logger(__name__)
EVERY = 20.0
"""Seconds. Well under the age at which an empty session is swept."""
TOUCHED_EVERY = 120.0
"""Seconds of uptime between two notes that a session is open here."""


class InStep:
    """Of one node; `round` can be called at any time."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="in step")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.round()
            except ReconveneError as e:
                _log.warning("this node could not keep in step", code=e.code, message=e.message)
            await asyncio.sleep(EVERY)

    async def round(self) -> None:
        """Take over the greatest uptime of all nodes, and note which sessions are open here. Raises what the store raises."""
        sessions = self.sessions
        await sessions.uptime.keep_step()
        now = sessions.uptime.now()
        for session_id in sessions.memory.open_ids():
            row = await sessions.log.session(session_id)
            last = getattr(row, "last_active", None)
            if last is not None and now - last > TOUCHED_EVERY:
                try:
                    await sessions.log.append(session_id, (), update={"last_active": now})
                except ReconveneError as e:
                    if e.code != "no_such_session":
                        raise
