"""The whole application: the gate, and behind it the WebSocket, the page, and the API that is built when it is first needed."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any, Protocol

import structlog

from reconvene.errors import ReconveneError
from reconvene.server.asgi import Receive, Scope, Send, header, respond, respond_problem
from reconvene.server.gate import PATH, Gate
from reconvene.server.page import SAMPLE_PATHS, Page
from reconvene.server.pages import missing
from reconvene.server.services import Services
from reconvene.server.sign_in import PATHS as SIGN_IN_PATHS
from reconvene.server.sign_in import sign_in
from reconvene.server.ws import draining, not_a_handshake, websocket

_log = structlog.get_logger("reconvene.http")


class _Routed(Protocol):
    @property
    def routes(self) -> Any: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class App:
    """ASGI, behind the gate. `warm` imports and builds the API, off the loop; a request that needs it sooner waits for it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.page = Page(services.credentials, services.addresses)
        self._api: asyncio.Task[_Routed] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return  # nothing starts or stops with the web server: lifecycle.py does that, in its own order
        if scope["type"] == "websocket" and scope["path"] not in self.services.endpoints:
            await websocket(scope, receive, send, self.services.connections, self.services.credentials)
            return
        started = False

        async def sending(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            if scope["type"] == "websocket" and self.services.connections.draining.is_set():
                raise draining()
            await self._http(scope, receive, sending)
        except ReconveneError as error:
            if not started:
                self.services.metrics.bad_inputs[error.code] += 1
                if error.code == "not_found":
                    await missing(scope, send, error)
                else:
                    await respond_problem(scope, send, error)
        except Exception as error:
            if started:  # the API has answered with an id of its own already
                return
            id = secrets.token_hex(4)
            _log.error("a request broke the server", id=id, exc_info=error)
            sentence = f"Something unforeseen happened here; the server's log has it as {id}."
            await respond_problem(scope, send, ReconveneError("internal", sentence, id=id))

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, services = scope["path"], self.services
        if path == "/healthz":
            await self._only_reads(scope, send, self._healthz)
        elif path == "/readyz":
            await self._only_reads(scope, send, self._readyz)
        elif services.connections.draining.is_set():
            raise draining()
        elif path in SIGN_IN_PATHS:
            await sign_in(scope, receive, send, services)
        elif path == "/metrics":
            await self._only_reads(scope, send, self._metrics)
        elif (endpoint := services.endpoints.get(path)) is not None:
            await endpoint(scope, receive, send)
        elif path == PATH:
            await not_a_handshake(scope, send)
        elif path.startswith("/api/"):
            api = await self.warm()
            await api(scope, receive, send)
        elif path == "/api":
            raise ReconveneError("not_found", "The API is below /api/; /api/openapi.json describes it.")
        else:
            await self._only_reads(scope, send, self.page)

    @staticmethod
    async def _only_reads(scope: Scope, send: Send, answer: Any) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise ReconveneError("method_not_allowed", "This address is only read.", allow="GET, HEAD")
        await answer(scope, send)

    async def _healthz(self, scope: Scope, send: Send) -> None:
        """Open to everybody, so it says that the server lives and nothing about what is in it."""
        services = self.services
        said = {
            "status": "ok" if services.unwell is None else services.unwell.code,
            "version": services.version,
            "sessions": len(services.sessions.memory),
            "runs": services.runs.active,
        }
        status = 200 if services.unwell is None else 503
        await respond(scope, send, status, json.dumps(said).encode(), "application/json")

    async def _readyz(self, scope: Scope, send: Send) -> None:
        """Whether new clients should be sent here: not while it starts, drains, or its store does not answer. For load balancers."""
        services = self.services
        if services.connections.draining.is_set():
            status = "draining"
        elif services.unwell is not None:
            status = services.unwell.code
        else:
            status = "ok" if services.indexing is not None else "starting"
        body = json.dumps({"status": status}).encode()
        await respond(scope, send, 200 if status == "ok" else 503, body, "application/json")

    async def _metrics(self, scope: Scope, send: Send) -> None:
        if not scope["state"]["principal"].runs_the_server:
            raise ReconveneError("forbidden", "The figures of the whole server are for whoever runs it.")
        accept = (header(scope, b"accept") or b"").decode("latin-1")
        body, kind = await asyncio.to_thread(self.services.metrics.exposition, accept)
        await respond(scope, send, 200, body, kind)

    async def warm(self) -> _Routed:
        if self._api is None or (self._api.done() and (self._api.cancelled() or self._api.exception())):
            self._api = asyncio.create_task(asyncio.to_thread(_build, self.services), name="api")
        return await asyncio.shield(self._api)

    async def routes(self) -> list[tuple[str, str, str]]:
        """Every (kind, method, path) there is, for the test that knocks on all of them without a credential."""
        reads = [
            "/",
            "/s/s_0123456789012345678901",
            "/healthz",
            "/readyz",
            *SIGN_IN_PATHS,
            "/metrics",
            PATH,
            *SAMPLE_PATHS,
        ]
        found = [("http", "GET", path) for path in reads]
        found.append(("websocket", "GET", PATH))
        for path in self.services.endpoints:
            found += [("http", "POST", path), ("websocket", "GET", path)]
        for route in (await self.warm()).routes:
            found.extend(("http", method, route.path) for method in sorted(route.methods))
        return found


def _build(services: Services) -> _Routed:
    from reconvene.server.api import build_api

    api: _Routed = build_api(services)
    return api


def build_app(services: Services) -> tuple[Gate, App]:
    """The application as the web server gets it, and what is behind its gate."""
    metrics, sessions = services.metrics, services.sessions
    metrics.gauge("reconvene_sessions_loaded", "Sessions whose state is in memory.", lambda: len(sessions.memory))
    metrics.gauge("reconvene_connections", "Open WebSockets and event streams.", lambda: services.capacity.connections)
    metrics.gauge("reconvene_runs", "Runs that are going on.", lambda: services.runs.active)
    sessions.listeners.append(metrics.committed)
    app = App(services)
    gate = Gate(
        app,
        addresses=services.addresses,
        authenticator=services.credentials,
        capacity=services.capacity,
        limits=services.settings.limits,
        metrics=metrics,
    )
    return gate, app
