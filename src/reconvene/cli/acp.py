"""`reconvene acp`: an editor's stdin and stdout on one side, the durable server's `/acp` on the other.

It starts a server when none runs, and comes back to it when it dies. The editor may be killed at any time: the run goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from reconvene.cli import background, jsonrpc
from reconvene.cli.acp_relay import Out, Relay
from reconvene.cli.jsonrpc import Message
from reconvene.cli.terminal import safe, say
from reconvene.client.following import MAX_FRAME, OPEN_TIME
from reconvene.client.local import Server, find
from reconvene.errors import ReconveneError

LONGEST_LINE = 16 * 1024**2
FIRST_WAIT, LONGEST_WAIT = 0.05, 3.0
STARTS = 5
"""Servers in a row that this starts and that do not come up, before it gives up."""
_REFUSED = frozenset({401, 403, 421})


def acp(data_dir: Path, root: Path | None) -> int:
    """Speak ACP on stdin and stdout until the editor closes them; returns the exit code.

    Raises:
        ReconveneError: no server can be started or reached, and trying again would not help.
    """
    # Whatever else prints in this process must not break the protocol: it goes to stderr.
    lines_out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return asyncio.run(_Bridge(data_dir, root or Path.cwd(), lines_out).run())


class _Bridge:
    def __init__(self, data_dir: Path, root: Path, lines_out: Any) -> None:
        self._data_dir, self._root, self._lines_out = data_dir, root, lines_out
        self._relay = Relay()
        self._socket: ClientConnection | None = None
        self._served: set[str] = set()
        """Code bases that this server is known to serve."""
        self._server: Server | None = None

    async def run(self) -> int:
        reading = asyncio.create_task(self._read_editor())
        serving = asyncio.create_task(self._stay_connected())
        try:
            await asyncio.wait({reading, serving}, return_when=asyncio.FIRST_COMPLETED)
            for task in (reading, serving):
                if task.done():
                    task.result()
            return 0
        finally:
            for task in (reading, serving):
                task.cancel()
            await asyncio.gather(reading, serving, return_exceptions=True)

    # -- the editor

    async def _read_editor(self) -> None:
        reader = asyncio.StreamReader(limit=LONGEST_LINE)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while True:
            try:
                line = await reader.readline()
            except ValueError:  # over the limit; the rest of the line cannot be told from a next one
                self._to_editor(jsonrpc.error(None, -32600, f"A message is over {LONGEST_LINE:,} bytes."))
                return
            if not line:
                return
            if line.strip():
                await self._take(line)

    async def _take(self, line: bytes) -> None:
        try:
            message = jsonrpc.read(line)
        except jsonrpc.Refused as refused:
            self._to_editor(refused.answer)
            return
        if (not_served := await self._serve_folder(message)) is not None:
            self._to_editor(not_served)
            return
        await self._do(self._relay.from_editor(message))

    async def _serve_folder(self, message: Message) -> Message | None:
        """Have the folder of a session served before the server is asked for it; the refusal, if there is one."""
        params = message.get("params")
        cwd = params.get("cwd") if isinstance(params, dict) else None
        if not isinstance(cwd, str) or message.get("method") not in (
            "session/new",
            "session/load",
            "session/resume",
            "session/fork",
        ):
            return None
        try:
            await asyncio.to_thread(self._serve, cwd)
        except ReconveneError as error:
            if error.code in ("starting", "not_running"):
                return None  # it is served when there is a connection again
            return jsonrpc.error(message.get("id"), -32602, error.message, error.content())
        return None

    def _serve(self, folder: str) -> None:
        server = self._server
        if server is None or folder in self._served:
            return
        server.call("POST", "/api/roots", {"path": folder})
        self._served.add(folder)

    def _to_editor(self, message: Message) -> None:
        data = jsonrpc.written(message)
        while data:
            data = data[self._lines_out.write(data) :]

    # -- the server

    async def _stay_connected(self) -> None:
        wait, starts = FIRST_WAIT, 0
        while True:
            server = await asyncio.to_thread(find, self._data_dir)
            if server is None:
                starts += 1
                if starts > STARTS:
                    raise ReconveneError("starting", f"The server does not start. See {self._data_dir / 'logs'}.")
                server = await asyncio.to_thread(self._start)
            if server is not None and await self._talk(server):
                wait, starts = FIRST_WAIT, 0
                continue
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT, 2 * wait)

    def _start(self) -> Server | None:
        from reconvene.config import Settings

        settings = Settings.load({"data_dir": self._data_dir})
        try:
            return background.start(
                self._data_dir, self._root, port=settings.port, port_is_chosen="port" in settings.origins
            )
        except ReconveneError as error:
            if error.code == "starting":
                say(f"reconvene: {safe(error.message)}")
                return None
            raise

    async def _talk(self, server: Server) -> bool:
        """One connection, to its end; whether there was one."""
        try:
            socket = await connect(
                server.ws_url.removesuffix("/ws") + "/acp",
                additional_headers={"Authorization": f"Bearer {server.token}"},
                compression=None,
                proxy=None,
                open_timeout=OPEN_TIME,
                close_timeout=1,
                max_size=MAX_FRAME,
            )
        except InvalidStatus as e:
            if e.response.status_code in _REFUSED:
                raise ReconveneError(
                    "unauthorized", f"The server refuses the connection ({e.response.status_code})."
                ) from e
            return False
        except (OSError, TimeoutError, InvalidHandshake, EOFError):
            return False
        try:
            self._server, self._served = server, set()
            for folder in self._relay.folders:
                with contextlib.suppress(ReconveneError):
                    await asyncio.to_thread(self._serve, folder)
            self._socket = socket
            await self._do(self._relay.connected())
            async for text in socket:
                await self._do(self._relay.from_server(json.loads(text)))
        except ConnectionClosed:
            pass
        finally:
            self._socket = None
            self._relay.lost()
            with contextlib.suppress(Exception):
                await socket.close()
        return True

    async def _do(self, out: Out) -> None:
        for message in out.editor:
            self._to_editor(message)
        socket = self._socket
        for message in out.server:
            if socket is not None:
                with contextlib.suppress(ConnectionClosed):  # what has no answer is sent again
                    await socket.send(jsonrpc.written(message).decode())
