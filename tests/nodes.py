"""Several nodes without their network, on one PostgreSQL and one code base; each has a data folder of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_ai.models import Model

from example import FILES
from house import House
from reconvene.config import Limits, Settings
from reconvene.index import Indexes
from reconvene.log.feed import Feed
from reconvene.log.port import Row
from reconvene.log.postgres import PostgresLog
from reconvene.log.uptime import Uptime
from reconvene.runs.attempt import Surroundings
from reconvene.runs.node import NodeSupervisor
from reconvene.sessions.service import Sessions
from reconvene.workspace.roots import Roots

PATIENCE = 60.0


class Node(House):
    """A House on PostgreSQL. `die` is SIGKILL as others see it: the database hears nothing of it any more."""

    log: PostgresLog  # type: ignore[assignment]
    supervisor: NodeSupervisor  # type: ignore[assignment]
    serves = True

    @classmethod
    async def join(
        cls,
        folder: Path,
        name: str,
        url: str,
        model: Model | Callable[[str], Model],
        *,
        files: dict[str, str] | None = None,
        serves: bool = True,
        **settings: Any,
    ) -> Node:
        root = folder / "project"
        for file, text in (files or FILES).items():
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(text)
        data = folder / name
        data.mkdir(mode=0o700, exist_ok=True)
        resolve = (lambda _name: model) if isinstance(model, Model) else model
        limits = settings.pop("limits", Limits())
        settings = {"takeover": 2.0, **settings}
        node = cls(folder, resolve, Settings(data_dir=data, limits=limits, database=SecretStr(url), **settings))
        node.serves = serves
        await node.reopen()
        return node

    async def load(self) -> None:
        assert self.settings.database is not None
        self.log = await PostgresLog.open(self.settings.database.get_secret_value())
        self.roots = Roots(data_dir=self.settings.data_dir, limits=self.settings.limits)
        if self.serves:
            self.workspace = self.roots.add(self.folder / "project")
        self.uptime = await Uptime.load(self.log)
        self.sessions = Sessions(self.log, Feed(self.log, self.settings.limits), self.roots, self.settings, self.uptime)
        self.indexes = Indexes(self.settings.data_dir, self.settings.limits)
        around = Surroundings(self.sessions, self.indexes, self.resolve, self._sleep)
        self.supervisor = NodeSupervisor(self.sessions, around)
        await self.supervisor.install()

    async def until(
        self, session_id: str, done: Callable[[list[Row]], Any], patience: float | None = None
    ) -> list[Row]:
        """Longer than in one process: a busy machine is a slow database, too."""
        return await super().until(session_id, done, PATIENCE if patience is None else patience)

    async def die(self) -> None:
        """Everything of this node ends at once; nothing is given back, nothing more is written."""
        supervisor = self.supervisor
        supervisor._draining = True
        tasks = [t for t in (supervisor._serving, *supervisor._work_of.values(), *supervisor._tasks.values()) if t]
        self.log._writer._task.cancel()
        for task in tasks:
            task.cancel()
        for connection in (self.log._writer.db, supervisor._db):
            if connection is not None:
                connection.terminate()
        await asyncio.gather(*tasks, self.log._writer._task, return_exceptions=True)
        await self.log.follower.stop()
        self.log._pool.terminate()
        await self.indexes.close()
