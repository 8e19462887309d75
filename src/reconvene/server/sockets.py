"""The listening sockets: bound before the database is opened, so that a second server never begins to recover runs."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from reconvene.errors import ReconveneError

BACKLOG = 2048
UNSENT = 128 * 1024
"""Bytes that the kernel takes for one client before that client has room for them; more is back-pressure."""
_TRIES = 20


def bind(host: str, port: int, *, public: bool, send_time: float) -> list[socket.socket]:
    """Listen on both loopbacks (`localhost`), on the same port, or on one address.

    Args:
        port: 0 takes a free one.
        public: a further name was configured (--public-url): only then addresses beyond loopback may be served.
        send_time: seconds after which the kernel gives up on a client that does not take what it is sent.

    Raises:
        ReconveneError: `port_in_use`, naming who has it if that can be known; `invalid_field` for an address that is not ours
            to serve.
    """
    hosts = _addresses(host, public)
    for _ in range(_TRIES if port == 0 else 1):
        bound: list[socket.socket] = []
        try:
            for address in hosts:
                taken = bound[0].getsockname()[1] if bound else port
                if (listening := _listen(address, taken, send_time)) is not None:
                    bound.append(listening)
        except OSError as e:
            for listening in bound:
                listening.close()
            if e.errno == errno.EADDRINUSE and port == 0:
                continue  # free on one loopback, taken on the other
            if e.errno == errno.EADDRINUSE:
                raise _in_use(port) from e
            what = f"{host}:{port} cannot be served: {os.strerror(e.errno or 0)}."
            raise ReconveneError("port_in_use" if e.errno == errno.EACCES else "invalid_field", what, port=port) from e
        if bound:
            return bound
        raise ReconveneError("invalid_field", f"{host} is not an address of this machine.", field="host")
    raise ReconveneError("port_in_use", "No port is free on both loopbacks.", port=0)


def _addresses(host: str, public: bool) -> list[str]:
    if host in ("localhost", ""):
        return ["127.0.0.1", "::1"]
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        raise ReconveneError(
            "invalid_field", f"host must be localhost or an IP address, not {host!r}.", field="host"
        ) from None
    if not address.is_loopback and not public:
        raise ReconveneError(
            "invalid_field",
            f"{host} can be reached by others. Only loopback is served unless --public-url says under which name.",
            field="host",
        )
    return [str(address)]


def _listen(address: str, port: int, send_time: float) -> socket.socket | None:
    """A listening socket; None where this machine has no such address (IPv6 may be switched off)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        # With the protocol named, or asyncio leaves Nagle's algorithm on: small frames would wait up to 40 ms for an ACK.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as e:
        if e.errno == errno.EAFNOSUPPORT:
            return None
        raise
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Accepted sockets have these from the one that listens. The web server never drops a client that stops reading.
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(send_time * 1000)))
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        listening.bind((address, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
        listening.set_inheritable(False)
    except OSError as e:
        listening.close()
        if e.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return listening


def _in_use(port: int) -> ReconveneError:
    pid = listener(port)
    who = f"The process with pid {pid} ({_command(pid)})" if pid is not None else "Another program"
    return ReconveneError(
        "port_in_use",
        f"{who} listens on port {port} already. Stop it, or choose another with --port.",
        port=port,
        pid=pid,
    )


def listener(port: int) -> int | None:
    """The pid that listens on a TCP port of this machine, where the system tells it (Linux, processes of this user)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        fields = (line.split() for line in lines)
        inodes |= {f"socket:[{f[9]}]" for f in fields if f[3] == "0A" and int(f[1].rpartition(":")[2], 16) == port}
    if not inodes:
        return None
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and not inodes.isdisjoint(_open_files(process / "fd")):
            return int(process.name)
    return None


def _open_files(descriptors: Path) -> Iterator[str]:
    """What a process has open; nothing for another user's."""
    with contextlib.suppress(OSError):
        for descriptor in descriptors.iterdir():
            with contextlib.suppress(OSError):  # closed this moment
                yield os.readlink(descriptor)


def _command(pid: int | None) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "unknown"
    return re.sub(r"[^\x20-\x7e]", "?", b" ".join(words[:3]).decode("latin-1").strip())[:80] or "unknown"
