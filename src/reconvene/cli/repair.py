"""`reconvene doctor --repair`: mends permissions and a damaged database. What it replaces is moved aside; nothing is deleted."""

from __future__ import annotations

import itertools
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import apsw

from reconvene.errors import ReconveneError
from reconvene.log import database
from reconvene.log.folder import DataFolder
from reconvene.log.queries import STATEMENTS
from reconvene.log.salvage import Salvaged, salvage, unsound

DATABASE = "reconvene.db"


def repair_all(data_dir: Path) -> list[str]:
    """Mend what can be mended; returns a sentence for each thing that was done.

    Raises:
        ReconveneError: `already_running`; `disk_full` and `data_dir_unusable` when the repair itself cannot be done.
    """
    if not data_dir.is_dir():
        return []
    done = list(_permissions(data_dir))
    folder = DataFolder.claim(data_dir)  # no server may write while this reads
    try:
        done += _database(data_dir / DATABASE)
    except OSError as e:
        code = "disk_full" if e.errno in database.OUT_OF_SPACE else "data_dir_unusable"
        raise ReconveneError(
            code, f"The repair could not be done: {e.strerror} ({e.filename}). Nothing was replaced."
        ) from e
    finally:
        folder.release()
    return done or ["There was nothing to repair."]


def _permissions(data_dir: Path) -> Iterator[str]:
    """The folder and the token only for you; everything else of ours readable and writable for you."""
    private = {data_dir: 0o700, data_dir / "owner.token": 0o600}
    ours = {data_dir / name: 0o700 for name in ("indexes", "logs")}
    ours |= {data_dir / (DATABASE + suffix): 0o600 for suffix in ("", "-wal", "-shm", ".instance")}
    for path, mode in (private | ours).items():
        if not path.exists() or path.is_symlink():
            continue
        found = stat.S_IMODE(path.stat().st_mode)
        if found & mode != mode or (path in private and found & 0o077):
            try:
                path.chmod(mode)
            except OSError as e:
                raise ReconveneError(
                    "unsafe_permissions", f"{path} cannot be changed ({e.strerror}): it belongs to somebody else."
                ) from e
            yield f"{path}: mode {found:04o} is now {mode:04o}."


def _database(path: Path) -> Iterator[str]:
    stamp = _unused_stamp(path)
    if not os.path.lexists(path):
        left = [p for p in _parts(path)[1:] if p.exists()]
        if left:
            kept = _aside(path, stamp)
            yield f"The database was gone; what was left of it is kept in {kept}. The next start begins with an empty one."
        return
    problem = _problem(path)
    if problem is None:
        yield from _adopted(path, stamp)
        return
    if problem.code != "store_corrupt":
        raise problem
    fresh = path.with_name(f"{path.name}.repaired-{stamp}")
    leftovers = path.with_name(f"{path.name}.leftovers-{stamp}.jsonl")
    if path.is_dir():
        found = Salvaged()
    else:
        found = salvage(path, fresh, leftovers)
        leftovers.chmod(0o600)
    kept = _aside(path, stamp)
    if fresh.exists():
        os.rename(fresh, path)
    database.sync(path.parent)
    yield f"The damaged database is kept in {kept}."
    yield f"Recovered: {found.sessions:,} sessions with {found.events:,} events."
    if found.cut:
        yield f"Of {len(found.cut)} sessions the end is missing: {', '.join(found.cut[:5])}{' …' if len(found.cut) > 5 else ''}"
    if found.lost:
        yield f"{found.lost:,} places where a session could have been were not readable."
    if found.aside:
        yield f"{found.aside:,} events behind the damage are in {leftovers}, one JSON object a line."
    else:
        leftovers.unlink(missing_ok=True)  # empty


def _unused_stamp(path: Path) -> str:
    now = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    candidates = itertools.chain([now], (f"{now}-{n}" for n in itertools.count(2)))
    return next(s for s in candidates if not any(path.parent.glob(f"*-{s}*")))


def _problem(path: Path) -> ReconveneError | None:
    """What is wrong with the file; None when it is whole."""
    try:
        database.recognise(path)
        db = database.connect(path, readonly=True)
    except ReconveneError as e:
        return e
    except apsw.Error as e:
        return database.explain(e, path)
    try:
        found = [str(row[0]) for row in db.execute("pragma integrity_check(1)")]
        if found != ["ok"]:
            return ReconveneError("store_corrupt", found[0])
        database.check(db, path, below=0)
    except apsw.Error as e:
        return database.explain(e, path, db)
    except ReconveneError as e:
        return e
    finally:
        db.close()
    if how := unsound(path):
        return ReconveneError("store_corrupt", how)
    return None


def _adopted(path: Path, stamp: str) -> Iterator[str]:
    """A whole database of another installation: the marker that says so is moved aside, the next start writes a new one."""
    marker = path.with_name(path.name + ".instance")
    if not marker.exists():
        return
    db = database.connect(path, readonly=True)
    try:
        instance = str(db.execute(STATEMENTS["get_value"], ("instance",)).get)
    finally:
        db.close()
    if marker.read_text("ascii", "replace").strip() not in ("", instance):
        kept = marker.with_name(f"{marker.name}.{stamp}")
        os.rename(marker, kept)
        yield f"The database comes from another installation and is taken over; the old marker is {kept}."


def _aside(path: Path, stamp: str) -> Path:
    """Move the database and all that belongs to it into a folder of their own, under their names."""
    kept = path.with_name(f"{path.name}.damaged-{stamp}")
    kept.mkdir(mode=0o700)
    for part in _parts(path):
        if os.path.lexists(part):
            os.rename(part, kept / part.name)
    database.sync(kept)
    return kept


def _parts(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", ".instance")]
