"""`GET /sign-in?t=…`: a one-time link becomes a cookie."""

from __future__ import annotations

from urllib.parse import parse_qsl

from reconvene.errors import ReconveneError
from reconvene.server.asgi import Headers, Scope, Send, header, headers, respond, respond_problem
from reconvene.server.credentials import Credentials
from reconvene.server.gate import Addresses
from reconvene.server.pages import link_used


async def sign_in(scope: Scope, send: Send, credentials: Credentials, addresses: Addresses) -> None:
    if scope["method"] != "GET":
        raise ReconveneError("method_not_allowed", "A sign-in link is opened with GET.", allow="GET")
    if b"prefetch" in (header(scope, b"sec-purpose") or b""):
        # A browser that loads a link on speculation must not use it up.
        await respond(scope, send, 204, b"", "text/plain")
        return
    given = [value for name, value in parse_qsl(scope["query_string"].decode("latin-1")) if name == "t"]
    try:
        value = await credentials.redeem(given[0].encode() if len(given) == 1 else b"")
    except ReconveneError as error:
        if error.code == "link_used" and credentials.by_cookies(headers(scope, b"cookie")):
            await respond(scope, send, 303, b"", "text/plain", [(b"location", b"/")])
        elif error.code == "link_used":
            await link_used(scope, send, error)
        else:
            await respond_problem(scope, send, error)
        return
    cookie: Headers = [(b"set-cookie", credentials.set_cookie(value, secure=addresses.secure(scope)))]
    await respond(scope, send, 303, b"", "text/plain", [(b"location", b"/"), *cookie])
