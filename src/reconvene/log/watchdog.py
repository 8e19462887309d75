"""Looks after the database file while the server runs. SQLite does not notice that its file was unlinked, replaced or cut."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

from reconvene.errors import ReconveneError
from reconvene.log.database import APPLICATION_ID, MAGIC
from reconvene.log.writer import Writer

INTERVAL = 1.5
"""Seconds. Two rounds must fit into the 5 s in which a loss is noticed."""


class Watchdog:
    """A thread that looks every `interval` seconds and tells the writer. (The writer itself looks after every commit, for identity.)"""

    def __init__(self, path: Path, writer: Writer, interval: float = INTERVAL) -> None:
        self._path = path
        self._writer = writer
        self._interval = interval
        # Kept open until the connections are closed: closing any descriptor of the file drops this process's locks on it.
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._short: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconvene-watchdog", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._interval) and self._writer.lost is None:
            try:
                self.look()
            except ReconveneError:
                return
            except OSError as e:
                self._writer.lose(f"not readable ({e.strerror})")

    def look(self) -> None:
        """One round.

        Raises:
            ReconveneError: `store_lost`; the writer knows it too.
        """
        writer = self._writer
        writer.refuse_if_lost()
        checkpoints = writer.checkpoints
        header = os.pread(self._fd, 100, 0)
        if not header.startswith(MAGIC) or header[68:72] != APPLICATION_ID.to_bytes(4, "big"):
            writer.lose("emptied or overwritten")
            writer.refuse_if_lost()
        short = self._cut(header)
        # A checkpoint writes the first page, which tells the size, before the last, and a disk may take seconds between them.
        if checkpoints % 2 or checkpoints != writer.checkpoints:
            short = None
        # One by another program is not known here: what is short twice is cut.
        if short and short == self._short:
            writer.lose(short)
        self._short = short
        writer.refuse_if_lost()

    def _cut(self, header: bytes) -> str | None:
        (page,) = struct.unpack(">H", header[16:18])
        page = 65536 if page == 1 else page
        (pages,) = struct.unpack(">I", header[28:32])
        if os.fstat(self._fd).st_size < page * pages:
            return "cut short"
        wal_pages = self._writer.wal_pages
        if wal_pages and os.stat(f"{self._path}-wal").st_size < 32 + wal_pages * (24 + page):
            return "cut short in its -wal file"
        return None

    def stop(self) -> None:
        """Blocks for a moment. Before the connections are closed."""
        self._stop.set()
        self._thread.join()

    def close(self) -> None:
        """After the connections are closed."""
        os.close(self._fd)
