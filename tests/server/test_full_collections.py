"""Full garbage collections are made while nobody waits, and they are made."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from serving import serving

from example import FILES
from reconvene.index.reader import FileReader
from reconvene.runs.supervisor import Supervisor
from reconvene.server import full_collections
from reconvene.server.full_collections import BY_ITSELF, DUE, FullCollections
from reconvene.server.lifecycle import Server


class Cycle:
    """Useless as soon as it is made."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def by_hand() -> Iterator[None]:
    """No collection but those that are asked for."""
    gc.disable()
    gc.collect()
    yield
    gc.enable()


def old_cycle() -> ref[Cycle]:
    """One that only a full collection finds: it was there when smaller ones were made, and so many that a full one is due."""
    cycle = Cycle()
    for _ in range(DUE + 1):
        gc.collect(1)
    return ref(cycle)


def test_one_is_made_when_it_is_due_and_nobody_waits(by_hand: None) -> None:
    busy = True
    collections = FullCollections(lambda: busy)
    cycle = old_cycle()
    assert not collections.look() and cycle() is not None
    busy = False
    assert collections.look() and cycle() is None
    assert not collections.look(), "none is due so soon"


def test_one_of_much_that_is_kept_waits_for_more_that_is_new(by_hand: None) -> None:
    kept: list[list[int]] = [[] for _ in range(600_000)]
    collections = FullCollections(lambda: False)
    old_cycle()
    assert collections.look()
    cycle = old_cycle()
    assert not collections.look() and cycle() is not None
    for _ in range(DUE):
        old_cycle()
    assert collections.look() and cycle() is None
    assert len(kept) == 600_000


async def test_a_server_is_busy_while_a_run_goes_on_or_an_index_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    read, begun, go_on = FileReader._read, threading.Event(), threading.Event()

    def waiting(*args: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return read(*args)

    monkeypatch.setattr(FileReader, "_read", waiting)
    monkeypatch.setattr(full_collections, "EVERY", 0.01)
    before = gc.get_threshold()

    async def until(threshold: int) -> None:
        async with asyncio.timeout(60):
            while gc.get_threshold() != (*before[:2], threshold):
                await asyncio.sleep(0.01)

    async with serving(tmp_path, kind=Server) as server:

        def busy() -> bool:
            return server.server._busy(server.services)

        assert await asyncio.to_thread(begun.wait, 60)
        await until(BY_ITSELF)
        assert busy()
        go_on.set()
        indexes = server.server._indexes
        assert indexes is not None
        await (await indexes.get(server.sessions.roots.all()[0])).refresh()
        assert not busy()
        await until(before[2])
        monkeypatch.setattr(Supervisor, "active", 1)
        assert busy()
    assert gc.get_threshold() == before
