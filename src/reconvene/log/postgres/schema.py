"""Our tables in a database: made, brought up to date, and refused when a newer program made them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import asyncpg  # type: ignore[import-untyped]
import structlog

from reconvene.errors import ReconveneError
from reconvene.log.postgres.address import Address
from reconvene.log.postgres.statements import migrations

_log = structlog.get_logger(__name__)
_LOCK = 0x52435645
"""Advisory lock: one node migrates, the others wait for it."""


async def prepare(db: asyncpg.Connection, address: Address, scripts: Sequence[str] | None = None) -> str:
    """Make or migrate the tables, all of it or nothing. Returns the id of this installation.

    Raises:
        ReconveneError: `store_newer`, `store_error`.
    """
    scripts = migrations() if scripts is None else scripts
    try:
        async with db.transaction():
            await db.execute("select pg_advisory_xact_lock($1)", _LOCK)
            if not await db.fetchval("select count(*) from pg_namespace where nspname = $1", address.schema):
                await db.execute(f'create schema "{address.schema}"')
            await db.execute("create table if not exists schema_version (version integer not null)")
            version = await db.fetchval("select version from schema_version")
            if version is None:
                version = 0
                await db.execute("insert into schema_version values (0)")
            if version > len(scripts):
                sentence = (
                    f"The tables in {address.shown} were made by a newer Reconvene (schema {version}; this one knows {len(scripts)}). "
                    f"Upgrade this node, or restore a backup."
                )
                raise ReconveneError("store_newer", sentence, database=address.shown)
            for number, script in enumerate(scripts[version:], version + 1):
                await db.execute(script)
                await db.execute("update schema_version set version = $1", number)
                _log.info("database migrated", database=address.shown, schema=number)
            instance = await db.fetchval("select instance from store")
            if instance is None:
                instance = secrets.token_hex(8)
                await db.execute("insert into store (instance) values ($1)", instance)
            return str(instance)
    except ReconveneError:
        raise
    except Exception as e:
        raise address.explain(e) from e
