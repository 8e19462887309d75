"""Where the database is, how it is reached, and what its failures mean to us."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg  # type: ignore[import-untyped]
from asyncpg import exceptions as pg

from reconvene.errors import ReconveneError

SCHEMA = "reconvene"
"""The PostgreSQL schema of our tables, unless the URL names another (`?search_path=…`)."""
CONNECT_TIME = 5.0
"""Seconds for a connection to be made."""
COMMAND_TIME = 15.0
"""Seconds for a statement: a database that is silent for longer is taken for gone, and asked again over a new connection."""
TRANSACTION_TIME = 10.0
"""Seconds for a transaction that holds rows which other nodes wait for. Ours take milliseconds."""
FIRST_WITH_TRANSACTION_TIME = 17
"""The version of PostgreSQL. Before it a connection without its other end is found by keepalives, in eleven seconds; one whose other end
is a proxy that says nothing is not."""
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")

_LOST = (
    pg.PostgresConnectionError, pg.InterfaceError, pg.InternalClientError, pg.AdminShutdownError, pg.CrashShutdownError,
    pg.CannotConnectNowError, pg.IdleInTransactionSessionTimeoutError, pg.TooManyConnectionsError, OSError, TimeoutError,
)  # fmt: skip
AGAIN = (pg.DeadlockDetectedError, pg.SerializationError, pg.UniqueViolationError, pg.LockNotAvailableError)
"""Two nodes wanted the same at once: nothing was written, and decided anew it comes out right."""
FULL = (pg.DiskFullError, pg.OutOfMemoryError)


def is_lost(error: BaseException) -> bool:
    """Whether the connection, or the server, is gone: it will be back. (What asyncpg says of a wrong argument is a ValueError, too.)"""
    return isinstance(error, _LOST) and not (isinstance(error, ValueError) and not isinstance(error, OSError))


@dataclass(frozen=True, slots=True)
class Address:
    """A database: `url` for asyncpg, with its password; `shown` without."""

    url: str
    shown: str
    schema: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """
        >>> Address.parse("postgresql://me:secret@db/app").shown
        'postgresql://me@db/app'

        Raises:
            ReconveneError: `invalid_field`.
        """
        parts = urlsplit(text)
        if parts.scheme not in ("postgresql", "postgres"):
            raise ReconveneError(
                "invalid_field", "--database is a URL like postgresql://user@host/name.", path="database"
            )
        query = parse_qsl(parts.query, keep_blank_values=True)
        schema = dict(query).get("search_path", SCHEMA)
        if not _SCHEMA_NAME.match(schema):
            raise ReconveneError(
                "invalid_field", "search_path in --database names one schema, in small letters.", path="database"
            )
        rest = [(name, value) for name, value in query if name != "search_path"]
        url = urlunsplit(parts._replace(query=urlencode(rest)))
        user = f"{quote(parts.username)}@" if parts.username else ""
        hosts = parts.netloc.rpartition("@")[2]
        shown = urlunsplit(("postgresql", user + hosts, parts.path, "", ""))
        return cls(url, shown, schema)

    def settings(self, **more: str) -> dict[str, str]:
        """What every session of ours sets, whatever the database's defaults are."""
        return {
            "application_name": "reconvene",
            "search_path": self.schema,
            "synchronous_commit": "on",
            "lock_timeout": "10s",
            # A node that vanished in the middle of a commit must not hold its sessions' rows for long.
            "idle_in_transaction_session_timeout": "10s",
            "tcp_keepalives_idle": "5",
            "tcp_keepalives_interval": "2",
            "tcp_keepalives_count": "3",
            # One that is stopped, and still has its connections, would keep every notification since then from being forgotten.
            "tcp_user_timeout": "20000",
            "jit": "off",
            **more,
        }

    async def connect(self, *, locks: bool = False, **settings: str) -> asyncpg.Connection:
        """A connection as all of ours are.

        `locks`: its transactions hold rows that others wait for, so the server ends one that takes longer than `TRANSACTION_TIME`. A node
        that is cut off in the middle of a statement is not idle in its transaction, and is waited for without limit else.

        Raises:
            ReconveneError: see `explain`.
        """
        try:
            db = await asyncpg.connect(
                self.url,
                timeout=CONNECT_TIME,
                command_timeout=COMMAND_TIME,
                server_settings=self.settings(**settings),
            )
            if locks and db.get_server_version().major >= FIRST_WITH_TRANSACTION_TIME:
                try:
                    await db.execute(f"set transaction_timeout = '{TRANSACTION_TIME:.0f}s'")
                except BaseException:
                    db.terminate()
                    raise
            return db
        except Exception as e:
            raise self.explain(e) from e

    def explain(self, error: BaseException) -> ReconveneError:
        """What a failure of PostgreSQL means to us. No sentence holds the password."""
        if isinstance(error, ReconveneError):
            return error
        said = _first_line(error)
        details: dict[str, Any] = {"database": self.shown, "postgresql": said}
        if isinstance(error, FULL):
            return ReconveneError("disk_full", f"The database {self.shown} has no space left. Free some.", **details)
        if isinstance(error, pg.InvalidAuthorizationSpecificationError | pg.InsufficientPrivilegeError):
            sentence = f"The database {self.shown} refuses this user ({said}). See its password and its grants."
            return ReconveneError("store_error", sentence, **details)
        if isinstance(error, pg.InvalidCatalogNameError):
            return ReconveneError("store_error", f"There is no such database: {self.shown}. Make it first.", **details)
        if isinstance(error, AGAIN):
            return ReconveneError("store_busy", "Another node wrote the same at once. Try again.", **details)
        if is_lost(error):
            sentence = f"The database {self.shown} does not answer ({said}). It is asked again until it does."
            return ReconveneError("store_error", sentence, **details)
        return ReconveneError("store_error", f"The database {self.shown} answered with an error ({said}).", **details)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
