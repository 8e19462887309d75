"""`/ws`: raw ASGI, because a framework's WebSocket object costs memory for every idle connection and nothing of it is needed."""

from __future__ import annotations

import contextlib

from reconvene.errors import ReconveneError
from reconvene.server.asgi import Receive, Scope, Send, respond_problem
from reconvene.server.connection import Connection
from reconvene.server.connections import Connections
from reconvene.server.credentials import Credentials
from reconvene.server.gate import PATH
from reconvene.server.wire import EXTENSION


async def websocket(
    scope: Scope, receive: Receive, send: Send, connections: Connections, credentials: Credentials
) -> None:
    """One WebSocket, behind the gate. Served by `ws_protocol.SocketProtocol`, whose Wire is in the scope."""
    await receive()  # websocket.connect
    if scope["path"] != PATH:
        await respond_problem(
            scope, send, ReconveneError("not_found", f"There is nothing at this address. The WebSocket is at {PATH}.")
        )
        return
    if connections.draining.is_set():
        await respond_problem(scope, send, draining())
        return
    principal = scope["state"]["principal"]
    with contextlib.suppress(ReconveneError):  # a store that does not answer now is no reason to turn somebody away
        await credentials.seen(principal)
    wire = scope["extensions"][EXTENSION]
    await send({"type": "websocket.accept"})
    await Connection(connections, wire, principal).run(receive)


async def not_a_handshake(scope: Scope, send: Send) -> None:
    """A plain request for `/ws`, or a handshake that RFC 6455 does not allow: 426, naming the version there is."""
    error = ReconveneError("upgrade_required", f"{PATH} takes WebSocket handshakes (RFC 6455, version 13) only.")
    upgrade = [(b"upgrade", b"websocket"), (b"connection", b"upgrade"), (b"sec-websocket-version", b"13")]
    await respond_problem(scope, send, error, extra=upgrade)


def draining() -> ReconveneError:
    return ReconveneError("draining", "The server is stopping. Your sessions go on after its restart.", retry_after=1)
