"""A disk under SQLite that can fail, and that knows what a power cut would leave of it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
from log_words import E, a_session

from reconvene.errors import ReconveneError
from reconvene.log import database
from reconvene.log.sqlite import SqliteLog

S = "s_a"

Op = tuple[str, int, bytes]
"""("write", offset, bytes) or ("truncate", size, b"")."""


class Content:
    """A file as it surely is on the platter, and what was written since the last sync, which may or may not be."""

    def __init__(self, path: str) -> None:
        self.durable = bytearray(Path(path).read_bytes() if os.path.exists(path) else b"")
        self.pending: list[Op] = []

    def after(self, ops: list[Op]) -> bytes:
        image = bytearray(self.durable)
        for op in ops:
            apply(image, op)
        return bytes(image)


def apply(image: bytearray, op: Op) -> None:
    kind, at, data = op
    if kind == "truncate":
        del image[at:]
        return
    image.extend(bytes(max(0, at - len(image))))
    image[at : at + len(data)] = data


class Disk(apsw.VFS):
    """Use as a context manager; SQLite files of connections with `vfs=disk.name` then lie on it.

    `before(op, path)` is called before each write, truncate and sync, on whatever thread does it; it may raise.
    """

    count = 0

    def __init__(self) -> None:
        Disk.count += 1
        self.name = f"faulty{Disk.count}"
        self.files: dict[str, Content] = {}
        self.ops = 0
        self.before: Callable[[str, str], None] = lambda op, path: None
        super().__init__(self.name, "")

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *exc: object) -> None:
        self.unregister()

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.files.pop(filename, None)

    def did(self, op: str, path: str) -> None:
        self.ops += 1
        self.before(op, path)

    def power_cut(self, rng: random.Random, mode: str) -> dict[str, bytes]:
        """What is left of each file: synced bytes, and of the others none (`drop`), some (`subset`), or some sectors (`torn`)."""
        return {
            os.path.basename(path): content.after(survivors(rng, mode, content.pending))
            for path, content in self.files.items()
        }


def survivors(rng: random.Random, mode: str, pending: list[Op]) -> list[Op]:
    if mode == "drop":
        return []
    kept = [op for op in pending if rng.random() < 0.5]
    if mode == "subset":
        rng.shuffle(kept)
        return kept
    sectors: list[Op] = []
    for kind, at, data in kept:
        if kind == "truncate":
            sectors.append((kind, at, data))
        else:
            sectors += [(kind, at + i, data[i : i + 512]) for i in range(0, len(data), 512) if rng.random() < 0.7]
    return sectors


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        self.path = name.filename() if isinstance(name, apsw.URIFilename) else name
        super().__init__("", name, flags)
        self.content = disk.files.setdefault(self.path, Content(self.path)) if self.path else None

    def xWrite(self, data: bytes, offset: int) -> None:
        self._do("write", ("write", offset, bytes(data)), lambda: super(_File, self).xWrite(data, offset))

    def xTruncate(self, newsize: int) -> None:
        self._do("truncate", ("truncate", newsize, b""), lambda: super(_File, self).xTruncate(newsize))

    def xSync(self, flags: int) -> None:
        self._do("sync", None, lambda: super(_File, self).xSync(flags))

    def _do(self, name: str, op: Op | None, really: Callable[[], None]) -> None:
        if self.content is None:
            return really()
        self.disk.did(name, self.path)
        really()
        if op:
            self.content.pending.append(op)
        else:
            for pending in self.content.pending:
                apply(self.content.durable, pending)
            self.content.pending.clear()
        return None


@asynccontextmanager
async def on_a_faulty_disk(folder: Path) -> AsyncIterator[tuple[SqliteLog, Disk]]:
    log = await SqliteLog.open(folder / "reconvene.db")
    if await log.session(S) is None:
        await a_session(log, S)
    await log.close()
    with Disk() as disk, pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "VFS", disk.name)
        log = await SqliteLog.open(folder / "reconvene.db")
        try:
            yield log, disk
        finally:
            disk.before = lambda op, path: None
            await log.close()


async def outcome(awaitable: Any) -> Any:
    try:
        return await asyncio.wait_for(awaitable, 20)
    except ReconveneError as e:
        return e.code


async def commit_that_fails_after_it_happened(log: SqliteLog) -> Any:
    """As when the file system reports an old error: the commit record is there, the answer is an error."""
    db = log._writer.db
    assert db is not None

    def hook(_db: apsw.Connection, _name: str, _pages: int) -> int:
        raise apsw.exception_for(apsw.SQLITE_IOERR)

    db.set_wal_hook(hook)
    return await outcome(log.append(S, [E("x"), E("y")]))
