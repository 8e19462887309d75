"""A child process with thousands of clients on raw sockets: counts events, samples how long each took.

`python -m bench.clients FD`. One epoll loop; between commands it goes on answering pings.
"""

from __future__ import annotations

import gc
import json
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.wire import CLOSE, EVENT, PING, PONG, SYNCED, TEXT, Incoming, frame, handshake, stamps

CONNECTING, SHAKING_HANDS, ATTACHING, ATTACHED, LEAVING = range(5)
PATIENCE = 60.0
SO_TIMESTAMPNS = 35
"""Linux, socket(7): the kernel says when what is received had arrived. Python has no name for it."""


class Connection:
    __slots__ = ("bytes", "events", "hello", "incoming", "phase", "sampled", "session", "socket", "synced_at")

    def __init__(self, hello: str | None, sampled: bool) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.hello = hello
        self.sampled = sampled
        if sampled:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.incoming = Incoming()
        self.phase = CONNECTING
        self.events = self.bytes = self.synced_at = 0
        self.session = b""


class Clients:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._epoll = select.epoll()
        self._epoll.register(control.fileno(), select.EPOLLIN)
        self._open: dict[int, Connection] = {}
        self._attaching = 0
        self._latencies: list[int] = []
        self._goal = 0
        self._behind = 0
        self._started = 0.0
        self._view = memoryview(bytearray(1 << 16))
        self._port, self._handshake = 0, b""

    # -- commands

    def to(self, port: int, token: str) -> None:
        """The server that is meant from now on."""
        self._port, self._handshake = port, handshake(port, token)

    def open(self, hellos: Sequence[str], at_once: int = 100, sample: int = 10) -> list[str]:
        """Connect and attach one client for each hello, so many at a time; every `sample`-th is watched closely.

        Returns the sessions they are attached to.
        """
        new: list[Connection] = []
        before = self._attaching
        for n, hello in enumerate(hellos):
            self._until(lambda: self._attaching - before < at_once, "attaching")
            new.append(self._connect(hello, sampled=n % sample == 0))
        self._until(lambda: self._attaching == before, "attaching")
        return [connection.session.decode() for connection in new]

    def expect(self, events: int) -> None:
        """Count from now on: every open client is to get so many events."""
        self._latencies, self._goal, self._behind = [], events, len(self._open)
        self._started = time.monotonic()
        for connection in self._open.values():
            connection.events = 0

    def arrived(self, patience: float) -> dict[str, Any]:
        """Wait until everything that is expected has come, at most `patience` seconds.

        Returns the number of events, the seconds since `expect`, how many are missing or came twice, and the nanoseconds
        from their making to those clients that are sampled.
        """
        deadline = time.monotonic() + patience
        while self._behind and time.monotonic() < deadline:
            self._turn()
        seconds = time.monotonic() - self._started
        self._turn(0.2)  # what comes twice would come now
        got = [connection.events for connection in self._open.values()]
        expected, self._goal = self._goal, 0
        return {
            "events": sum(got),
            "seconds": seconds,
            "missing": sum(max(0, expected - n) for n in got),
            "repeated": sum(max(0, n - expected) for n in got),
            "latencies": self._latencies,
        }

    def attach(self, hello: str, times: int) -> dict[str, list[float]]:
        """Attach, get what is missed, leave; so often, one after the other.

        Returns for each the ms from the first frame sent to the frame that says `synced`, the events and the bytes.
        """
        found: dict[str, list[float]] = {"ms": [], "events": [], "bytes": []}
        for _ in range(times):
            self._attach_once(hello, found)
        return found

    def _attach_once(self, hello: str, found: dict[str, list[float]]) -> None:
        connection = self._connect(None, sampled=False)
        self._until(lambda: connection.phase == ATTACHING, "a handshake")
        started = time.perf_counter_ns()
        connection.socket.send(frame(TEXT, hello.encode()))
        self._until(lambda: connection.phase == ATTACHED, "attaching")
        found["ms"].append((connection.synced_at - started) / 1e6)
        found["events"].append(connection.events)
        found["bytes"].append(connection.bytes)
        self._leave(connection)
        self._until(lambda: connection.socket.fileno() < 0, "leaving")

    def leave(self) -> None:
        """Close every connection and wait until the server has done so too."""
        for connection in list(self._open.values()):
            self._leave(connection)
        self._until(lambda: not self._open, "leaving")

    # -- the loop

    def run(self) -> None:
        with self._control.makefile("rw", encoding="utf-8") as lines:
            while True:
                if not self._turn(PATIENCE):
                    continue
                line = lines.readline()
                if not line:
                    return
                order = json.loads(line)
                try:
                    said = {"ok": getattr(self, order["do"])(**order["with"])}
                except Exception as error:
                    said = {"error": f"{type(error).__name__}: {error}"}
                print(json.dumps(said), file=lines, flush=True)

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} took more than {PATIENCE:g} s")
            self._turn()

    def _turn(self, wait: float = 0.2) -> bool:
        """Serve what is there; True when a command has come."""
        commanded = False
        for fd, happened in self._epoll.poll(wait):
            connection = self._open.get(fd)
            if connection is None:
                commanded = commanded or fd == self._control.fileno()
            elif connection.phase == CONNECTING:
                connection.socket.send(self._handshake)
                connection.phase = SHAKING_HANDS
                self._epoll.modify(fd, select.EPOLLIN)
            elif happened & ~select.EPOLLOUT:
                self._read(connection)
        return commanded

    def _connect(self, hello: str | None, *, sampled: bool) -> Connection:
        connection = Connection(hello, sampled)
        connection.socket.connect_ex(("127.0.0.1", self._port))
        self._open[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket.fileno(), select.EPOLLOUT)
        self._attaching += 1
        return connection

    def _read(self, connection: Connection) -> None:
        try:
            data, now = self._received(connection)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone(connection)
            return
        connection.bytes += len(data)
        if connection.phase == ATTACHED and connection.incoming.whole(data):
            self._message(connection, data, now)  # nearly all: a message in one piece
            return
        if connection.phase == SHAKING_HANDS:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end or b" 101 " not in head[:16]:
                raise ConnectionError(f"the server answered {head[:200]!r}")
            connection.phase, connection.bytes = ATTACHING, len(data)
            if connection.hello is not None:
                connection.socket.send(frame(TEXT, connection.hello.encode()))
        for opcode, payload in connection.incoming.feed(data):
            if opcode == TEXT:
                self._message(connection, payload, now)
            elif opcode == PING:
                connection.socket.send(frame(PONG, payload))
            elif opcode == CLOSE and connection.phase != LEAVING:
                raise ConnectionError(f"the server closed a connection: {payload[:2].hex()} {payload[2:]!r}")

    def _received(self, connection: Connection) -> tuple[bytes, int]:
        """What is there, and when it came. For a sampled client that is when its kernel had it: how long the others ahead of it
        in this process were being read is no matter of the server."""
        if not connection.sampled:
            return bytes(self._view[: connection.socket.recv_into(self._view)]), time.perf_counter_ns()
        data, ancillary, _, _ = connection.socket.recvmsg(len(self._view), 64)
        now = time.perf_counter_ns()
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, ns = struct.unpack("qq", value)
                now -= time.time_ns() - (seconds * 10**9 + ns)
        return data, now

    def _message(self, connection: Connection, payload: bytes, now: int) -> None:
        number = payload.count(EVENT)
        before, connection.events = connection.events, connection.events + number
        if before < self._goal <= connection.events:
            self._behind -= 1
        if connection.phase == ATTACHED:
            if connection.sampled and number:
                self._latencies.extend(now - made for made in stamps(payload))
        elif SYNCED in payload[-32:]:
            connection.phase, connection.synced_at = ATTACHED, now
            self._attaching -= 1
        elif payload.startswith(b'{"type":"session"'):
            connection.session = payload.partition(b'"session_id":"')[2].partition(b'"')[0]

    def _leave(self, connection: Connection) -> None:
        connection.phase = LEAVING
        connection.socket.send(frame(CLOSE, b"\x03\xe8"))
        connection.socket.shutdown(socket.SHUT_WR)

    def _gone(self, connection: Connection) -> None:
        fd = connection.socket.fileno()
        self._epoll.unregister(fd)
        del self._open[fd]
        connection.socket.close()
        if connection.phase != LEAVING:
            raise ConnectionError("the server ended a connection without a close frame")


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()  # nothing here makes cycles, and a pause would be taken for the server's
    Clients(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
