"""`backup` and `restore`: everything in a data folder that cannot be made anew, in one file.

The copy of the database is one moment of it, also while a server writes. A restored log is another log: every session begins a new
epoch, so that a client that knows more than the backup is told to forget it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import apsw

from reconvene.cli import terminal
from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.log import database
from reconvene.log.folder import DataFolder
from reconvene.log.queries import STATEMENTS

DATABASE = "reconvene.db"
CONTENTS = "contents"
_MADE_ANEW = ("server.lock", "server.json")
_CACHES = ("finding.db", "finding.db-wal", "finding.db-shm")
_OF_DATABASE = tuple(DATABASE + suffix for suffix in ("", "-wal", "-shm", ".instance"))


def backup(data_dir: Path, file: Path, *, as_json: bool) -> None:
    """Write a backup. A server may go on meanwhile.

    Raises:
        ReconveneError: `not_found` (there is nothing), `data_dir_unusable` (it cannot be written), `store_*`, `invalid_field` (the
            file exists).
    """
    terminal.quiet_logs()
    _only_files(data_dir)
    if os.path.lexists(file):
        raise ReconveneError("invalid_field", f"{file} is there already. Choose another name, or move it away.")
    source = data_dir / DATABASE
    if not source.exists():
        raise ReconveneError("not_found", f"There is nothing to back up in {data_dir}.")
    part = file.with_name(f"{file.name}.part-{secrets.token_hex(4)}")
    copy = part.with_name(part.name + ".db")
    try:
        try:
            sessions = _copy(source, copy)
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as out:
                with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
                    tar.add(copy, DATABASE)
                    for path in _others(data_dir):
                        tar.add(path, path.relative_to(data_dir).as_posix(), recursive=False)
                out.flush()
                os.fsync(out.fileno())
            part.rename(file)
            database.sync(file.absolute().parent)
        finally:
            for left in (part, copy, *(copy.with_name(copy.name + suffix) for suffix in ("-wal", "-shm", "-journal"))):
                left.unlink(missing_ok=True)
    except OSError as e:
        code = "disk_full" if e.errno in database.OUT_OF_SPACE else "data_dir_unusable"
        raise ReconveneError(code, f"{file} cannot be written: {e.strerror}.") from e
    size = file.stat().st_size
    if as_json:
        terminal.emit({"file": str(file.absolute()), "sessions": sessions, "bytes": size})
    else:
        terminal.say(f"Backed up {terminal.count(sessions, 'session')} to {file} ({terminal.size(size)}).")
        terminal.say("It holds your token and keys: keep it where only you can read it.")


def restore(data_dir: Path, file: Path, *, sure: bool, as_json: bool) -> None:
    """Put a backup in the place of what the data folder has, which is moved aside. No server may run.

    Raises:
        ReconveneError: `already_running`; `invalid_field`: the file is no backup, or nobody said that it is sure; `store_*`: the database
            in it is not whole; `not_found`, `data_dir_unusable`, `disk_full`.
    """
    terminal.quiet_logs()
    _only_files(data_dir)
    folder = DataFolder.claim(data_dir)
    fresh = data_dir / f"restoring-{secrets.token_hex(4)}"
    try:
        fresh.mkdir(mode=0o700)
        _extract(file, fresh)
        sessions = _begin_anew(fresh / DATABASE)
        kept = None
        if os.path.lexists(data_dir / DATABASE):
            if not sure and not _asked(data_dir):
                terminal.say("Nothing was changed.")
                return
            kept = data_dir / time.strftime("replaced-%Y%m%d-%H%M%S", time.gmtime())
            kept.mkdir(mode=0o700)
        _exchange(data_dir, fresh, kept)
    except FileNotFoundError as e:
        raise ReconveneError("not_found", f"There is no backup {e.filename}.") from e
    except OSError as e:
        code = "disk_full" if e.errno in database.OUT_OF_SPACE else "data_dir_unusable"
        raise ReconveneError(code, f"The backup cannot be restored: {e.strerror} ({e.filename}).") from e
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        folder.release()
    if as_json:
        terminal.emit({"data_dir": str(data_dir), "sessions": sessions, "replaced": str(kept) if kept else None})
    else:
        aside = f" What was there is in {kept}." if kept else ""
        terminal.say(f"Restored {terminal.count(sessions, 'session')} into {data_dir}.{aside}")


def _only_files(data_dir: Path) -> None:
    if Settings.load({"data_dir": data_dir}).database is not None:
        sentence = (
            "The sessions are in PostgreSQL. Back up that database with pg_dump, and the data folder's files by a copy."
        )
        raise ReconveneError("invalid_field", sentence)


def _copy(source: Path, copy: Path) -> int:
    """One moment of the database, checked; returns how many sessions it has."""
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        database.recognise(source)
        live = database.connect(source, readonly=True)
        target = apsw.Connection(str(copy))
        try:
            with target.backup("main", live, "main") as pages:
                pages.step()  # in one step, so that no writer comes between
            return _checked(target, copy)
        finally:
            target.close()
            live.close()
    except apsw.Error as e:
        raise database.explain(e, source) from e


def _checked(db: apsw.Connection, path: Path) -> int:
    found = str(db.execute("pragma integrity_check(1)").get)
    if found != "ok":
        raise ReconveneError("store_corrupt", f"The database {path.name} is damaged: {found}. {database.REPAIR}")
    return int(db.execute("select count(*) from session where head > 0").get)


def _others(data_dir: Path) -> Iterator[Path]:
    """The owner's token, settings, permissions and keys; and the contents that sessions name."""
    for path in sorted(data_dir.iterdir()):
        if path.is_symlink() or path.name in (*_MADE_ANEW, *_CACHES) or path.name.startswith(DATABASE):
            continue
        if path.is_file():
            yield path
    contents = data_dir / CONTENTS
    if contents.is_dir():
        # After the database: what it names is there, or was swept with its session meanwhile.
        yield from (path for path in sorted(contents.rglob("*")) if path.is_file() and not path.is_symlink())


def _extract(file: Path, into: Path) -> None:
    """Write out what a backup holds, by names and as plain files alone: a file made to deceive writes nothing else."""
    try:
        with tarfile.open(file, "r:gz") as tar:
            for member in tar:
                parts = PurePosixPath(member.name).parts
                plain = member.isreg() and parts and not ({"..", "/"} & set(parts)) and "\0" not in member.name
                if not plain or (len(parts) > 1 and parts[0] != CONTENTS) or member.name.startswith("/"):
                    raise ReconveneError(
                        "invalid_field", f"{file} is no backup: it has {terminal.safe(member.name)!r}."
                    )
                source = tar.extractfile(member)
                assert source is not None
                path = into.joinpath(*parts)
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
                    shutil.copyfileobj(source, out)
                    out.flush()
                    os.fsync(out.fileno())
    except (tarfile.TarError, EOFError, UnicodeError) as e:
        raise ReconveneError("invalid_field", f"{file} is no backup, or not whole: {e}.") from e
    except FileExistsError as e:
        raise ReconveneError("invalid_field", f"{file} is no backup: it has a name twice.") from e
    if not (into / DATABASE).exists():
        raise ReconveneError("invalid_field", f"{file} is no backup: it has no {DATABASE}.")


def _begin_anew(path: Path) -> int:
    """Check the database, give each session a new epoch, write the marker that says that this file belongs here."""
    database.recognise(path)
    try:
        db = database.connect(path)
        try:
            sessions = _checked(db, path)
            with db:
                db.execute(STATEMENTS["new_epochs"]).fetchall()
            instance = str(db.execute(STATEMENTS["get_value"], ("instance",)).get)
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            db.close()
    except apsw.Error as e:
        raise database.explain(e, path) from e
    path.with_name(path.name + ".instance").write_text(instance + "\n", "ascii")
    return sessions


def _asked(data_dir: Path) -> bool:
    if not terminal.interactive():
        raise ReconveneError(
            "invalid_field", f"{data_dir} has sessions; say --yes to replace them (they are kept aside)."
        )
    print(f"Replace the sessions in {data_dir}? They are kept aside. [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _exchange(data_dir: Path, fresh: Path, kept: Path | None) -> None:
    """What is there goes aside, what was restored takes its place; caches of what was there go."""
    coming = [path.name for path in fresh.iterdir()]
    if kept is not None:
        for name in (*_OF_DATABASE, *(n for n in coming if n not in _OF_DATABASE)):
            if os.path.lexists(data_dir / name):
                os.rename(data_dir / name, kept / name)
        database.sync(kept)
    for name in _CACHES:
        (data_dir / name).unlink(missing_ok=True)
    for name in sorted(coming, key=lambda n: n == DATABASE):  # the database last: with it the folder is whole
        os.rename(fresh / name, data_dir / name)
    database.sync(data_dir)
