"""The web server: uvicorn with our protocols, our sockets and our idea of an end."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Iterator

import uvicorn

from reconvene.config import Settings
from reconvene.server.asgi import Application
from reconvene.server.http_protocol import HttpProtocol
from reconvene.server.sockets import BACKLOG
from reconvene.server.ws_protocol import SocketProtocol

PING = 20.0
"""Seconds between the WebSocket's own pings, and for their answer."""
SPARE_CONNECTIONS = 512
"""HTTP connections beyond those of WebSockets."""


class WebServer(uvicorn.Server):
    """uvicorn without its own idea of signals: ours drain first."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._begun = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begun.set()

    async def begun(self, serving: asyncio.Task[None]) -> None:
        """Wait until connections are accepted. Raises what kept it from that."""
        waiting = asyncio.create_task(self._begun.wait())
        await asyncio.wait({waiting, serving}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if serving.done():
            serving.result()

    def stop_accepting(self) -> None:
        for server in getattr(self, "servers", ()):
            server.close()


def web_config(app: Application, settings: Settings) -> uvicorn.Config:
    limits = settings.limits
    HttpProtocol.header_time = limits.header_time
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * (limits.connections + SPARE_CONNECTIONS) + 1024
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
    return uvicorn.Config(
        app,
        http=HttpProtocol,
        ws=SocketProtocol,
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws_max_size=limits.frame,
        ws_ping_interval=PING,
        ws_ping_timeout=PING,
        ws_per_message_deflate=False,
        h11_max_incomplete_event_size=limits.header,
        limit_concurrency=limits.connections + SPARE_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=2,
        backlog=BACKLOG,
    )
