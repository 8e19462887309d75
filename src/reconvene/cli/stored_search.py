"""Searching what was said in sessions while no server runs, with the index that a server would use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reconvene.log.port import Log, SessionRow
from reconvene.log.reader import Readers
from reconvene.log.sqlite import SqliteLog
from reconvene.sessions.finding import Finding


class _Sessions:
    """What `Finding` asks of sessions."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.on_gone: list[Callable[[str, str], None]] = []

    async def list(self, owner: str, *, archived: bool | None = None) -> Sequence[SessionRow]:
        return [s for s in await self.log.sessions(owner=owner, archived=archived) if s.head]


def search(data_dir: Path, words: str, limit: int, owner: str) -> dict[str, Any]:
    """What `GET /api/sessions/search` answers.

    Raises:
        ReconveneError: `invalid_field`, `store_error`.
    """

    async def run() -> dict[str, Any]:
        readers = Readers(data_dir / "reconvene.db")
        # Only read: there is no writer behind it.
        finding = Finding(_Sessions(SqliteLog(data_dir / "reconvene.db", readers)), data_dir / "finding.db")
        try:
            found = await finding.find(owner, words, limit=limit)
        finally:
            await finding.close()
            await asyncio.to_thread(readers.close)
        sessions = [
            {**asdict(session), "hits": [{**asdict(hit), "pieces": list(hit.pieces)} for hit in session.hits]}
            for session in found.sessions
        ]
        return {"sessions": sessions, "searched": found.searched, "of": found.of}

    return asyncio.run(run())
