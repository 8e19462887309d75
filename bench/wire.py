"""The client's half of a WebSocket, as cheap as Python allows: the bench must not measure its own client. No I/O here."""

from __future__ import annotations

import json
import re
import struct
import time
from collections.abc import Iterator
from typing import Any

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
EVENT = b'{"type":"text","seq":'
"""How every event begins, ours and the floor's; counting it counts events."""
SYNCED = b'"synced":true'
STAMP = re.compile(rb'"text":"(\d{20}) ')
NO_MASK = b"\0\0\0\0"


def stamped(padding: str, size: int = 200) -> str:
    """A text of `size` bytes that says when it was made: `time.perf_counter_ns` is one clock for all processes (CLOCK_MONOTONIC)."""
    return f"{time.perf_counter_ns():020d} {padding[: size - 21]}"


def stamps(payload: bytes) -> list[int]:
    """Of every event in a frame's payload: when it was made."""
    return [int(found) for found in STAMP.findall(payload)]


def handshake(port: int, token: str) -> bytes:
    return (
        f"GET /ws HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


def frame(opcode: int, payload: bytes) -> bytes:
    """A client's frame. Masked as it must be, with zeros: the bytes stay as they are."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size)) + NO_MASK + payload
    assert size < 65536
    return bytes((0x80 | opcode, 0x80 | 126)) + struct.pack("!H", size) + NO_MASK + payload


def hello(client_id: str, session_id: str | None = None, cursor: str | None = None) -> str:
    """A resumable client's first frame."""
    config: dict[str, Any] = {"session_id": session_id, "cursor": cursor}
    return json.dumps({"type": "hello", "proto": 1, "client": {"id": client_id}, "config": config})


class Incoming:
    """What one connection receives: whole frames out of pieces of a stream."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def whole(self, data: bytes) -> bool:
        """Whether data is one message and nothing else. It need not be fed then."""
        return (
            not self._rest
            and len(data) > 128
            and data[0] == 0x81
            and data[1] == 126
            and len(data) == 4 + (data[2] << 8 | data[3])
        )

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(opcode, payload) of every frame that is whole now. A server's frames are not masked, and ours not fragmented."""
        if self._rest:
            data = self._rest + data
        place, end = 0, len(data)
        while end - place >= 2:
            size, start = data[place + 1], place + 2
            if size == 126:
                size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
            elif size == 127:
                size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
            if start + size > end:
                break
            yield data[place] & 0x0F, data[start : start + size]
            place = start + size
        self._rest = data[place:]
