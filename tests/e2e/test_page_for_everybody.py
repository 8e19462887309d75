"""Every view around the conversation, for who does not see it, sees little, uses no pointer or a narrow screen; and a long session."""

from __future__ import annotations

import re

import accessible
import pytest
from long_session import STEPS, TURNS, long_log, write
from model_provider import Provider, do, say
from playwright.async_api import Browser, BrowserContext, expect
from real_server import Server
from shown import ask, at, ended, live, opened, session_of

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("width", [1440, 320])
async def test_every_view_around_the_conversation_is_for_everybody(
    browser: Browser, offline_server: Server, width: int
) -> None:
    async with await browser.new_context(viewport={"width": width, "height": 800}, reduced_motion="reduce") as context:
        page = await opened(context, offline_server)
        narrow = width < 800

        async def clean(name: str) -> None:
            await accessible.clean(page, view=name)
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} px wide"

        await expect(at(page, "facts")).to_have_attribute("data-phase", "ready")
        await clean("empty")
        await ask(page, "Where are idle sessions swept?")
        await ended(page)
        await at(page, "turn").locator(".said").first.hover()
        await clean("answered")
        await at(page, "open-map").click()
        await expect(at(page, "map-file").first).to_be_visible()
        await clean("map")
        await at(page, "view-picture").click()
        await expect(at(page, "cell").first).to_be_visible()
        await clean("picture")
        await at(page, "view-table").click()
        await expect(at(page, "picture-table")).to_be_visible()
        await clean("table")
        await at(page, "view-list").click()
        await at(page, "map-symbol").first.click()
        await expect(at(page, "definition").first).to_be_visible()
        await clean("places of a name")
        await at(page, "close-map").click()
        await at(page, "prompt").press_sequentially("@hu")
        await expect(at(page, "completion").first).to_be_visible()
        await expect(at(page, "completions")).to_have_attribute("aria-busy", "false")
        await clean("completion")
        await at(page, "prompt").fill("")
        await page.keyboard.press("Control+k")
        await expect(at(page, "palette-input")).to_be_focused()
        await page.keyboard.type("hub")
        await expect(at(page, "choice").filter(has_text="src/hub.py").first).to_be_visible()
        await clean("palette")
        await page.keyboard.press("Escape")
        await expect(at(page, "palette")).to_have_count(0)  # it gives the focus back when it goes
        await page.evaluate("document.activeElement.blur()")
        await page.keyboard.press("?")
        await expect(at(page, "keys")).to_be_visible()
        await clean("keys")
        await page.keyboard.press("Escape")
        if narrow:
            await at(page, "menu").click()
        entry = page.locator(f"[data-testid=session][data-session={session_of(page)}]")
        await entry.hover()
        await entry.get_by_test_id("session-menu").click()
        await expect(at(page, "stay")).to_be_visible()
        await clean("menu of a session")
        await page.keyboard.press("Escape")
        await at(page, "find").fill("idle")
        await expect(at(page, "hit").first).to_be_visible()
        await clean("found")


async def test_finished_blocks_are_told_and_nothing_else(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    provider.on("tell me", do(("search", {"query": "hub"})), say("First ", "block.\n\n", "Second ", "block."))
    page = await opened(context, server)
    await page.evaluate(
        "window.heard = [], new MutationObserver(all => all.forEach(m => m.addedNodes.forEach("
        "n => n.nodeType === 1 && window.heard.push(n.textContent))))"
        ".observe(document.querySelector('[data-testid=spoken]'), { childList: true })"
    )
    await ask(page, "tell me")
    await ended(page)
    await expect(at(page, "spoken")).to_contain_text("Second block.")
    assert await page.evaluate("window.heard") == ["First block.", "Second block."]


async def test_a_session_of_ten_thousand_events_opens_by_drawing_little(
    context: BrowserContext, server: Server, offline_server: Server
) -> None:
    """What is counted is work: how much is drawn when it opens, and what a further page of it costs. Times are printed."""
    session = offline_server.call("POST", "/api/sessions", {})["session_id"]
    rows = long_log()
    assert len(rows) >= 9_900
    offline_server.stop()
    await write(offline_server, session, rows)
    offline_server.start()
    page = await opened(context, offline_server, f"/s/{session}")
    await expect(at(page, "turn").last).to_contain_text(f"Answer {TURNS}")
    turns, nodes = await at(page, "turn").count(), await page.evaluate("document.querySelectorAll('*').length")
    assert turns <= 12 and nodes < 3_000, (turns, nodes)
    again = await page.evaluate("performance.now()")
    await page.reload()
    await live(page)
    await expect(at(page, "turn").last).to_contain_text(f"Answer {TURNS}")
    opened_ms = await page.evaluate("performance.now()")
    # Upwards, to the beginning, turn by turn, without what is read being moved.
    await at(page, "transcript").evaluate("node => node.parentElement.scrollTop = 0")
    await page.wait_for_function("n => document.querySelectorAll('[data-testid=turn]').length > n", arg=turns)
    print(
        f"{len(rows)} events, {turns} turns and {nodes} elements at first; opened again in {opened_ms:.0f} ms ({again:.0f})"
    )
    # Of a turn that is out of sight its steps are drawn as the reader comes near, and all of them when it is gone to.
    above = at(page, "turn").first
    await expect(above).to_have_attribute("data-run", f"r{TURNS - turns}")
    assert await above.get_by_test_id("step").count() < STEPS
    await above.locator("h2").scroll_into_view_if_needed()
    await expect(above.get_by_test_id("step").nth(16)).to_be_attached()
    await page.wait_for_function("n => document.querySelectorAll('[data-testid=turn]').length > n", arg=turns + 1)
    middle = len(rows) * (TURNS - turns - 2) // TURNS + STEPS  # a call in the middle of the turn above that
    await page.evaluate(f"location.hash = '#e{middle}'")
    await expect(page.locator(":focus").get_by_test_id("step")).to_be_visible()
    await expect(page.locator(":focus")).to_be_in_viewport()
    # A link to the first message draws up to it.
    await page.goto("about:blank")
    await page.goto(f"{offline_server.origin}/s/{session}#e1")
    await expect(page.locator("#e1")).to_be_focused()
    await expect(page.locator("#e1")).to_contain_text("Question 1")
    await expect(page.locator("#e1")).to_be_in_viewport()
    assert re.search(r"#e1$", page.url)
    assert await at(page, "turn").count() <= 2 * turns
    # Downwards from there, and to the end at once.
    await at(page, "later").scroll_into_view_if_needed()
    await expect(at(page, "turn").nth(turns)).to_be_attached()
    assert await at(page, "spoken").inner_text() == ""  # what is merely drawn is not told
    await at(page, "latest").click()
    await expect(at(page, "turn").last).to_contain_text(f"Answer {TURNS}")
    await expect(at(page, "turn")).to_have_count(turns)
