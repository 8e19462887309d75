"""Where the server of a conversation is, which may come back on another port; one that was killed is started again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from reconvene.cli import background
from reconvene.cli.terminal import dim, safe, say
from reconvene.client.following import Address
from reconvene.client.local import find
from reconvene.errors import ReconveneError

GRACE = 2.0
"""Seconds in which whoever else looks after the server, a person or a supervisor, may start it again first."""
STARTS = 3
"""How often one conversation starts it."""


class Whereabouts:
    """Asked before every connection.

    Args:
        root: the code base that a server which is started serves.
    """

    def __init__(self, data_dir: Path, root: Path) -> None:
        self._data_dir = data_dir
        self._root = root
        self._missing: float | None = None
        self._starts = 0

    async def __call__(self) -> Address | None:
        server = await asyncio.to_thread(find, self._data_dir)
        if server is None and (port := background.left_behind(self._data_dir)) is not None:
            self._missing = self._missing or time.monotonic()
            if time.monotonic() - self._missing >= GRACE and self._starts < STARTS:
                self._starts += 1
                say(dim("· the server was killed; starting it again in the background"))
                try:
                    server = await asyncio.to_thread(
                        background.start, self._data_dir, self._root, port=port, port_is_chosen=False
                    )
                except ReconveneError as e:
                    say(f"✗ {safe(e.message)}")
        if server is None:
            return None
        self._missing = None
        return Address(server.ws_url, server.token)
