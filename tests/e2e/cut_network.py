"""A network between page and server that fails as networks do."""

from __future__ import annotations

import asyncio
import contextlib

PATIENCE_S = 120
"""Long, because the machine may be busy."""


class Proxy:
    """TCP on loopback, byte for byte, until it is told to fail.

    `down` breaks every connection and refuses new ones until `up`. `cut_next` lets half of what a WebSocket brings next arrive and
    breaks it there, in the middle of a frame. `freeze` leaves every connection open and dead, as a machine that slept
    finds them. `mute` loses only what the server says.
    """

    def __init__(self) -> None:
        self.target = 0
        self.port = 0
        self.sockets = 0
        """WebSockets so far."""
        self._changed = asyncio.Condition()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.reset()

    def reset(self) -> None:
        self.is_up = True
        self.cuts = 0
        self._cut_next = False

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        self.break_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    def break_all(self) -> None:
        for link in list(self._links):
            link.break_off()

    def down(self) -> None:
        self.is_up = False
        self.break_all()

    def up(self) -> None:
        self.is_up = True

    def cut_next(self) -> None:
        self._cut_next = True

    def freeze(self) -> None:
        for link in self._links:
            link.hears = link.speaks = False

    def mute(self) -> None:
        for link in self._links:
            link.hears = False

    async def connected_again(self, since: int) -> None:
        """Wait for a WebSocket beyond the first `since`."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: self.sockets > since), PATIENCE_S)

    async def cut(self, since: int) -> None:
        """Wait until `cut_next` has happened more than `since` times."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: self.cuts > since), PATIENCE_S)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if not self.is_up:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, up_writer)
        self._links.add(link)
        try:
            await asyncio.gather(self._up(reader, link), self._down(up_reader, link))
        finally:
            self._links.discard(link)
            link.break_off()

    async def _up(self, reader: asyncio.StreamReader, link: _Link) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not link.is_socket and b"upgrade: websocket" in data.lower():
                    link.is_socket = True
                    self.sockets += 1
                    await self._tell()
                if link.speaks:
                    link.server.write(data)
                    await link.server.drain()
        if link.speaks:
            link.server.close()

    async def _down(self, reader: asyncio.StreamReader, link: _Link) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not link.hears:
                    continue
                if self._cut_next and link.is_socket and len(data) > 1:
                    self._cut_next = False
                    self.cuts += 1
                    # Closed, not reset: what was written arrives, and it is a part of a frame.
                    link.client.write(data[: len(data) // 2])
                    link.client.close()
                    link.server.transport.abort()
                    await self._tell()
                    return
                link.client.write(data)
                await link.client.drain()
        if link.hears:
            link.client.close()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class _Link:
    """One connection in two halves."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server = client, server
        self.hears = self.speaks = True
        self.is_socket = False

    def break_off(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()
