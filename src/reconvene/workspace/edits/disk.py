"""The system calls that an accept is made of, one method each, so that a test can stop or fail any of them.

Names are taken in folders that are held open: whoever renames or links folders meanwhile does not lead a write
elsewhere. `renameat2` (Linux 3.15) exchanges two files in one step, and renames without replacing.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import platform
import signal
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from reconvene.workspace.jail import Jail
from reconvene.workspace.reading import blob_id, read_whole

READABLE = 64 * 1024**2
"""Bytes of a file up to which its content is compared and kept; no accepted content is as large."""
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW
_NOREPLACE, _EXCHANGE = 1, 2  # linux/fs.h
_NUMBERS = {"x86_64": 316, "aarch64": 276, "arm64": 276, "riscv64": 276, "loongarch64": 276}
_NOT_THERE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class OvertakenError(Exception):
    """Somebody else's file came between the steps by which an exchange is made up where there is none."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What lies under a name.

    `kind`: `other` is a link, a folder, a device, a pipe. `hash`: blob id; None: it was too large or may not be read.
    `content`: with it. `written`: whether a program has it open for writing; None: the system does not tell.
    """

    kind: Literal["file", "other"]
    at: tuple[int, int]
    mode: int
    size: int
    links: int
    owner: tuple[int, int]
    hash: str | None
    content: bytes | None
    written: bool | None


class Disk:
    """One per `Writer`. Names are bytes without "/"; `folder` is a descriptor. Methods raise OSError."""

    exchanges = True
    """False once a file system was met that cannot exchange."""

    def open_folder(self, jail: Jail, path: str) -> int:
        return jail.open_directory(path)

    def make_folder(self, folder: int, name: bytes) -> None:
        with suppress(FileExistsError):
            os.mkdir(name, 0o777, dir_fd=folder)

    def remove_folder(self, folder: int, name: bytes) -> None:
        os.rmdir(name, dir_fd=folder)

    def create(self, folder: int, name: bytes, mode: int) -> int:
        """`mode`: less the umask."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(name, flags, mode, dir_fd=folder)

    def write(self, fd: int, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]

    def dress(self, fd: int, like: int) -> bool:
        """Give a new file the owner and the attributes of the file that it is to stand in for; whether the owner is
        the same."""
        st, own = os.fstat(like), os.fstat(fd)
        same = (st.st_uid, st.st_gid) == (own.st_uid, own.st_gid)
        if not same:
            with suppress(OSError):  # only root may give a file away
                os.fchown(fd, st.st_uid, st.st_gid)
                same = True
        if sys.platform == "linux":
            with suppress(OSError):  # a file system without attributes
                for name in os.listxattr(like):
                    with suppress(OSError):  # one that only the system sets
                        os.setxattr(fd, name, os.getxattr(like, name))
        return same

    def chmod(self, fd: int, mode: int) -> None:
        os.fchmod(fd, mode)

    def sync(self, fd: int) -> None:
        os.fsync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def open_file(self, folder: int, name: bytes) -> int:
        return os.open(name, _READ, dir_fd=folder)

    def rename_new(self, folder: int, name: bytes, to: bytes) -> None:
        """Raises FileExistsError when there is something under the new name."""
        try:
            _renameat2(folder, name, to, _NOREPLACE)
        except OSError as e:
            if e.errno not in _NOT_THERE:
                raise
            # A second name is refused where there is one, in one step.
            os.link(name, to, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            os.unlink(name, dir_fd=folder)

    def exchange(self, folder: int, name: bytes, with_name: bytes, hold: bytes) -> None:
        """Two files change places in one step. Where the file system cannot: in three, in which `with_name` is not
        there for a moment, and none of which overwrites anything.

        Raises:
            OvertakenError: somebody wrote a new `with_name` in that moment: it stands, `name` is what it was, and what
                was there before is under `hold`.
        """
        if self.exchanges:
            try:
                _renameat2(folder, name, with_name, _EXCHANGE)
            except OSError as e:
                if e.errno not in _NOT_THERE:
                    raise
                self.exchanges = False
            else:
                return
        self.rename_new(folder, with_name, hold)
        try:
            self.rename_new(folder, name, with_name)
        except FileExistsError:
            raise OvertakenError from None
        self.rename_new(folder, hold, name)

    def remove(self, folder: int, name: bytes) -> None:
        os.unlink(name, dir_fd=folder)

    def names(self, folder: int) -> set[bytes]:
        return {os.fsencode(name) for name in os.listdir(folder)}

    def writable(self, folder: int, name: bytes, seen: Seen) -> bool:
        """Whether its owner meant it to be written. A rename would not ask, and root is asked nothing."""
        effective = os.access in os.supports_effective_ids
        return bool(seen.mode & 0o222) and os.access(name, os.W_OK, dir_fd=folder, effective_ids=effective)

    def look(self, folder: int, name: bytes) -> Seen | None:
        """What lies under a name; None: nothing."""
        try:
            fd = os.open(name, _READ, dir_fd=folder)
        except FileNotFoundError:
            return None
        except OSError as e:
            if e.errno not in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EACCES, errno.EPERM, errno.ENODEV):
                raise
            try:
                st = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return None
            return _seen(st, None, None)
        try:
            # First: once nobody can write into it, what is read stays what it is.
            written = has_writer(fd)
            st = os.fstat(fd)
            if not stat.S_ISREG(st.st_mode) or st.st_size > READABLE:
                return _seen(st, None, written)
            return _seen(st, read_whole(fd, st.st_size + 1), written)
        finally:
            os.close(fd)


def _seen(st: os.stat_result, content: bytes | None, written: bool | None) -> Seen:
    return Seen(
        kind="file" if stat.S_ISREG(st.st_mode) else "other",
        at=(st.st_dev, st.st_ino),
        mode=stat.S_IMODE(st.st_mode),
        size=st.st_size,
        links=st.st_nlink,
        owner=(st.st_uid, st.st_gid),
        hash=None if content is None else blob_id(content),
        content=content,
        written=written,
    )


def has_writer(fd: int) -> bool | None:
    """Whether any program has this file open for writing; None where the system does not tell (no Linux, a network's
    file system, a file of another user).

    A read lease is granted only while nobody has (fcntl(2), F_SETLEASE; mapped files count). It is given back at once.
    Somebody who opens the file in between waits for that, and we are sent a signal, which would be SIGIO and end this
    process: one that is ignored is asked for instead.
    """
    if sys.platform != "linux":
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as e:
        return True if e.errno == errno.EAGAIN else None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _renameat2(folder: int, name: bytes, to: bytes, flags: int) -> None:
    number = _NUMBERS.get(platform.machine()) if sys.platform == "linux" else None
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    where = ctypes.c_int(folder)
    done: int = _libc().syscall(
        ctypes.c_long(number), where, ctypes.c_char_p(name), where, ctypes.c_char_p(to), ctypes.c_uint(flags)
    )
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))  # FileNotFoundError, FileExistsError, PermissionError by its number
