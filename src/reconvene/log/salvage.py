"""What can still be read of a damaged database, as a new one. The damaged file is only copied, never written.

A session is kept up to its first event that cannot be read: that is a state it once was in, as after a crash there, and the
one thing the rest of the house can go on from. What lies behind the damage is written as JSON lines for a person to look at.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import apsw

from reconvene.log import database
from reconvene.log.decisions import MAX_SEQ
from reconvene.log.port import SessionStatus
from reconvene.log.queries import STATEMENTS, migrations
from reconvene.protocol.cursor import START_TAG

EVENT = ("place", "type", "run_id", "item_id", "parent_id", "key", "public", "stateful", "at", "tag", "content")
SESSION = (
    "n", "id", "owner", "root", "epoch", "head", "head_tag", "title", "status", "run_id", "pinned", "archived",
    "created_at", "active_at", "last_active", "bytes", "meta",
)  # fmt: skip
OTHERS = {
    "command": ("owner", "id", "body", "session_id", "seq", "run_id"),
    "fence": ("name", "generation"),
    "tombstone": ("id", "owner", "reason", "at"),
    "value": ("name", "value"),
}
"""Tables without rowid, by their columns; the key comes first."""
UNREADABLE = (apsw.Error, UnicodeDecodeError)
MOST_SESSIONS = 100_000
"""Numbers of sessions tried one by one where their table cannot be read in order."""
MOST_MISSED = 50_000
"""Events of one session that are missed one after the other until the rest is given up: its row may say any number of them."""


@dataclass(slots=True)
class Salvaged:
    """`cut`: ids of sessions of which the end is missing. `lost`: rows of sessions that cannot be read. `aside`: events not placed."""

    sessions: int = 0
    events: int = 0
    cut: list[str] = field(default_factory=list)
    lost: int = 0
    aside: int = 0


def salvage(damaged: Path, fresh: Path, leftovers: Path) -> Salvaged:
    """Write what can be read of `damaged` (and its -wal) as a new database `fresh`; `leftovers` gets events that have no place in it.

    Args:
        damaged: is copied next to `fresh`, which takes as much space again for a while.

    Raises:
        OSError: no space, or a file cannot be read or written.
        ReconveneError: the new database cannot be made.
    """
    copy = fresh.with_name(fresh.name + ".copy")
    _copy(damaged, copy)
    database.create(fresh)
    new = database.connect(fresh)
    try:
        old = _opened(copy)
        try:
            with new:
                found = _transfer(old, new, leftovers)
            new.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            old.close()
    finally:
        new.close()
        for suffix in ("", "-wal", "-shm"):
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)
    database.sync(fresh)
    return found


def _copy(source: Path, target: Path) -> None:
    for suffix in ("", "-wal"):
        part = source.with_name(source.name + suffix)
        if part.is_file():
            shutil.copyfile(part, target.with_name(target.name + suffix))


def _opened(copy: Path) -> apsw.Connection:
    """The copy, readable: as it is, or with the first page of a new database, which says where the tables begin."""
    for attempt in ("as it is", "with a new first page", "without its -wal"):
        if attempt == "with a new first page":
            _new_first_page(copy)
        elif attempt == "without its -wal":
            copy.with_name(copy.name + "-wal").unlink(missing_ok=True)
        db = None
        try:
            db = apsw.Connection(str(copy))
            db.pragma("trusted_schema", False)
            db.pragma("cell_size_check", True)
            version = int(db.pragma("user_version"))
            if database.schema(migrations()[:version]) <= database.schema_of(db):
                return db
            db.close()
        except UNREADABLE:
            if db is not None:
                db.close()
    # Nothing of it is a database any more: an empty one stands for it.
    copy.with_name(copy.name + "-wal").unlink(missing_ok=True)
    copy.unlink()
    database.create(copy)
    return apsw.Connection(str(copy))


def _new_first_page(copy: Path) -> None:
    """Tables made by the same scripts in the same order begin on the same pages, so a new file's first page fits an old one."""
    model = copy.with_name(copy.name + ".model")
    database.create(model)
    try:
        page = bytearray(model.read_bytes()[: database_page_size(model)])
    finally:
        model.unlink()
    with open(copy, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        pages = max(1, size // len(page))
        page[28:32] = pages.to_bytes(4, "big")
        page[24:28] = page[92:96] = (
            b"\0\0\0\1"  # change counter and version-valid-for agree, else the size is not believed
        )
        page[32:40] = bytes(8)  # no free pages: nothing is written here
        file.write(page)
        if size < len(page):
            file.truncate(len(page))


def database_page_size(path: Path) -> int:
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(100)[16:18], "big")
    return 65536 if size == 1 else size


def unsound(path: Path) -> str | None:
    """What in a database that SQLite takes for whole is not what we wrote; None when everything can be read. Reads all of it.

    Damage inside of a text leaves SQLite's own structures as they were.
    """
    db = database.connect(path, readonly=True)
    try:
        for table, columns in {"session": SESSION, "event": EVENT, **OTHERS}.items():
            for row in db.execute(f"select {', '.join(columns)} from {table}"):  # noqa: S608 - our own names
                if table in ("session", "event") and not _sound(dict(zip(columns, row, strict=True))):
                    return f"the text of table {table} at {row[0]} is not what was written"
    except UNREADABLE as e:
        return str(e)
    finally:
        db.close()
    return None


def _transfer(old: apsw.Connection, new: apsw.Connection, leftovers: Path) -> Salvaged:
    found = Salvaged()
    cut: dict[str, int] = {}
    with open(leftovers, "w", encoding="utf-8") as aside:
        for row in _sessions(old, found):
            _session(old, new, dict(zip(SESSION, row, strict=True)), found, cut, aside)
    found.cut = list(cut)
    for table, columns in OTHERS.items():
        for values in _both_ends(old, table, columns):
            if table == "command" and (not isinstance(values[4], int) or values[4] > cut.get(values[3], values[4])):
                continue  # what it did is gone: sent again, it is to be done again
            if table == "value" and values[0] == "instance":
                continue
            with contextlib.suppress(apsw.ConstraintError):
                new.execute(f"insert or ignore into {table} values ({','.join('?' * len(columns))})", values)  # noqa: S608
    return found


def _sessions(old: apsw.Connection, found: Salvaged) -> Iterator[tuple[Any, ...]]:
    columns = ", ".join(SESSION)
    try:
        yield from old.execute(f"select {columns} from session order by n").fetchall()  # noqa: S608
        return
    except UNREADABLE:
        pass
    missed = 0
    for n in range(1, MOST_SESSIONS):
        try:
            rows = old.execute(f"select {columns} from session where n = ?", (n,)).fetchall()  # noqa: S608
        except UNREADABLE:
            found.lost += 1
            missed += 1
        else:
            yield from rows
            missed = 0 if rows else missed + 1
        if missed > 10_000:
            return


def _session(
    old: apsw.Connection,
    new: apsw.Connection,
    session: dict[str, Any],
    found: Salvaged,
    cut: dict[str, int],
    aside: Any,
) -> None:
    """Take over one session: its events from the first on, as far as they can be read without a gap."""
    if not (_sound(session) and _named(session)):
        found.lost += 1
        return
    first = session["n"] << 32
    head, tag, size, open_runs = 0, START_TAG, 0, dict[str, None]()
    for row in _readable(old, first, session["head"]):
        event = dict(zip(EVENT, row, strict=True))
        if not _sound(event):
            continue
        if event["place"] != (first | head + 1) or not _put(new, "put_events", row):
            content = {k: v for k, v in event.items() if k != "place"} | {"seq": event["place"] & 0xFFFFFFFF}
            aside.write(json.dumps({"session_id": session["id"], **content}, ensure_ascii=False, default=repr) + "\n")
            found.aside += 1
            continue
        head, tag = head + 1, event["tag"]
        size += len(event["content"].encode())
        if event["type"] == "run":
            open_runs[event["run_id"]] = None
        elif event["type"] == "completed":
            open_runs.pop(event["run_id"], None)
        found.events += 1
    whole = re.fullmatch(r"[\w-]{1,32}", session["epoch"], re.ASCII) and session["status"] in get_args(SessionStatus)
    if head < session["head"] or tag != session["head_tag"] or not whole:
        cut[session["id"]] = head
        # Another epoch: a client that knows more than is left must not go on as if nothing had happened.
        session |= {"head": head, "head_tag": tag, "bytes": size, "epoch": secrets.token_hex(6)}
        running = next(reversed(open_runs), None)
        session |= {"status": "running" if running else "idle", "run_id": running}
    if _put(new, "put_sessions", tuple(session.values())):
        found.sessions += 1
    else:
        # Its number is free again: what bears it must not become part of another session.
        new.execute("delete from event where place > ? and place < ?", (first, first + (1 << 32)))
        found.events -= head
        found.lost += 1


def _sound(row: dict[str, Any]) -> bool:
    """Whether a row's text is what we write: damage inside of text leaves SQLite's own structures whole."""
    text: Any = row.get("content", row.get("meta"))
    try:
        json.loads(text)
    except (TypeError, ValueError):
        return False
    tag = row.get("tag", row.get("head_tag"))
    return isinstance(tag, str) and re.fullmatch("[0-9a-f]{8}", tag) is not None


def _named(session: dict[str, Any]) -> bool:
    """Whether its events can be found by its row: any column may hold anything."""
    n, id, head = session["n"], session["id"], session["head"]
    texts = all(isinstance(session[name], str) for name in ("id", "epoch", "status"))
    numbers = isinstance(n, int) and isinstance(head, int) and 0 < n < 1 << 31 and 0 <= head <= MAX_SEQ
    return texts and numbers and re.fullmatch(r"s_[\w-]{22}", id, re.ASCII) is not None


def _put(new: apsw.Connection, statement: str, row: tuple[Any, ...]) -> bool:
    """Whether the row could be taken over; one with a column of the wrong type, or a key twice, cannot."""
    try:
        new.execute(STATEMENTS[statement], row)
    except apsw.ConstraintError:
        return False
    return True


def _readable(old: apsw.Connection, first: int, head: int) -> Iterator[tuple[Any, ...]]:
    """Events of a session in order: at one go while that works, then one by one."""
    columns = ", ".join(EVENT)
    at = first
    try:
        for row in old.execute(
            f"select {columns} from event where place > ? and place < ? order by place",  # noqa: S608
            (first, first + (1 << 32)),
        ):
            at = row[0]
            yield row
        return
    except UNREADABLE:
        pass
    missed = 0
    for place in range(at + 1, (first | head) + 1):
        try:
            rows = old.execute(f"select {columns} from event where place = ?", (place,)).fetchall()  # noqa: S608
        except UNREADABLE:
            rows = []
        yield from rows
        missed = 0 if rows else missed + 1
        if missed >= MOST_MISSED:
            return


def _both_ends(old: apsw.Connection, table: str, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Rows from the front until one cannot be read, and from the back likewise."""
    rows: dict[tuple[Any, ...], None] = {}
    for order in ("", " desc"):
        try:
            for row in old.execute(f"select {', '.join(columns)} from {table} order by {columns[0]}{order}"):  # noqa: S608
                rows[row] = None
            break
        except UNREADABLE:
            continue
    return list(rows)
