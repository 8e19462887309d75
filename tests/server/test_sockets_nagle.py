"""A frame is sent when it is written: Nagle's algorithm is off on every connection."""

from __future__ import annotations

import asyncio
import socket

from reconvene.server.sockets import bind


async def test_nagle_is_off() -> None:
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own: socket.socket = writer.get_extra_info("socket")
        accepted.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listening = bind("127.0.0.1", 0, public=False, send_time=20.0)
    async with await asyncio.start_server(connected, sock=listening[0]):
        _, writer = await asyncio.open_connection(*listening[0].getsockname())
        assert await asyncio.wait_for(accepted, 5)
        writer.close()
