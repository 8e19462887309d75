"""`reconvene mcp`: an agent's stdin and stdout on one side, the durable server's `/mcp` on the other.

Every request is one POST, as `/mcp` keeps nothing between them. A server that dies under a request is asked again, and started when none
runs: what looks changes nothing, and what asks has a key with which the server does it once. Standard library only: it starts fast.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from reconvene.cli import background, jsonrpc
from reconvene.cli.jsonrpc import Message
from reconvene.cli.mcp_hello import hello, version_of
from reconvene.cli.places import root_of
from reconvene.cli.terminal import safe, say
from reconvene.client.local import Server, find
from reconvene.errors import ReconveneError

KEY = "reconvene/key"
"""As in `reconvene.adapters.mcp.endpoint`, which would have to import the library."""
FIRST_VERSION = "2025-06-18"
TRIES = 8
WAITS = (0.1, 0.2, 0.5, 1.0, 2.0)
PATIENCE = 400.0
"""Seconds that an answer may take; the longest wait of a tool is 300."""
LONGEST_LINE = 4 * 1024**2
_NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


def mcp(data_dir: Path, root: Path | None) -> int:
    """Speak MCP on stdin and stdout until they are closed; returns the exit code."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else may speak there
    _Bridge(data_dir, root, out).run(sys.stdin.buffer)
    return 0


class _Bridge:
    def __init__(self, data_dir: Path, root: Path | None, out: BinaryIO) -> None:
        self._data_dir, self._root, self._out = data_dir, root, out
        self._writing, self._starting = threading.Lock(), threading.Lock()
        self._version = FIRST_VERSION
        self._server: Server | None = None
        self._at_work: dict[Any, _Exchange] = {}

    def run(self, lines: BinaryIO) -> None:
        while line := lines.readline(LONGEST_LINE + 1):
            if len(line) > LONGEST_LINE:
                self._write(jsonrpc.error(None, -32600, f"A message is over {LONGEST_LINE:,} bytes."))
                return
            if not line.strip():
                continue
            try:
                self._take(jsonrpc.read(line))
            except jsonrpc.Refused as refused:
                self._write(refused.answer)

    def _take(self, message: Message) -> None:
        if message.get("method") == "notifications/cancelled":
            id = (message.get("params") or {}).get("requestId")
            exchange = self._at_work.get(id) if isinstance(id, str | int) else None
            if exchange is not None:
                exchange.cancel()
        elif "id" in message and message.get("method"):
            if (answer := hello(message)) is not None:
                self._write(answer)
                threading.Thread(target=self._warm_up, daemon=True).start()
                return
            exchange = self._at_work[message["id"]] = _Exchange(_keyed(message))
            # A daemon: whoever closes stdin does not wait for an answer any more. The run behind it goes on.
            threading.Thread(target=self._answer, args=(exchange,), daemon=True).start()

    def _warm_up(self) -> None:
        """What comes next finds a server. Why there is none, if there is none, is the next request's answer."""
        with contextlib.suppress(ReconveneError):
            self._reached()

    def _answer(self, exchange: _Exchange) -> None:
        id, failure = exchange.message["id"], "it does not answer"
        try:
            for n in range(TRIES):
                if n:
                    time.sleep(WAITS[min(n, len(WAITS)) - 1])
                if exchange.cancelled:
                    return
                try:
                    if self._exchange(exchange):
                        return
                    failure = "it broke off"
                except (OSError, http.client.HTTPException) as e:
                    failure = str(e) or type(e).__name__
                except ReconveneError as e:
                    failure = e.message
                    if e.code not in ("starting", "already_running"):
                        break
                self._server = None
            if not exchange.cancelled:
                self._write(jsonrpc.error(id, -32603, f"The Reconvene server cannot be reached: {failure}"))
        finally:
            self._at_work.pop(id, None)

    def _exchange(self, exchange: _Exchange) -> bool:
        """One POST and its answers; whether the last of them came."""
        message = exchange.message
        server = self._reached()
        version = version_of(message) or self._version
        for answer in exchange.post(server, version):
            if message["method"] == "initialize" and isinstance(answer.get("result"), dict):
                self._version = str(answer["result"].get("protocolVersion", FIRST_VERSION))
            if answer.get("method") != "notifications/progress" or exchange.is_news(answer):
                self._write(answer)
            if answer.get("id") == message["id"] and "method" not in answer:
                return True
        return exchange.cancelled

    def _reached(self) -> Server:
        with self._starting:
            if self._server is None:
                server = find(self._data_dir)
                served = [] if server is None else [r["root"] for r in server.call("GET", "/api/roots")["roots"]]
                root = root_of(self._root, served)
                if server is None:
                    from reconvene.config import Settings

                    settings = Settings.load({"data_dir": self._data_dir})
                    server = background.start(
                        self._data_dir, root, port=settings.port, port_is_chosen="port" in settings.origins
                    )
                elif str(root) not in served:
                    try:
                        server.call("POST", "/api/roots", {"path": str(root)})
                    except ReconveneError as e:
                        if not served:
                            raise
                        say(f"reconvene: {safe(e.message)} Other code bases are served.")
                self._server = server
            return self._server

    def _write(self, message: Message) -> None:
        data = jsonrpc.written(message)
        with self._writing:
            while data:
                data = data[self._out.write(data) :]


class _Exchange:
    """A request on its way."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.cancelled = False
        self._progress = float("-inf")
        self._connection: http.client.HTTPConnection | None = None

    def cancel(self) -> None:
        self.cancelled = True
        if (connection := self._connection) is not None and connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)

    def is_news(self, progress: Message) -> bool:
        """Whether it goes beyond what was told: a request that is sent again tells its progress from the start."""
        before, self._progress = self._progress, max(self._progress, progress["params"]["progress"])
        return self._progress > before

    def post(self, server: Server, version: str) -> Iterator[Message]:
        """Every message of the answer, as it comes."""
        connection = self._connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
        headers = {
            "Authorization": f"Bearer {server.token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": version,
            "Mcp-Method": _header(self.message["method"]),
        }
        params = self.message.get("params") or {}
        if named := params.get(_NAMED_BY.get(self.message["method"], "")):
            headers["Mcp-Name"] = _header(str(named))
        try:
            connection.request("POST", "/mcp", json.dumps(self.message).encode(), headers)
            answer = connection.getresponse()
            kind = answer.headers.get_content_type()
            if kind == "text/event-stream":
                yield from _events(answer)
            elif answer.status == 503:
                raise ReconveneError("starting", "the server is stopping or starting")
            else:
                yield self._refusal(answer.read(), answer.status)
        finally:
            connection.close()

    def _refusal(self, raw: bytes, status: int) -> Message:
        try:
            said = json.loads(raw)
        except ValueError:
            said = {}
        if isinstance(said, dict) and said.get("jsonrpc"):
            return said
        detail = said.get("detail") if isinstance(said, dict) else None
        return jsonrpc.error(self.message["id"], -32600, str(detail or f"The server answered {status}."), said or None)


def _events(answer: http.client.HTTPResponse) -> Iterator[Message]:
    data: list[str] = []
    for raw in answer:
        line = raw.decode("utf-8").rstrip("\r\n")
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            text, data = "\n".join(data), []
            if text.strip():
                yield json.loads(text)


def _keyed(message: Message) -> Message:
    """With a key of its own when it is a call, so that the server does it once however often it is sent."""
    if message["method"] != "tools/call" or not isinstance(message.get("params"), dict):
        return message
    meta = dict(message["params"].get("_meta") or {})
    meta.setdefault(KEY, os.urandom(12).hex())
    return {**message, "params": {**message["params"], "_meta": meta}}


def _header(value: str) -> str:
    """As the specification writes what is no plain ASCII into a header."""
    if re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", value) and not value.startswith("=?base64?"):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="
