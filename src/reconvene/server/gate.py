"""The gate: who may come in, decided from the raw scope, for http and websocket alike, before anything else runs.

In this order: Host, method, Origin, credential, then (for a WebSocket) the upgrade and capacity. Framework middleware for
cross-origin requests does not look at WebSockets at all (CWE-1385), so nothing of it is used, and no CORS header is ever sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import urlsplit

import structlog

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.server.asgi import (
    Application,
    Message,
    Receive,
    Scope,
    Send,
    header,
    headers,
    respond_problem,
    with_security_headers,
)
from reconvene.server.capacity import Capacity
from reconvene.server.metrics import Metrics
from reconvene.server.pages import unauthorized
from reconvene.server.views import open_to_viewers

METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE"})
SAFE_METHODS = frozenset({"GET", "HEAD"})
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/sign-in", "/sign-in/oidc", "/sign-in/oidc/back", "/shared"})
"""The only paths that answer without a credential."""
OWNER = "owner"
"""The one user of a server that nobody was added to, and who runs it for the others where somebody was."""
PATH = "/ws"
"""Of the WebSocket."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent a request. `owner`: of the sessions that are theirs. `sign_in` names the cookie's sign-in; None for a bearer.

    `view`: nobody who is known here, but somebody with links to sessions of others. `views` are those links, as (session, its owner, the
    link's hash); who signed in may have some as well.
    """

    owner: str
    kind: Literal["cookie", "bearer", "view"]
    sign_in: str | None = None
    name: str = OWNER
    views: tuple[tuple[str, str, str], ...] = ()

    @property
    def runs_the_server(self) -> bool:
        """Whether this is who may change the server itself, and not only sessions."""
        return self.owner == OWNER

    def viewed(self, session_id: str | None) -> str | None:
        """The owner of a session of somebody else that a link shows."""
        return next((owner for id, owner, _ in self.views if id == session_id and owner != self.owner), None)


class Authenticator(Protocol):
    def by_bearer(self, token: bytes) -> Principal | None: ...

    def by_cookies(self, cookie_headers: list[bytes]) -> Principal | None: ...

    @property
    def several(self) -> bool:
        """Whether others than the owner may sign in."""

    async def look_again(self) -> bool:
        """Take in what another server may have written since; False when that was done a moment ago."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The names of this server: what may stand in Host, and in Origin. Compared as whole strings, never as patterns."""

    port: int
    hosts: frozenset[str]
    origins: frozenset[str]
    url: str
    """The one that is printed: of the public name, if there is one."""
    secure_hosts: frozenset[str] = frozenset()
    """Names under which browsers come through TLS (that a proxy ends): cookies for them are Secure."""

    @classmethod
    def of(cls, port: int, public_url: str | None = None, allowed_origins: tuple[str, ...] = ()) -> Addresses:
        """
        >>> sorted(Addresses.of(8000).origins)
        ['http://127.0.0.1:8000', 'http://[::1]:8000', 'http://localhost:8000']

        Raises:
            ReconveneError: `invalid_field` when a URL has no http(s) scheme or no host, or more than scheme, host and port.
        """
        hosts: set[str] = set()
        origins: set[str] = set()
        for name in ("localhost", "127.0.0.1", "[::1]"):
            _add(hosts, origins, "http", name, port)
        url = f"http://localhost:{port}" if port != 80 else "http://localhost"
        secure: set[str] = set()
        if public_url is not None:
            scheme, name, public_port = _parse("public_url", public_url)
            public: set[str] = set()
            url = _add(public, origins, scheme, name, public_port)
            hosts |= public
            if scheme == "https":
                secure = public
        for origin in allowed_origins:
            scheme, name, other_port = _parse("allowed_origins", origin)
            _add(set(), origins, scheme, name, other_port)
        return cls(port, frozenset(hosts), frozenset(origins), url, frozenset(secure))

    def secure(self, scope: Scope) -> bool:
        """Whether the browser came through TLS."""
        return (
            scope["scheme"] == "https" or (header(scope, b"host") or b"").decode("latin-1").lower() in self.secure_hosts
        )


def _add(hosts: set[str], origins: set[str], scheme: str, name: str, port: int) -> str:
    """Browsers leave the default port out of both; the origin is returned."""
    hosts.add(f"{name}:{port}")
    origin = f"{scheme}://{name}:{port}"
    if port == _DEFAULT_PORTS[scheme]:
        hosts.add(name)
        origin = f"{scheme}://{name}"
    origins.add(origin)
    return origin


def _parse(setting: str, url: str) -> tuple[str, str, int]:
    bad = ReconveneError(
        "invalid_field", f"{setting} must be like https://host or http://host:8000, not {url!r}.", field=setting
    )
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise bad from None
    if (
        parts.scheme not in _DEFAULT_PORTS
        or not parts.hostname
        or parts.username is not None
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        raise bad
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if not re.fullmatch(r"[a-z0-9._\-\[\]:]+", name):
        raise bad
    return parts.scheme, name, port or _DEFAULT_PORTS[parts.scheme]


class Gate:
    """ASGI middleware around the whole application. What passes has `scope["state"]["principal"]`; None only on an open path."""

    def __init__(
        self,
        app: Application,
        *,
        addresses: Addresses,
        authenticator: Authenticator,
        capacity: Capacity,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self.app = app
        self.addresses = addresses
        self.authenticator = authenticator
        self.capacity = capacity
        self.limits = limits
        self.metrics = metrics
        self._log = structlog.get_logger("reconvene.gate")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        send = with_security_headers(send)
        try:
            principal = await self._judged(scope)
        except ReconveneError as error:
            await self._refuse(scope, receive, send, error)
            return
        scope.setdefault("state", {})["principal"] = principal
        if scope["type"] == "http":
            self.metrics.requests += 1
            await self.app(scope, limited(receive, self.limits.frame), send)
            return
        owner = "" if principal is None else principal.owner
        try:
            self.capacity.enter(owner)
        except ReconveneError as error:
            await self._refuse(scope, receive, send, error)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            self.capacity.leave(owner)

    async def _judged(self, scope: Scope) -> Principal | None:
        """Who signed in at another server on the same store is not known here yet, and is not sent away for it."""
        try:
            return self.judge(scope)
        except ReconveneError as error:
            if error.code != "unauthorized" or not await self.authenticator.look_again():
                raise
        return self.judge(scope)

    def judge(self, scope: Scope) -> Principal | None:
        """Everything but capacity.

        Raises:
            ReconveneError: the first check that fails, in the gate's order.
        """
        self.check_host(scope)
        self.check_method(scope)
        self.check_origin(scope)
        principal = self.check_credential(scope)
        self.check_body(scope)
        return principal

    def check_host(self, scope: Scope) -> None:
        """A page that rebinds its own name to our address still sends its own name."""
        given = headers(scope, b"host")
        if len(given) != 1:
            raise ReconveneError(
                "invalid_field", f"A request needs exactly one Host header; this one has {len(given)}.", field="Host"
            )
        if given[0].decode("latin-1").lower() not in self.addresses.hosts:
            raise ReconveneError(
                "forbidden_host",
                "The Host header does not name this server. To reach it under another name, start it with --public-url.",
            )

    def check_method(self, scope: Scope) -> None:
        if scope["type"] == "http" and scope["method"] not in METHODS:
            known = ", ".join(sorted(METHODS))
            raise ReconveneError("method_not_allowed", f"This server takes {known}.", allow=known)

    def check_origin(self, scope: Scope) -> None:
        """Browsers always send Origin with a WebSocket handshake and with unsafe requests; `null` is nobody's."""
        given = headers(scope, b"origin")
        if any(origin.decode("latin-1") not in self.addresses.origins for origin in given) or len(given) > 1:
            raise ReconveneError(
                "forbidden_origin",
                "Pages of this origin may not speak to this server. Its own page may; others are named in allowed_origins.",
            )

    def check_credential(self, scope: Scope) -> Principal | None:
        if scope["type"] == "http" and scope["path"] in OPEN_PATHS:
            return None
        principal: Principal | None
        authorization = headers(scope, b"authorization")
        if any(value[:7].lower() == b"bearer " for value in authorization):
            principal = self.authenticator.by_bearer(authorization[0][7:].strip()) if len(authorization) == 1 else None
        else:
            principal = self.authenticator.by_cookies(headers(scope, b"cookie"))
        if principal is None:
            raise ReconveneError(
                "unauthorized",
                "You are not signed in here. Run `reconvene open` for a sign-in link; programs send a token as bearer.",
            )
        if principal.kind == "view":
            self.check_view(scope, principal)
        if principal.kind != "bearer" and scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            # SameSite does not tell ports apart, Sec-Fetch-Site does. A browser leaves it out towards plain http names other
            # than loopback; there the exact Origin, checked above, says as much.
            site = header(scope, b"sec-fetch-site")
            own = header(scope, b"origin") is not None if site is None else site in (b"same-origin", b"none")
            if not own:
                raise ReconveneError(
                    "forbidden_origin", "Only this server's own page may change something with its cookie."
                )
        return principal

    def check_view(self, scope: Scope, principal: Principal) -> None:
        """Somebody who has a link to a session sees that session. Which WebSocket frames are taken, the connection decides."""
        sessions = frozenset(id for id, _, _ in principal.views)
        method, path = "GET" if scope["type"] == "websocket" else scope["method"], scope["path"]
        if not (path == PATH or open_to_viewers(method, path, sessions)):
            raise ReconveneError("forbidden", "This link shows one session, and nothing else of this server.")

    def check_body(self, scope: Scope) -> None:
        """Refused by its announced length, before a byte of it is read. One without a length is counted while it is read."""
        if (
            scope["type"] == "http"
            and (length := header(scope, b"content-length")) is not None
            and length.isdigit()
            and int(length[:20]) > self.limits.frame
        ):
            raise too_large(self.limits.frame)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, error: ReconveneError) -> None:
        self.metrics.bad_inputs[error.code] += 1
        log = self._log.warning if error.code in ("forbidden_origin", "forbidden_host") else self._log.info
        log(
            "refused",
            code=error.code,
            kind=scope["type"],
            path=scope["path"][:200],
            origin=_shown(scope, b"origin"),
            host=_shown(scope, b"host"),
        )
        if scope["type"] == "websocket":
            await receive()  # websocket.connect
        if error.code == "unauthorized":
            await unauthorized(scope, send, error, several=self.authenticator.several)
        else:
            await respond_problem(
                scope, send, error, extra=[(b"connection", b"close")] if error.code == "too_large" else []
            )


def too_large(limit: int) -> ReconveneError:
    return ReconveneError("too_large", f"The body is over the limit of {limit:,} bytes.", limit=limit)


def limited(receive: Receive, limit: int) -> Receive:
    """Counts a body while it is read.

    Raises (from the returned callable):
        ReconveneError: `too_large`.
    """
    read = 0

    async def receiving() -> Message:
        nonlocal read
        message = await receive()
        if message["type"] == "http.request":
            read += len(message.get("body", b""))
            if read > limit:
                raise too_large(limit)
        return message

    return receiving


def _shown(scope: Scope, name: bytes) -> list[str]:
    return [value[:200].decode("latin-1") for value in headers(scope, name)[:3]]
