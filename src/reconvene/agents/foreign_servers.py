"""The connections to the MCP servers that the person configured for our agents: programs on this machine, and addresses.

They are started when the first run wants their tools, and end with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from contextvars import Context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from reconvene.agents.foreign_settings import Approval, ForeignServer, configured
from reconvene.errors import ReconveneError

START_TIME = 30.0
CALL_TIME = 120.0
TRY_AGAIN = 60.0
"""Seconds for which a server that did not start is left alone."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ForeignTool:
    server: str
    name: str
    description: str
    schema: dict[str, Any]
    approval: Approval
    only_reads: bool
    """It says so itself: after a crash in the middle of a call it is called again without asking."""


@dataclass(slots=True)
class ForeignServers:
    """The connections of one server process."""

    data_dir: Path
    _open: dict[str, _Connection] = field(default_factory=dict)
    _failed: dict[str, float] = field(default_factory=dict)

    def configured(self) -> dict[str, ForeignServer]:
        """The servers that are configured now; none when that cannot be read, and the log says why. Blocking."""
        try:
            return configured(self.data_dir)
        except ReconveneError as e:  # what is wrong with it must not keep anybody from asking
            _log.warning("no MCP servers", message=e.message)
            return {}

    async def tools(self, servers: dict[str, ForeignServer] | None = None) -> list[ForeignTool]:
        """The tools of all configured servers (None: look which those are). One that does not start is left out, and the log says why."""
        if servers is None:
            servers = await asyncio.to_thread(self.configured)
        for name in [n for n, c in self._open.items() if servers.get(n) != c.server]:
            self._open.pop(name).close()
        found = await asyncio.gather(*(self._tools_of(name, server) for name, server in servers.items()))
        return [tool for tools in found for tool in tools]

    async def _tools_of(self, name: str, server: ForeignServer) -> list[ForeignTool]:
        loop = asyncio.get_running_loop()
        if self._failed.get(name, float("-inf")) > loop.time() - TRY_AGAIN and name not in self._open:
            return []
        try:
            return await (await self._connection(name, server)).tools()
        except (Exception, asyncio.CancelledError) as e:
            if isinstance(e, asyncio.CancelledError) and (task := asyncio.current_task()) and task.cancelling():
                raise
            self._failed[name] = loop.time()
            _log.warning("an MCP server does not start", server=name, error=type(e).__name__)
            return []

    async def _connection(self, name: str, server: ForeignServer) -> _Connection:
        found = self._open.get(name)
        if found is None or found.ended:
            found = self._open[name] = _Connection(name, server, self.data_dir)
        await found.ready()
        return found

    def close(self) -> None:
        """End what was started; a later call starts it anew."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    async def call(self, tool: ForeignTool, arguments: dict[str, Any]) -> tuple[str, bool]:
        """The text of its result, and whether it is one. Raises: `tool_failed`."""
        server = (await asyncio.to_thread(configured, self.data_dir)).get(tool.server)
        if server is None:
            raise ReconveneError("tool_failed", f"The MCP server {tool.server} was removed.")
        try:
            async with asyncio.timeout(CALL_TIME):
                return await (await self._connection(tool.server, server)).call(tool.name, arguments)
        except TimeoutError:
            raise ReconveneError("tool_failed", f"{tool.server} did not answer within {CALL_TIME:.0f} s.") from None
        except ReconveneError:
            raise
        except Exception as e:
            raise ReconveneError("tool_failed", f"{tool.server} could not be asked ({type(e).__name__}).") from None


class _Connection:
    """A server that was started, or is at an address. Its task enters and leaves the library's client; anybody may call through it
    meanwhile."""

    def __init__(self, name: str, server: ForeignServer, folder: Path) -> None:
        self.name, self.server, self._folder = name, server, folder
        self._client: Any = None
        self._up = asyncio.Event()
        self._closing = asyncio.Event()
        # It outlives the run that wanted it first, so what it logs is not of that run.
        self._task = asyncio.create_task(self._live(), name=f"mcp server {name}", context=Context())
        self._task.add_done_callback(lambda done: done.cancelled() or done.exception())

    @property
    def ended(self) -> bool:
        return self._task.done()

    def close(self) -> None:
        self._closing.set()

    async def ready(self) -> None:
        up = asyncio.create_task(self._up.wait())
        try:
            await asyncio.wait({up, self._task}, timeout=START_TIME, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
        if not self._up.is_set():
            self._task.cancel()
            raise ReconveneError("tool_failed", f"The MCP server {self.name} does not start.")

    async def _live(self) -> None:
        from mcp.client.client import Client

        async with (
            self._reached() as transport,
            Client(transport, read_timeout_seconds=CALL_TIME) as self._client,
        ):
            self._up.set()
            await self._closing.wait()

    @contextlib.asynccontextmanager
    async def _reached(self) -> AsyncIterator[Any]:
        """What the library's client talks through."""
        if self.server.url:
            import httpx2
            from mcp.client.streamable_http import streamable_http_client

            # No redirect to another host is followed, which would be shown the headers.
            timeout = httpx2.Timeout(START_TIME, read=CALL_TIME)
            async with httpx2.AsyncClient(headers=self.server.headers, timeout=timeout) as http:
                yield streamable_http_client(self.server.url, http_client=http)
            return
        from mcp.client.stdio import StdioServerParameters, stdio_client

        # Not in the code base: many programs read settings, or code, from the folder they are started in.
        started = StdioServerParameters(
            command=self.server.command, args=self.server.args, env=self.server.env, cwd=str(self._folder)
        )
        # What it says on stderr may hold its secrets.
        with open(os.devnull, "w") as nowhere:  # noqa: ASYNC230 - nothing blocks there
            yield stdio_client(started, errlog=nowhere)

    async def tools(self) -> list[ForeignTool]:
        listed = await self._client.list_tools()
        return [
            ForeignTool(
                self.name,
                tool.name,
                tool.description or tool.title or "",
                tool.input_schema,
                self.server.approval,
                bool(tool.annotations and tool.annotations.read_only_hint),
            )
            for tool in listed.tools
        ]

    async def call(self, name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        try:
            result = await self._client.call_tool(name, arguments)
        except Exception:
            with contextlib.suppress(Exception):  # one that broke is started anew by the next call
                self.close()
            raise
        parts = [part.text if part.type == "text" else f"[{part.type}]" for part in result.content]
        if not parts and result.structured_content is not None:
            parts = [json.dumps(result.structured_content, ensure_ascii=False)]
        return "\n".join(parts), not result.is_error
