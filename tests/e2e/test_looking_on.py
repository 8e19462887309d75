"""Somebody with a link to a session: sees it live in the page, and is offered nothing that would change it."""

from __future__ import annotations

import pytest
from accessible import clean
from model_provider import Hold, Provider, do, say
from playwright.async_api import Browser, BrowserContext, expect
from real_server import Server
from shown import ask, at, ended, opened, session_of

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_viewer_follows_live_and_has_nothing_to_press(
    browser: Browser, context: BrowserContext, server: Server, provider: Provider
) -> None:
    hold = Hold()
    provider.on("is looked at", do(("ask_user", {"question": "Which one?"})), say("It goes", hold, " on."))
    page = await opened(context, server)
    await ask(page, "is looked at")
    await expect(at(page, "question")).to_be_visible()
    link = server.call("POST", f"/api/sessions/{session_of(page)}/links", {"days": 1})
    elsewhere = await browser.new_context()
    try:
        viewer = await elsewhere.new_page()
        await viewer.goto(link["url"])
        await expect(at(viewer, "asked")).to_contain_text("is looked at")
        await expect(at(viewer, "looks-on")).to_be_visible()
        await expect(at(viewer, "question")).to_contain_text("will answer")
        for control in ("answer", "new-session", "menu", "open-map", "edit-mode"):
            await expect(at(viewer, control)).to_have_count(0)
        await at(page, "answer").fill("the first")
        await at(page, "send-answer").click()
        await expect(at(viewer, "answer-text")).to_contain_text("It goes")
        hold.set()
        await ended(page)
        await expect(at(viewer, "answer-text")).to_contain_text("It goes on.")
        await clean(viewer)
        await viewer.reload()
        await expect(at(viewer, "answer-text")).to_contain_text("It goes on.")
        server.call("DELETE", f"/api/sessions/{session_of(page)}/links/{link['id']}")
        await expect(at(viewer, "stopped")).to_be_visible()
    finally:
        await elsewhere.close()
