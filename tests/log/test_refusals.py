"""What a server does not start on: each names the thing and the way out, and nothing is changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from log_words import E, a_session

from reconvene.errors import ReconveneError
from reconvene.log import database
from reconvene.log.folder import LOCK, DataFolder
from reconvene.log.queries import migrations
from reconvene.log.sqlite import SqliteLog


@pytest.fixture
async def installed(tmp_path: Path) -> Path:
    """The database of a server that ran and stopped."""
    path = tmp_path / "reconvene.db"
    log = await SqliteLog.open(path)
    for id in ("s_a", "s_b"):
        await a_session(log, id)
        for n in range(50):
            log.append_soon(id, [E("x" * 1000, n=n)])
    await log.close()
    return path


def overwrite(path: Path, at: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def sql(path: Path, statement: str) -> None:
    db = apsw.Connection(str(path))
    db.execute(statement)
    db.close()


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "bad127-zero-bytes": ("store_corrupt", lambda path: os.truncate(path, 0)),
    "bad127-garbage": ("store_corrupt", lambda path: path.write_bytes(os.urandom(20_000)) and None),
    "bad127-text": ("store_corrupt", lambda path: path.write_text("hello") and None),
    "bad127-header-cut": ("store_corrupt", lambda path: os.truncate(path, 50)),
    "bad127-half": ("store_corrupt", lambda path: os.truncate(path, path.stat().st_size // 2)),
    "bad127-page-overwritten": ("store_corrupt", lambda path: overwrite(path, 4096 * 5, b"\xff" * 4096)),
    "bad127-folder": ("store_corrupt", replaced_by_a_folder),
    "bad127-newer-schema": ("store_newer", lambda path: sql(path, f"pragma user_version = {len(migrations()) + 1}")),
    "bad127-foreign-program": ("store_foreign", lambda path: sql(path, "pragma application_id = 1196444487")),
    "bad127-other-installation": (
        "store_foreign",
        lambda path: sql(path, "update value set value = 'other' where name = 'instance'"),
    ),
    "bad127-lost-events": ("store_corrupt", lambda path: sql(path, "delete from event where session = 2 and seq > 40")),
    "bad128-missing": ("store_lost", os.unlink),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_database_that_is_not_right_is_refused_and_left_alone(installed, damage):
    code, harm = DAMAGES[damage]
    harm(installed)
    before = picture(installed.parent)
    for check_below in (database.CHECKED_BELOW, 0):
        if check_below == 0 and damage == "bad127-page-overwritten":
            continue  # a large file is not read wholly
        with pytest.raises(ReconveneError) as caught:
            await SqliteLog.open(installed, check_below=check_below)
        error = caught.value
        assert error.code == code, error
        assert str(installed) in error.message and "reconvene doctor --repair" in error.message
        assert picture(installed.parent) == before


def picture(folder: Path) -> dict[str, str]:
    """What a start must not change. (A -wal and its index may appear; empty, they say nothing.)"""
    return {
        file.name: hashlib.sha1(file.read_bytes()).hexdigest() if file.is_file() else "folder"
        for file in folder.iterdir()
        if not file.name.endswith("-shm") and not (file.name.endswith("-wal") and file.stat().st_size == 0)
    }


async def test_control_without_its_marker_a_missing_database_would_be_a_new_one(installed):
    installed.unlink()
    installed.with_name("reconvene.db.instance").unlink()
    log = await SqliteLog.open(installed)
    assert await log.sessions() == []
    await log.close()


async def test_a_wal_without_its_database_is_not_played_into_a_new_one(tmp_path):
    (tmp_path / "reconvene.db-wal").write_bytes(b"7" * 100)
    with pytest.raises(ReconveneError, match="store_lost"):
        await SqliteLog.open(tmp_path / "reconvene.db")
    assert [p.name for p in tmp_path.iterdir()] == ["reconvene.db-wal"]


async def test_a_database_without_its_marker_is_taken_as_it_is(installed):
    marker = installed.with_name("reconvene.db.instance")
    instance = marker.read_text()
    marker.unlink()
    log = await SqliteLog.open(installed)
    assert len(await log.sessions()) == 2 and marker.read_text() == instance == log.instance + "\n"
    await log.close()


async def test_a_creation_that_was_cut_short_is_done_again(tmp_path):
    (tmp_path / "reconvene.db.new").write_bytes(b"")
    (tmp_path / "reconvene.db.new-wal").write_bytes(b"rest")
    log = await SqliteLog.open(tmp_path / "reconvene.db")
    await log.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["reconvene.db", "reconvene.db.instance"]
    assert (tmp_path / "reconvene.db").stat().st_mode & 0o777 == 0o600


# the folder


def claimed_and_released(path: Path) -> None:
    DataFolder.claim(path).release()


def refused(path: Path) -> ReconveneError:
    with pytest.raises(ReconveneError) as caught:
        DataFolder.claim(path)
    return caught.value


def test_a_new_folder_is_private_whatever_the_umask(tmp_path):
    umask = os.umask(0)
    try:
        claimed_and_released(tmp_path / "deep" / "data")
    finally:
        os.umask(umask)
    assert (tmp_path / "deep" / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o701, 0o704], ids=lambda mode: f"bad129-{mode:o}")
def test_a_folder_that_others_can_reach_is_refused_with_the_fix(tmp_path, mode):
    folder = tmp_path / "my data"
    folder.mkdir()
    folder.chmod(mode)
    error = refused(folder)
    assert error.code == "unsafe_permissions" and f"chmod 700 '{folder}'" in error.message
    assert list(folder.iterdir()) == []
    folder.chmod(0o700)
    claimed_and_released(folder)


@pytest.mark.parametrize("kind", ["file", "under-a-file"], ids=lambda kind: f"bad129-{kind}")
def test_a_folder_that_is_none_is_refused(tmp_path, kind):
    (tmp_path / "data").write_text("x")
    error = refused(tmp_path / "data" if kind == "file" else tmp_path / "data" / "deeper")
    assert error.code == "data_dir_unusable" and "--data-dir" in error.message


@pytest.mark.parametrize("case", ["read-only", "of-another-user"], ids=lambda case: f"bad129-{case}")
def test_a_folder_that_is_not_ours_to_write_is_refused(tmp_path, case):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    nobody = 65534
    if os.geteuid() != 0:
        if case == "of-another-user":
            folder = Path("/")  # root's
            assert refused(folder).code == "unsafe_permissions"
            return
        nobody = os.geteuid()
    for parent in [folder, *folder.parents]:
        if os.geteuid() == 0 and parent != folder and parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    if case == "read-only":
        folder.chmod(0o500)
        if os.geteuid() == 0:
            os.chown(folder, nobody, nobody)

    def attempt() -> int:
        if os.geteuid() == 0:
            os.setuid(nobody)
        return {"data_dir_unusable": 11, "unsafe_permissions": 12}[refused(folder).code]

    assert in_child(attempt) == (11 if case == "read-only" else 12)


def in_child(work: Callable[[], int]) -> int:
    """The exit status of a forked process."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_bad130_a_second_server_is_refused_and_told_the_pid(tmp_path):
    folder = DataFolder.claim(tmp_path)
    again = refused(tmp_path)
    assert again.code == "already_running" and again.details["pid"] == os.getpid() and str(os.getpid()) in again.message
    assert in_child(lambda: 7 if refused(tmp_path).code == "already_running" else 1) == 7
    assert DataFolder.owner(tmp_path) == os.getpid()
    assert sorted(p.name for p in tmp_path.iterdir()) == [LOCK], "nothing was opened"
    folder.release()
    folder.release()
    assert DataFolder.owner(tmp_path) is None
    claimed_and_released(tmp_path)


def test_bad130_the_lock_ends_with_the_process_and_its_children_do_not_keep_it(tmp_path):
    ready, tell = os.pipe()
    server = os.fork()
    if server == 0:
        DataFolder.claim(tmp_path)
        if os.fork() == 0:  # it says so itself: only once it runs has it let go of the lock
            os.write(tell, f"{os.getpid()}\n".encode())
        signal.pause()
    child = int(os.read(ready, 32))
    try:
        assert refused(tmp_path).details["pid"] == server
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
        claimed_and_released(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.close(ready)
        os.close(tell)


def test_a_lock_file_that_is_removed_under_a_claim_is_made_again(tmp_path, monkeypatch):
    """Between opening and locking it: a lock on a removed file would lock nobody out."""
    real = os.open
    removed: list[str] = []

    def open_and_remove(path: str, flags: int, *more: int) -> int:
        fd = real(path, flags, *more)
        if str(path).endswith(LOCK) and not removed:
            removed.append(str(path))
            os.unlink(path)
        return fd

    monkeypatch.setattr(os, "open", open_and_remove)
    folder = DataFolder.claim(tmp_path)
    monkeypatch.undo()
    assert removed and refused(tmp_path).code == "already_running"
    folder.release()


async def test_a_copy_of_the_whole_folder_is_a_database(installed, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("reconvene.db", "reconvene.db.instance"):
        shutil.copy(installed.with_name(name), copy / name)
    log = await SqliteLog.open(copy / "reconvene.db")
    assert len(await log.sessions()) == 2
    await log.close()
