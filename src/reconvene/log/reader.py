"""Reading: a few threads, each with a read-only connection of its own, so that a slow disk never stops the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw

from reconvene.errors import ReconveneError
from reconvene.log.database import connect, explain
from reconvene.log.queries import STATEMENTS

ANSWERED_WITHIN = 30.0
"""Seconds."""


class Readers:
    """Statements of `sql/read.sql`, each answered with one JSON value (see there why)."""

    def __init__(self, path: Path, *, threads: int = 2, busy_ms: int = 5000) -> None:
        self._path = path
        self._busy_ms = busy_ms
        self._own = threading.local()
        self._open: list[apsw.Connection] = []
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reconvene-read")
        self.statements = 0
        """Asked so far."""

    async def ask(self, statement: str, **bindings: Any) -> Any:
        """The statement's value; None when it has no row.

        Raises:
            ReconveneError: `store_error`, `store_busy`, `store_corrupt`.
        """
        self.statements += 1
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                return await asyncio.get_running_loop().run_in_executor(self._pool, self._ask, statement, bindings)
        except TimeoutError as e:
            sentence = f"The disk under {self._path} has not answered for {ANSWERED_WITHIN:.0f} s. Try again later."
            raise ReconveneError("store_error", sentence, path=str(self._path)) from e

    def _ask(self, statement: str, bindings: Mapping[str, Any]) -> Any:
        db: apsw.Connection | None = getattr(self._own, "db", None)
        try:
            if db is None:
                db = self._own.db = connect(self._path, readonly=True, busy_ms=self._busy_ms)
                self._open.append(db)
            row = db.execute(STATEMENTS[statement], bindings).get
        except (apsw.Error, UnicodeDecodeError) as e:
            error = explain(e, self._path, db)
            if db is not None and not isinstance(e, apsw.BusyError):
                self._own.db = None  # a connection that met an error starts afresh
                self._open.remove(db)
                with contextlib.suppress(apsw.Error):
                    db.close(True)
            raise error from e
        return None if row is None else json.loads(row)

    def close(self) -> None:
        """Blocks until what is being read is answered."""
        self._pool.shutdown(wait=True)
        while self._open:
            with contextlib.suppress(apsw.Error):  # it only read
                self._open.pop().close(True)
