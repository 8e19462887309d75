"""Hostile text in every place of the page that shows text of others, in a real Chromium: no script runs, no request leaves.

Three defences stand one behind the other: HTML is shown as text, DOMPurify, and the page's content security policy with Trusted Types.
The controls take them away.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from chromium import chromium_path
from hostile_site import BROWSER, HostileSite
from model_provider import MODEL, Provider, do, say
from payloads import CALLS, CLOBBER, LEAVES, SCRIPTS, payloads
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from real_server import Server
from shown import PATIENCE, ask, at, drawn, ended, opened

from proof import report

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PROOF = "Hostile answers in the page"
ALL = SCRIPTS + CALLS + CLOBBER + LEAVES
ELEMENTS = (
    "script, img, svg, iframe, object, embed, style, link, base, meta, form, input:not([type=checkbox]), video, audio, "
    "[style], [id], [name]"
)
"""None of which an answer may become."""
WITHOUT_SANITIZER = """
const replace = String.prototype.replace
String.prototype.replace = function (what, by) {
  return ['&amp;', '&lt;', '&gt;', '&quot;'].includes(by) ? String(this) : replace.call(this, what, by)
}
const iterator = Document.prototype.createNodeIterator
Document.prototype.createNodeIterator = function () { return { nextNode: () => null } }
"""
"""Escapes nothing, and DOMPurify finds no node to look at."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(chromium_path()), args=BROWSER)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[HostileSite]:
    site = HostileSite()
    await site.start()
    yield site
    await site.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    await provider.start()
    yield provider
    await provider.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("payloads"), "--model", MODEL, environ=provider.environ)
    server.start()
    yield server
    server.close()


class Harm:
    """What happened in a browser profile that should not have."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.left: list[str] = []
        self.failures: list[str] = []
        """Errors in the page's own code."""

    async def watch(self, context: BrowserContext, server: Server) -> None:
        await context.expose_binding("ran", lambda _source, n=-1: self.ran.append(n))
        context.on("request", lambda request: self.asked(request.url, server))
        context.on("dialog", lambda _dialog: self.ran.append(-2))
        context.on("weberror", lambda error: self.failures.append(str(error.error)))

    def asked(self, url: str, server: Server) -> None:
        if not url.startswith((server.origin + "/", "data:", "blob:" + server.origin)):
            self.left.append(url)


async def shown(page: Page, prompt: str) -> None:
    """Ask, wait for the answer, and touch everything in it."""
    turns = await at(page, "turn").count()
    await ask(page, prompt)
    await ended(page, turns + 1)
    for link in await at(page, "answer-text").last.locator("a, [data-place]").all():
        await link.dispatch_event("mouseover")
        await link.focus()
    await drawn(page)


async def test_no_script_runs_and_no_request_leaves(
    browser: Browser, server: Server, provider: Provider, site: HostileSite
) -> None:
    began = time.monotonic()
    them = f"evil.test:{site.port}"
    texts = payloads(them, ALL)
    context = await browser.new_context()
    harm = Harm()
    await harm.watch(context, server)
    (server.root / "evil.py").write_text("\n".join(f"# {line}" for text in texts for line in text.split("\n")) + "\n")
    (server.root / '"><img src=x onerror=ran(900)>.py').write_text("def hostile_name(): ...\n")
    provider.on("answer", say("\n\n".join(texts)))
    provider.on(
        "tools",
        do(*(("search", {"query": text}) for text in texts[2:6]), ("read_file", {"path": texts[2]})),
        do(("search", {"query": "hostile_name"}), ("read_file", {"path": "evil.py"}), ("repo_map", {})),
        do(("create_plan", {"title": texts[2][:200], "steps": [text[:300] for text in texts[:20]]})),
        do(("no_such<img src=x onerror=ran(901)>", {"<b>": texts[3]})),
        say("It is `evil.py:1`."),
    )
    provider.on(
        "question", do(("ask_user", {"question": "\n\n".join(texts)[:4000], "options": texts[2:10]})), say("Thanks.")
    )
    page = await opened(context, server)
    await shown(page, "answer")
    prose = at(page, "answer-text").locator(".prose")
    assert await prose.locator(ELEMENTS).evaluate_all("nodes => nodes.map(node => node.outerHTML)") == []
    links = await prose.locator("a").evaluate_all("links => links.map(a => [a.protocol, a.rel, a.target])")
    assert links and {tuple(link) for link in links} <= {
        (scheme, "noopener noreferrer nofollow", "_blank") for scheme in ("http:", "https:", "mailto:")
    }
    # Whatever is no link stands there to be read: nothing was swallowed.
    assert "<img src=x onerror=ran(2)>" in (await prose.text_content() or "")
    await shown(page, "tools")
    for step in await page.locator(
        "[data-testid=step] summary, [data-testid=plan] summary, [data-testid=repo-map] summary"
    ).all():
        await step.click()
    await at(page, "answer-text").last.locator("[data-place]").first.click()
    await expect(at(page, "beside")).to_be_visible(timeout=PATIENCE)
    await expect(at(page, "source")).to_contain_text("<script>ran(1)</script>", timeout=PATIENCE)
    await page.keyboard.press("Escape")
    turns = await at(page, "turn").count()
    await ask(page, "question")
    await expect(at(page, "question").last).to_be_visible(timeout=PATIENCE)
    await at(page, "question").locator("label, button").first.hover()
    # What a person pastes, and the title that is made of it, which the first page lists.
    another = await browser.new_context()
    await harm.watch(another, server)
    other = await opened(another, server)
    await ask(other, "\n".join(texts[:30]))
    await ended(other)
    await page.reload()  # all of it once more, from the log in one piece
    await expect(at(page, "turn")).to_have_count(turns + 1, timeout=PATIENCE)
    await drawn(page)
    await page.wait_for_load_state("networkidle")
    assert (harm.ran, harm.left, site.calls) == ([], [], [])
    assert harm.failures == []
    assert page.url.startswith(server.origin)
    await context.close()
    await another.close()
    report(
        PROOF,
        f"{len(ALL)} payloads ({len(SCRIPTS)} that run a script, {len(CALLS) + len(LEAVES)} that call somebody, {len(CLOBBER)} "
        "that clobber the DOM) as answer, plan, question, tool call, code, file name and prompt: 0 scripts run, 0 requests leave",
        seconds=time.monotonic() - began,
    )


@pytest.mark.long
@pytest.mark.parametrize("policy", [True, False], ids=["with-policy", "without"])
async def test_without_the_sanitizer(
    browser: Browser, server: Server, provider: Provider, site: HostileSite, policy: bool
) -> None:
    """The policy alone stops every script and every call but those of a link's and window's own way; without both all bite."""
    them = f"evil.test:{site.port}"
    context = await browser.new_context(bypass_csp=not policy)
    harm = Harm()
    await harm.watch(context, server)
    await context.add_init_script(WITHOUT_SANITIZER)
    provider.on(f"broken {policy}", say("\n\n".join(payloads(them, SCRIPTS + CALLS))))
    page = await opened(context, server)
    await shown(page, f"broken {policy}")
    await page.wait_for_load_state("networkidle")
    ran, called = len(set(harm.ran)), len(set(site.calls))
    await context.close()
    print(f"policy {policy}: ran {sorted(set(harm.ran))}, called {sorted(set(site.calls))}")
    if policy:
        assert (ran, called) == (0, 0)
        report(PROOF, control="with escaping and DOMPurify broken the policy alone still stops every script and call")
    else:
        assert ran >= 5 and called >= 5
        report(PROOF, control=f"with the policy off as well {ran} scripts run and {called} calls leave")
