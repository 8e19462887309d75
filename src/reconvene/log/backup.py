"""A copy of the database before its schema is changed, so that an older program can go back to it."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import structlog

_log = structlog.get_logger(__name__)


def before_migration(db: apsw.Connection, path: Path, version: int) -> Path:
    """Write the database as it is to `<name>.schema-<version>`, whole and durable, beside it. One that is there already stays.

    Raises: what SQLite raises; without a backup nothing is migrated.
    """
    backup = path.with_name(f"{path.name}.schema-{version}")
    if backup.exists():
        return backup
    part = backup.with_name(backup.name + ".part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        # Page by page: `vacuum into` would move the tables, by whose places a damaged database is recognised.
        copy = apsw.Connection(str(part))
        try:
            with copy.backup("main", db, "main") as pages:
                pages.step()
        finally:
            copy.close()
        for name in (part, path.parent):
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        part.rename(backup)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _log.info("database backed up before its migration", backup=str(backup))
    return backup
