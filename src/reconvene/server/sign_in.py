"""Coming in with a browser: one-time links, a token typed in, a company's account, and links that show a session.

Each ends in a cookie and leads on to the page. It is SameSite=Strict, which a browser withholds from a redirection that another site
began; so a way that begins elsewhere (a chat's link, the provider) ends in a small page of ours that goes on by itself.
"""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from reconvene.errors import ReconveneError
from reconvene.server.asgi import Headers, Receive, Scope, Send, header, headers, respond, respond_problem
from reconvene.server.gate import OWNER
from reconvene.server.oidc import BACK, COOKIE_TIME
from reconvene.server.pages import going_on, link_used, not_in, sign_in_form, wants_page
from reconvene.server.services import Services

PATHS = ("/sign-in", "/sign-in/oidc", BACK, "/shared")
FORM_BYTES = 4096
FORM_TIME = 10.0


async def sign_in(scope: Scope, receive: Receive, send: Send, services: Services) -> None:
    """Everything at and below `/sign-in`, and `/shared`."""
    path = scope["path"]
    if path == "/sign-in" and scope["method"] == "POST":
        await _with_token(scope, receive, send, services)
        return
    if scope["method"] != "GET":
        raise ReconveneError("method_not_allowed", "A sign-in link is opened with GET.", allow="GET")
    if b"prefetch" in (header(scope, b"sec-purpose") or b""):
        # A browser that loads a link on speculation must not use it up.
        await respond(scope, send, 204, b"", "text/plain")
    elif path == "/shared":
        await _shared(scope, send, services)
    elif path == "/sign-in/oidc":
        await _to_provider(scope, send, services)
    elif path == BACK:
        await _from_provider(scope, send, services)
    elif "t" in _query(scope) or not wants_page(scope):
        await _with_link(scope, send, services)
    else:
        await sign_in_form(scope, send, account=services.oidc is not None)


async def _with_link(scope: Scope, send: Send, services: Services) -> None:
    credentials = services.credentials
    given = [value for name, value in _pairs(scope) if name == "t"]
    try:
        value, owner = await credentials.redeem(given[0].encode() if len(given) == 1 else b"")
    except ReconveneError as error:
        if error.code == "link_used" and credentials.by_cookies(headers(scope, b"cookie")):
            await respond(scope, send, 303, b"", "text/plain", [(b"location", b"/")])
        elif error.code == "link_used":
            await link_used(scope, send, error)
        else:
            await respond_problem(scope, send, error)
        return
    await _noted(scope, services, owner, "link")
    await respond(scope, send, 303, b"", "text/plain", [(b"location", b"/"), *_cookie(scope, services, value)])


async def _with_token(scope: Scope, receive: Receive, send: Send, services: Services) -> None:
    """The form. Its Origin was checked by the gate, so no other site signs a browser in as somebody else."""
    credentials = services.credentials
    form = dict(parse_qsl((await _body(receive)).decode("latin-1")))
    principal = credentials.by_bearer(form.get("token", "").strip().encode("latin-1", "replace"))
    if principal is None:
        await sign_in_form(scope, send, account=services.oidc is not None, wrong=True)
        return
    value = await credentials.sign_in(principal.owner)
    await _noted(scope, services, principal.owner, "token")
    await respond(scope, send, 303, b"", "text/plain", [(b"location", b"/"), *_cookie(scope, services, value)])


async def _shared(scope: Scope, send: Send, services: Services) -> None:
    credentials = services.credentials
    secret = _query(scope).get("t", "")
    view = credentials.views.by_secret(secret.encode())
    if view is None:
        await not_in(
            scope,
            send,
            ReconveneError("link_used", "This link was revoked, has expired, or never was. Ask for another."),
        )
        return
    await credentials.audit.note("link_opened", "viewer", _peer(scope), {"session": view.session, "link": view.id})
    cookie = credentials.set_views(secret, headers(scope, b"cookie"), secure=services.addresses.secure(scope))
    await going_on(scope, send, f"/s/{view.session}", [(b"set-cookie", cookie)])


async def _to_provider(scope: Scope, send: Send, services: Services) -> None:
    if services.oidc is None:
        raise ReconveneError("not_found", "This server knows no provider of accounts.")
    try:
        url, cookie = await services.oidc.begin()
    except ReconveneError as error:
        await not_in(scope, send, error)
        return
    secure = "; Secure" if services.addresses.secure(scope) else ""
    # Lax: the way back begins at the provider, and must bring it.
    kept = f"{_way_back(services)}={cookie}; HttpOnly; SameSite=Lax; Path={BACK}; Max-Age={COOKIE_TIME}{secure}"
    await respond(
        scope, send, 303, b"", "text/plain", [(b"location", url.encode()), (b"set-cookie", kept.encode("ascii"))]
    )


async def _from_provider(scope: Scope, send: Send, services: Services) -> None:
    if services.oidc is None:
        raise ReconveneError("not_found", "This server knows no provider of accounts.")
    name = _way_back(services) + "="
    cookies = (pair.strip() for line in headers(scope, b"cookie") for pair in line.decode("latin-1").split(";"))
    cookie = next((pair.removeprefix(name) for pair in cookies if pair.startswith(name)), None)
    forget = f"{name}; HttpOnly; SameSite=Lax; Path={BACK}; Max-Age=0".encode("ascii")
    try:
        account = await services.oidc.finish(_query(scope), cookie)
        person = await services.credentials.people.of_account(account.issuer, account.subject, account.name)
        value = await services.credentials.sign_in(person.id)
    except ReconveneError as error:
        await not_in(scope, send, error, [(b"set-cookie", forget)])
        return
    await _noted(scope, services, person.id, "account")
    await going_on(scope, send, "/", [(b"set-cookie", forget), *_cookie(scope, services, value)])


def _way_back(services: Services) -> str:
    return f"{services.credentials.cookie_name}_oidc"


def _cookie(scope: Scope, services: Services, value: str) -> Headers:
    return [(b"set-cookie", services.credentials.set_cookie(value, secure=services.addresses.secure(scope)))]


async def _noted(scope: Scope, services: Services, owner: str, how: str) -> None:
    person = services.credentials.people.active(owner)
    name = OWNER if person is None else person.name
    await services.credentials.audit.note("signed_in", name, _peer(scope), {"with": how})


def _peer(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])


def _pairs(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _query(scope: Scope) -> dict[str, str]:
    return dict(_pairs(scope))


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(FORM_TIME):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > FORM_BYTES:
                    raise ReconveneError("too_large", "A token is much shorter than this.", limit=FORM_BYTES)
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise ReconveneError("invalid_message", f"The form did not come within {FORM_TIME:g} s.") from None
