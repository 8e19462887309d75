"""Everything of a SQLite store, copied into an empty PostgreSQL one and compared by digest before it counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import asyncpg  # type: ignore[import-untyped]

from reconvene.errors import ReconveneError
from reconvene.log.database import connect, explain
from reconvene.log.postgres.address import Address
from reconvene.log.postgres.schema import prepare

AT_ONCE = 2000
"""Rows in memory."""
Tick = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of both stores: its columns, those that PostgreSQL has as booleans, and by what both sort it."""

    name: str
    columns: tuple[str, ...]
    order: tuple[str, ...]
    booleans: frozenset[str] = frozenset()

    def of_sqlite(self) -> str:
        where = " where name <> 'instance'" if self.name == "value" else ""
        order = "place" if self.name == "event" else ", ".join(self.order)  # the key that holds session and seq
        return f"select {', '.join(self.columns)} from {self.name}{where} order by {order}"  # noqa: S608 - names of this file

    def of_postgres(self) -> str:
        order = ", ".join(f'{c} collate "C"' if c in TEXTS else c for c in self.order)
        return f"select {', '.join(self.columns)} from {self.name} order by {order}"  # noqa: S608


TEXTS = frozenset({"owner", "id", "name"})
_SESSION = (
    "n", "id", "owner", "root", "epoch", "head", "head_tag", "title", "status", "run_id", "pinned", "archived",
    "created_at", "active_at", "last_active", "bytes", "meta",
)  # fmt: skip
_EVENT = (
    "session", "seq", "type", "run_id", "item_id", "parent_id", "key", "public", "stateful", "at", "tag", "content",
)  # fmt: skip
TABLES = (
    Table("session", _SESSION, ("n",), frozenset({"pinned", "archived"})),
    Table("event", _EVENT, ("session", "seq"), frozenset({"public", "stateful"})),
    Table("command", ("owner", "id", "body", "session_id", "seq", "run_id"), ("owner", "id")),
    Table("fence", ("name", "generation"), ("name",)),
    Table("tombstone", ("id", "owner", "reason", "at"), ("id",)),
    Table("trash", ("n",), ("n",)),
    Table("value", ("name", "value"), ("name",)),
)


@dataclass(frozen=True, slots=True)
class Moved:
    """What was copied: rows of each table, and the digest that both stores have."""

    rows: dict[str, int]
    digest: str


class Digest:
    """SHA-256 of rows as JSON, table after table."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self.rows: dict[str, int] = {}

    def add(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            self._sha.update(json.dumps([table, *row], ensure_ascii=True).encode() + b"\n")
            self.rows[table] = self.rows.get(table, 0) + 1

    def hex(self) -> str:
        return self._sha.hexdigest()


async def move(
    file: Path, url: str, *, contents: Iterable[tuple[str, bytes]] = (), tick: Tick = lambda _t, _n: None
) -> Moved:
    """Copy the SQLite store, which nobody writes meanwhile, in one transaction; the copy is read back and compared before it is committed.

    Args:
        contents: (git's blob id, compressed bytes) of the files' contents that its sessions need.
        tick: told (table, rows so far).

    Raises:
        ReconveneError: `store_busy` when the other store has sessions already, `invalid_field` for text that PostgreSQL cannot hold,
            `store_corrupt` when what was read back differs; and what the stores raise.
    """
    address = Address.parse(url)
    db = await address.connect()
    source = connect(file, readonly=True)
    try:
        await prepare(db, address)
        async with db.transaction(isolation="repeatable_read"):
            await db.execute("lock table session, event, command, fence, tombstone, trash, value in exclusive mode")
            if await db.fetchval("select exists (select from session) or exists (select from tombstone)"):
                raise ReconveneError(
                    "store_busy", f"{address.shown} has sessions already. Name an empty database, or another ?search_path=.",
                    database=address.shown,
                )  # fmt: skip
            await db.execute("delete from value")
            wrote = await _copy(source, db, tick)
            await db.execute(
                "update session s set stateful = coalesce((select max(seq) from event e where e.session = s.n and e.stateful), 0)"
            )
            await db.execute(
                "select setval('session_n', greatest(1, (select coalesce(max(n), 0) + 1 from session)), false)"
            )
            for name, data in contents:
                await db.execute("insert into content (hash, data) values ($1, $2) on conflict do nothing", name, data)
            read = Digest()
            for table in TABLES:
                async for rows in _read(db, table):
                    read.add(table.name, rows)
            if read.hex() != wrote.hex():
                raise ReconveneError(
                    "store_corrupt", f"What {address.shown} holds is not what was written to it. Nothing was kept there.",
                    database=address.shown,
                )  # fmt: skip
        await db.execute("analyze")
        return Moved(wrote.rows, wrote.hex())
    except apsw.Error as e:
        raise explain(e, file) from e
    except ReconveneError:
        raise
    except asyncpg.CharacterNotInRepertoireError as e:
        raise ReconveneError(
            "invalid_field", "A text has a NUL, which PostgreSQL does not store; nothing was moved."
        ) from e
    except Exception as e:
        raise address.explain(e) from e
    finally:
        source.close()
        db.terminate()


async def _copy(source: apsw.Connection, db: asyncpg.Connection, tick: Tick) -> Digest:
    wrote = Digest()
    for table in TABLES:
        columns = [*table.columns, "stateful", "claims"] if table.name == "session" else list(table.columns)
        for rows in _pieces(source, table):
            wrote.add(table.name, rows)
            records = [(*row, 0, 0) for row in rows] if table.name == "session" else rows
            await db.copy_records_to_table(table.name, records=records, columns=columns)
            tick(table.name, wrote.rows[table.name])
    return wrote


def _pieces(source: apsw.Connection, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    cursor = source.execute(table.of_sqlite())
    where = [table.columns.index(c) for c in table.booleans]
    while rows := [_with_booleans(row, where) for row in _some(cursor)]:
        yield rows


def _some(cursor: apsw.Cursor) -> Iterator[tuple[Any, ...]]:
    for _ in range(AT_ONCE):
        row = next(cursor, None)
        if row is None:
            return
        yield tuple(row)


def _with_booleans(row: tuple[Any, ...], where: Sequence[int]) -> tuple[Any, ...]:
    if not where:
        return row
    values = list(row)
    for i in where:
        values[i] = bool(values[i])
    return tuple(values)


async def _read(db: asyncpg.Connection, table: Table) -> AsyncIterator[list[tuple[Any, ...]]]:
    cursor = await db.cursor(table.of_postgres())
    while rows := [tuple(row) for row in await cursor.fetch(AT_ONCE)]:
        yield rows
