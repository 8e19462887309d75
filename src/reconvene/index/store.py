"""An index on disk: one SQLite file per root in the data folder. It can always be built again, so damage is answered by a new one.

One process writes it. Another one that opens it at the same time gets a copy in memory of what is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from sys import intern
from typing import NamedTuple

import apsw

from reconvene.index.analysis import Analysis
from reconvene.workspace.names import decode, encode
from reconvene.workspace.records import Records

CHANGES_KEPT = 200_000
SCHEMA = (files("reconvene.index") / "schema.sql").read_text("utf-8")


class FileRecord(NamedTuple):
    """A file as it was when last looked at. `blob`: its content's id, None when only its path is known. Times in ns."""

    blob: bytes | None
    state: str
    mtime_ns: int
    size: int
    ino: int
    seen_ns: int


class Change(NamedTuple):
    """`old`, `new`: blob ids; None where there is no file, `b""` where only its path is known."""

    path: str
    old: bytes | None
    new: bytes | None


BlobKey = tuple[bytes, str]
"""Blob id and language: the same bytes are another thing in another language."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit writes: new analyses, files that are new or were looked at again, files that are gone, and what changed by it."""

    blobs: Sequence[tuple[BlobKey, Analysis]]
    seen: Mapping[str, FileRecord]
    gone: Sequence[str]
    changes: Sequence[Change]


class Store:
    """The index at `path`, made when there is none of this version. Blocking and thread-safe.

    Raises:
        OSError, apsw.Error: it can neither be opened nor made.
    """

    def __init__(self, path: Path, version: str) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._guard = _take(path.with_suffix(".lock"))
        self.shared = self._guard is None
        """Another process writes this index; nothing done here is kept."""
        try:
            self._db = self._usable(path, version)
        except BaseException:
            self._release()
            raise
        self.floor = int(self.meta("floor") or 0)
        self.epoch = int(self.meta("epoch") or 0)

    @staticmethod
    def remove(path: Path) -> None:
        """Throw the file away; nobody may have it open."""
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    @staticmethod
    def is_free(path: Path) -> bool:
        """Whether no process writes this index now."""
        guard = _take(path.with_suffix(".lock"))
        if guard is not None:
            os.close(guard)
        return guard is not None

    def start_anew(self, path: Path, version: str) -> None:
        """Throw away all that is kept. Others may look at it meanwhile, and nobody else comes to write it."""
        with self._lock:
            self._db.close()
            if not self.shared:
                self.remove(path)
            self._db = apsw.Connection(":memory:") if self.shared else _connect(path)
            _create(self._db, version)
            self.floor = self.epoch = int(self.meta("epoch") or 0)

    def close(self) -> None:
        with self._lock:
            self._db.close()
            self._release()

    # -- reading

    def files(self) -> Records[FileRecord]:
        with self._lock:
            rows = self._db.execute("select path, blob, state, mtime_ns, size, ino, seen_ns from file order by path")
            return Records(FileRecord, {decode(path): (blob, intern(state), *row) for path, blob, state, *row in rows})

    def states(self) -> dict[BlobKey, tuple[str, int, int]]:
        """Of every known content: state, lines, symbols."""
        with self._lock:
            return {
                (row[0], row[1]): row[2:]
                for row in self._db.execute("select id, language, state, lines, symbols from blob")
            }

    def analysis(self, key: BlobKey) -> Analysis | None:
        with self._lock:
            row = self._db.execute(
                "select state, lines, symbols, definitions, postings from blob where id = ? and language = ?", key
            ).fetchone()
        return None if row is None else Analysis(*row)

    def postings(self, keys: Iterable[BlobKey]) -> Iterator[tuple[BlobKey, bytes]]:
        """The packed arrays of those contents that are known, in the order asked for."""
        for key in keys:
            with self._lock:
                row = self._db.execute("select postings from blob where id = ? and language = ?", key).fetchone()
            if row is not None:
                yield key, row[0]

    def definitions(self, key: BlobKey) -> bytes:
        with self._lock:
            row = self._db.execute("select definitions from blob where id = ? and language = ?", key).fetchone()
        return row[0] if row is not None else b""

    def structure(self, key: BlobKey, mark: str) -> Analysis | None:
        """What the grammar said of a content, if it was made by this mark."""
        with self._lock:
            row = self._db.execute(
                "select state, definitions, quoted from structure where id = ? and language = ? and mark = ?",
                (*key, mark),
            ).fetchone()
        return None if row is None else Analysis(row[0], 0, 0, row[1], row[2])

    def changes(self, after: int) -> list[Change] | None:
        """What changed since an epoch: for each path, its content then and now. None when that is not known."""
        if not self.floor <= after <= self.epoch:
            return None
        first: dict[str, Change] = {}
        with self._lock:
            for path, old, new in self._db.execute(
                "select path, old, new from change where epoch > ? order by epoch", (after,)
            ):
                name = decode(path)
                first[name] = Change(name, first[name].old if name in first else old, new)
        return [change for change in first.values() if change.old != change.new]

    def changed_paths(self, after: int) -> set[str] | None:
        """Paths of which something changed since an epoch, and be it only why they cannot be read. None when that is not known."""
        if not self.floor <= after <= self.epoch:
            return None
        with self._lock:
            return {decode(row[0]) for row in self._db.execute("select path from change where epoch > ?", (after,))}

    def file(self, path: str) -> FileRecord | None:
        with self._lock:
            row = self._db.execute(
                "select blob, state, mtime_ns, size, ino, seen_ns from file where path = ?", (encode(path),)
            ).fetchone()
        return None if row is None else FileRecord(*row)

    def meta(self, name: str) -> str | None:
        with self._lock:
            row = self._db.execute("select value from meta where name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def note(self, name: str, epoch: int) -> str | None:
        """A text that was kept under this name at this epoch."""
        with self._lock:
            row = self._db.execute("select value from note where name = ? and epoch = ?", (name, epoch)).fetchone()
        return None if row is None else str(row[0])

    def told(self) -> dict[bytes, bytes]:
        """What is kept of each commit, by its id."""
        with self._lock:
            return dict(self._db.execute("select id, value from told"))

    def history(self) -> tuple[str, bytes] | None:
        """Mark and form on disk of what the commits say together."""
        with self._lock:
            row = self._db.execute("select mark, value from history").fetchone()
        return None if row is None else (str(row[0]), row[1])

    # -- writing

    def keep_told(self, notes: Mapping[bytes, bytes]) -> None:
        with self._lock, self._db:
            self._db.executemany("replace into told values (?, ?)", notes.items())

    def keep_history(self, mark: str, value: bytes, forget: Iterable[bytes]) -> None:
        """In place of the one before; what is kept of the commits in `forget` goes."""
        with self._lock, self._db:
            self._db.execute("delete from history")
            self._db.execute("insert into history values (?, ?)", (mark, value))
            self._db.executemany("delete from told where id = ?", ((commit,) for commit in forget))

    def keep_meta(self, name: str, value: str) -> None:
        with self._lock, self._db:
            self._put({name: value})

    def keep_note(self, name: str, epoch: int, value: str) -> None:
        """Keep a text under a name; those of other epochs go."""
        with self._lock, self._db:
            self._db.execute("delete from note where epoch <> ?", (epoch,))
            self._db.execute("replace into note values (?, ?, ?)", (name, epoch, value))

    def keep_structure(self, key: BlobKey, mark: str, found: Analysis) -> None:
        with self._lock, self._db:
            self._db.execute(
                "replace into structure values (?, ?, ?, ?, ?, ?)",
                (*key, mark, found.state, found.definitions, found.postings),
            )

    def commit(self, batch: Batch, meta: Mapping[str, str] | None = None) -> int:
        """Write all of a batch, or nothing. The epoch moves on when something changed; it is returned."""
        epoch = self.epoch + bool(batch.changes)
        with self._lock, self._db:
            self._db.executemany(
                "insert or ignore into blob(id, language, state, lines, symbols, definitions, postings) values (?, ?, ?, ?, ?, ?, ?)",
                ((*key, a.state, a.lines, a.symbols, a.definitions, a.postings) for key, a in batch.blobs),
            )
            self._db.executemany(
                "replace into file values (?, ?, ?, ?, ?, ?, ?)",
                ((encode(path), *record) for path, record in batch.seen.items()),
            )
            self._db.executemany("delete from file where path = ?", ((encode(path),) for path in batch.gone))
            self._db.executemany(
                "replace into change values (?, ?, ?, ?)",
                ((epoch, encode(c.path), c.old, c.new) for c in batch.changes),
            )
            self._put({"epoch": str(epoch)} | dict(meta or {}))
        self.epoch = epoch
        return epoch

    def tidy(self) -> None:
        """Forget old changes, and contents that no file has and no kept change names."""
        with self._lock, self._db:
            newest_out = self._db.execute(
                "select epoch from change order by epoch desc limit 1 offset ?", (CHANGES_KEPT,)
            ).fetchone()
            if newest_out is not None:
                floor = int(newest_out[0])
                self._db.execute("delete from change where epoch <= ?", (floor,))
                self._put({"floor": str(floor)})
                self.floor = floor
            self._db.execute(
                "delete from blob where id not in (select blob from file where blob is not null)"
                " and id not in (select old from change where old is not null) and id not in (select new from change where new is not null)"
            )
            self._db.execute("delete from structure where id not in (select id from blob)")

    def _put(self, values: Mapping[str, str]) -> None:
        self._db.executemany("replace into meta values (?, ?)", values.items())

    # -- opening

    def _usable(self, path: Path, version: str) -> apsw.Connection:
        if self.shared:
            return _in_memory(path, version)
        with contextlib.suppress(apsw.Error):
            db = _connect(path)
            with contextlib.suppress(apsw.Error):
                if _version(db) == version:
                    return db
            db.close()
        self.remove(path)
        db = _connect(path)
        _create(db, version)
        return db

    def _release(self) -> None:
        if self._guard is not None:
            os.close(self._guard)
            self._guard = None


def _connect(path: Path) -> apsw.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = apsw.Connection(str(path))
    db.set_busy_timeout(5000)
    # The log keeps what matters; an index that lost its last second to a power cut looks at those files again.
    db.execute("pragma journal_mode = wal; pragma synchronous = normal")
    return db


def _in_memory(path: Path, version: str) -> apsw.Connection:
    db = apsw.Connection(":memory:")
    with contextlib.suppress(apsw.Error):
        source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        with db.backup("main", source, "main") as backup:
            backup.step()
        if _version(db) == version:
            return db
    db = apsw.Connection(":memory:")
    _create(db, version)
    return db


def _create(db: apsw.Connection, version: str) -> None:
    # An epoch of another index must not be taken for one of this: they begin far apart, and stay exact in JSON (below 2^53).
    floor = str((secrets.randbits(32) + 1) << 20)
    with db:
        db.execute(SCHEMA)
        db.executemany("insert into meta values (?, ?)", [("version", version), ("floor", floor), ("epoch", floor)])


def _version(db: apsw.Connection) -> str | None:
    row = db.execute("select value from meta where name = 'version'").fetchone()
    return None if row is None else str(row[0])


def _take(path: Path) -> int | None:
    """The right to write, held by an open descriptor; None when another process has it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd
