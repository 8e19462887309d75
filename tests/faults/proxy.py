"""A network that goes wrong on purpose: a proxy on loopback between a client and a server, each connection with a `Fault` of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["none", "reset", "closed", "black hole", "client gone", "server gone", "late"]
"""What happens to a connection after so many bytes.

reset: both ends get a RST. closed: both get a FIN. black hole: nothing comes through any more, nobody is told. client gone: the client
gets a RST, the server nothing. server gone: the other way round. late: as "client gone", and what the client had sent comes to the server
only when its next connection has been attached.
"""
KINDS: tuple[Kind, ...] = ("reset", "closed", "black hole", "client gone", "server gone", "late")


@dataclass(frozen=True, slots=True)
class Fault:
    """`after` so many bytes on their way `up` or `down`, `kind` happens. `piece` bytes go together, and take `delay` seconds."""

    kind: Kind = "none"
    after: int = 0
    way: Literal["up", "down"] = "down"
    piece: int = 65536
    delay: float = 0.0


class Proxy:
    """`async with Proxy(port, plan) as proxy`; `plan(n)` is the fault of the n-th connection, from 0."""

    def __init__(self, to: int, plan: Callable[[int], Fault]) -> None:
        self.to, self.plan = to, plan
        self.port = 0
        self.accepted = 0
        self.struck: list[Fault] = []
        """Those that have happened."""
        self.passed = {"up": 0, "down": 0}
        """Bytes that came through, of all connections."""
        self._attached = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self.plan(self.accepted)
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(self._connection(reader, writer, fault))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter, fault: Fault) -> None:
        self._writers.append(client)
        if fault.kind == "late":
            await self._late(reader, client, fault)
            return
        try:
            up, server = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            _reset(client)
            return
        self._writers.append(server)
        struck = asyncio.get_running_loop().create_future()
        ways = (self._pump("up", reader, server, fault, struck), self._pump("down", up, client, fault, struck))
        pumps = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait({struck, *pumps}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        if not struck.done():  # one of the two ended it, and so it ends for the other
            struck.cancel()
            client.close()
            server.close()
            return
        self.struck.append(fault)
        match fault.kind:
            case "reset":
                _reset(client)
                _reset(server)
            case "closed":
                client.close()
                server.close()
            case "client gone":
                _reset(client)
            case "server gone":
                _reset(server)

    async def _pump(
        self,
        way: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fault: Fault,
        struck: asyncio.Future[None],
    ) -> None:
        """One way, until its end or the fault."""
        passed = 0
        with contextlib.suppress(OSError):
            async for data in self._pieces(way, reader, fault.piece):
                if fault.delay:
                    await asyncio.sleep(fault.delay)
                strikes = fault.kind != "none" and way == fault.way and passed + len(data) >= fault.after
                data = data[: fault.after - passed] if strikes else data
                passed += len(data)
                self.passed[way] += len(data)
                if way == "down" and passed > 500:  # more than the answer of a handshake: it is attached
                    self._attached.set()
                writer.write(data)
                await writer.drain()
                if strikes:
                    if not struck.done():
                        struck.set_result(None)
                    return

    async def _pieces(self, way: str, reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
        if way == "up":
            with contextlib.suppress(asyncio.IncompleteReadError):
                head = self._for_the_server(await reader.readuntil(b"\r\n\r\n"))
                for at in range(0, len(head), size):
                    yield head[at : at + size]
        while data := await reader.read(size):
            yield data

    def _for_the_server(self, data: bytes) -> bytes:
        """The handshake names the address that it was sent to; the server serves its own."""
        return data.replace(f":{self.port}\r\n".encode(), f":{self.to}\r\n".encode())

    async def _late(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter, fault: Fault) -> None:
        """Take what the client sends and break off; deliver it when a later connection of it has been attached."""
        self._attached.clear()
        data = self._for_the_server(await reader.read(65536))
        _reset(client)
        self.struck.append(fault)
        await self._attached.wait()
        _, server = await asyncio.open_connection("127.0.0.1", self.to)
        self._writers.append(server)
        server.write(data)
        await server.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    if (taken := writer.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
