"""The data folder: private to its owner, and one server's at a time. Claimed before anything in it is opened, let alone recovered."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import signal
import stat
import sys
import time
from pathlib import Path

from reconvene.errors import ReconveneError
from reconvene.log.database import OUT_OF_SPACE

LINGER = 30.0
"""Seconds for which the lock of a server that is dead is waited for: one of its threads may be in the middle of a write that a busy disk
holds up, and until that is done the lock is there."""
CERTAIN = 0.25
"""Seconds for which who holds the lock must look alive before it is believed: between taking its SIGKILL and beginning to exit, a process
shows neither."""
LOCK = "server.lock"

_held: set[int] = set()
"""Descriptors of this process's locks."""


def _let_go() -> None:
    """In a child that is forked without exec: it would hold the locks for as long as it lives, even after this process was killed."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)


def unusable(path: Path, e: OSError) -> ReconveneError:
    """Why a data folder cannot be used."""
    if e.errno in OUT_OF_SPACE:
        return ReconveneError(
            "disk_full", f"There is no space left for the data folder {path}. Free some.", path=str(path)
        )
    sentence = (
        f"The data folder {path} cannot be used: {e.strerror}. Make it writable, or choose another with --data-dir."
    )
    return ReconveneError("data_dir_unusable", sentence, path=str(path))


class DataFolder:
    """A claimed data folder. The claim ends with `release`, and with the process, however that dies."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock
        _held.add(lock)

    @property
    def database(self) -> Path:
        return self.path / "reconvene.db"

    @classmethod
    def claim(cls, path: Path) -> DataFolder:
        """Make the folder if there is none, check it, lock it. Blocks only for the disk.

        Raises:
            ReconveneError: `data_dir_unusable`, `unsafe_permissions`, `already_running` (details: pid, or None when it is not known).
        """
        try:
            _make(path)
            _check(path)
            return cls(path, _lock(path))
        except OSError as e:
            raise unusable(path, e) from e

    @classmethod
    def owner(cls, path: Path) -> int | None:
        """The pid of the server that has claimed the folder; None when nobody has (0: somebody who did not say)."""
        try:
            fd = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return _pid(fd) or 0
        finally:
            os.close(fd)
        return None

    def release(self) -> None:
        """Idempotent. The lock file stays: removing it would let two servers lock two files of one name."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            _held.discard(self._lock)
            os.close(self._lock)
            self._lock = None


def _make(path: Path) -> None:
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)  # whatever the umask took


def _check(path: Path) -> None:
    found = path.stat()
    user = os.geteuid()
    if user and found.st_uid != user:
        sentence = (
            f"The data folder {path} belongs to another user (uid {found.st_uid}). Choose another with --data-dir."
        )
        raise ReconveneError("unsafe_permissions", sentence, path=str(path))
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        sentence = f"Others can reach the data folder {path} (mode {mode:04o}). Run: chmod 700 {shlex.quote(str(path))}"
        raise ReconveneError("unsafe_permissions", sentence, path=str(path))
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not _dying(pid)


def _dying(pid: int) -> bool:
    """Whether a process has been killed and only waits for its end: until its last thread is gone it has a pid, and its locks.

    Linux tells: its state is Z or X, it is exiting (PF_EXITING, linux/sched.h), or SIGKILL is pending for it.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
            state, *numbers = f.read().rpartition(")")[2].split()
        with open(f"/proc/{pid}/status", encoding="latin-1") as f:
            pending = [int(line.split()[1], 16) for line in f if line.startswith(("SigPnd:", "ShdPnd:"))]
    except (FileNotFoundError, ProcessLookupError):  # the latter when it goes between our opening and reading
        return sys.platform == "linux"
    except (OSError, ValueError, IndexError):
        return False
    exiting = len(numbers) > 5 and int(numbers[5]) & 0x4
    return state in "ZX" or bool(exiting) or any(mask & (1 << (signal.SIGKILL - 1)) for mask in pending)


def _lock(path: Path) -> int:
    patience = time.monotonic() + LINGER
    living = 0.0
    while True:
        fd = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.fstat(fd)
            try:
                current = os.stat(path / LOCK)
            except FileNotFoundError:
                current = None
            if current and (held.st_dev, held.st_ino) == (current.st_dev, current.st_ino):
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
                return fd
        except BlockingIOError as e:
            pid = _pid(fd)
            os.close(fd)
            now = time.monotonic()
            living = (living or now) if pid and _alive(pid) else 0.0
            if (not living or now - living < CERTAIN) and now < patience:
                # A killed server's lock lives on until its last thread is gone (one may be writing), or in a program it was just starting.
                time.sleep(0.02)
                continue
            who = f"A server with pid {pid}" if pid else "Another server"
            sentence = (
                f"{who} uses the data folder {path} already. Use that one, stop it, or choose another with --data-dir."
            )
            raise ReconveneError("already_running", sentence, pid=pid, path=str(path)) from e
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # it was removed between our opening and locking it: what we hold is no lock any more


def _pid(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None
