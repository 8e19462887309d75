"""uvicorn's WebSocket protocol, hardened: what a client may do to the event loop beside its messages.

Beyond uvicorn 0.54: a budget for raw frames, close frames that reach a client which is still sending, no traceback for
invalid UTF-8, patience with a slow client that is reading, and the Wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State

from reconvene.server.http_protocol import LINGER, LINGER_BYTES
from reconvene.server.token_bucket import TokenBucket
from reconvene.server.wire import EXTENSION

SLICE = 4096
"""Bytes that are parsed before the frames in them are counted: 50,000 empty frames in one read take over a second."""
FRAMES_PER_SECOND = 200.0
FRAME_BURST = 2000
"""Frames that are no message by themselves: control frames, fragments. A message of 1 MiB in parts of 1 KiB passes."""
_MESSAGES = (Opcode.TEXT, Opcode.BINARY)


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
        self.blocked = False
        self._written = 0
        self._took = 0
        self._bucket = TokenBucket(FRAMES_PER_SECOND, FRAME_BURST)
        self._dropped: int | None = None

    # -- Wire

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

    def pause_writing(self) -> None:
        super().pause_writing()
        self.blocked = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.blocked = False
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
        elif message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            # Refused is answered too. uvicorn would log an error for each, that is for whatever a stranger sends.
            self.handshake_complete = True

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
