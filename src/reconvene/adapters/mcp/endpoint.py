"""`/mcp`: one stateless endpoint for both eras of MCP (2025's handshake, 2026-07-28's requests that stand alone), behind the gate.

Nothing of a caller is kept between two requests: what lasts is a session of ours, and its id is an argument.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations
from pydantic import Field

from reconvene.adapters.mcp.asking import Asked, Asking
from reconvene.adapters.mcp.looking import Looking
from reconvene.adapters.mcp.tasks import SOON, Tasks, keep, takes_tasks
from reconvene.errors import ReconveneError
from reconvene.protocol import sentences
from reconvene.server.asgi import Receive, Scope, Send
from reconvene.server.gate import Principal
from reconvene.server.services import Services
from reconvene.server.ws import draining

KEY = "reconvene/key"
"""In a call's `_meta`: names it for ever, so that a bridge may send it again when an answer was lost."""
LONGEST_WAIT = 300.0
INSTRUCTIONS = """\
Reconvene knows one or more code bases: search, repo_map, symbol and read_file look at them, cheaply and in pages. ask gives a whole
question or task to its agent, in a session that survives crashes: if the answer is not there yet, call ask again with the session_id."""
_LOOKS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
_ASKS = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=True)


def build(services: Services) -> MCPServer[Any]:
    looking, asking = Looking(services), Asking(services)
    server: MCPServer[Any] = MCPServer(
        "reconvene",
        title="Reconvene",
        version=services.version,
        instructions=INSTRUCTIONS,
        log_level="WARNING",
        extensions=[Tasks(services, asking)],
    )
    for tool in (looking.search, looking.repo_map, looking.symbol, looking.read_file):
        server.add_tool(_told(tool, services), name=tool.__name__, annotations=_LOOKS, structured_output=False)

    async def ask(
        ctx: Context[Any, Any],
        question: Annotated[
            str | None, Field(description="What you want to know or have done; none to wait for an earlier one.")
        ] = None,
        session_id: Annotated[str | None, Field(description="Of an earlier ask: go on in its session.")] = None,
        answer: Annotated[str | None, Field(description="To what it asked back (status needs_answer).")] = None,
        root: Annotated[
            str | None, Field(description="Name or path of the code base; needed only when there are several.")
        ] = None,
        wait: Annotated[
            float, Field(ge=0, le=LONGEST_WAIT, description="Seconds to wait for the answer; the work goes on after.")
        ] = 45.0,
    ) -> Asked:
        """Ask Reconvene's agent about the code base, or give it a task there. It searches, reads and answers with citations."""

        async def progress(number: int, text: str) -> None:
            await ctx.report_progress(float(number), message=text)

        asked = await asking.ask(
            _principal(ctx).owner,
            question=question,
            session_id=session_id,
            answer=answer,
            root=root,
            wait=min(wait, SOON) if takes_tasks(ctx.request_context) else wait,
            id=_key(ctx),
            progress=progress,
        )
        keep(ctx.request_context, asked)
        return asked

    server.add_tool(_told(ask, services), name="ask", annotations=_ASKS, structured_output=True)

    @server.resource("reconvene://map", name="repo map", mime_type="text/plain")
    async def whole_map() -> str:
        """The repo map of the code base, when the server has one."""
        return await _resource(looking.repo_map(budget=2048))

    @server.resource("reconvene://{root}/map", name="repo map of a code base", mime_type="text/plain")
    async def map_of(root: str) -> str:
        """The repo map of the code base of this name."""
        return await _resource(looking.repo_map(root=root, budget=2048))

    @server.resource("reconvene://{root}/file/{+path}", name="file", mime_type="text/plain")
    async def file_of(root: str, path: str) -> str:
        """A file of the code base of this name: its first page, with how to get more."""
        return await _resource(looking.read_file(path, root=root))

    @server.resource("reconvene://sessions/{session_id}", name="session", mime_type="text/markdown")
    async def session_of(session_id: str, ctx: Context[Any, Any]) -> str:
        """What was asked and answered in a session."""
        return await _resource(_conversation(services, _principal(ctx).owner, session_id))

    return server


def _told(tool: Callable[..., Awaitable[Any]], services: Services) -> Callable[..., Awaitable[Any]]:
    """The tool, with our errors as sentences that the calling agent reads."""
    import functools

    @functools.wraps(tool)
    async def telling(*args: Any, **kwargs: Any) -> Any:
        try:
            return await tool(*args, **kwargs)
        except ReconveneError as error:
            services.metrics.bad_inputs[error.code] += 1
            raise ToolError(f"{error.message} ({error.code})") from error

    return telling


async def _resource(text: Awaitable[str]) -> str:
    try:
        return await text
    except ReconveneError as error:
        raise ResourceNotFoundError(f"{error.message} ({error.code})") from error


def _principal(ctx: Context[Any, Any]) -> Principal:
    request: Any = ctx.request_context.request
    found: Principal = request.scope["state"]["principal"]
    return found


def _key(ctx: Context[Any, Any]) -> str | None:
    meta: Any = ctx.request_context.meta or {}
    key = meta.get(KEY)
    return f"mcp.{key}" if isinstance(key, str) and 8 <= len(key) <= 100 else None


async def _conversation(services: Services, owner: str, session_id: str) -> str:
    session = await services.sessions.get(owner, session_id)
    rows = await services.sessions.log.read(
        session.id, 0, upto=session.head, public=True, types=("prompt", "message", "applied")
    )
    parts = [f"# {session.title or 'A session'}"]
    for row in rows:
        content = json.loads(row.content)
        if row.parent_id is not None or content.get("kind") == "reasoning":
            continue
        said = {"prompt": lambda c: "> " + c["text"].replace("\n", "\n> "), "applied": sentences.applied}
        parts.append(said.get(row.type, lambda c: c["text"])(content))
    return "\n\n".join(parts)


class McpEndpoint:
    """The library's application. Its manager lives from the first request until the server drains."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._server = build(services)
        # The gate in front of us has compared Host and Origin already, with what this server is really called.
        self._app = self._server.streamable_http_app(
            stateless_http=True,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            max_request_body_size=services.settings.limits.frame,
        )
        self._managing: asyncio.Task[None] | None = None
        self._managed = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ReconveneError("not_found", "/mcp takes HTTP POST requests.")
        if scope["method"] != "POST":
            raise ReconveneError(
                "method_not_allowed", "/mcp keeps no connections: every request is a POST.", allow="POST"
            )
        if self._managing is None:
            self._managing = asyncio.create_task(self._manage(), name="mcp")
        managed = asyncio.create_task(self._managed.wait())
        await asyncio.wait({managed, self._managing}, return_when=asyncio.FIRST_COMPLETED)
        managed.cancel()
        if self._managing.done():
            raise draining()
        await self._app(scope, receive, send)

    async def _manage(self) -> None:
        async with self._server.session_manager.run():
            self._managed.set()
            await self._services.connections.draining.wait()
            with contextlib.suppress(Exception):
                self._managed.clear()
