"""A web site of somebody who means harm, on a port of its own. It serves empty pages, and remembers who called."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import parse_qs, urlsplit

NAMES = "MAP evil.test 127.0.0.1, MAP rebound.test 127.0.0.1"
"""For Chromium's `--host-resolver-rules`: names of a stranger that lead to this machine."""
BROWSER = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The browser's own guard of this machine's network is new, asks the person, and is not everybody's: it may not be what saves us.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
    f"--host-resolver-rules={NAMES}",
)


class HostileSite:
    """`/redirect?to=…` sends a request on with its method and body; all else is an empty page. `calls` are the paths asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            line = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[0]
            target = line.split()[1]
            self.calls.append(target)
            parts = urlsplit(target)
            if parts.path == "/redirect":
                to = parse_qs(parts.query)["to"][0]
                writer.write(
                    f"HTTP/1.1 307 On\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
                )
            else:
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\naccess-control-allow-origin: *\r\n"
                    b"connection: close\r\n\r\n<!doctype html><title>nothing</title><body></body>"
                )
            await writer.drain()
        writer.close()
