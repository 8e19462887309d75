"""The few pages that are shown to somebody who is not signed in, or when the page was not built. They need no other file."""

from __future__ import annotations

import base64
import hashlib
import html

from reconvene.errors import ReconveneError
from reconvene.server.asgi import Headers, Scope, Send, header, respond, respond_problem

_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto 0;padding:0 1rem}"
    "h1{font-size:1.4rem}code{font:0.95em ui-monospace,monospace;padding:.15em .4em;border-radius:.3em;"
    "background:color-mix(in srgb,currentColor 12%,transparent)}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Headers = [
    (
        b"content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'".encode(),
    )
]


def page(title: str, *paragraphs: str, head: str = "") -> bytes:
    """A small whole page. Paragraphs are text; what stands between backticks is shown as code."""
    body = "".join(f"<p>{_with_code(p)}</p>" for p in paragraphs)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"{head}"
        f"<title>{html.escape(title)} · Reconvene</title><style>{_STYLE}</style></head>"
        f"<body><h1>{html.escape(title)}</h1>{body}</body></html>"
    ).encode()


def _with_code(text: str) -> str:
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def wants_page(scope: Scope) -> bool:
    """Whether a browser is navigating here, and not a script fetching."""
    accept = header(scope, b"accept") or b""
    return scope["type"] == "http" and scope["method"] == "GET" and b"text/html" in accept


async def unauthorized(scope: Scope, send: Send, error: ReconveneError) -> None:
    """401: to a person, how to sign in; to a program, a problem."""
    if not wants_page(scope):
        await respond_problem(scope, send, error, extra=[(b"www-authenticate", b'Bearer realm="reconvene"')])
        return
    # A SameSite=Strict cookie is withheld when a link on another site leads here. Loading the page again from here sends it.
    again = (
        '<meta http-equiv="refresh" content="0">'
        if header(scope, b"sec-fetch-site") in (b"cross-site", b"same-site")
        else ""
    )
    body = page(
        "Sign in to Reconvene",
        "This browser is not signed in, or its sign-in has expired.",
        "Sign in again: run `reconvene open` in a terminal on the machine that serves this page. It prints a link that works once.",
        "Your sessions are safe: they are kept on the server, and go on without this page.",
        head=again,
    )
    await respond(
        scope,
        send,
        401,
        body,
        "text/html; charset=utf-8",
        [*_POLICY, (b"www-authenticate", b'Bearer realm="reconvene"')],
    )


async def link_used(scope: Scope, send: Send, error: ReconveneError) -> None:
    if not wants_page(scope):
        await respond_problem(scope, send, error)
        return
    body = page(
        "This link was already used",
        "A sign-in link works once, and for five minutes.",
        "Run `reconvene open` in a terminal on the machine that serves this page for another.",
    )
    await respond(scope, send, error.kind.status, body, "text/html; charset=utf-8", _POLICY)


async def not_built(scope: Scope, send: Send) -> None:
    body = page(
        "The page was not built",
        "The server is running, but its page is missing from this installation.",
        "Run `make setup` in the folder of Reconvene's source, then load this page again.",
    )
    await respond(scope, send, 503, body, "text/html; charset=utf-8", [*_POLICY, (b"retry-after", b"10")])


async def missing(scope: Scope, send: Send, error: ReconveneError) -> None:
    if not wants_page(scope):
        await respond_problem(scope, send, error)
        return
    body = page("There is nothing at this address", "Go back, or start from the first page of this server.")
    await respond(scope, send, 404, body, "text/html; charset=utf-8", _POLICY)
