"""File contents that undo, recovery, conflicts and quotations need, in the data folder: each once, compressed, under its hash.

A content is on disk for good when `put` returns, unless it is told that this one need not be. It is private to the owner like everything
in the data folder. Nothing here is ever changed in place; `sweep` removes what nobody names any more.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from reconvene.errors import ReconveneError
from reconvene.workspace.reading import blob_id

_NAME = re.compile(r"[0-9a-f]{40}\Z")
GRACE = 3600.0
"""Seconds for which a content that nobody names is kept: the plan that names it may be on its way to the log."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Contents:
    """A store of contents by git's blob id. Every method blocks on the disk; safe to call from any thread.

    Args:
        folder: made when it is missing.
        clock: seconds since the epoch.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def put(self, content: bytes, *, durable: bool = True) -> str:
        """Keep a content; its blob id. Durable when this returns; not `durable`: a loss of power may take it, never half of it.

        Raises:
            ReconveneError: `disk_full`, `store_error`.
        """
        name = blob_id(content)
        path = self._path(name)
        try:
            have = self._read(path)
            if have == content:
                if durable:  # it may be here without being safe from a loss of power yet
                    for part in (path, path.parent, self._folder):
                        _sync(part)
                os.utime(path, (self._clock(), self._clock()))  # a sweep that runs now takes it for new
                return name
            if have is not None and blob_id(have) == name:
                sentence = f"Two contents have the same SHA-1, {name}: one of them was made to deceive. It was refused."
                raise ReconveneError("store_error", sentence)
            self._write(path, zlib.compress(content, 6), durable)
        except OSError as e:
            if e.errno in _FULL:
                raise ReconveneError(
                    "disk_full", "There is no space left in the data folder for the contents of files. Free some."
                ) from e
            raise ReconveneError("store_error", f"A file's content could not be kept: {e.strerror}.") from e
        return name

    def get(self, name: str) -> bytes | None:
        """The content with this blob id; None when it is not kept (any more), or is damaged."""
        if not _NAME.match(name):
            return None
        content = self._read(self._path(name))
        return content if content is not None and blob_id(content) == name else None

    def sweep(self, keep: Collection[str]) -> int:
        """Remove every content that is not named in `keep` and was not put within `GRACE`; how many bytes that freed."""
        named = frozenset(keep)
        oldest = self._clock() - GRACE
        freed = 0
        for path in self._all():
            with suppress(FileNotFoundError):
                found = path.stat()
                if path.parent.name + path.name not in named and found.st_mtime < oldest:
                    path.unlink()
                    freed += found.st_size
        return freed

    def size(self) -> int:
        """Bytes on disk."""
        total = 0
        for path in self._all():
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def _all(self) -> Iterator[Path]:
        # What a crash left half-written lies among the others, under a name that nobody keeps.
        with suppress(FileNotFoundError):
            for folder in self._folder.iterdir():
                yield from folder.iterdir()

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name[2:]

    def _read(self, path: Path) -> bytes | None:
        try:
            return zlib.decompress(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, zlib.error):
            return None

    def _write(self, path: Path, data: bytes, durable: bool) -> None:
        for folder in (self._folder, path.parent):
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                continue
            if durable:
                _sync(folder.parent)
        part = path.parent / f"{path.name}.{secrets.token_hex(4)}.part"
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                now = self._clock()
                os.utime(fd, (now, now))
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        if durable:
            _sync(path.parent)


def _sync(path: Path) -> None:
    """Make a file or a folder's names durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
