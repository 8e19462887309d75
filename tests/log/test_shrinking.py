"""What deleted sessions took is given back to the file system."""

from __future__ import annotations

from pathlib import Path

from reconvene.log.port import NewEvent, NewSession
from reconvene.log.sqlite import SqliteLog


async def test_a_purge_gives_pages_back(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path / "reconvene.db")
    log.on_commit = lambda *_: None
    text = '{"text":"' + "x" * 20_000 + '"}'
    await log.create(NewSession("s_a", "o", "/r", "e"), [NewEvent("message", text) for _ in range(200)])
    await log.delete("s_a", reason="expired", at=1.0)
    await log.purge(tombstones_before=0.0)
    await log.close()
    assert (tmp_path / "reconvene.db").stat().st_size < 1_000_000
