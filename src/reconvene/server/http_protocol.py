"""uvicorn's HTTP/1.1, hardened: what a client may do to the event loop before the application sees its request.

Beyond uvicorn 0.54: a deadline for request headers, 431 for headers that are too large, answers that reach a client which
is still sending, and only whole RFC 6455 handshakes are upgraded: all others are answered by the application, behind the
gate.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import sys
from typing import Any, ClassVar, cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

LINGER = 2.0
"""Seconds for which input is read and dropped after an error, so that our last words are not lost to a TCP reset."""
LINGER_BYTES = 32 * 1024**2
LINE = 8192
"""websockets' own limit of a header line."""


def is_handshake(scope: Any) -> bool:
    """Whether a request is a whole opening handshake of version 13 (RFC 6455 §4.2.1)."""
    if scope["method"] != "GET" or scope["http_version"] != "1.1" or len(scope["headers"]) > 100:
        return False
    keys = [value for name, value in scope["headers"] if name == b"sec-websocket-key"]
    versions = [value for name, value in scope["headers"] if name == b"sec-websocket-version"]
    if any(len(name) + len(value) + 4 > LINE for name, value in scope["headers"]) or len(scope["raw_path"]) > LINE // 2:
        return False
    try:
        return versions == [b"13"] and len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16
    except binascii.Error:
        return False


class HttpProtocol(H11Protocol):
    """HTTP/1.1 with a deadline for headers."""

    header_time: ClassVar[float] = 5.0
    """Seconds; set once, before the server starts."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._deadline: asyncio.TimerHandle | None = None
        self._dropped: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, _Patient(transport, self))
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._dropped is not None:
            self._dropped += len(data)
            if self._dropped > LINGER_BYTES:
                self.transport.abort()
            return
        super().data_received(data)
        # Idle with bytes in hand: a request's head has begun, and uvicorn stopped its keep-alive timer at the first of
        # them. A head that never ends would stay for ever.
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._deadline is None and self.conn.trailing_data[0]:
            self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._unwatch()
        self.transport = cast(_Patient, self.transport).real
        super().handle_websocket_upgrade(event)

    def _watch(self) -> None:
        self._deadline = self.loop.call_later(self.header_time, self.transport.abort)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _should_upgrade(self) -> bool:
        # What is not a whole handshake stays a plain request: the gate judges it, and /ws answers 426.
        return self._get_upgrade() == b"websocket" and is_handshake(self.scope)

    def send_400_response(self, msg: str) -> None:
        """Called for what h11 refuses. The application, if it is at work on this request, sees a disconnect."""
        self._unwatch()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        cause = sys.exc_info()[1]
        status = cause.error_status_hint if isinstance(cause, h11.RemoteProtocolError) else 400
        code, detail = "invalid_message", "This is not a request that HTTP/1.1 allows."
        if status == 431:
            code, detail = "too_large", "The headers are over the limit. Send less of them."
        problem = {"type": "about:blank", "title": msg, "status": status, "code": code, "detail": detail}
        body = json.dumps({**problem, "retryable": False, "details": {}}).encode()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            kind = (b"content-type", b"application/problem+json")
            length = (b"content-length", str(len(body)).encode())
            response = h11.Response(status_code=status, headers=[kind, length, (b"connection", b"close")])
            out = [self.conn.send(response), self.conn.send(h11.Data(data=body)), self.conn.send(h11.EndOfMessage())]
            self.transport.write(b"".join(part for part in out if part))
        self.linger()

    def linger(self) -> None:
        """Half-close, and throw away what still comes: closing with bytes unread would reset our answer away."""
        self._dropped = 0
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.abort)

    @property
    def mid_body(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY and self._dropped is None


class _Patient:
    """A transport as uvicorn's response cycle sees it: closing while a body still comes lingers instead."""

    def __init__(self, transport: asyncio.Transport, protocol: HttpProtocol) -> None:
        self.real = transport
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def close(self) -> None:
        if self._protocol.mid_body and not self.real.is_closing():
            self._protocol.linger()
        else:
            self.real.close()
