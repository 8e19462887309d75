"""What delivery writes to: a WebSocket to which one frame, made once, can be written for many clients."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Protocol

EXTENSION = "reconvene.wire"
"""In `scope["extensions"]` of a WebSocket: its Wire."""


class Wire(Protocol):
    """A WebSocket as delivery sees it. Nothing here waits."""

    on_writable: Callable[[], None] | None
    """Called when `blocked` ends."""
    blocked: bool
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
