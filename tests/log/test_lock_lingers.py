"""A lock that outlives its killed server for a moment is waited for; that of a living one is not."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from reconvene.errors import ReconveneError
from reconvene.log import folder as data_folder
from reconvene.log.folder import LINGER, LOCK, DataFolder


def held(folder: Path, pid: int) -> int:
    folder.mkdir(mode=0o700)
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, f"{pid}\n".encode())
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def dead() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_the_lock_of_a_dead_server_is_waited_for(tmp_path: Path) -> None:
    fd = held(tmp_path / "data", dead())
    threading.Timer(0.2, os.close, [fd]).start()
    DataFolder.claim(tmp_path / "data").release()


def test_the_lock_of_a_living_server_is_refused_at_once(tmp_path: Path) -> None:
    fd = held(tmp_path / "data", os.getppid())
    began = time.monotonic()
    with pytest.raises(ReconveneError) as e:
        DataFolder.claim(tmp_path / "data")
    os.close(fd)
    assert e.value.code == "already_running" and time.monotonic() - began < LINGER


def test_the_lock_of_a_server_that_is_dying_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert not data_folder._dying(process.pid)
        process.kill()  # and not waited for: it still has its pid, as a server has whose last thread is in the middle of a write
        os.kill(process.pid, 0)
        fd = held(tmp_path / "data", process.pid)
        threading.Timer(0.2, os.close, [fd]).start()
        DataFolder.claim(tmp_path / "data").release()
        fd = os.open(tmp_path / "data" / LOCK, os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.pwrite(fd, f"{process.pid}\n".encode(), 0)
        monkeypatch.setattr(data_folder, "_dying", lambda pid: False)
        with pytest.raises(ReconveneError):  # the control
            DataFolder.claim(tmp_path / "data")
        os.close(fd)


def test_a_server_that_is_gone_between_two_looks_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise ProcessLookupError  # what reading /proc/<pid>/stat says of a process that ended after it was opened

    with monkeypatch.context() as patched:
        patched.setattr("builtins.open", gone)
        dying = data_folder._dying(os.getpid())
    assert dying


def test_a_server_that_looks_alive_for_a_moment_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between taking its SIGKILL and beginning to exit a process looks alive."""
    fd = held(tmp_path / "data", os.getppid())
    looks = iter([True, True])

    def alive(pid: int) -> bool:
        if next(looks, None) is None:
            fcntl.flock(fd, fcntl.LOCK_UN)
            return False
        return True

    monkeypatch.setattr(data_folder, "_alive", alive)
    DataFolder.claim(tmp_path / "data").release()
    os.close(fd)
    fd = os.open(tmp_path / "data" / LOCK, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.pwrite(fd, f"{os.getppid()}\n".encode(), 0)
    looks = iter([True, True])
    monkeypatch.setattr(data_folder, "CERTAIN", 0.0)
    with pytest.raises(ReconveneError):  # the control
        DataFolder.claim(tmp_path / "data")
    os.close(fd)
