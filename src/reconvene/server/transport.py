"""uvicorn's HTTP and WebSocket protocols, hardened: what a client may do to the event loop before and beside messages.

Beyond uvicorn 0.54: a deadline for request headers, 431 for headers that are too large, only whole RFC 6455 handshakes
are upgraded (all others are answered by the application, behind the gate), a budget for raw frames, close frames that
reach a client which is still sending, no traceback for invalid UTF-8, and a way to write a frame that was made once to
many connections.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import struct
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State

from reconvene.server.token_bucket import TokenBucket

EXTENSION = "reconvene.wire"
"""In `scope["extensions"]` of a WebSocket: its Wire."""
SLICE = 4096
"""Bytes that are parsed before the frames in them are counted: 50,000 empty frames in one read take over a second."""
FRAMES_PER_SECOND = 200.0
FRAME_BURST = 2000
"""Frames that are no message by themselves: control frames, fragments. A message of 1 MiB in parts of 1 KiB passes."""
LINGER = 2.0
"""Seconds for which input is read and dropped after an error, so that our last words are not lost to a TCP reset."""
LINGER_BYTES = 32 * 1024**2
LINE = 8192
"""websockets' own limit of a header line."""


class Wire(Protocol):
    """A WebSocket as delivery sees it. Nothing here waits."""

    on_writable: Callable[[], None] | None
    """Called when `blocked` ends."""

    @property
    def blocked(self) -> bool:
        """The client does not read as fast as we write: nothing more should be written."""

    @property
    def buffered(self) -> int:
        """Bytes that were written and that the kernel did not take yet."""

    @property
    def flushed(self) -> int:
        """Bytes of frames that the kernel took; it grows while the client reads."""

    def write(self, frame: bytes) -> bool:
        """Write a whole frame (see `text_frame`). False when the connection is closing: nothing was written."""

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake; later calls do nothing."""

    def abort(self) -> None:
        """End the connection now, without a close frame: for a client that does not read."""


def text_frame(payload: bytes) -> bytes:
    """A whole text frame as a server sends it: unmasked, so the same bytes can go to every client (RFC 6455 §5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes((size,)) + payload
    if size < 65536:
        return b"\x81\x7e" + struct.pack("!H", size) + payload
    return b"\x81\x7f" + struct.pack("!Q", size) + payload


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


class SocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket connection, and the Wire of it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.close_timeout = 5.0
        self.on_writable: Callable[[], None] | None = None
        self._written = 0
        self._took = 0
        self._bucket = TokenBucket(FRAMES_PER_SECOND, FRAME_BURST)
        self._dropped: int | None = None

    # -- Wire

    @property
    def blocked(self) -> bool:
        return not self.writable.is_set()

    @property
    def buffered(self) -> int:
        return self.transport.get_write_buffer_size()

    @property
    def flushed(self) -> int:
        return self._written - self.transport.get_write_buffer_size()

    def write(self, frame: bytes) -> bool:
        if self.disconnected or self.close_sent or self.conn.state is not State.OPEN:
            return False
        self._written += len(frame)
        self.transport.write(frame)
        return True

    def close(self, code: int, reason: str = "") -> None:
        if self.disconnected or self.close_sent or self.conn.state is not State.OPEN:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        self._resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def abort(self) -> None:
        self.transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()

    # -- keep-alive

    def send_keepalive_ping(self) -> None:
        self._took = self.flushed
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        # A ping waits behind what was written before it. Who is still taking that in is slow, not dead.
        if self.flushed > self._took and self.ping_timeout is not None:
            self._took = self.flushed
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
            return
        super().keepalive_timeout()

    # -- what comes in

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            cast("dict[str, Any]", self.scope["extensions"])[EXTENSION] = self

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept":
            # Ten thousand idle connections need not remember what their browsers said.
            del self.request, self.response
            self.scope["headers"] = []

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE):
            if self._dropped is not None:
                self._dropped += len(data) - start
                if self._dropped > LINGER_BYTES:
                    self.transport.abort()
                return
            super().data_received(data[start : start + SLICE])

    def handle_events(self) -> None:
        parts = sum(1 for e in self.conn.events if isinstance(e, Frame) and not (e.fin and e.opcode in _MESSAGES))
        if parts and self._bucket.take(self.loop.time(), parts):
            self.conn.events.clear()
            self._fail(4100, "too many frames")
            return
        super().handle_events()

    def send_receive_event_to_app(self) -> None:
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        if self.curr_msg_data_type == "text":
            try:
                self.queue.put_nowait({"type": "websocket.receive", "text": str(data, "utf-8")})
            except UnicodeDecodeError:
                self._fail(1007, "invalid UTF-8")
                return
        else:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": bytes(data)})
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def _fail(self, code: int, reason: str) -> None:
        self.conn.fail(code, reason)
        self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        """The connection has failed (RFC 6455 §7.1.7): say why, half-close, and throw away what still comes."""
        close = self.conn.close_sent
        code, reason = (close.code, close.reason) if close is not None else (1006, "")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        self._dropped = 0
        self._resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self.close_timer is None:
            self.close_timer = self.loop.call_later(LINGER, self.transport.abort)

    def _resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()


_MESSAGES = (Opcode.TEXT, Opcode.BINARY)
