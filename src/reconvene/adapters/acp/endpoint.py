"""`/acp`: ACP over a WebSocket, behind the gate. One JSON-RPC message a frame.

The library's own ASGI application does not route `session/resume`, `close`, `fork` and `delete` (0.12.1), so only its parts are used:
the connection, the router and the models.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from acp import RequestError
from acp import schema as acp
from acp.agent.router import build_agent_router
from acp.connection import Connection
from acp.meta import AGENT_METHODS
from pydantic import ValidationError

from reconvene.adapters.acp.agent import Agent
from reconvene.errors import ReconveneError
from reconvene.protocol.strict_json import load_json
from reconvene.server.asgi import Receive, Scope, Send, respond_problem
from reconvene.server.services import Services
from reconvene.server.token_bucket import TokenBucket

_CODES = {"unauthorized": -32000, "no_such_session": -32002, "invalid_field": -32602, "invalid_message": -32600}
_REFUSED = -32603
OPEN_REQUESTS = 64
"""Requests of one connection that may be at work at once."""
_log = structlog.get_logger("reconvene.acp")


class AcpEndpoint:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            error = ReconveneError(
                "upgrade_required", "/acp takes WebSocket handshakes only; editors start `reconvene acp`."
            )
            await respond_problem(scope, send, error, extra=[(b"upgrade", b"websocket"), (b"connection", b"upgrade")])
            return
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        agent = Agent(self._services, scope["state"]["principal"].owner, secrets.token_hex(8))
        frames = _Frames(self._services, receive, send)
        connection = Connection(handler_of(agent, self._services), frames, listening=False)
        agent.connection = connection
        stopping = asyncio.create_task(self._services.connections.draining.wait())
        talking = asyncio.create_task(connection.main_loop())
        with self._services.credentials.until_revoked(scope["state"]["principal"]) as revoked:
            leaving = asyncio.create_task(revoked.wait())
            tasks = (stopping, leaving, talking)
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if leaving.done():
                    await frames.end(4401, "You are signed out.")
                elif not talking.done():
                    await frames.end(1012, "The server restarts. Your session goes on.")
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await agent.close()
                await connection.close()


def handler_of(agent: Agent, services: Services) -> Callable[[str, Any, bool], Awaitable[Any]]:
    """The library's router, with `session/delete` and our errors as JSON-RPC's."""
    router = build_agent_router(cast(Any, agent), use_unstable_protocol=True)
    router.route_request(AGENT_METHODS["session_delete"], acp.DeleteSessionRequest, agent, "delete_session")
    begun = False
    open_requests = 0

    async def handle(method: str, params: Any, is_notification: bool) -> Any:
        nonlocal begun, open_requests
        try:
            if not begun and method != "initialize":
                raise ReconveneError("invalid_message", "The first message is `initialize`.")
            begun = True
            if open_requests >= OPEN_REQUESTS:
                raise ReconveneError("rate_limited", f"More than {OPEN_REQUESTS} requests are at work. Wait for one.")
            open_requests += 1
            try:
                return await router(method, params, is_notification)
            finally:
                open_requests -= 1
        except ReconveneError as error:
            services.metrics.bad_inputs[error.code] += 1
            raise RequestError(_CODES.get(error.code, _REFUSED), error.message, error.content()) from None
        except ValidationError as error:
            services.metrics.bad_inputs["invalid_field"] += 1
            told = [{"path": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()[:5]]
            raise RequestError(-32602, f"{told[0]['path']}: {told[0]['message']}", {"errors": told}) from None
        except (RequestError, ConnectionError):
            raise
        except Exception as error:
            _log.error("an editor's request broke", method=method, exc_info=error)
            raise RequestError(_REFUSED, "Something unforeseen happened here; the server's log has it.") from None

    return handle


class _Frames:
    """The library's transport over a WebSocket. What is no message is answered here, and the connection goes on."""

    def __init__(self, services: Services, receive: Receive, send: Send) -> None:
        self._services, self._receive, self._send = services, receive, send
        limits = services.settings.limits
        self._bucket = TokenBucket(limits.messages_per_second, limits.message_burst)
        self._gone = False

    async def send(self, message: dict[str, Any]) -> None:
        if self._gone:
            raise ConnectionError("the client left")
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        await self._send({"type": "websocket.send", "text": text})

    async def receive(self) -> dict[str, Any] | None:
        while True:
            frame = await self._receive()
            if frame["type"] != "websocket.receive":
                self._gone = True
                return None
            # Slowed down, not refused: whoever sends faster finds the socket full, and nothing is lost.
            if wait := self._bucket.take(asyncio.get_running_loop().time()):
                await asyncio.sleep(wait)
            try:
                return self._message(frame.get("text"))
            except ReconveneError as error:
                self._services.metrics.bad_inputs[error.code] += 1
                code = -32700 if error.code == "invalid_json" else -32600
                refusal = {"code": code, "message": error.message, "data": error.content()}
                await self.send({"jsonrpc": "2.0", "id": None, "error": refusal})

    def _message(self, text: str | None) -> dict[str, Any]:
        if text is None:
            raise ReconveneError("unsupported_frame", "Binary frames are not part of ACP. Send JSON as text.")
        message = load_json(text, self._services.settings.limits.json_depth)
        if not isinstance(message, dict):
            raise ReconveneError("invalid_message", "A message is one JSON object.")
        method, id = message.get("method"), message.get("id")
        if (method is not None and not isinstance(method, str)) or not isinstance(id, str | int | None):
            raise ReconveneError("invalid_message", "This is no JSON-RPC 2.0 message.")
        if method is None and "id" not in message:
            raise ReconveneError("invalid_message", "A message has a method, or answers a request with its id.")
        if method is None and not isinstance(message.get("result", {}), dict):
            message = {**message, "result": {}}
        return message

    async def end(self, code: int, reason: str) -> None:
        self._gone = True
        with contextlib.suppress(Exception):
            await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def close(self) -> None:
        self._gone = True
