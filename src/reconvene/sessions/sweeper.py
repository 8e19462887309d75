"""Cleanup of inactive sessions: memory after `idle_unload`, the log after `retention` or when the disk budget is reached.

Nothing alive is swept: not a session that runs, waits for a person, is connected, or is pinned. Every age is the server's total
uptime, so neither downtime nor a clock that jumps makes anything older.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from reconvene.errors import ReconveneError
from reconvene.index.memory import give_back
from reconvene.log.port import Moved, SessionRow
from reconvene.sessions.kept import needed_by_all
from reconvene.sessions.service import Sessions
from reconvene.workspace.contents import Contents

_log = structlog.get_logger(__name__)
TOMBSTONE_KEPT = 30 * 86400.0
"""Seconds of uptime for which a deleted session is known to have been there, and its message ids are kept."""
EMPTY_KEPT = 600.0
"""Seconds for which a session in which nothing was ever asked is kept."""
CONTENTS_EVERY = 86400.0
"""Seconds of uptime between two looks for contents of files that no session names; there is one after every deletion, too."""


@dataclass(frozen=True, slots=True)
class Swept:
    unloaded: int = 0
    expired_questions: int = 0
    archived: int = 0
    deleted: int = 0


class Sweeper:
    """Runs every `sweep_interval`; `sweep` is one round and can be called at any time."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self._task: asyncio.Task[None] | None = None
        self._contents_swept: float | None = None
        """Total uptime at which contents that nobody names were looked for last."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="sweeper")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.sessions.uptime.save()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.sessions.settings.sweep_interval)
            try:
                swept = await self.sweep()
                if swept != Swept():
                    _log.info("swept", unloaded=swept.unloaded, archived=swept.archived, deleted=swept.deleted)
            except ReconveneError as e:
                _log.warning("sweep failed", code=e.code, message=e.message)
            except Exception:
                _log.exception("sweep failed")

    async def sweep(self) -> Swept:
        """One round. Raises what the store raises; what was done until then stays done."""
        sessions, settings = self.sessions, self.sessions.settings
        await sessions.uptime.save()
        now = sessions.uptime.now()
        unloaded = sessions.memory.unload_idle(now - settings.idle_unload)
        questions = await self._expire_questions()
        idle = [s for s in reversed(await sessions.log.sessions(statuses=["idle"])) if self._may_go(s)]
        idle.sort(key=lambda s: s.last_active)
        archived = deleted = 0
        for s in idle:
            if s.head == 0:
                if now - s.last_active > min(EMPTY_KEPT, settings.retention):
                    deleted += await self._delete(s, now)
            elif now - s.last_active > settings.retention:
                if s.archived:  # it was archived by an earlier round, and nobody came
                    deleted += await self._delete(s, now)
                else:
                    archived += await self._archive(s)
        over = await sessions.log.size() - settings.disk_budget
        for s in idle:
            if over <= 0:
                break
            if await self._delete(s, now):
                deleted += 1
                over -= s.bytes
        await sessions.log.purge(tombstones_before=now - TOMBSTONE_KEPT)
        if deleted or self._contents_swept is None or now - self._contents_swept > CONTENTS_EVERY:
            # Also without a deletion: a crash, or a run that came to nothing, leaves contents that no session names.
            contents = Contents(settings.data_dir / "contents")
            needed = await needed_by_all(sessions.log)
            await asyncio.to_thread(contents.sweep, needed)
            if sessions.contents is not None:
                await sessions.contents.sweep(needed)
            self._contents_swept = now
        if unloaded or deleted:
            await asyncio.to_thread(give_back)
        return Swept(unloaded, questions, archived, deleted)

    def _may_go(self, session: SessionRow) -> bool:
        return not session.pinned and not self.sessions.memory.is_connected(session.id)

    async def _archive(self, session: SessionRow) -> bool:
        """Archive unless it came alive since it was looked at."""
        async with self.sessions.memory.alone(session.id) as state:
            found = await self.sessions.log.session(session.id)
            if not isinstance(found, SessionRow) or found.last_active > session.last_active:
                return False
            try:
                await self.sessions.log.append(
                    session.id, (), update={"archived": True}, seen=self.sessions.seen(state)
                )
            except Moved:
                return False
        return True

    async def _delete(self, session: SessionRow, now: float) -> bool:
        """Delete unless it came alive since it was looked at: the store compares its last activity in the same transaction."""
        if self.sessions.memory.is_connected(session.id):
            return False
        gone = await self.sessions.log.delete(session.id, reason="expired", at=now, if_last_active=session.last_active)
        if gone:
            self.sessions.forget(session.id, "expired")
        return gone

    async def _expire_questions(self) -> int:
        """Stop the runs whose question nobody answered in time."""
        expired = 0
        for row in await self.sessions.log.sessions(statuses=["waiting"]):
            expired += await self.sessions.expire_questions(row.id)
        return expired
