"""`backup` and `restore`: one moment of a folder that is in use, and a log that clients know to be another one."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine import Machine, lines
from reconvene.cli import backing_up
from reconvene.client import Reconvene
from reconvene.client.local import find
from reconvene.errors import ReconveneError
from reconvene.log import database
from reconvene.log.queries import STATEMENTS
from reconvene.workspace.contents import Contents


def asked(machine: Machine, text: str) -> str:
    return str(lines(machine.here("ask", text, "--json").stdout)[0]["content"]["session_id"])


def test_what_was_backed_up_under_way_comes_back_as_another_log(machine: Machine, tmp_path: Path) -> None:
    machine.serve()
    kept = asked(machine, "what is a hub?")
    quoted = Contents(machine.data_dir / "contents").put(b"what a change was made from\n")
    file = tmp_path / "all.backup"
    (done,) = lines(machine.here("backup", str(file), "--json").stdout)
    assert (done["sessions"], done["bytes"]) == (1, file.stat().st_size)
    assert file.stat().st_mode & 0o777 == 0o600
    again = machine.here("backup", str(file))
    assert (again.returncode, "there already" in again.stderr) == (2, True)
    assert [p for p in tmp_path.iterdir() if ".part" in p.name] == []

    with Reconvene.local(machine.data_dir) as reconvene:
        reconvene.session(kept).ask("what does idle mean?")  # what the backup does not have
        known = reconvene.session(kept).info().cursor
    asked(machine, "how are idle sessions removed?")
    running = machine.here("restore", str(file), "--yes")
    assert running.returncode == 3, running.stderr
    machine.here("stop")
    refused = machine.here("restore", str(file))
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)

    assert machine.here("restore", str(file), "--yes").returncode == 0
    machine.serve()
    assert [s["session_id"] for s in lines(machine.here("sessions", "list", "--all", "--json").stdout)] == [kept]
    server = find(machine.data_dir)
    assert server is not None
    page = server.call("GET", f"/api/sessions/{kept}/events?after={known}")
    assert page["snapshot"] == "epoch", "a client that knows more than the backup is told to forget it"
    assert [e["type"] for e in page["events"]].count("prompt") == 1
    names = {p.name for p in machine.data_dir.iterdir()}
    (aside,) = (machine.data_dir / n for n in names if n.startswith("replaced-"))
    assert (aside / "reconvene.db").exists() and not [n for n in names if n.startswith("restoring-")]
    assert Contents(machine.data_dir / "contents").get(quoted) == b"what a change was made from\n"


def made(data_dir: Path) -> Path:
    """A data folder with an empty database, and its backup."""
    data_dir.mkdir(mode=0o700)
    instance = database.create(data_dir / "reconvene.db")
    (data_dir / "reconvene.db.instance").write_text(f"{instance}\n")
    (data_dir / "owner.token").write_text("secret\n")
    (data_dir / "server.json").write_text("{}")
    (data_dir / "finding.db").write_text("a cache")
    file = data_dir.parent / "backup"
    backing_up.backup(data_dir, file, as_json=True)
    return file


def test_it_holds_what_cannot_be_made_anew_and_no_cache(tmp_path: Path) -> None:
    file = made(tmp_path / "data")
    with tarfile.open(file) as tar:
        assert set(tar.getnames()) == {"reconvene.db", "owner.token"}
    other = tmp_path / "other"
    backing_up.restore(other, file, sure=False, as_json=True)  # nothing is there, so nobody has to be asked
    assert (other / "owner.token").read_text() == "secret\n"
    installed, _ = database.open_installed(other / "reconvene.db", "full", 1000, 2**20)
    installed.close()


def packed(file: Path, *members: tuple[str, bytes | None]) -> None:
    with tarfile.open(file, "w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            member.size = len(content or b"")
            tar.addfile(member, io.BytesIO(content or b""))


HOSTILE: dict[str, Callable[[Path], None]] = {
    "garbage": lambda f: f.write_bytes(b"no backup at all"),
    "empty": lambda f: f.write_bytes(b""),
    "nothing-in-it": lambda f: packed(f),
    "no-database": lambda f: packed(f, ("owner.token", b"x")),
    "up": lambda f: packed(f, ("../out", b"x")),
    "up-in-contents": lambda f: packed(f, ("contents/../../out", b"x")),
    "absolute": lambda f: packed(f, ("/tmp/out", b"x")),
    "link": lambda f: packed(f, ("reconvene.db", None)),
    "twice": lambda f: packed(f, ("reconvene.db", b"x"), ("reconvene.db", b"y")),
    "folder-of-its-own": lambda f: packed(f, ("logs/x", b"x")),
    "other-database": lambda f: packed(f, ("reconvene.db", b"x" * 5000)),
    "cut": lambda f: f.write_bytes(f.read_bytes()[:200]),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_file_that_is_no_backup_changes_nothing(how: str, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    file = made(data_dir)
    HOSTILE[how](file)
    before = {p.name: p.read_bytes() for p in data_dir.iterdir() if p.name != "server.lock"}
    with pytest.raises(ReconveneError) as refused:
        backing_up.restore(data_dir, file, sure=True, as_json=False)
    assert refused.value.code in ("invalid_field", "store_corrupt", "store_foreign")
    assert {p.name: p.read_bytes() for p in data_dir.iterdir() if p.name != "server.lock"} == before
    assert {p.name for p in tmp_path.iterdir()} == {"data", "backup"}


def test_a_damaged_database_is_not_backed_up(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    file = made(data_dir)
    file.unlink()
    with open(data_dir / "reconvene.db", "r+b") as db:
        db.seek(4096)
        db.write(os.urandom(8192))
    with pytest.raises(ReconveneError) as refused:
        backing_up.backup(data_dir, file, as_json=False)
    assert refused.value.code == "store_corrupt"
    assert {p.name for p in tmp_path.iterdir()} == {"data"}


def test_nothing_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(ReconveneError) as refused:
        backing_up.backup(tmp_path, tmp_path / "backup", as_json=False)
    assert refused.value.code == "not_found"
    with pytest.raises(ReconveneError, match="no backup") as missing:
        backing_up.restore(tmp_path / "data", tmp_path / "none", sure=True, as_json=False)
    assert missing.value.code == "not_found"


def test_mutation_without_new_epochs_a_client_goes_on_in_a_log_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def epochs(*, broken: bool) -> tuple[Any, Any]:
        base = tmp_path / ("broken" if broken else "whole")
        base.mkdir()
        file = made(base / "data")
        db = database.connect(base / "data/reconvene.db")
        columns = [row[1] for row in db.execute("pragma table_info(session)")]
        values = {"id": "s_1", "epoch": "e1", "head": 1, "n": 1}
        row = [values.get(name, "" if name in TEXTS else 0) for name in columns]
        db.execute(f"insert into session values ({','.join('?' * len(row))})", row)
        db.close()
        file.unlink()
        backing_up.backup(base / "data", file, as_json=True)
        with monkeypatch.context() as patched:
            if broken:
                patched.setitem(STATEMENTS, "new_epochs", "select 1")  # type: ignore[arg-type]
            backing_up.restore(base / "again", file, sure=True, as_json=True)
        again = database.connect(base / "again/reconvene.db", readonly=True)
        try:
            return "e1", again.execute("select epoch from session").get
        finally:
            again.close()

    before, after = epochs(broken=False)
    assert after != before
    before, after = epochs(broken=True)
    assert after == before
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["sessions"] == 1


TEXTS = ("owner", "root", "head_tag", "title", "status", "run_id", "meta")
