"""The shapes of ASGI, and answers made without a framework: the gate and the WebSocket must not wait for one to be imported."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from reconvene.errors import ReconveneError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types dompurify svelte-trusted-html app default"
)
"""Nothing from elsewhere, nothing inline, and no string becomes markup except through a named policy."""

SECURITY_HEADERS: Headers = [
    (b"content-security-policy", PAGE_POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
]


def header(scope: Scope, name: bytes) -> bytes | None:
    """The value of a header that was sent exactly once; None when it is missing or was sent more than once."""
    found = headers(scope, name)
    return found[0] if len(found) == 1 else None


def headers(scope: Scope, name: bytes) -> list[bytes]:
    """Every value of a header, in order. `name` in lower case."""
    return [value for key, value in scope["headers"] if key == name]


def with_security_headers(send: Send) -> Send:
    """Adds SECURITY_HEADERS to an HTTP response, without replacing one that the response has of its own."""

    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            own = list(message.get("headers", ()))
            names = {name.lower() for name, _ in own}
            message = {**message, "headers": own + [pair for pair in SECURITY_HEADERS if pair[0] not in names]}
        await send(message)

    return sending


async def respond(
    scope: Scope, send: Send, status: int, body: bytes, content_type: str, extra: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """A whole response, for http and (before the upgrade) for websocket scopes.

    A server without the `websocket.http.response` extension can only refuse a handshake with 403.
    """
    prefix = ""
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        prefix = "websocket."
    own: Headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *extra]
    if not any(name == b"cache-control" for name, _ in own):
        own.append((b"cache-control", b"no-store"))
    await send({"type": f"{prefix}http.response.start", "status": status, "headers": own})
    await send({"type": f"{prefix}http.response.body", "body": b"" if scope.get("method") == "HEAD" else body})


def problem(error: ReconveneError, status: int | None = None) -> dict[str, Any]:
    """RFC 9457 problem details of an error."""
    return {
        "type": "about:blank",
        "title": error.kind.meaning or error.code,
        "status": error.kind.status if status is None else status,
        "code": error.code,
        "detail": error.message,
        "retryable": error.retryable,
        "details": error.details,
    }


def retry_after(error: ReconveneError) -> Headers:
    """`Retry-After` in whole seconds where trying again is known to help; at least 1 for every 503."""
    seconds = error.details.get("retry_after")
    if seconds is None and error.kind.status != 503:
        return []
    return [(b"retry-after", str(max(1, round(float(seconds or 1) + 0.5))).encode())]


async def respond_problem(
    scope: Scope,
    send: Send,
    error: ReconveneError,
    status: int | None = None,
    extra: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    body = json.dumps(problem(error, status)).encode()
    if "allow" in error.details:
        extra = [(b"allow", str(error.details["allow"]).encode()), *extra]
    await respond(
        scope,
        send,
        error.kind.status if status is None else status,
        body,
        "application/problem+json",
        [*retry_after(error), *extra],
    )
