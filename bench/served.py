"""A child process that is the real server, with a driver beside it that writes events through its log.

`python -m bench.served FD DATA_DIR ROOT`. Nothing of the server is replaced: only its limits are other, and its reads are counted.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.control import Command, cpu, obey
from bench.pace import keep_pace
from bench.wire import stamped
from reconvene.config import Limits, Settings
from reconvene.log.port import Fence, NewEvent, SessionRow
from reconvene.log.sqlite import SqliteLog
from reconvene.protocol.cursor import START_TAG, Cursor
from reconvene.protocol.events import Text
from reconvene.server.lifecycle import Ready, Server
from reconvene.sessions.rows import Who
from reconvene.sessions.service import Sessions

WHO = Who("owner", "bench")
RAISED: dict[str, Any] = {"connections": 4096, "connections_per_user": 4096, "handshakes_per_second": 10_000.0}
"""The limits that stand in the way of one client with thousands of connections. All others are the defaults."""
AT_ONCE = 250
"""Events of one append while a long session is being made."""


class Driver:
    """What the bench asks of the server from inside."""

    def __init__(self, server: Server, padding: str) -> None:
        self._server = server
        self._padding = padding
        self._rows_read: Counter[str] = Counter()
        self.port = 0

    @property
    def _sessions(self) -> Sessions:
        assert self._server.services is not None
        return self._server.services.sessions

    @property
    def _log(self) -> SqliteLog:
        assert isinstance(self._sessions.log, SqliteLog)
        return self._sessions.log

    def ready(self, ready: Ready) -> None:
        self.port = ready.port
        self._count_reads()
        commands: dict[str, Command] = {
            "ready": self.warmed_up, "sessions": self.sessions, "long_session": self.long_session, "cursor": self.cursor,
            "load": self.load, "rows_read": self.rows_read, "cpu": cpu,
        }  # fmt: skip
        obey(int(sys.argv[1]), commands)

    async def warmed_up(self) -> dict[str, Any]:
        """Once what runs need is imported, which a server does behind its first answers."""
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "start runs"))
        token = (self._server.settings.data_dir / "owner.token").read_text().strip()
        return {"port": self.port, "token": token}

    async def sessions(self, number: int) -> list[str]:
        """New sessions, empty."""
        made = await asyncio.gather(*(self._sessions.attach(WHO, session_id=None) for _ in range(number)))
        return [attachment.session.id for attachment in made]

    async def long_session(self, events: int, size: int) -> str:
        """A session with so many events."""
        (session_id,) = await self.sessions(1)
        for start in range(0, events, AT_ONCE):
            await self._log.append(session_id, [self._event(size) for _ in range(min(AT_ONCE, events - start))])
        return session_id

    async def cursor(self, session_id: str, missed: int) -> str:
        """The cursor of a client that misses the last so many events."""
        row = await self._log.session(session_id)
        assert isinstance(row, SessionRow)
        seq = row.head - missed
        return str(Cursor(row.epoch, seq, await self._log.tag(session_id, seq) or START_TAG))

    async def load(self, sessions: list[str], rate: float, seconds: float, size: int) -> dict[str, float]:
        """Write events as a run writes what its model streams: each session on its own, not waited for, under a fence."""
        fences = await asyncio.gather(*(self._log.claim(f"{session_id}:r1") for session_id in sessions))
        commits = self._log.commits

        async def emit(due: Sequence[int]) -> None:
            for i in due:
                self._write(sessions[i], fences[i], size)

        late = await keep_pace(len(sessions), rate, seconds, emit)
        return {"late_ms": late, "commits": self._log.commits - commits}

    def _write(self, session_id: str, fence: Fence, size: int) -> None:
        self._log.append_soon(session_id, [self._event(size)], fence=fence)

    def _event(self, size: int) -> NewEvent:
        return NewEvent("text", Text(attempt=1, text=stamped(self._padding, size)).json_text(), "r1", "r1.m1")

    async def rows_read(self) -> dict[str, int]:
        """Since the last time, by statement: rows of events that were fetched, rows that were only counted, and other answers."""
        counted, self._rows_read = self._rows_read, Counter()
        return dict(counted)

    def _count_reads(self) -> None:
        readers = self._log._readers
        ask = readers.ask

        async def counting(statement: str, **bindings: Any) -> Any:
            answer = await ask(statement, **bindings)
            if statement == "missed":
                self._rows_read["summed"] += answer[0]
            elif statement == "read_events":
                self._rows_read["events"] += len(answer)
            else:
                self._rows_read["other"] += 1
            return answer

        readers.ask = counting  # type: ignore[method-assign]


def main() -> None:
    _, _, data_dir, root, padding = sys.argv
    settings = Settings(data_dir=Path(data_dir), port=0, limits=Limits(**RAISED))
    server: Server

    async def run() -> None:
        nonlocal server
        server = Server(settings, [root], on_ready=lambda ready: driver.ready(ready))
        driver = Driver(server, padding)
        await server.run()

    asyncio.run(run())


if __name__ == "__main__":
    main()
