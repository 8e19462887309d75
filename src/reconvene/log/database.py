"""The database file: made, recognised, checked and opened. A file that is not ours, or not whole, is refused and left as it is."""

from __future__ import annotations

import errno
import os
import secrets
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw
import structlog

from reconvene.errors import ReconveneError
from reconvene.log.backup import before_migration
from reconvene.log.queries import STATEMENTS, migrations

_log = structlog.get_logger(__name__)

APPLICATION_ID = 0x52435645  # "RCVE", at offset 68 of the file
MAGIC = b"SQLite format 3\0"
BUSY_MS = 5000
"""How long a foreign program may hold the database before a write is answered `store_busy`."""
CHECKED_BELOW = 32 * 1024**2
"""A larger file is checked at its edges only: reading all of it would delay every restart (`quick_check` reads about 1 GB/s at best)."""
REPAIR = "Run `reconvene doctor --repair`, or restore a backup."
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

VFS: str | None = None
"""A test's own file system under SQLite; None: the operating system's."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which file a path leads to."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: str | Path) -> Identity | None:
        try:
            stat = os.stat(path)
        except OSError:
            return None
        return cls(stat.st_dev, stat.st_ino)


def connect(
    path: Path, *, readonly: bool = False, synchronous: str = "full", busy_ms: int = BUSY_MS
) -> apsw.Connection:
    """A connection as all of ours are. Never creates a file."""
    flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE
    db = apsw.Connection(str(path), flags=flags | apsw.SQLITE_OPEN_NOMUTEX, vfs=VFS)
    db.set_busy_timeout(busy_ms)
    # A damaged schema, or one with foreign triggers, must not be able to run anything.
    db.pragma("trusted_schema", False)
    db.pragma("cell_size_check", True)
    db.pragma("cache_size", -8192)
    if readonly:
        db.pragma("query_only", True)
    else:
        db.pragma("synchronous", synchronous)
        # macOS: an fsync that does not reach the platter is none.
        db.pragma("fullfsync", True)
        # The writer says when: see Writer.
        db.wal_autocheckpoint(0)
        db.pragma("journal_size_limit", 16 * 1024**2)
    return db


def recognise(path: Path) -> None:
    """Refuse what is not a database of ours, by its header, before SQLite touches it.

    Never while a connection of this process is open: closing any descriptor of a file drops all of the process's POSIX locks on it.

    Raises:
        ReconveneError: `store_corrupt` (empty, no database), `store_foreign`, `store_newer`, `data_dir_unusable`.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(100)
    except IsADirectoryError as e:
        raise _damaged(path, "it is a folder") from e
    except OSError as e:
        raise ReconveneError(
            "data_dir_unusable", f"The database {path} cannot be read: {e.strerror}.", path=str(path)
        ) from e
    if not header:
        raise _damaged(path, "it is empty, its content was lost")
    if len(header) < 100 or not header.startswith(MAGIC):
        raise _damaged(path, "its first bytes are not those of a database")
    version, application = struct.unpack(">i4xI", header[60:72])
    if application != APPLICATION_ID:
        raise ReconveneError(
            "store_foreign",
            f"{path} is a database of another program (application id {application:#010x}). Move it away, or choose another --data-dir. "
            f"To look at what can be done, run `reconvene doctor --repair`.",
            path=str(path),
        )
    refuse_newer(path, version)


def refuse_newer(path: Path, version: int) -> None:
    known = len(migrations())
    if version > known:
        raise ReconveneError(
            "store_newer",
            f"{path} was written by a newer Reconvene (schema {version}; this one knows {known}). Upgrade Reconvene, or restore an older "
            f"backup; `reconvene doctor --repair` says more.",
            path=str(path),
        )


def create(path: Path, scripts: Sequence[str] | None = None) -> str:
    """A new, empty database. Returns its instance id.

    It is made under another name and appears whole: an empty file in its place is never a new one, always a lost one.
    """
    new = path.with_name(path.name + ".new")
    instance = secrets.token_hex(8)
    try:
        for suffix in ("", "-wal", "-shm", "-journal"):
            new.with_name(new.name + suffix).unlink(missing_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        db = connect(new)
        try:
            db.pragma("auto_vacuum", "incremental")
            db.pragma("application_id", APPLICATION_ID)
            db.pragma("journal_mode", "wal")
            migrate(db, new, scripts)
            db.execute(STATEMENTS["put_value"], ("instance", instance))
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            db.close()
        sync(new)
        os.rename(new, path)
        sync(path.parent)
    except apsw.Error as e:
        raise explain(e, path) from e
    except OSError as e:
        code = "disk_full" if e.errno in OUT_OF_SPACE else "data_dir_unusable"
        raise ReconveneError(code, f"The database {path} cannot be made: {e.strerror}.", path=str(path)) from e
    return instance


def migrate(db: apsw.Connection, path: Path, scripts: Sequence[str] | None = None) -> None:
    """Bring the schema to today's, each step whole or not at all."""
    scripts = migrations() if scripts is None else scripts
    version = int(db.pragma("user_version"))
    if 0 < version < len(scripts):
        before_migration(db, path, version)
    for number, script in enumerate(scripts[version:], version + 1):
        with db:
            db.execute(script).fetchall()
            db.pragma("user_version", number)
        if version:
            _log.info("database migrated", path=str(path), schema=number)


def open_writer(path: Path, *, synchronous: str = "full", busy_ms: int = BUSY_MS) -> apsw.Connection:
    """The one connection that writes: recovers the log of a crash, migrates. The file was recognised before.

    Raises:
        ReconveneError: `store_corrupt`, `store_newer`, `store_busy`, `store_error`, `disk_full`, `data_dir_unusable`.
    """
    db = None
    try:
        db = connect(path, synchronous=synchronous, busy_ms=busy_ms)
        refuse_newer(path, int(db.pragma("user_version")))
        if db.pragma("journal_mode") != "wal":
            db.pragma("journal_mode", "wal")
        migrate(db, path)
        # Takes the write lock, so that -wal and -shm exist from here on and their identity can be watched.
        db.execute("begin immediate; commit")
    except apsw.Error as e:
        error = explain(e, path, db)
        if db is not None:
            abandon(db)
        raise error from e
    except ReconveneError:
        if db is not None:
            abandon(db)
        raise
    return db


def abandon(db: apsw.Connection) -> None:
    """Close without touching the files. The last connection to close would else check in and delete the -wal: after a failure it
    is what the next one recovers from, and after a loss the file of that name may belong to another database.
    """
    try:
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        db.close(True)
    except apsw.Error as e:
        _log.warning("the database did not close cleanly", error=str(e))


def check(db: apsw.Connection, path: Path, *, below: int = CHECKED_BELOW) -> None:
    """Refuse a damaged database. Small files wholly; large ones at the end of each recent session, where a crash would show.

    Raises:
        ReconveneError: `store_corrupt`.
    """
    started = time.perf_counter()
    try:
        whole = os.stat(path).st_size <= below
        if whole:
            found = [str(row[0]) for row in db.execute("pragma quick_check(1)")]
            if found != ["ok"]:
                raise _damaged(path, found[0])
        if not schema(migrations()) <= schema_of(db):
            raise _damaged(path, "its tables are not as they were made")
        torn = db.execute(STATEMENTS["torn_session"]).fetchall()
    except (apsw.Error, UnicodeDecodeError) as e:
        raise explain(e, path, db) from e
    if torn:
        raise _damaged(path, f"the last events of {torn[0][0]} are missing")
    _log.debug("database checked", path=str(path), whole=whole, ms=round(1000 * (time.perf_counter() - started)))


Schema = frozenset[tuple[str, str, int, str | None]]
"""(type, name, first page, SQL) of every table and index."""


def schema_of(db: apsw.Connection) -> Schema:
    return frozenset(db.execute("select type, name, rootpage, sql from sqlite_schema"))


def schema(scripts: Sequence[str]) -> Schema:
    """What the scripts make in an empty database. Tables made by the same scripts in the same order begin on the same pages."""
    db = apsw.Connection(":memory:")
    try:
        db.pragma("auto_vacuum", "incremental")
        for script in scripts:
            db.execute(script).fetchall()
        return schema_of(db)
    finally:
        db.close()


def open_installed(path: Path, synchronous: str, busy_ms: int, check_below: int) -> tuple[apsw.Connection, str]:
    """The writing connection and the instance id of the database that belongs here; made only where there never was one.

    Beside the database lies a marker with its instance id, so that a lost or exchanged file is not taken for a new one.

    Raises:
        ReconveneError: `store_lost`, `store_foreign`, and what `recognise`, `create`, `open_writer` and `check` raise.
    """
    marker = path.with_name(path.name + ".instance")
    try:
        installed = marker.read_text("ascii", "replace").strip() if marker.exists() else None
    except OSError as e:
        raise ReconveneError("data_dir_unusable", f"{marker} cannot be read: {e.strerror}.", path=str(marker)) from e
    if not os.path.lexists(path):
        wal = path.with_name(path.name + "-wal")
        if installed is not None or wal.exists():
            left = marker if installed is not None else wal
            raise ReconveneError(
                "store_lost",
                f"The database {path} is missing, though {left.name} shows that there was one. Put it back or restore a backup; "
                f"`reconvene doctor --repair` starts with an empty one.",
                path=str(path),
            )
        create(path)
    recognise(path)
    db = open_writer(path, synchronous=synchronous, busy_ms=busy_ms)
    try:
        check(db, path, below=check_below)
        instance = str(db.execute(STATEMENTS["get_value"], ("instance",)).get)
        if installed and installed != instance:
            raise ReconveneError(
                "store_foreign",
                f"{path} is the database of another installation ({instance}, here is {installed}). Put the right one back; to go on "
                f"with this one, run `reconvene doctor --repair`.",
                path=str(path),
            )
        if not installed:
            _mark(marker, instance)
    except OSError as e:
        abandon(db)
        code = "disk_full" if e.errno in OUT_OF_SPACE else "data_dir_unusable"
        raise ReconveneError(code, f"{marker} cannot be written: {e.strerror}.", path=str(marker)) from e
    except BaseException:
        abandon(db)
        raise
    return db, instance


def _mark(marker: Path, instance: str) -> None:
    new = marker.with_name(marker.name + ".new")
    new.write_text(instance + "\n", "ascii")
    sync(new)
    os.rename(new, marker)
    sync(marker.parent)


def sync(path: Path) -> None:
    """Make what was written to a file, or the names in a folder, survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def out_of_space(error: apsw.Error, db: apsw.Connection | None) -> bool:
    """Whether it failed for want of space. A full quota and RLIMIT_FSIZE reach us as I/O errors with their errno."""
    if isinstance(error, apsw.FullError):
        return True
    return isinstance(error, apsw.IOError) and db is not None and db.system_errno in OUT_OF_SPACE


def explain(error: BaseException, path: Path, db: apsw.Connection | None = None) -> ReconveneError:
    """What a failure of SQLite means to us."""
    details = {"path": str(path), "sqlite": str(error)}
    if isinstance(error, ReconveneError):
        return error
    if isinstance(error, apsw.Error) and out_of_space(error, db):
        sentence = (
            f"There is no space left for {path}. Free some: reading goes on meanwhile, writing by itself afterwards."
        )
        return ReconveneError("disk_full", sentence, **details)
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return ReconveneError(
            "store_busy", f"Another program holds the database {path}. Close it; nothing was written.", **details
        )
    if isinstance(error, apsw.CorruptError | apsw.NotADBError | UnicodeDecodeError):
        return _damaged(path, str(error))
    if isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError):
        return ReconveneError(
            "data_dir_unusable",
            f"The database {path} cannot be written ({error}). Make its folder writable.",
            **details,
        )
    return ReconveneError("store_error", f"The database {path} answered with an error ({error}).", **details)


def _damaged(path: Path, how: str) -> ReconveneError:
    return ReconveneError(
        "store_corrupt", f"The database {path} is damaged: {how}. It was left as it is. {REPAIR}", path=str(path)
    )
