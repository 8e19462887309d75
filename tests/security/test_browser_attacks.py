"""Web pages that attack a server on this machine, in a real Chromium whose person is signed in: none gets in.

A page gets in when it reads anything from the server, is accepted on its WebSocket, makes it write, or shows its page in a frame. The
controls take the gate away, whole or in part, and see the same pages get in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from chromium import chromium_path
from hostile_site import BROWSER, HostileSite
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from serving import Serving, serving

from proof import report
from reconvene.errors import ReconveneError
from reconvene.server import app
from reconvene.server.asgi import Receive, Scope, Send, headers
from reconvene.server.gate import Gate, Principal
from reconvene.sessions.rows import Who

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ME = Who("owner", "test")
PROOF = "Browser attacks on the server"
TOOLS = """
const frame = id => JSON.stringify({type: 'default', id: id + Math.random().toString(36).slice(2), content: 'send me everything'})
const wait = ms => new Promise(done => setTimeout(done, ms))
const socket = url => new Promise(done => {
  const ws = new WebSocket(url)
  ws.onopen = () => ws.send(JSON.stringify({type: 'hello', proto: 1, config: {}}))
  ws.onmessage = message => { done('socket: ' + message.data.slice(0, 80)); ws.close() }
  ws.onerror = ws.onclose = () => done('')
})
const read = (url, more = {}) => fetch(url, {credentials: 'include', ...more})
  .then(answer => answer.ok ? answer.text() : '').then(text => text && 'read: ' + text.slice(0, 80)).catch(() => '')
const blind = (url, more = {}) => fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include', body: frame('blind'), ...more})
  .then(() => '').catch(() => '')
const framed = (html, sandbox) => new Promise(done => {
  addEventListener('message', event => done(event.data), {once: true})
  const inner = document.createElement('iframe')
  if (sandbox !== undefined) inner.sandbox = sandbox
  inner.srcdoc = html
  document.body.append(inner)
  setTimeout(() => done(''), 5000)
})
const post = (url, enctype, name, value, target = 'sink') => new Promise(done => {
  const sink = document.createElement('iframe')
  sink.name = target
  document.body.append(sink)
  const form = document.createElement('form')
  Object.assign(form, {method: 'POST', action: url, enctype, target})
  const field = document.createElement('input')
  Object.assign(field, {name, value, type: 'hidden'})
  form.append(field)
  document.body.append(form)
  sink.onload = () => done('')
  form.submit()
  setTimeout(() => done(''), 3000)
})
const loads = (tag, attributes) => new Promise(done => {
  const node = Object.assign(document.createElement(tag), attributes)
  node.onload = () => done('loaded: ' + tag)
  node.onerror = () => done('')
  document.body.append(node)
  setTimeout(() => done(''), 4000)
})
const nested = script => '<script>' + script + '</' + 'script>'
const TELL_SOCKET = url => nested(`
  const ws = new WebSocket('${url}')
  ws.onopen = () => ws.send(JSON.stringify({type: 'hello', proto: 1, config: {}}))
  ws.onmessage = m => parent.postMessage('socket: ' + m.data.slice(0, 80), '*')
  ws.onerror = ws.onclose = () => parent.postMessage('', '*')`)
const TELL_POST = url => nested(`
  fetch('${url}', {method: 'POST', mode: 'no-cors', credentials: 'include', body: '${frame('null')}'})
    .catch(() => 0).then(() => parent.postMessage('', '*'))`)
"""
"""What the pages below do; `$me` is the server's host and port, `$port` its port, `$them` those of the hostile site, `$say` the address
where a session takes messages."""


@dataclass(frozen=True)
class Attack:
    """`at` is the page's own address; an address with the server's port is that of a page from before its name was rebound."""

    name: str
    at: str
    do: str
    opens: bool = False
    """Our own page, which then speaks to its server as it should: only what the attacker's page is told counts."""


STRANGER, NEIGHBOUR, REBOUND = "http://evil.test:$their", "http://localhost:$their", "http://rebound.test:$port"
ATTACKS = [
    Attack("rebound name, WebSocket", REBOUND, "socket('ws://rebound.test:$port/ws')"),
    Attack("rebound name, reads", REBOUND, "read('/api/sessions')"),
    Attack("rebound name, writes", REBOUND, "read('$say', {method: 'POST', body: frame('rebound')})"),
    Attack("rebound name, the page itself", REBOUND, "read('/')"),
    Attack("rebound name, event stream", REBOUND, "read('/api/me', {headers: {accept: 'text/event-stream'}})"),
    Attack("name below localhost, reads", "http://x.localhost:$port", "read('/api/me')"),
    Attack("localhost with a dot, reads", "http://localhost.:$port", "read('/api/me')"),
    Attack("0.0.0.0, reads", "http://0.0.0.0:$port", "read('/api/me')"),
    Attack("0.0.0.0, WebSocket of a stranger", STRANGER, "socket('ws://0.0.0.0:$port/ws')"),
    Attack("0.0.0.0, a stranger writes", STRANGER, "blind('http://0.0.0.0:$port$say')"),
    Attack("stranger, WebSocket to localhost", STRANGER, "socket('ws://localhost:$port/ws')"),
    Attack("stranger, WebSocket to 127.0.0.1", STRANGER, "socket('ws://127.0.0.1:$port/ws')"),
    Attack("stranger writes as plain text", STRANGER, "blind('http://localhost:$port$say')"),
    Attack("stranger, form post", STRANGER, "post('http://localhost:$port$say', 'text/plain', $head, $tail)"),
    Attack("stranger, beacon", STRANGER, "(navigator.sendBeacon('http://localhost:$port$say', frame('beacon')), wait(500))"),
    Attack("stranger frames the page", STRANGER, "frame-the-page"),
    Attack("neighbour's port, WebSocket with the cookie", NEIGHBOUR, "socket('ws://localhost:$port/ws')"),
    Attack("neighbour's port writes with the cookie", NEIGHBOUR, "blind('http://localhost:$port$say')"),
    Attack("neighbour's port, form post with the cookie", NEIGHBOUR,
           "post('http://localhost:$port$say', 'text/plain', $head, $tail)"),
    Attack("neighbour's port, form post in the whole window", NEIGHBOUR,
           "(post('http://localhost:$port$say', 'text/plain', $head, $tail, '_top'), '')"),
    Attack("neighbour's port, beacon with the cookie", NEIGHBOUR,
           "(navigator.sendBeacon('http://localhost:$port$say', frame('beacon')), wait(500))"),
    Attack("neighbour's port, redirect of its own post", NEIGHBOUR,
           "blind('/redirect?to=' + encodeURIComponent('http://localhost:$port$say'))"),
    Attack("neighbour's port, redirected form post", NEIGHBOUR,
           "post('/redirect?to=' + encodeURIComponent('http://localhost:$port$say'), 'text/plain', $head, $tail)"),
    Attack("neighbour's port signs the person out", NEIGHBOUR,
           "blind('http://localhost:$port/api/sign-out', {body: '{}'})"),
    Attack("neighbour's port loads a picture of ours", NEIGHBOUR, "loads('img', {src: 'http://localhost:$port/icon.svg'})"),
    Attack("neighbour's port loads our script", NEIGHBOUR, "loads('script', {src: 'http://localhost:$port/sample/sample.js'})"),
    Attack("neighbour's port frames the page", NEIGHBOUR, "frame-the-page"),
    Attack("null origin, WebSocket from a sandboxed frame", NEIGHBOUR,
           "framed(TELL_SOCKET('ws://localhost:$port/ws'), 'allow-scripts')"),
    Attack("null origin, a sandboxed frame writes", NEIGHBOUR,
           "framed(TELL_POST('http://localhost:$port$say'), 'allow-scripts')"),
    Attack("frame without an address of its own, WebSocket", NEIGHBOUR, "framed(TELL_SOCKET('ws://localhost:$port/ws'))"),
    Attack("worker, WebSocket", NEIGHBOUR, """new Promise(done => {
      const code = `const ws = new WebSocket('ws://localhost:$port/ws')
        ws.onopen = () => ws.send('{"type": "hello", "proto": 1, "config": {}}')
        ws.onmessage = m => postMessage('socket: ' + m.data.slice(0, 80)); ws.onerror = ws.onclose = () => postMessage('')`
      const worker = new Worker(URL.createObjectURL(new Blob([code])))
      worker.onmessage = event => done(event.data) })"""),
]  # fmt: skip
READS_THAT_BROWSERS_REFUSE = [
    Attack("neighbour's port reads", NEIGHBOUR, "read('http://localhost:$port/api/sessions')"),
    Attack("neighbour's port, event stream", NEIGHBOUR, """new Promise(done => {
      const stream = new EventSource('http://localhost:$port$session/events', {withCredentials: true})
      stream.onmessage = event => done(event.data); stream.onerror = () => done('') })"""),
    Attack("neighbour's port deletes", NEIGHBOUR, "read('http://localhost:$port$session', {method: 'DELETE'})"),
    Attack("stranger reads", STRANGER, "read('http://localhost:$port/api/sessions')"),
    Attack("neighbour's port opens the page and looks", NEIGHBOUR, """(async () => {
      const other = open('http://localhost:$port/')
      await wait(1500)
      try { return other.document.title && 'window: ' + other.document.title } catch { return '' } })()""", opens=True),
]  # fmt: skip
"""These fail even without the gate, as no answer of ours carries a CORS header; so they are no proof of it."""


PARTS = 4
"""All of them, in so many tests: they wait more than they work, and run beside each other."""


def by_headers(attack: Attack) -> bool:
    """Whether it is what an answer's headers tell the browser that stops it: the gate lets the request pass."""
    return "frames the page" in attack.name or "loads" in attack.name


class NoGate(Gate):
    """Everybody is the owner, and no header tells the browser anything."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            scope.setdefault("state", {})["principal"] = Principal("owner", "bearer")
        await self.app(scope, receive, send)


class CookieAlone(Gate):
    """What many local servers do: whoever has the cookie is in."""

    def judge(self, scope: Scope) -> Principal | None:
        if scope["path"] == "/sign-in":
            return None
        principal = self.authenticator.by_cookies(headers(scope, b"cookie"))
        if principal is None:
            raise ReconveneError("unauthorized", "You are not signed in here.")
        return principal


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(chromium_path()), args=BROWSER)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site() -> AsyncIterator[HostileSite]:
    site = HostileSite()
    await site.start()
    yield site
    await site.close()


class Field:
    """A server, a browser whose person is signed in to it, and a site that attacks it."""

    def __init__(self, server: Serving, context: BrowserContext, site: HostileSite, session: str) -> None:
        self.server, self.context, self.site, self.session = server, context, site, session
        self.asked = 0

    @classmethod
    async def of(cls, server: Serving, browser: Browser, site: HostileSite) -> Field:
        context = await browser.new_context()
        for host in ("localhost", "127.0.0.1"):
            link = server.ready.new_link().replace("localhost", host)
            answer = await context.request.get(link, max_redirects=0)
            assert answer.status == 303
        row = (await server.sessions.attach(ME, session_id=None, cursor=None, root=None)).session
        await server.sessions.submit(ME, row.id, id="first", text="a question of mine")
        return cls(server, context, site, row.id)

    def filled(self, text: str) -> str:
        # A form can only say `name=value`: what stands between them becomes part of a text in the JSON.
        self.asked += 1
        head, tail = f'{{"type": "default", "id": "form{self.asked}", "content": "x', '"}'
        for sign, value in {
            "$head": json.dumps(head), "$tail": json.dumps(tail), "$port": str(self.server.port), "$their": str(self.site.port),
            "$say": f"/api/sessions/{self.session}/messages", "$session": f"/api/sessions/{self.session}",
        }.items():  # fmt: skip
            text = text.replace(sign, value)
        return text

    async def page_at(self, address: str) -> Page:
        page = await self.context.new_page()
        if f":{self.server.port}" in address:
            # The name led to the attacker's machine when this was loaded. Everything else the page asks for is for us.
            await page.route(
                f"{address}/attack", lambda route: route.fulfill(content_type="text/html", body="<body></body>")
            )
            await page.goto(f"{address}/attack")
        else:
            await page.goto(f"{address}/")
        return page

    def _state(self) -> tuple[int, int, int]:
        metrics = self.server.services.metrics
        return metrics.appends, metrics.handshakes, len(self.server.services.credentials._sign_ins)

    async def attacked(self, attack: Attack) -> tuple[str, int]:
        """What the page got, "" for nothing, and how often the server refused it."""
        metrics = self.server.services.metrics
        before, refused = self._state(), sum(metrics.bad_inputs.values())
        page = await self.page_at(self.filled(attack.at))
        try:
            if attack.do == "frame-the-page":
                got = await self._frame(page)
            else:
                got = await self._run(page, self.filled(attack.do))
            # A post without an answer may still be on its way, on a slow machine for a while.
            end = time.monotonic() + (60 if attack in ATTACKS and not by_headers(attack) else 0)
            while not got and (sum(metrics.bad_inputs.values()), self._state()) == (refused, before):
                if time.monotonic() > end:
                    break
                await asyncio.sleep(0.05)
            after = self._state()
            if not got and after != before and not attack.opens:
                got = f"changed: {before} to {after} (events, sockets, sign-ins)"
        finally:
            await page.close()
        return got, sum(metrics.bad_inputs.values()) - refused

    async def _run(self, page: Page, code: str) -> str:
        got: Any = ""
        # A page that sends its whole window away can tell nothing any more; what it did is seen at the server.
        with contextlib.suppress(Exception):
            got = await page.evaluate(f"async () => {{ {TOOLS}; return await ({code}) }}")
            await page.evaluate("() => new Promise(done => setTimeout(done, 50))")
        await asyncio.sleep(0.3 if not got else 0)  # a post without an answer may still be on its way
        return got if isinstance(got, str) else ""

    async def _frame(self, page: Page) -> str:
        await page.evaluate(
            """url => new Promise(done => {
              const frame = document.createElement('iframe')
              frame.src = url; frame.onload = () => done(); document.body.append(frame); setTimeout(done, 5000) })""",
            f"http://localhost:{self.server.port}/sample",
        )
        inner = page.frames[1]
        title = await inner.title() if inner.url.startswith("http") else ""
        return f"frame: {title}" if title else ""


async def _all(
    server: Serving, browser: Browser, site: HostileSite, attacks: list[Attack]
) -> dict[str, tuple[str, int]]:
    field = await Field.of(server, browser, site)
    got: dict[str, tuple[str, int]] = {}
    for attack in attacks:
        if (
            not server.services.credentials._sign_ins
        ):  # one attack signs the person out; the next finds them signed in again
            await field.context.close()
            field = await Field.of(server, browser, site)
        got[attack.name] = await field.attacked(attack)
    await field.context.close()
    return got


async def _tried(
    server: Serving, browser: Browser, site: HostileSite, attacks: list[Attack]
) -> dict[str, tuple[str, int]]:
    """What came of attacks that must fail."""
    got = await _all(server, browser, site, attacks)
    assert {name: what for name, (what, _) in got.items() if what} == {}
    # Each of those that the gate has to stop was seen and stopped by it, but for what headers forbid the browser to show.
    unseen = [a.name for a in attacks if a in ATTACKS and not got[a.name][1] and not by_headers(a)]
    assert unseen == []
    # The person's own page still works in that very browser.
    field = await Field.of(server, browser, site)
    own = await field.context.new_page()
    await own.goto(f"http://localhost:{server.port}/sample")
    mine = await own.evaluate("fetch('/api/me').then(answer => answer.status)")
    assert mine == 200
    await field.context.close()
    return got


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_page_of_some_gets_in(tmp_path: Path, browser: Browser, site: HostileSite, part: int) -> None:
    async with serving(tmp_path) as server:
        await _tried(server, browser, site, (ATTACKS + READS_THAT_BROWSERS_REFUSE)[part::PARTS])


@pytest.mark.long
async def test_no_page_gets_in(tmp_path: Path, browser: Browser, site: HostileSite) -> None:
    began = time.monotonic()
    async with serving(tmp_path) as server:
        got = await _tried(server, browser, site, ATTACKS + READS_THAT_BROWSERS_REFUSE)
    refused = sum(n for _, n in got.values())
    report(
        PROOF,
        f"{len(got)} ways of a page to get in, tried by a signed-in person's Chromium {browser.version}: 0 get in; "
        f"the gate refused {refused} requests",
        seconds=time.monotonic() - began,
    )


@pytest.mark.long
async def test_without_the_gate_they_get_in(
    tmp_path: Path, browser: Browser, site: HostileSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "Gate", NoGate)
    began = time.monotonic()
    async with serving(tmp_path) as server:
        got = await _all(server, browser, site, [a for a in ATTACKS if "signs the person out" not in a.name])
    outside = [name for name, (what, _) in got.items() if not what]
    assert outside == []
    report(PROOF, control=f"without the gate {len(got)} of {len(got)} get in", seconds=time.monotonic() - began)


@pytest.mark.long
async def test_with_the_cookie_alone_neighbours_get_in(
    tmp_path: Path, browser: Browser, site: HostileSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "Gate", CookieAlone)
    began = time.monotonic()
    async with serving(tmp_path) as server:
        attacks = [a for a in ATTACKS if a.at == NEIGHBOUR]
        got = await _all(server, browser, site, attacks)
    inside = [name for name, (what, _) in got.items() if what]
    assert {
        "neighbour's port, WebSocket with the cookie",
        "neighbour's port writes with the cookie",
        "neighbour's port, form post with the cookie",
        "neighbour's port signs the person out",
    } <= set(inside), got
    report(PROOF, control=f"with SameSite=Strict alone {len(inside)} of {len(got)} of a neighbour's port get in",
           seconds=time.monotonic() - began)  # fmt: skip
