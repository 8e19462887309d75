"""Coming to the page: signing in, links, and the list of sessions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cut_network import Proxy
from model_provider import Hold, Provider, do, say
from playwright.async_api import Browser, BrowserContext, Page, expect
from real_server import Server
from shown import ask, at, ended, live, opened, same_as_log, session_of

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def listed(page: Page, session: str, state: str) -> None:
    """Wait until the list of sessions says so."""
    entry = page.locator(f"[data-testid=session][data-session={session}]")
    await expect(entry).to_have_attribute("data-state", state)


async def test_a_link_leads_to_its_session(context: BrowserContext, server: Server) -> None:
    page = await opened(context, server)
    await ask(page, "the first session")
    await ended(page)
    first = session_of(page)
    await at(page, "new-session").click()
    await expect(at(page, "empty")).to_be_visible()
    await expect(page).not_to_have_url(re.compile(first))
    await live(page)
    await ask(page, "the second session")
    await ended(page)
    second = session_of(page)
    assert first != second
    await same_as_log(page, server)
    await page.goto(f"{server.origin}/s/{first}")
    await ended(page)
    await same_as_log(page, server)
    await page.locator(f"[data-testid=session][data-session={second}] a").click()
    await expect(page).to_have_url(re.compile(second))
    await expect(at(page, "asked")).to_contain_text("the second session")
    await same_as_log(page, server)
    await page.go_back()
    await expect(at(page, "asked")).to_contain_text("the first session")
    await ended(page)
    await same_as_log(page, server)


async def test_the_list_tells_the_state_of_each_session(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    hold = Hold()
    provider.on("goes on", say("Still", hold, " here."))
    provider.on("waits", do(("ask_user", {"question": "Well?"})), say("Well."))
    page = await opened(context, server)
    sessions: dict[str, str] = {}
    for prompt, state in (("is done", "idle"), ("goes on", "running"), ("waits", "waiting")):
        if sessions:
            before = page.url
            await at(page, "new-session").click()
            await expect(at(page, "empty")).to_be_visible()
            await expect(page).to_have_url(re.compile(r"/s/"))
            await expect(page).not_to_have_url(before)
        await ask(page, prompt)
        sessions[prompt] = session_of(page)
        await listed(page, sessions[prompt], state)
    await page.reload()
    await live(page)
    for prompt, state in (("is done", "idle"), ("goes on", "running"), ("waits", "waiting")):
        await listed(page, sessions[prompt], state)
        entry = page.locator(f"[data-testid=session][data-session={sessions[prompt]}]")
        await expect(entry).to_contain_text(prompt)
    hold.set()
    await at(page, "answer").fill("well")
    await at(page, "send-answer").click()
    await listed(page, sessions["waits"], "idle")
    await page.reload()
    await listed(page, sessions["goes on"], "idle")


async def test_a_session_is_renamed_pinned_and_archived(context: BrowserContext, server: Server) -> None:
    page = await opened(context, server)
    await ask(page, "to be renamed")
    await ended(page)
    session = session_of(page)
    entry = page.locator(f"[data-testid=session][data-session={session}]")

    async def choose(name: str) -> None:
        await entry.hover()
        await entry.get_by_test_id("session-menu").click()
        await entry.get_by_role("button", name=name, exact=True).click()

    def kept() -> Any:
        return page.expect_response(lambda answer: answer.request.method == "PATCH" and answer.ok)

    await choose("Rename")
    await at(page, "rename").fill("A better name")
    async with kept():
        await at(page, "rename").press("Enter")
    await expect(page.locator("h1")).to_have_text("A better name")
    async with kept():
        await choose("Pin")
    await expect(at(page, "session").first).to_have_attribute("data-session", session)
    async with kept():
        await choose("Unpin")
    async with kept():
        await choose("Archive")
    await expect(page.get_by_role("button", name=re.compile("^Archived"))).to_be_visible()
    known = server.call("GET", f"/api/sessions/{session}")
    assert (known["title"], known["pinned"], known["archived"]) == ("A better name", False, True)


async def test_a_deleted_session_is_said_to_be_gone(context: BrowserContext, server: Server) -> None:
    page = await opened(context, server)
    await ask(page, "to be deleted")
    await ended(page)
    session = session_of(page)
    server.call("DELETE", f"/api/sessions/{session}")
    await expect(at(page, "stopped")).to_have_attribute("data-reason", "gone")
    await at(page, "stopped").get_by_role("button").click()
    await expect(at(page, "empty")).to_be_visible()
    await expect(page).not_to_have_url(re.compile(session))


async def test_one_of_several_code_bases_is_chosen(context: BrowserContext, tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        server.start()
        other = tmp_path / "other"
        other.mkdir()
        server.call("POST", "/api/roots", {"path": str(other)})
        page = await opened(context, server)
        await expect(at(page, "workspace")).to_have_text("project")
        await at(page, "root").click()
        await expect(at(page, "workspace")).to_have_text("other")
        await live(page)
        assert server.call("GET", f"/api/sessions/{session_of(page)}")["root"] == str(other.resolve())
    finally:
        server.close()


async def test_signing_in(browser: Browser, context: BrowserContext, server: Server) -> None:
    page = await context.new_page()
    answer = await page.goto(server.origin)
    assert answer is not None and answer.status == 401
    await expect(page.locator("body")).to_contain_text("reconvene open")
    link = server.new_link()
    await page.goto(link)
    await live(page)
    assert "?" not in page.url  # the link's secret is in no address that is kept
    await page.goto(link)  # used, but this browser is signed in
    await live(page)
    async with await browser.new_context() as stranger:
        tab = await stranger.new_page()
        answer = await tab.goto(link)
        assert answer is not None and answer.status == 403
        await expect(tab.locator("body")).to_contain_text("reconvene open")
        answer = await tab.goto(server.origin)
        assert answer is not None and answer.status == 401


async def test_a_sign_in_that_has_ended_is_said(context: BrowserContext, server: Server, proxy: Proxy) -> None:
    """Without its cookie the page is refused when it connects again, stops, and is live after another link."""
    page = await opened(context, server, via=proxy)
    await ask(page, "before it ended")
    await ended(page)
    await context.clear_cookies()
    proxy.break_all()
    await expect(at(page, "stopped")).to_have_attribute("data-reason", "sign-in")
    await expect(at(page, "stopped")).to_contain_text("reconvene open")
    await ask(page, "kept while signed out")
    await server.sign_in(context)
    await at(page, "stopped").get_by_role("button").click()
    await ended(page, turns=2)
    await same_as_log(page, server)


@pytest.mark.parametrize("id", ["s_" + "A" * 22, "garbage"], ids=["unknown", "garbage"])
async def test_a_link_to_no_session(context: BrowserContext, server: Server, id: str) -> None:
    page = await opened(context, server, f"/s/{id}")
    await expect(page).not_to_have_url(re.compile(f"/s/{id}$"))
    if id.startswith("s_"):
        await expect(at(page, "fresh-reason")).to_contain_text("does not know")
    await ask(page, f"after {id}")
    await ended(page)
    await same_as_log(page, server)
