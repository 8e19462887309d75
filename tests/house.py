"""A whole server without its network: log, feed, sessions, runs. `crash` forgets everything that is not on disk."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic_ai.models import Model

from example import FILES
from reconvene.config import Limits, Settings
from reconvene.index import Indexes
from reconvene.log.feed import Feed
from reconvene.log.port import Row
from reconvene.log.sqlite import SqliteLog
from reconvene.log.uptime import Uptime
from reconvene.protocol.folding import fold
from reconvene.runs.attempt import Surroundings
from reconvene.runs.supervisor import Supervisor
from reconvene.sessions.rows import Who
from reconvene.sessions.service import Sessions
from reconvene.workspace.roots import Roots

ME = Who("owner", "test")


class House:
    """`await House.open(tmp_path, model)`; `reopen` after `crash` is the restart of the server."""

    def __init__(self, folder: Path, resolve: Callable[[str], Model], settings: Settings) -> None:
        self.folder, self.resolve, self.settings = folder, resolve, settings
        self.sleeps: list[float] = []

    @classmethod
    async def open(
        cls,
        folder: Path,
        model: Model | Callable[[str], Model],
        *,
        files: dict[str, str] | None = None,
        **settings: Any,
    ) -> House:
        root = folder / "project"
        root.mkdir(exist_ok=True)
        for name, text in (files or FILES).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        resolve = (lambda _name: model) if isinstance(model, Model) else model
        limits = settings.pop("limits", Limits())
        house = cls(folder, resolve, Settings(data_dir=folder / "data", limits=limits, **settings))
        (folder / "data").mkdir(mode=0o700, exist_ok=True)
        await house.reopen()
        return house

    async def reopen(self) -> None:
        await self.load()
        await self.supervisor.start()

    async def load(self) -> None:
        """Open everything; what was interrupted does not go on yet."""
        self.log = await SqliteLog.open(self.settings.database_file)
        self.roots = Roots(data_dir=self.settings.data_dir, limits=self.settings.limits)
        self.workspace = self.roots.add(self.folder / "project")
        self.uptime = await Uptime.load(self.log)
        self.sessions = Sessions(self.log, Feed(self.log, self.settings.limits), self.roots, self.settings, self.uptime)
        self.indexes = Indexes(self.settings.data_dir, self.settings.limits)
        self.supervisor = Supervisor(
            self.sessions, Surroundings(self.sessions, self.indexes, self.resolve, self._sleep)
        )

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await asyncio.sleep(0)

    async def crash(self) -> None:
        """Stop in the middle: what was queued for the disk may be there, nothing else is."""
        await self.supervisor.drain()
        await self.log.close()
        await self.indexes.close()

    async def restart(self) -> None:
        await self.crash()
        await self.reopen()

    async def session(self, **more: Any) -> str:
        return (await self.sessions.attach(ME, session_id=None, **more)).session.id

    async def ask(self, text: str, session_id: str | None = None, **more: Any) -> str:
        """Send a prompt (to a new session by default) and return the session's id."""
        session_id = session_id or await self.session()
        await self.sessions.submit(ME, session_id, id=more.pop("id", None), text=text, **more)
        return session_id

    async def until(self, session_id: str, done: Callable[[list[Row]], Any], patience: float = 20.0) -> list[Row]:
        """The session's rows, as soon as `done(rows)` holds."""
        woken = asyncio.Event()
        listener = lambda i, _rows: woken.set() if i == session_id else None  # noqa: E731
        self.sessions.listeners.append(listener)
        try:
            async with asyncio.timeout(patience):
                while True:
                    woken.clear()
                    rows = await self.rows(session_id)
                    if done(rows):
                        return rows
                    await woken.wait()
        except TimeoutError:
            shown = [(r.seq, r.type, r.run_id, r.content[:120]) for r in await self.rows(session_id)]
            raise AssertionError(f"not reached; the log is {shown}") from None
        finally:
            with contextlib.suppress(ValueError):
                self.sessions.listeners.remove(listener)

    async def completed(self, session_id: str, runs: int = 1) -> list[Row]:
        return await self.until(session_id, lambda rows: sum(r.type == "completed" for r in rows) >= runs)

    async def rested(self) -> None:
        """Until no run is under way: after its last event one still looks at its session, which counts as use of it."""
        async with asyncio.timeout(20):
            quiet = 0
            while quiet < 20:  # turns of the loop: one that ended makes room for the next, which looks once more
                quiet = 0 if self.supervisor.active else quiet + 1
                await asyncio.sleep(0)

    async def rows(self, session_id: str) -> list[Row]:
        return await self.log.read(session_id, 0)

    async def close(self) -> None:
        await self.crash()


def contents(rows: list[Row], type: str, run_id: str | None = None) -> list[dict[str, Any]]:
    return [json.loads(r.content) for r in rows if r.type == type and run_id in (None, r.run_id)]


def check_log(rows: list[Row]) -> None:
    """The invariants that every log keeps: no gap, no repeat, every key once, every run ended at most once and last."""
    assert [r.seq for r in rows] == list(range(1, len(rows) + 1))
    keys = [r.key for r in rows if r.key]
    assert len(keys) == len(set(keys))
    ended = [r.run_id for r in rows if r.type == "completed"]
    assert len(ended) == len(set(ended))
    for run_id in ended:
        public = [r.type for r in rows if r.run_id == run_id and r.public]
        assert public[-1] == "completed", public
    calls = {r.item_id for r in rows if r.type == "tool_call"}
    results = [r.item_id for r in rows if r.type == "tool_result"]
    assert len(results) == len(set(results)) and set(results) <= calls
    assert fold([r for r in rows if r.public]) is not None
