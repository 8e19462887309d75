"""From SQLite to PostgreSQL: everything arrives, or nothing counts. And what is kept before a schema is changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import apsw
import pytest
from log_words import E, a_session

from postgres import fresh_url
from reconvene.cli.migrate_store import migrate_store
from reconvene.errors import ReconveneError
from reconvene.log import database
from reconvene.log.port import Command
from reconvene.log.postgres import PostgresLog, moving
from reconvene.log.queries import migrations
from reconvene.log.sqlite import SqliteLog
from reconvene.workspace.contents import Contents


async def filled(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    log = await SqliteLog.open(folder / "reconvene.db")
    for id in ("s_a", "s_é", "s_gone"):
        await a_session(log, id)
        await log.append(
            id, [E("x", n=n, key=f"k{n}", stateful=n % 3 == 0) for n in range(50)], command=Command("o", f"c{id}", "h")
        )
        await log.claim(f"{id}/r1")
    await log.append(
        "s_a",
        [E("y", public=False)],
        update={"title": "Ein Titel ✓", "pinned": True, "status": "waiting", "run_id": "r1"},
    )
    await log.delete("s_gone", reason="deleted", at=3.5)
    await log.put("uptime", "12.5")
    await log.close()
    Contents(folder / "contents").put(b"kept")


async def everything(log: Any) -> Any:
    sessions = await log.sessions()
    return (
        sessions, [await log.read(s.id, 0) for s in sessions], await log.session("s_gone"), await log.command("o", "cs_a"),
        await log.get("uptime"), await log.by_key("s_é", "k7"),
    )  # fmt: skip


async def moved(folder: Path, url: str) -> None:
    import asyncio

    await asyncio.to_thread(migrate_store, folder, url)


async def test_everything_arrives_and_goes_on_from_there(tmp_path, capsys):
    await filled(tmp_path / "data")
    url = fresh_url()
    await moved(tmp_path / "data", url)
    said = capsys.readouterr()
    assert re.search(r"2 sessions with 101 events moved; .* SHA-256 [0-9a-f]{64}", said.out + said.err)
    old, new = await SqliteLog.open(tmp_path / "data" / "reconvene.db"), await PostgresLog.open(url)
    try:
        assert await everything(new) == await everything(old)
        assert (await new.claim("s_a/r1")).generation == (await old.claim("s_a/r1")).generation
        assert (await new.append("s_a", [E("z")], seen=49)).first == 52
        assert [name for name, _ in await new.contents([*await new.contents_there([_blob(b"kept")])])] == [
            _blob(b"kept")
        ]
        await a_session(new, "s_new")
    finally:
        await old.close()
        await new.close()
    with pytest.raises(ReconveneError) as caught:
        await moved(tmp_path / "data", url)
    assert caught.value.code == "store_busy"


def _blob(content: bytes) -> str:
    from reconvene.workspace.reading import blob_id

    return blob_id(content)


async def test_a_copy_that_differs_does_not_count(tmp_path, monkeypatch):
    await filled(tmp_path / "data")
    url, read = fresh_url(), moving._read

    async def wrong(db: Any, table: Any) -> Any:
        async for rows in read(db, table):
            yield rows[:-1]

    monkeypatch.setattr(moving, "_read", wrong)
    with pytest.raises(ReconveneError) as caught:
        await moved(tmp_path / "data", url)
    assert caught.value.code == "store_corrupt"
    new = await PostgresLog.open(url)
    assert await new.sessions() == []
    await new.close()


async def test_a_folder_without_a_database_is_said(tmp_path):
    (tmp_path / "data").mkdir(mode=0o700)
    with pytest.raises(ReconveneError) as caught:
        await moved(tmp_path / "data", "postgresql://127.0.0.1:1/x")
    assert caught.value.code == "not_found"


async def test_before_a_schema_changes_the_database_is_copied(tmp_path, monkeypatch):
    await filled(tmp_path / "data")
    file = tmp_path / "data" / "reconvene.db"
    scripts = [*migrations(), "create table later (n integer) strict;"]
    monkeypatch.setattr(database, "migrations", lambda: scripts)
    log = await SqliteLog.open(file)
    newer = await everything(log)
    await log.close()
    backup = file.with_name(f"reconvene.db.schema-{len(scripts) - 1}")
    assert backup.stat().st_mode & 0o077 == 0
    db = apsw.Connection(str(backup), flags=apsw.SQLITE_OPEN_READONLY)
    assert db.pragma("user_version") == len(scripts) - 1 and db.pragma("application_id") == database.APPLICATION_ID
    assert [tuple(r) for r in db.execute("pragma integrity_check")] == [("ok",)]
    db.close()
    # The older program refuses what the newer one made, and goes on with the copy.
    monkeypatch.undo()
    with pytest.raises(ReconveneError) as caught:
        await SqliteLog.open(file)
    assert caught.value.code == "store_newer"
    backup.rename(file)
    log = await SqliteLog.open(file)
    assert await everything(log) == newer
    await log.close()


async def test_without_a_copy_nothing_is_migrated(tmp_path, monkeypatch):
    await filled(tmp_path / "data")
    file = tmp_path / "data" / "reconvene.db"
    scripts = [*migrations(), "create table later (n integer) strict;"]
    monkeypatch.setattr(database, "migrations", lambda: scripts)

    def full(db: Any, path: Any, version: int) -> None:
        raise apsw.FullError("database or disk is full")

    monkeypatch.setattr(database, "before_migration", full)
    with pytest.raises(ReconveneError) as caught:
        await SqliteLog.open(file)
    assert caught.value.code == "disk_full"
    db = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    assert db.pragma("user_version") == len(scripts) - 1
    db.close()
