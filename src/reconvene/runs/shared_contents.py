"""The contents of files that runs keep, where every node finds them: in the database, before the row that names them is written.

A node works with its own folder, which is faster and is what undo and recovery read; what is not there was written by another node.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Collection

from reconvene.log.postgres import PostgresLog
from reconvene.sessions.kept import KEPT, needed
from reconvene.workspace.contents import Contents

AT_ONCE = 32
"""Contents in one request."""
REMEMBERED = 20_000


class SharedContents:
    def __init__(self, log: PostgresLog, contents: Contents) -> None:
        self._log, self._contents = log, contents
        self._there: set[str] = set()

    async def publish(self, names: Collection[str]) -> None:
        """Put these into the database; returns when they are durable there. Raises what the store raises."""
        missing = sorted(set(names) - self._there)
        for start in range(0, len(missing), AT_ONCE):
            some = missing[start : start + AT_ONCE]
            have = await self._log.contents_there(some)
            found = await asyncio.to_thread(self._read, [name for name in some if name not in have])
            if found:
                await self._log.put_contents(found)
            if len(self._there) > REMEMBERED:
                self._there.clear()
            self._there |= have | {name for name, _ in found}

    async def fetch(self, session_id: str) -> None:
        """Have everything here that this session names, as far as it is kept anywhere."""
        rows = await self._log.read(session_id, 0, types=KEPT)
        missing = await asyncio.to_thread(self._missing, needed(rows))
        for start in range(0, len(missing), AT_ONCE):
            found = await self._log.contents(missing[start : start + AT_ONCE])
            await asyncio.to_thread(self._write, found)
            self._there |= {name for name, _ in found}

    async def sweep(self, keep: Collection[str]) -> None:
        """Forget what no session names."""
        await self._log.drop_contents(keep)
        self._there.clear()

    def _read(self, names: Collection[str]) -> list[tuple[str, bytes]]:
        found = ((name, self._contents.get(name)) for name in names)
        return [(name, zlib.compress(data, 6)) for name, data in found if data is not None]

    def _missing(self, names: Collection[str]) -> list[str]:
        return sorted(name for name in names if self._contents.get(name) is None)

    def _write(self, found: Collection[tuple[str, bytes]]) -> None:
        for _name, data in found:
            self._contents.put(zlib.decompress(data))
