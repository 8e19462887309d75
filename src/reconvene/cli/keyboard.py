"""The lines typed on stdin, read without a thread, so that a question answered elsewhere can be taken back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterator


class Keyboard:
    """Use `keyboard()`. A line is text without its end; None: the end of what is typed."""

    def __init__(self) -> None:
        self._lines = asyncio.Queue[str | None]()
        self._rest = bytearray()
        self._loop = asyncio.get_running_loop()
        self._reading = False

    async def get(self) -> str | None:
        return await self._lines.get()

    def forget(self) -> None:
        """What was typed so far was meant for something else."""
        while not self._lines.empty():
            self._lines.get_nowait()

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Another program has the keyboard meanwhile."""
        self.close()
        try:
            yield
        finally:
            self.open()

    def open(self) -> None:
        self._reading = True
        self._loop.add_reader(sys.stdin.fileno(), self._ready)

    def close(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(sys.stdin.fileno())

    def _ready(self) -> None:
        data = os.read(sys.stdin.fileno(), 65536)
        if not data:
            self.close()
            self._lines.put_nowait(None)
            return
        self._rest.extend(data)
        while b"\n" in self._rest:
            line, _, after = bytes(self._rest).partition(b"\n")
            self._rest[:] = after
            self._lines.put_nowait(line.decode("utf-8", "replace"))


@contextlib.asynccontextmanager
async def keyboard() -> AsyncIterator[Keyboard | None]:
    """While it lasts, what is typed is read here."""
    typed = Keyboard()
    typed.open()
    try:
        yield typed
    finally:
        typed.close()
