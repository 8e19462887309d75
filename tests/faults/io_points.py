"""Every call of this process that changes what is on a disk, counted in order, so that a test can die in it or make it fail.

Two layers give all of them: a file system under every SQLite connection, and the functions of `os` (with the one system call that is
made without them, `renameat2`). Only paths and descriptors below the watched folders count; pipes and a test's own notes do not.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw

import reconvene.workspace.edits.disk as edits_disk
from reconvene.log import database

REAL_WRITE = os.write
"""For a test's own notes: never counted, never failing."""
_FAILURES = {
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "delete": apsw.SQLITE_IOERR_DELETE,
    "open": apsw.SQLITE_CANTOPEN,
}
SYSTEM = apsw.vfs_names()[0]
"""The operating system's files, as SQLite calls them."""
Act = Callable[[int, str, str, Callable[[], None]], None]
"""`act(n, op, path, half)` is called before the n-th call. It may raise OSError, or call `half` (do half of a write) and die."""


class Points:
    """Use as a context manager, before anything is opened.

    Args:
        folders: what is watched.
        act: see `Act`.
        sync: whether a sync is really made.
        sqlite: whether SQLite's calls are among them.
        done: `done(op, path, other)` is called after a call that changed names, or a sync; `other` is the second name.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        act: Act,
        *,
        sync: bool = True,
        sqlite: bool = True,
        done: Callable[[str, str, str], None] = lambda op, path, other: None,
    ) -> None:
        self.folders = tuple(os.path.realpath(f) + "/" for f in folders)
        self.act, self.sync, self.sqlite, self.done = act, sync, sqlite, done
        self.count = 0
        self.kinds: Counter[str] = Counter()
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Points:
        if self.sqlite:
            vfs = _Vfs(self)
            self._undo.callback(vfs.unregister)
            self._set(database, "VFS", vfs.name)
        for name in ("write", "pwrite", "fsync", "fdatasync", "ftruncate", "fchmod", "utime", "setxattr"):
            self._on_descriptor(name)
        for name in ("mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "symlink"):
            self._on_path(name)
        self._on_open()
        really = edits_disk._renameat2

        def renameat2(folder: int, name: bytes, to: bytes, flags: int) -> None:
            path, target = (os.path.join(_opened(folder), os.fsdecode(n)) for n in (name, to))
            self.at("renameat2", target)
            really(folder, name, to, flags)
            self._tell("exchange" if flags == edits_disk._EXCHANGE else "rename", path, target)

        self._set(edits_disk, "_renameat2", renameat2)
        return self

    def __exit__(self, *exc: object) -> None:
        self._undo.close()

    def at(self, op: str, path: str, half: Callable[[], None] = lambda: None) -> None:
        """A call is about to be made. Any thread."""
        if path.startswith(self.folders) or path + "/" in self.folders:
            self.count += 1
            self.kinds[op] += 1
            self.act(self.count, op, path, half)

    def _tell(self, op: str, path: str, other: str = "") -> None:
        if path.startswith(self.folders) or path + "/" in self.folders:
            self.done(op, path, other)

    def _set(self, owner: Any, name: str, value: Any) -> None:
        before = getattr(owner, name)
        setattr(owner, name, value)
        self._undo.callback(setattr, owner, name, before)

    def _on_descriptor(self, name: str) -> None:
        really = getattr(os, name, None)
        if really is None:
            return
        syncs, writes = name in ("fsync", "fdatasync"), name == "write"

        def call(fd: Any, *args: Any, **more: Any) -> Any:
            path = _opened(fd) if isinstance(fd, int) else os.path.realpath(os.fsdecode(fd))
            half = (lambda: really(fd, args[0][: len(args[0]) // 2])) if writes else lambda: None
            self.at("sync" if syncs else name, path, half)
            result = really(fd, *args, **more) if self.sync or not syncs else None
            if syncs:
                self._tell("sync", path)
            return result

        self._set(os, name, call)

    def _on_path(self, name: str) -> None:
        really = getattr(os, name)
        two = name in ("rename", "replace", "link", "symlink")

        def call(path: Any, *args: Any, **more: Any) -> Any:
            folder = more.get("dst_dir_fd" if two else "dir_fd")
            full = _full(path, more.get("src_dir_fd") if two else folder)
            target = _full(args[0], folder) if two else ""
            self.at(name, target or full)
            result = really(path, *args, **more)
            self._tell({"replace": "rename", "remove": "unlink"}.get(name, name), full, target)
            return result

        self._set(os, name, call)

    def _on_open(self) -> None:
        really = os.open

        def call(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if not flags & (os.O_CREAT | os.O_TRUNC):
                return really(path, flags, mode, dir_fd=dir_fd)
            full = _full(path, dir_fd)
            new = not os.path.lexists(full)
            self.at("create", full)
            fd = really(path, flags, mode, dir_fd=dir_fd)
            if new:
                self._tell("create", full)
            return fd

        self._set(os, "open", call)


def _opened(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def _full(path: Any, dir_fd: int | None) -> str:
    name = os.fsdecode(path)
    return name if name.startswith("/") else os.path.join(os.getcwd() if dir_fd is None else _opened(dir_fd), name)


class _Vfs(apsw.VFS):
    count = 0

    def __init__(self, points: Points) -> None:
        _Vfs.count += 1
        self.points = points
        self.name = f"points{_Vfs.count}"
        self.failed = 0
        super().__init__(self.name, SYSTEM, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.at("delete", filename)
        super().xDelete(filename, syncdir)

    def xGetLastError(self) -> Any:
        return (self.failed, os.strerror(self.failed)) if self.failed else super().xGetLastError()

    def at(self, op: str, path: str, half: Callable[[], None] = lambda: None) -> None:
        try:
            self.points.at(op, path, half)
        except OSError as e:
            self.failed = e.errno or errno.EIO
            if e.errno == errno.ENOSPC and op == "write":
                raise apsw.exception_for(apsw.SQLITE_FULL) from e  # as SQLite's own file system has it
            raise apsw.exception_for(_FAILURES[op]) from e
        self.failed = 0


class _File(apsw.VFSFile):
    def __init__(self, vfs: _Vfs, name: Any, flags: list[int]) -> None:
        self.vfs = vfs
        self.path = (name.filename() if isinstance(name, apsw.URIFilename) else name) or ""
        super().__init__(SYSTEM, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        write = super().xWrite
        self.vfs.at("write", self.path, lambda: write(bytes(data)[: len(data) // 2], offset))
        write(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self.vfs.at("truncate", self.path)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self.vfs.at("sync", self.path)
        if self.vfs.points.sync:
            super().xSync(flags)
