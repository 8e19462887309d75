"""One WebSocket connection: what comes in is bounded, in order, and answered; what kind of client it is, its first frame says."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, Protocol

import structlog

from reconvene.errors import ReconveneError
from reconvene.protocol.frames import ClientFrame, PlainFrame
from reconvene.protocol.parsing import parse_first, parse_resumable
from reconvene.server.asgi import Receive
from reconvene.server.delivery import close_text
from reconvene.server.gate import Principal
from reconvene.server.token_bucket import TokenBucket
from reconvene.server.wire import Wire, text_frame

if TYPE_CHECKING:
    from reconvene.server.connections import Connections

INBOX_BYTES = 2 * 1024**2
"""Of messages that wait for the one before them."""
REFUSED_BURST = 600
"""Messages over the rate limit that are still answered one by one; after that the connection is closed."""
ID_SOUGHT_IN = 16 * 1024
"""Bytes of a message over the rate limit that are worth parsing for its id."""
NOT_NOW = frozenset({"store_busy", "store_error", "store_lost", "starting", "draining"})
"""While the server cannot know whether a session exists it says nothing about it: the client comes back."""
_log = structlog.get_logger("reconvene.ws")


class Client(Protocol):
    """What a connection is once its first frame was understood."""

    async def take(self, text: str) -> None:
        """Carry out one later message. Raises ReconveneError: it is refused."""

    def pump(self) -> None:
        """Send what the log has."""

    def beat(self) -> None:
        """Nothing was sent for a while: show that the connection lives."""

    def farewell(self, retry_ms: int) -> None:
        """The server is about to close the connection."""

    def close(self) -> None:
        """The connection is gone."""


class Connection:
    """Reads one socket. Never stops calling receive: an unread pong would look like a dead client to the server below."""

    __slots__ = (
        "__weakref__", "_bucket", "_ended", "_inbox", "_inbox_bytes", "_patience", "_worker",
        "client", "client_id", "house", "last_sent", "looks_plain", "opened", "principal", "progress", "root", "session_id",
        "shape", "wire",
    )  # fmt: skip

    def __init__(self, house: Connections, wire: Wire, principal: Principal) -> None:
        limits = house.limits
        self.house = house
        self.wire = wire
        self.principal = principal
        self.client: Client | None = None
        self.client_id: str | None = None
        self.session_id: str | None = None
        self.root: str | None = None
        """Of its session's code base."""
        self.shape: Literal["plain", "resumable"] | None = None
        """What its first frame said; None before one was understood."""
        self.looks_plain = False
        self.opened = self.last_sent = house.clock()
        self.progress = (0, self.opened)
        """Bytes that had left for the client, and when that was last seen to grow."""
        self._bucket = TokenBucket(limits.messages_per_second, limits.message_burst)
        self._patience: TokenBucket | None = None
        self._inbox: deque[str | None] = deque()
        self._inbox_bytes = 0
        self._worker: asyncio.Task[None] | None = None
        self._ended = False
        wire.on_writable = self.wake

    async def run(self, receive: Receive) -> None:
        """Until the connection is gone. What was received before that is still carried out, unless the server ended it."""
        self.house.add(self)
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                self._received(message.get("text"))
        finally:
            self.wire.on_writable = None
            self.house.remove(self)
            if self._worker is not None:
                await asyncio.gather(self._worker, return_exceptions=True)
            if self.client is not None:
                self.client.close()

    # -- out

    def send(self, frame: bytes) -> bool:
        """Write a whole WebSocket frame; False when the connection is closing."""
        self.last_sent = self.house.clock()
        return self.wire.write(frame)

    def send_json(self, message: dict[str, Any]) -> bool:
        return self.send(text_frame(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()))

    def wake(self) -> None:
        """Pump soon."""
        self.house.wake(self)

    def end(self, code: int, reason: str) -> None:
        """The server ends the connection: what waits in the inbox is not carried out, the client sends it again."""
        self._ended = True
        self.wire.close(code, reason)

    def failed(self, error: Exception, frame_id: str | None = None) -> None:
        """Answer with what went wrong; close where the error's kind says so."""
        if not isinstance(error, ReconveneError):
            _log.error("a message broke the server", session_id=self.session_id, exc_info=error)
            error = ReconveneError(
                "internal", "Something unforeseen happened here; the server's log has it. Try again."
            )
        self.house.metrics.bad_inputs[error.code] += 1
        frame_id = getattr(error, "frame_id", None) or frame_id
        close = error.kind.close
        if self.shape == "plain" or (self.shape is None and self.looks_plain):
            self.send_json({"type": "error", "content": error.content()})
        elif close not in (1012, 1013):  # "not now" is no answer to keep: the client comes back and sends it again
            self.send_json({"type": "nack", "reply_to": frame_id, "content": error.content()})
        if close is not None:
            self.end(close, close_text(error.message))

    def undeliverable(self, error: Exception) -> None:
        """What comes next in the log cannot be read: a stream with a hole is no stream, so the connection ends."""
        code = error.code if isinstance(error, ReconveneError) else "internal"
        if code == "internal":
            _log.error("delivery broke", session_id=self.session_id, exc_info=error)
        said = error.message if isinstance(error, ReconveneError) else "What was missed could not be read."
        close = {"no_such_session": 4300, "invalid_field": 4200, "internal": 1011}.get(code, 1013)
        self.end(close, close_text(said))

    # -- in

    def _received(self, text: str | None) -> None:
        """`text` is None for a binary frame. No await here: a burst is judged before anything of it is done."""
        now = self.house.clock()
        size = len(text) if text is not None else 0
        wait = self._bucket.take(now)
        full = self._inbox_bytes + size > INBOX_BYTES or len(self._inbox) >= self.house.limits.message_burst
        if not wait and self._inbox and full:
            wait = 1.0
        if wait:
            if self._patience is None:
                self._patience = TokenBucket(self.house.limits.messages_per_second, REFUSED_BURST)
            if self._patience.take(now):
                self.end(4100, "too many messages")
                return
            rate, burst = self.house.limits.messages_per_second, self.house.limits.message_burst
            sentence = (
                f"More than {rate:g} messages a second (at once: {burst}). This one was not taken; send it again."
            )
            error = ReconveneError("rate_limited", sentence, retry_after=round(wait, 3))
            self.failed(error, _frame_id(text))
            return
        self._inbox.append(text)
        self._inbox_bytes += size
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        """Everything in the inbox, one after the other."""
        try:
            while self._inbox and not self._ended:
                text = self._inbox.popleft()
                self._inbox_bytes -= len(text) if text is not None else 0
                try:
                    await self._take(text)
                except Exception as error:
                    self.failed(error)
        finally:
            self._worker = None

    async def _take(self, text: str | None) -> None:
        if text is None:
            raise ReconveneError("unsupported_frame", "Binary frames are not part of the protocol. Send JSON as text.")
        if self.client is not None:
            await self.client.take(text)
            return
        self.looks_plain = '"proto"' not in text[:ID_SOUGHT_IN] and '"hello"' not in text[:ID_SOUGHT_IN]
        limits = {"limits_json_depth": self.house.limits.json_depth, "limits_prompt": self.house.limits.prompt}
        again = self.shape == "resumable"  # an earlier first frame was refused; a client does not change its kind
        frame = parse_resumable(text, first=True, **limits) if again else parse_first(text, **limits)
        self.shape = "plain" if isinstance(frame, PlainFrame) else "resumable"
        try:
            await self._attach(frame)
        except ReconveneError as error:
            if error.code not in NOT_NOW or self.client is not None:
                self.failed(error, getattr(frame, "id", None))
                return
            self.house.metrics.bad_inputs[error.code] += 1
            self.end(1013, close_text(error.message))

    async def _attach(self, frame: ClientFrame | PlainFrame) -> None:
        # Here, because both import this module.
        from reconvene.server.plain_client import PlainClient
        from reconvene.server.resumable_client import ResumableClient

        if isinstance(frame, PlainFrame):
            await PlainClient.attach(self, frame)
        else:
            await ResumableClient.attach(self, frame)

    @property
    def awaits_first_frame(self) -> bool:
        return self.shape is None and self._worker is None


def _frame_id(text: str | None) -> str | None:
    if text is None or len(text) > ID_SOUGHT_IN:
        return None
    try:
        found = json.loads(text)["id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) and len(found) <= 128 else None
