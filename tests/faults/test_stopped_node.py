"""A node that is stopped (a paused machine) keeps its connections and reads nothing: it must not keep PostgreSQL from forgetting
notifications, of which it holds 8 GB at most."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from postgres import Server, server
from proof import report
from reconvene.log.postgres.address import Address

PROOF = "Nodes: one that is stopped"
PATIENCE = 60.0
"""Seconds, three times those after which it is let go."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Server]:
    tmp_path.chmod(0o755)
    started = server(tmp_path / "data")
    yield started
    started.stop()


async def let_go(address: Address, **settings: str) -> float | None:
    """Seconds until a listener that reads nothing is let go, under notifications as large as ours; None: it was not."""
    listener = await address.connect(**settings)
    await listener.add_listener("news", lambda *_: None)
    listener._transport.pause_reading()
    writer = await address.connect()
    began = time.monotonic()
    try:
        while time.monotonic() - began < PATIENCE:
            for _ in range(50):
                await writer.execute("select pg_notify('news', repeat('x', 7000) || random()::text), pg_sleep(0.01)")
            try:
                if not await writer.fetchval(
                    "select count(*) from pg_stat_activity where pid = $1", listener.get_server_pid()
                ):
                    return time.monotonic() - began
            except asyncpg.InterfaceError:  # it knows already
                return time.monotonic() - began
        return None
    finally:
        listener.terminate()
        writer.terminate()


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_listener_that_reads_nothing_is_let_go(database: Server) -> None:
    began = time.monotonic()
    took = await let_go(Address.parse(database.url))
    assert took is not None
    figure = (
        f"its connection, which takes no notification any more, is ended after {took:.0f} s, and it holds up nobody"
    )
    report(PROOF, figure, seconds=time.monotonic() - began)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_control_without_the_time_it_is_kept(database: Server) -> None:
    began = time.monotonic()
    assert await let_go(Address.parse(database.url), tcp_user_timeout="0") is None
    report(
        PROOF, control=f"without tcp_user_timeout it is there after {PATIENCE:.0f} s", seconds=time.monotonic() - began
    )
