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
    "label{display:block;margin:1.2rem 0 .3rem}input,button{font:inherit;padding:.5rem .7rem;border-radius:.4rem;"
    "border:1px solid color-mix(in srgb,currentColor 45%,transparent);box-sizing:border-box}input{width:100%}"
    "button{margin-top:.7rem;cursor:pointer}.wrong{font-weight:600}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def _policy(form: str = "'none'") -> Headers:
    allowed = f"style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action {form}; frame-ancestors 'none'"
    return [(b"content-security-policy", f"default-src 'none'; {allowed}".encode())]


_POLICY = _policy()


def page(title: str, *paragraphs: str, head: str = "", more: str = "") -> bytes:
    """A small whole page. Paragraphs are text; what stands between backticks is shown as code. `head` and `more` are markup."""
    body = "".join(f"<p>{_with_code(p)}</p>" for p in paragraphs) + more
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


async def unauthorized(scope: Scope, send: Send, error: ReconveneError, *, several: bool = False) -> None:
    """401: to a person, how to sign in; to a program, a problem. `several`: people other than the owner may sign in here too."""
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
        more='<p><a href="/sign-in">Sign in with an account or a token</a></p>' if several else "",
    )
    await respond(
        scope,
        send,
        401,
        body,
        "text/html; charset=utf-8",
        [*_POLICY, (b"www-authenticate", b'Bearer realm="reconvene"')],
    )


async def sign_in_form(scope: Scope, send: Send, *, account: bool, wrong: bool = False) -> None:
    """Where people who were added come in. `account`: the server knows a provider of accounts."""
    other = '<p><a href="/sign-in/oidc">Sign in with your organisation\'s account</a></p>' if account else ""
    told = '<p class="wrong" role="alert">This token opens nothing here.</p>' if wrong else ""
    form = (
        f'{other}{told}<form method="post" action="/sign-in"><label for="token">Your token</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>'
        "<button>Sign in</button></form>"
    )
    body = page("Sign in to Reconvene", "Whoever runs this server gives you a token.", more=form)
    await respond(scope, send, 401 if wrong else 200, body, "text/html; charset=utf-8", _policy("'self'"))


async def not_in(scope: Scope, send: Send, error: ReconveneError, extra: Headers | None = None) -> None:
    """Coming in did not work: why, and what to do."""
    if not wants_page(scope):
        await respond_problem(scope, send, error, extra=extra or [])
        return
    body = page("You are not in", error.message, more='<p><a href="/sign-in">Other ways to sign in</a></p>')
    await respond(scope, send, error.kind.status, body, "text/html; charset=utf-8", [*_POLICY, *(extra or [])])


async def going_on(scope: Scope, send: Send, path: str, extra: Headers) -> None:
    """Go on to a page of ours from a page of ours: then the cookie, which is SameSite=Strict, comes along."""
    to = html.escape(path, quote=True)
    head = f'<meta http-equiv="refresh" content="0;url={to}">'
    body = page("You are in", head=head, more=f'<p><a href="{to}">Go on</a></p>')
    await respond(scope, send, 200, body, "text/html; charset=utf-8", [*_POLICY, *extra])


async def link_used(scope: Scope, send: Send, error: ReconveneError) -> None:
    if not wants_page(scope):
        await respond_problem(scope, send, error)
        return
    body = page(
        "This link was already used, or is too old",
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
