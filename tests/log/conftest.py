"""Stores to test: every implementation of the port, behind one way to open it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from postgres import fresh_url
from reconvene.log.port import Log, Row
from reconvene.log.postgres import PostgresLog
from reconvene.log.sqlite import SqliteLog

STORES: dict[str, Callable[..., Awaitable[Any]]] = {
    "sqlite": lambda store, **settings: SqliteLog.open(store.folder / "reconvene.db", **settings),
    "postgres": lambda store, **settings: PostgresLog.open(store.url, **settings),
}


class Store:
    """One place for a log. `reopen` closes what was open: what is read afterwards was durable."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.url = fresh_url() if kind == "postgres" else ""
        self.log: Any = None
        self.told: list[tuple[str, tuple[Row, ...]]] = []

    async def open(self, **settings: Any) -> Log:
        self.log = await STORES[self.kind](self, **settings)
        self.log.on_commit = lambda session_id, rows: self.told.append((session_id, rows))
        return self.log

    async def reopen(self, **settings: Any) -> Log:
        await self.log.close()
        return await self.open(**settings)


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(request.param, tmp_path)
    yield store
    if store.log is not None:
        await store.log.close()


@pytest.fixture
async def log(store: Store) -> Log:
    return await store.open()
