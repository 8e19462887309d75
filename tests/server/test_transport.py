"""What comes over the socket before and beside messages: malformed requests, frames that are none, floods."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import struct
import time
from pathlib import Path

import pytest
import uvicorn
from serving import Answer, Serving, serving
from uvicorn.server import ServerState
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from reconvene.server import ws_protocol
from reconvene.server.wire import text_frame


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Raw:
    """A WebSocket by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, server: Serving) -> Raw:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(handshake(server))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head, head
        assert b"sec-websocket-extensions" not in head.lower(), "no deflate, though it was offered"
        return cls(reader, writer)

    def frame(self, opcode: int, payload: bytes, *, fin: bool = True, mask: bool = True, rsv: int = 0) -> bytes:
        head = bytes(((0x80 if fin else 0) | rsv << 4 | opcode,))
        size, bit = len(payload), 0x80 if mask else 0
        head += (
            bytes((bit | size,))
            if size < 126
            else bytes((bit | 126,)) + struct.pack("!H", size)
            if size < 65536
            else bytes((bit | 127,)) + struct.pack("!Q", size)
        )
        return head + (b"\0\0\0\0" if mask else b"") + payload

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def close_code(self, patience: float = 8.0) -> int:
        """The code of the close frame; 1006 when the connection ended without one."""
        async with asyncio.timeout(patience):
            while True:
                try:
                    first, second = await self.reader.readexactly(2)
                    size = second & 127
                    if size == 126:
                        (size,) = struct.unpack("!H", await self.reader.readexactly(2))
                    elif size == 127:
                        (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
                    payload = await self.reader.readexactly(size)
                except (asyncio.IncompleteReadError, ConnectionError):
                    return 1006
                if first & 15 == 8:
                    return int(struct.unpack("!H", payload[:2])[0])


def handshake(server: Serving, version: str = "13", path: str = "/ws", **headers: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = {
        "Host": f"localhost:{server.port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": version,
        "Sec-WebSocket-Extensions": "permessage-deflate",
        **server.bearer,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }

    return f"GET {path} HTTP/1.1\r\n".encode() + b"".join(f"{k}: {v}\r\n".encode() for k, v in lines.items()) + b"\r\n"


async def still_works(server: Serving) -> None:
    async with server.connect() as socket:
        await socket.send('{"type":"ping","content":{"t":1}}')
        await (await socket.ping())


# --- frames


def test_a_frame_is_what_the_library_would_make() -> None:
    for size in (0, 1, 125, 126, 65535, 65536, 100_000):
        payload = b"x" * size
        assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(lambda r: r.frame(1, b"x" * (1024**2 + 1)), 1009, id="bad24-1MiB-and-one"),
        pytest.param(
            lambda r: r.frame(1, b"x" * 600_000, fin=False) + r.frame(0, b"x" * 600_000), 1009, id="bad25-fragmented"
        ),
        pytest.param(
            lambda r: r.frame(1, b"", fin=False) + r.frame(0, b"", fin=False) * 50_000, 4100, id="bad26-empty-fragments"
        ),
        pytest.param(lambda r: r.frame(9, b"") * 50_000, 4100, id="bad26-ping-flood"),
        pytest.param(lambda r: r.frame(10, b"") * 50_000, 4100, id="bad26-pong-flood"),
        pytest.param(lambda r: r.frame(1, b"\xff\xfe"), 1007, id="bad27-utf8"),
        pytest.param(lambda r: r.frame(1, b"\xe2\x82"), 1007, id="bad27-cut-utf8"),
        pytest.param(lambda r: r.frame(1, b"{}", mask=False), 1002, id="bad28-unmasked"),
        pytest.param(lambda r: r.frame(3, b"{}"), 1002, id="bad28-reserved-opcode"),
        pytest.param(lambda r: r.frame(1, b"{}", rsv=4), 1002, id="bad28-rsv"),
        pytest.param(lambda r: r.frame(0, b"{}"), 1002, id="bad28-stray-continuation"),
        pytest.param(lambda r: b"\x81\xff" + struct.pack("!Q", 2**63 - 1) + b"\0" * 4, 1009, id="bad29-length"),
        pytest.param(
            lambda r: r.frame(1, b'{"' + b'","'.join(b"%d" % n for n in range(200_000)) + b'":1}'),
            1009,
            id="bad47-a-million-keys",
        ),
    ],
)
async def test_frames_that_break_the_connection(tmp_path: Path, data: object, code: int) -> None:
    async with serving(tmp_path) as server:
        raw = await Raw.open(server)
        await raw.write(data(raw))  # type: ignore[operator]
        assert await raw.close_code() == code
        raw.writer.close()
        await still_works(server)
        assert "Traceback" not in (server.data_dir / "logs" / "server.log").read_text()


async def test_bad25_17_MB_in_fragments(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        raw = await Raw.open(server)
        before = resident()
        closing = asyncio.create_task(raw.close_code())
        await raw.write(raw.frame(1, b"x" * 65536, fin=False))
        for _ in range(17 * 16):
            await raw.write(raw.frame(0, b"x" * 65536, fin=False))
        assert await closing == 1009
        assert resident() - before < 24 * 1024**2
        raw.writer.close()


async def test_the_flood_budget_is_what_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation control: without the budget the flood is served to its end."""
    monkeypatch.setattr(ws_protocol, "FRAME_BURST", 10**9)
    async with serving(tmp_path) as server:
        raw = await Raw.open(server)
        await raw.write(raw.frame(9, b"") * 5_000 + raw.frame(8, b"\x03\xe8"))
        assert await raw.close_code() == 1000
        raw.writer.close()


async def test_a_message_in_a_thousand_fragments_is_a_message(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        raw = await Raw.open(server)
        text = b'{"type":"default","content":"' + b" " * 1000 + b'"}'
        parts = [text[i : i + 1] for i in range(len(text))]
        await raw.write(
            raw.frame(1, parts[0], fin=False)
            + b"".join(raw.frame(0, p, fin=False) for p in parts[1:-1])
            + raw.frame(0, parts[-1])
        )
        async with asyncio.timeout(5):
            assert (await raw.reader.readexactly(1)) == b"\x81"
        raw.writer.close()


class _Pipe(asyncio.Transport):
    """A transport of which the client takes as much as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.waiting += len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def test_a_ping_behind_much_to_read_does_not_end_a_slow_client() -> None:
    async def app(scope: object, receive: object, send: object) -> None: ...

    config = uvicorn.Config(
        app, ws_ping_interval=20, ws_ping_timeout=20, log_config=None, lifespan="off", interface="asgi3"
    )
    config.load()
    socket = ws_protocol.SocketProtocol(config, ServerState(), {})
    pipe = socket.transport = _Pipe()
    socket.conn.state = State.OPEN
    assert socket.write(b"x" * 1_000_000)
    socket.send_keepalive_ping()
    for _ in range(5):  # the answer is late, but the client takes what comes before the ping
        pipe.waiting -= 100_000
        socket.keepalive_timeout()
        assert not pipe.closed and socket.pong_timer is not None
    socket.keepalive_timeout()  # it takes nothing any more
    assert pipe.closed
    socket.stop_keepalive()


# --- handshakes


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"Sec_WebSocket_Version": "12"}, 426, id="bad17-version-12"),
        pytest.param({"Sec_WebSocket_Key": "short"}, 426, id="bad17-key"),
        pytest.param({"Sec_WebSocket_Key": "!" * 24}, 426, id="bad17-key-charset"),
        pytest.param({"Upgrade": "h2c"}, 426, id="bad18-other-upgrade"),
        pytest.param({"Connection": "keep-alive"}, 426, id="bad18-no-upgrade"),
        pytest.param({"Authorization": "Bearer no", "Sec_WebSocket_Version": "12"}, 401, id="bad17-behind-the-gate"),
        pytest.param({"Origin": "http://evil.test", "Sec_WebSocket_Version": "12"}, 403, id="bad1-version-12"),
        pytest.param({"X": "y" * 9000}, 426, id="bad14-line-of-9000"),
    ],
)
async def test_what_is_no_handshake_is_answered_behind_the_gate(
    tmp_path: Path, change: dict[str, str], status: int
) -> None:
    async with serving(tmp_path) as server:
        answer = await _ask(server, handshake(server, **change))
        assert answer.status == status
        if status == 426:
            assert answer.header("sec-websocket-version") == "13"
            assert answer.json["code"] == "upgrade_required"


async def _ask(server: Serving, data: bytes) -> Answer:
    """One answer, without waiting for the connection to close."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        body = await reader.readexactly(length)
    writer.close()
    return Answer.parse(head + body)


async def test_bad18_a_plain_get_of_ws(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        answer = await server.http("GET", "/ws")
        assert (answer.status, answer.header("upgrade")) == (426, "websocket")


# --- requests


@pytest.mark.parametrize("method", [pytest.param(m, id=f"bad21-{m}") for m in ("TRACE", "CONNECT", "BREW")])
async def test_unknown_methods(tmp_path: Path, method: str) -> None:
    async with serving(tmp_path) as server:
        answer = await server.http(method, f"localhost:{server.port}" if method == "CONNECT" else "/")
        assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")


async def test_bad12_two_hosts_over_the_wire(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        host = f"Host: localhost:{server.port}\r\n"
        answer = await server.raw(f"GET /api/me HTTP/1.1\r\n{host}{host}Connection: close\r\n\r\n".encode())
        assert answer.status == 400


@pytest.mark.parametrize("size", [pytest.param(200_000, id="bad14-200kB"), pytest.param(100_000_000, id="bad14-100MB")])
async def test_headers_that_are_too_large(tmp_path: Path, size: int) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        before = resident()
        reading = asyncio.create_task(reader.read())
        writer.write(f"GET / HTTP/1.1\r\nHost: localhost:{server.port}\r\nX: ".encode())
        part = b"x" * 65536
        try:
            for _ in range(size // len(part)):
                writer.write(part)
                await writer.drain()
        except ConnectionError:
            pass
        async with asyncio.timeout(8):
            try:
                got = await reading
            except ConnectionError:
                got = b""
        assert resident() - before < 16 * 1024**2
        if got or size < 1_000_000:  # the answer to a client that goes on sending may be lost to its own reset
            assert Answer.parse(got).status == 431
        writer.close()
        await still_works(server)


@pytest.mark.parametrize(
    "start",
    [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT"],
    ids=["bad15-silence", "bad15-partial", "bad15-second-request"],
)
async def test_a_header_that_never_ends(tmp_path: Path, start: bytes) -> None:
    async with serving(tmp_path, limits={"header_time": 0.3}) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        began = time.monotonic()
        writer.write(start)

        async def drip() -> None:
            while True:
                await asyncio.sleep(0.05)
                writer.write(b"x" if start else b"")

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(5):
            try:
                while await reader.read(65536):
                    pass
            except ConnectionError:
                pass
        dripping.cancel()
        assert time.monotonic() - began < 3
        writer.close()


async def test_the_deadline_is_what_closes_it(tmp_path: Path) -> None:
    """Mutation control: with a long deadline the same connection stays."""
    async with serving(tmp_path, limits={"header_time": 60}) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.8):
                await reader.read()
        writer.close()


async def test_bad16_a_gigabyte_of_body(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = (
            f"POST /api/sessions HTTP/1.1\r\nHost: localhost:{server.port}\r\nAuthorization: Bearer {server.token}\r\n"
        )
        writer.write(f"{head}Content-Length: {10**9}\r\nExpect: 100-continue\r\n\r\n".encode())
        async with asyncio.timeout(5):
            got = await reader.readuntil(b"\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 413")
        writer.close()


async def test_bad16_the_answer_reaches_a_client_that_goes_on_sending(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = (
            f"POST /api/sessions HTTP/1.1\r\nHost: localhost:{server.port}\r\nAuthorization: Bearer {server.token}\r\n"
        )
        writer.write(f"{head}Content-Length: {10**9}\r\n\r\n".encode())
        for _ in range(100):  # 6 MB, before anything is read
            writer.write(b"x" * 65536)
            await writer.drain()
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 413")
        writer.close()


async def test_bad16_a_body_without_a_length_is_counted(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        head = (
            f"POST /api/sessions HTTP/1.1\r\nHost: localhost:{server.port}\r\nAuthorization: Bearer {server.token}\r\n"
        )
        await server.http("GET", "/api/me")  # what the first request imports is not what is counted
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        before = resident()
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        reading = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        part = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(40):
            writer.write(part)
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert (await reading).startswith(b"HTTP/1.1 413")
        assert resident() - before < 16 * 1024**2
        writer.close()


async def test_garbage_is_no_request(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for garbage in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"GET\r\n\r\n",
            b"\0" * 100 + b"\r\n\r\n",
        ):
            answer = await server.raw(garbage)
            assert answer.status == 400
            assert answer.json["code"] == "invalid_message"
        assert "Traceback" not in (server.data_dir / "logs" / "server.log").read_text()


@pytest.mark.parametrize("mended", [True, False], ids=["as-it-is", "control"])
async def test_a_handshake_that_is_refused_is_no_error_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mended: bool
) -> None:
    if not mended:
        monkeypatch.setattr(ws_protocol.SocketProtocol, "send", ws_protocol.WebSocketsSansIOProtocol.send)
    async with serving(tmp_path) as server:
        for headers in ({"Authorization": "Bearer no"}, {"Origin": "http://elsewhere.test"}):
            with pytest.raises(InvalidStatus) as refused:
                await server.connect(headers=headers)
            assert refused.value.response.status_code in (401, 403)
    logged = (server.data_dir / "logs" / "server.log").read_text()
    assert "draining" in logged, "the log has what the server said until its end"
    assert ("without completing handshake" in logged) is not mended
