"""The path jail: opens a file below a root directory, and nothing else, whoever changes the tree meanwhile.

The root is held open. Linux's `openat2` opens a path below it in one step (RESOLVE_BENEATH; Linux 5.6). Where a link
is on the way, and where there is no `openat2` (macOS, old kernels, seccomp), the path is walked name by name from
directory to directory, never following a link by the operating system: links are read and walked the same way, so they
lead nowhere else. Checking a path first and opening it afterwards would lose the race against somebody who swaps a
directory for a link in between.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import stat
import sys
from contextlib import suppress
from typing import Literal

from reconvene.errors import ReconveneError
from reconvene.workspace.names import decode, encode, parts, shown, too_long

Variant = Literal["kernel", "walk"]

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | _FLAGS
_LIST = os.O_RDONLY | os.O_DIRECTORY | _FLAGS
# O_PATH looks without opening: no device stirs, and a directory that may be searched but not read is walked through.
_PATH = getattr(os, "O_PATH", 0)
_LOOK = _PATH | _FLAGS if _PATH else _FILE
_ALONG = _PATH | os.O_DIRECTORY | _FLAGS
_LINKS = 40
"""As many links as Linux follows in one path."""

# linux/openat2.h
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_RESOLVE = _BENEATH | _NO_MAGICLINKS | _NO_SYMLINKS
_OPENAT2 = 437
_SAME_NUMBER = ("x86_64", "aarch64", "arm64", "riscv64", "i386", "i686", "armv7l", "ppc64le", "s390x", "loongarch64")


class Jail:
    """One root directory, held open. Thread-safe; its descriptor is closed when nobody holds the jail any more.

    Args:
        root: real path of the directory.
        variant: which way paths are resolved; None takes the best there is.

    Raises:
        OSError: the root cannot be opened.
    """

    def __init__(self, root: str, variant: Variant | None = None) -> None:
        self.root = root
        self.variant: Variant = variant or best_variant()
        self._fd = os.open(encode(root), _LIST)
        st = os.fstat(self._fd)
        self._id = (st.st_dev, st.st_ino)
        self._unreal = frozenset(_device(p) for p in ("/proc", "/sys", "/dev")) - {st.st_dev}

    def __del__(self) -> None:
        if (fd := getattr(self, "_fd", -1)) >= 0:
            with suppress(OSError):
                os.close(fd)

    def check_alive(self) -> None:
        """
        Raises:
            ReconveneError: `workspace_gone` when the root's path is no longer the directory that was opened.
        """
        try:
            st = os.lstat(encode(self.root))
        except (FileNotFoundError, NotADirectoryError):
            raise self._gone() from None
        except OSError as e:
            if e.errno == errno.ESTALE:
                raise self._gone() from None
            if e.errno in (errno.EACCES, errno.EPERM):
                return  # a parent was closed to us; the root itself is still held
            raise _failed(e, self.root) from e
        if (st.st_dev, st.st_ino) != self._id:
            raise self._gone()

    def open(self, path: str) -> tuple[int, os.stat_result, str]:
        """Open a regular file for reading: its descriptor (the caller closes it), what fstat says, and its path
        without links.

        Never blocks on a pipe or a device.

        Raises:
            ReconveneError: `path_outside_root`, `invalid_path`, `name_too_long`, `file_not_found`,
                `not_a_regular_file`, `is_a_directory`, `permission_denied`, `workspace_gone`.
        """
        names = parts(path)
        if not names:
            raise _directory(path)
        try:
            fd, real = self._open(names, _FILE)
        except OSError as e:
            raise self._refused(e, path) from e
        try:
            st = os.fstat(fd)
            if stat.S_ISDIR(st.st_mode):
                raise _directory(path)
            if not stat.S_ISREG(st.st_mode) or st.st_dev in self._unreal:
                raise _irregular(path)
        except BaseException:
            os.close(fd)
            raise
        return fd, st, real

    def open_directory(self, path: str) -> int:
        """Open a directory ("" is the root) for listing; its path must not lead through a link. The caller closes it.

        Raises:
            OSError: as the operating system says; ELOOP or ENOTDIR for a link.
        """
        if not path:
            return os.open(b".", _LIST, dir_fd=self._fd)
        return (
            self._direct(encode(path), _LIST)
            if self.variant == "kernel"
            else self._walk(path.split("/"), _LIST, links=0)[0]
        )

    def stat(self, path: str) -> os.stat_result | None:
        """What stat says of a regular file; None when the path leads to none. It is not opened for reading.

        Raises:
            ReconveneError: `workspace_gone`.
        """
        try:
            names = parts(path)
            if not names:
                return None
            fd = self._open(names, _LOOK)[0]
        except (OSError, ReconveneError):
            self.check_alive()
            return None
        try:
            st = os.fstat(fd)
        finally:
            os.close(fd)
        return st if stat.S_ISREG(st.st_mode) and st.st_dev not in self._unreal else None

    # -- the two ways

    def _open(self, names: list[str], flags: int) -> tuple[int, str]:
        if self.variant == "kernel":
            path = "/".join(names)
            try:
                return self._direct(encode(path), flags), path
            except OSError as e:
                # ELOOP: a link is on the way. EAGAIN: something on the way was renamed too often meanwhile.
                if e.errno not in (errno.ELOOP, errno.EAGAIN):
                    raise
        return self._walk(names, flags, links=_LINKS)

    def _direct(self, path: bytes, flags: int) -> int:
        for _ in range(8):
            try:
                # Without O_NOFOLLOW, which would have O_PATH open a link instead of refusing it.
                return _openat2(self._fd, path, flags & ~os.O_NOFOLLOW, _RESOLVE)
            except OSError as e:
                if e.errno not in (errno.EINTR, errno.EAGAIN):
                    raise
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def _walk(self, names: list[str], flags: int, *, links: int) -> tuple[int, str]:
        """Name by name; `..` in a link goes back to the directory it came from, and never above the root."""
        todo = names[::-1]
        along: list[int] = []
        real: list[str] = []
        try:
            while True:
                name = todo.pop()
                if name == "..":
                    if not along:
                        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
                    os.close(along.pop())
                    real.pop()
                else:
                    here = along[-1] if along else self._fd
                    try:
                        fd = self._step(name, _ALONG if todo else flags, here)
                    except OSError as e:
                        if e.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                            raise
                        if (target := _link(name, here)) is None:
                            raise
                        if links == 0:
                            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
                        links -= 1
                        if target.startswith("/"):
                            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV)) from None
                        todo += [n for n in target.split("/") if n not in ("", ".")][::-1]
                    else:
                        real.append(name)
                        if not todo:
                            return fd, "/".join(real)
                        along.append(fd)
                if not todo:  # a link led to a directory that is held already, or to the root
                    return os.dup(along[-1] if along else self._fd), "/".join(real)
        finally:
            for fd in along:
                os.close(fd)

    def _step(self, name: str, flags: int, here: int) -> int:
        fd = os.open(encode(name), flags, dir_fd=here)
        # O_PATH with O_NOFOLLOW opens a link itself instead of refusing it.
        if flags & _PATH and not flags & os.O_DIRECTORY and stat.S_ISLNK(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return fd

    # -- refusals

    def _refused(self, e: OSError, path: str) -> ReconveneError:
        name, code = shown(path), e.errno
        if code in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
            self.check_alive()
            return ReconveneError("file_not_found", f"There is no file {name} in the code base.", path=name)
        if code == errno.EXDEV:
            sentence = f"{name} leads outside of the code base through a link. Name a file that is inside."
            return ReconveneError("path_outside_root", sentence, path=name, why="link")
        if code == errno.ELOOP:
            return ReconveneError(
                "file_not_found", f"{name} is a link that leads in a circle; there is no file at its end.", path=name
            )
        if code == errno.ENAMETOOLONG:
            return too_long(path)
        if code in (errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP):
            return _irregular(path)
        if code == errno.EISDIR:
            return _directory(path)
        if code in (errno.EACCES, errno.EPERM):
            sentence = (
                f"The operating system does not let this server read {name}. Change the file's permissions to allow it."
            )
            return ReconveneError("permission_denied", sentence, path=name)
        return _failed(e, path)

    def _gone(self) -> ReconveneError:
        name = shown(self.root)
        sentence = (
            f"The folder {name} was deleted, moved or replaced. Put it back, or run `reconvene serve` on it again."
        )
        return ReconveneError("workspace_gone", sentence, root=name)


def _directory(path: str) -> ReconveneError:
    return ReconveneError("is_a_directory", f"{shown(path)} is a folder. Name a file in it.", path=shown(path))


def _irregular(path: str) -> ReconveneError:
    sentence = f"{shown(path)} is a device, a socket, a pipe or the like; only regular files are read."
    return ReconveneError("not_a_regular_file", sentence, path=shown(path))


def _failed(e: OSError, path: str) -> ReconveneError:
    return ReconveneError(
        "tool_failed",
        f"Reading {shown(path)} failed: {e.strerror}. Try again in a moment.",
        path=shown(path),
        errno=e.errno,
    )


def _link(name: str, here: int) -> str | None:
    """Where a link points to; None when it is none. An empty target cannot be."""
    try:
        return decode(os.readlink(encode(name), dir_fd=here))
    except OSError as e:
        if e.errno == errno.EINVAL:
            return None
        raise


def _device(path: str) -> int:
    try:
        return os.stat(path).st_dev
    except OSError:
        return -1


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _openat2(directory: int, path: bytes, flags: int, resolve: int) -> int:
    how = _How(flags, 0, resolve)
    number, size = ctypes.c_long(_OPENAT2), ctypes.c_size_t(ctypes.sizeof(how))
    fd: int = _libc().syscall(number, ctypes.c_int(directory), ctypes.c_char_p(path), ctypes.byref(how), size)
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd


@functools.cache
def best_variant() -> Variant:
    """`kernel` where `openat2` works (asked once), else `walk`."""
    if sys.platform != "linux" or platform.machine() not in _SAME_NUMBER:
        return "walk"
    try:
        fd = os.open(b"/", _LIST)
        try:
            os.close(_openat2(fd, b".", _LIST, _RESOLVE))
        finally:
            os.close(fd)
    except OSError:  # ENOSYS: older than 5.6; EPERM: a seccomp profile from before it
        return "walk"
    return "kernel"
