"""A damaged database is kept, and what can be read of it is there again; permissions are mended; nothing is deleted."""

from __future__ import annotations

import json
import os
import random
import stat
from pathlib import Path

import apsw
import pytest

from reconvene.cli.doctor import Finding, examine
from reconvene.cli.repair import repair_all
from reconvene.errors import ReconveneError
from reconvene.log.folder import DataFolder
from reconvene.log.port import Command, NewEvent, NewSession, SessionRow
from reconvene.log.sqlite import SqliteLog

IDS = [f"s_{n:022d}" for n in range(3)]
EVENTS = 60


@pytest.fixture
async def data_dir(tmp_path: Path) -> Path:
    """Three sessions of 60 events, each event several to a page, as a server that was stopped leaves them."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    log = await SqliteLog.open(folder / "reconvene.db")
    for n, id in enumerate(IDS):
        await log.create(NewSession(id, "owner", "/r", f"e{n}"), update={"title": f"Session {n}"})
        for k in range(EVENTS):
            event = NewEvent("text", json.dumps({"attempt": 1, "text": f"{n}.{k} " + "word " * 150}), run_id="r1")
            kinds = {0: NewEvent("run", '{"status":"queued"}', run_id="r1")}
            command = Command("owner", f"c{n}.{k}", "body")
            await log.append(id, [kinds.get(k, event)], command=command)
    await log.put("uptime", "1234.5")
    await log.close()
    return folder


async def sessions(data_dir: Path) -> dict[str, SessionRow]:
    log = await SqliteLog.open(data_dir / "reconvene.db")
    try:
        for row in await log.sessions():
            events = await log.read(row.id, 0)
            assert [e.seq for e in events] == list(range(1, row.head + 1))
            assert not events or events[-1].tag == row.head_tag
        return {row.id: row for row in await log.sessions()}
    finally:
        await log.close()


def damage(path: Path, *pages: int, size: int = 4096) -> bytes:
    """Overwrite pages (from 0) with noise; returns the whole damaged file."""
    noise = random.Random(7).randbytes(size)
    with open(path, "r+b") as file:
        for page in pages:
            file.seek(page * size)
            file.write(noise)
    return path.read_bytes()


def finding(data_dir: Path, check: str) -> Finding:
    return next(f for f in examine(data_dir) if f.check == check)


def page_of(path: Path, table: str, where: str) -> int:
    """A leaf page (from 0) that holds rows of a table."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        leaves = db.execute(
            "select pageno from dbstat where name = ? and pagetype = 'leaf' order by path", (table,)
        ).fetchall()
        return int(leaves[{"first": 0, "middle": len(leaves) // 2, "last": -1}[where]][0]) - 1
    finally:
        db.close()


async def test_a_whole_database_is_left_alone(data_dir: Path) -> None:
    before = (data_dir / "reconvene.db").read_bytes()
    assert repair_all(data_dir) == ["There was nothing to repair."]
    assert (data_dir / "reconvene.db").read_bytes() == before
    assert finding(data_dir, "database").ok


async def test_bad127_a_damaged_page_costs_the_end_of_its_session_only(data_dir: Path) -> None:
    path = data_dir / "reconvene.db"
    damaged = damage(path, page_of(path, "event", "middle"))
    found = finding(data_dir, "database")
    assert not found.ok
    assert found.fix is not None
    assert "--repair" in found.fix

    said = repair_all(data_dir)

    (kept,) = data_dir.glob("reconvene.db.damaged-*")
    assert (kept / "reconvene.db").read_bytes() == damaged
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    rows = await sessions(data_dir)
    heads = sorted(rows[id].head for id in IDS)
    assert heads[1:] == [EVENTS, EVENTS]
    assert 0 < heads[0] < EVENTS
    (cut,) = (row for row in rows.values() if row.head < EVENTS)
    assert cut.epoch not in ("e0", "e1", "e2")
    assert (cut.status, cut.run_id) == ("running", "r1")
    (leftovers,) = data_dir.glob("reconvene.db.leftovers-*.jsonl")
    behind = [json.loads(line) for line in leftovers.read_text().splitlines()]
    assert {e["session_id"] for e in behind} == {cut.id}
    assert all(e["seq"] > cut.head for e in behind)
    assert any(f"{len(behind):,} events behind the damage" in line for line in said)
    assert finding(data_dir, "database").ok


async def test_what_was_cut_can_be_sent_again(data_dir: Path) -> None:
    path = data_dir / "reconvene.db"
    damage(path, page_of(path, "event", "middle"))
    repair_all(data_dir)
    rows = await sessions(data_dir)
    log = await SqliteLog.open(path)
    try:
        for n, id in enumerate(IDS):
            known = [await log.command("owner", f"c{n}.{k}") is not None for k in range(EVENTS)]
            assert known == [k < rows[id].head for k in range(EVENTS)]
        assert await log.get("uptime") == "1234.5"
    finally:
        await log.close()


@pytest.mark.parametrize("what", ["header", "first page", "zeros", "text"])
async def test_bad127_a_lost_beginning_is_taken_from_a_new_database(data_dir: Path, what: str) -> None:
    path = data_dir / "reconvene.db"
    with open(path, "r+b") as file:
        beginning = {
            "header": b"x" * 100,
            "first page": os.urandom(4096),
            "zeros": bytes(4096),
            "text": b"hello\n" * 700,
        }
        file.write(beginning[what])
    repair_all(data_dir)
    assert {row.head for row in (await sessions(data_dir)).values()} == {EVENTS}


async def test_bad127_an_empty_file_or_noise_becomes_an_empty_database_and_is_kept(data_dir: Path) -> None:
    path = data_dir / "reconvene.db"
    for content in (b"", os.urandom(300), os.urandom(9000)):
        path.write_bytes(content)
        repair_all(data_dir)
        assert await sessions(data_dir) == {}
        newest = max(data_dir.glob("reconvene.db.damaged-*"), key=lambda p: p.stat().st_ctime_ns)
        assert (newest / "reconvene.db").read_bytes() == content
        assert finding(data_dir, "database").ok


async def test_the_wal_is_part_of_it(data_dir: Path, tmp_path: Path) -> None:
    """A server that was killed leaves its last commits in the -wal file only."""
    killed = tmp_path / "killed"
    killed.mkdir(mode=0o700)
    log = await SqliteLog.open(data_dir / "reconvene.db")
    await log.append(IDS[0], [NewEvent("text", '{"attempt":1,"text":"the last words"}', run_id="r1")])
    for name in ("reconvene.db", "reconvene.db-wal"):
        (killed / name).write_bytes((data_dir / name).read_bytes())
    await log.close()
    damage(killed / "reconvene.db", page_of(data_dir / "reconvene.db", "event_key", "first"))
    path = killed / "reconvene.db"
    damage(path, page_of(data_dir / "reconvene.db", "command", "first"))
    repair_all(killed)
    assert (await sessions(killed))[IDS[0]].head == EVENTS + 1


@pytest.mark.parametrize("seed", range(8))
async def test_any_damage_leaves_a_database_that_is_whole(data_dir: Path, seed: int) -> None:
    dice = random.Random(seed)
    path = data_dir / "reconvene.db"
    pages = path.stat().st_size // 4096
    with open(path, "r+b") as file:
        for _ in range(dice.randrange(1, 12)):
            file.seek(dice.randrange(pages * 4096 - 512))
            file.write(dice.randbytes(dice.randrange(1, 512)))
        if dice.random() < 0.3:
            file.truncate(dice.randrange(4096, pages * 4096))
    repair_all(data_dir)
    await sessions(data_dir)  # numbered without a gap, and openable
    assert finding(data_dir, "database").ok, f"seed {seed}"


async def test_a_database_that_is_gone_begins_anew_only_when_told(data_dir: Path) -> None:
    path = data_dir / "reconvene.db"
    path.rename(data_dir / "elsewhere")
    with pytest.raises(ReconveneError, match="missing"):
        await SqliteLog.open(path)
    assert "begins with an empty one" in repair_all(data_dir)[0]
    assert await sessions(data_dir) == {}


async def test_another_installations_database_is_taken_over_only_when_told(data_dir: Path) -> None:
    marker = data_dir / "reconvene.db.instance"
    marker.write_text("another\n")
    with pytest.raises(ReconveneError, match="another installation"):
        await SqliteLog.open(data_dir / "reconvene.db")
    assert "another installation" in repair_all(data_dir)[0]
    assert len(await sessions(data_dir)) == 3


async def test_bad127_a_newer_or_foreign_database_is_not_touched(data_dir: Path) -> None:
    path = data_dir / "reconvene.db"
    for offset, value, code in ((60, 9999, "store_newer"), (68, 1, "store_foreign")):
        content = bytearray(path.read_bytes())
        content[offset : offset + 4] = value.to_bytes(4, "big")
        path.write_bytes(content)
        with pytest.raises(ReconveneError) as refused:
            repair_all(data_dir)
        assert refused.value.code == code
        assert path.read_bytes() == content
        assert finding(data_dir, "database").fix is not None


async def test_a_running_server_is_not_repaired_under_its_feet(data_dir: Path) -> None:
    folder = DataFolder.claim(data_dir)
    try:
        with pytest.raises(ReconveneError, match="uses the data folder"):
            repair_all(data_dir)
    finally:
        folder.release()


async def test_bad129_permissions(data_dir: Path) -> None:
    token = data_dir / "owner.token"
    token.write_text("x" * 43)
    token.chmod(0o644)
    data_dir.chmod(0o777)
    for check in ("data folder", "owner token"):
        found = finding(data_dir, check)
        assert not found.ok
        assert "chmod" in str(found.fix)
    repair_all(data_dir)
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert all(finding(data_dir, check).ok for check in ("data folder", "owner token"))


async def test_mutation_a_repair_that_keeps_what_is_behind_a_gap_is_seen(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconvene.log import salvage

    readable = salvage._readable

    def closes_up(old: apsw.Connection, first: int, head: int) -> object:
        for n, row in enumerate(readable(old, first, head), 1):
            yield (first | n, *row[1:])

    monkeypatch.setattr(salvage, "_readable", closes_up)
    path = data_dir / "reconvene.db"
    damage(path, page_of(path, "event", "middle"))
    repair_all(data_dir)
    # The proper repair puts them aside, as the test of a damaged page asks; this one makes one history of two pieces.
    assert not list(data_dir.glob("*.leftovers-*"))


def edit(path: Path, *statements: str) -> None:
    """Damage that leaves SQLite's own structures whole."""
    db = apsw.Connection(str(path))
    try:
        db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
        db.pragma("writable_schema", True)
        for statement in statements:
            db.execute(statement).fetchall()
    finally:
        db.close()


@pytest.mark.parametrize("text", ["x'f900'", "'{\"attempt\":1,'"], ids=["bad127-no-utf8", "bad127-no-json"])
async def test_bad127_damage_inside_of_a_text_is_found(data_dir: Path, text: str) -> None:
    edit(data_dir / "reconvene.db", f"update event set content = cast({text} as text) where place = (2 << 32 | 41)")
    log = await SqliteLog.open(data_dir / "reconvene.db")
    try:
        if "x'" in text:
            with pytest.raises(ReconveneError) as e:
                await log.read(IDS[1], 0)
            assert e.value.code == "store_corrupt"
        assert len(await log.read(IDS[0], 0)) == EVENTS
    finally:
        await log.close()
    repair_all(data_dir)
    rows = await sessions(data_dir)
    assert [rows[id].head for id in IDS] == [EVENTS, 40, EVENTS]


@pytest.mark.parametrize(
    "change",
    ["sql = replace(sql, 'stateful', 'statefuX')", "rootpage = rootpage + 1"],
    ids=["bad127-columns", "bad127-first-page"],
)
async def test_bad127_a_damaged_schema_costs_nothing(data_dir: Path, change: str) -> None:
    edit(data_dir / "reconvene.db", f"update sqlite_schema set {change} where name = 'event'")
    with pytest.raises(ReconveneError) as e:
        await SqliteLog.open(data_dir / "reconvene.db")
    assert e.value.code == "store_corrupt"
    repair_all(data_dir)
    assert {row.head for row in (await sessions(data_dir)).values()} == {EVENTS}


@pytest.mark.parametrize("head", [1 << 31, 1 << 40, -5])
async def test_bad127_a_number_of_events_that_cannot_be_true(data_dir: Path, head: int) -> None:
    """It is neither believed nor counted to."""
    path = data_dir / "reconvene.db"
    edit(path, f"update session set head = {head} where n = 1")
    damage(path, page_of(path, "event", "first"))
    repair_all(data_dir)
    rows = await sessions(data_dir)
    assert {rows[id].head for id in IDS[1:]} == {EVENTS}


async def test_bad127_a_column_of_the_wrong_type_is_kept_beside(data_dir: Path) -> None:
    path = data_dir / "reconvene.db"
    edit(path, "update sqlite_schema set sql = replace(sql, ' strict', '') where name = 'event'")
    edit(path, "update event set run_id = x'f9' where place = (1 << 32 | 10)")
    repair_all(data_dir)
    assert [(await sessions(data_dir))[id].head for id in IDS] == [9, EVENTS, EVENTS]
    (leftovers,) = data_dir.glob("reconvene.db.leftovers-*.jsonl")
    assert [json.loads(line)["seq"] for line in leftovers.read_text().splitlines()] == list(range(10, EVENTS + 1))
