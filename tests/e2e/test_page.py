"""The built page in a real Chromium, through refreshes, cut networks, killed servers, sleep and second tabs.

Each test ends by comparing what the page shows with the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, expect

from conftest import Proxy, Server

pytestmark = pytest.mark.browser

QUESTION = "Where are idle sessions swept?"
SLOW = "25"
"""Milliseconds a word: an answer of some seconds, to be interrupted."""


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    """The page is reached through it; it stands up before the server, which has to know its address."""
    proxy = Proxy(0)
    await proxy.start()
    yield proxy
    await proxy.close()


def at(page: Page, id: str) -> Any:
    return page.get_by_test_id(id)


async def opened(context: BrowserContext, server: Server, *args: str) -> Page:
    page = await context.new_page()
    await page.goto(server.start(*args))
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "live")
    return page


async def through(context: BrowserContext, server: Server, proxy: Proxy) -> Page:
    """The page by way of the proxy."""
    url = server.start("--public-url", f"http://localhost:{proxy.port}")
    proxy.target = server.port
    page = await context.new_page()
    await page.goto(f"http://localhost:{proxy.port}/{url.split('/', 3)[3]}")
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "live")
    return page


async def ask(page: Page, prompt: str = QUESTION) -> None:
    await at(page, "prompt").fill(prompt)
    await at(page, "send").click()


async def streaming(page: Page, letters: int = 60) -> str:
    """Wait until some of the answer is there, and return it."""
    text = at(page, "answer-text").last
    await expect(text).to_be_visible(timeout=20_000)
    await page.wait_for_function(
        "n => [...document.querySelectorAll('[data-testid=answer-text]')].at(-1)?.innerText.length > n",
        arg=letters,
    )
    return str(await text.inner_text())


async def ended(page: Page, turns: int = 1) -> None:
    last = at(page, "turn").nth(turns - 1)
    await expect(last).to_have_attribute("data-outcome", "success", timeout=45_000)


async def session_of(page: Page) -> str:
    return str(await page.evaluate("localStorage.getItem('sessionId')"))


async def same_as_log(page: Page, server: Server, *, prompts: int = 1) -> list[dict[str, Any]]:
    """Every prompt once, every run ended, and the page's texts are those of the log."""
    rows = server.rows(await session_of(page))
    assert sum(r["type"] == "prompt" for r in rows) == prompts
    assert [r["content"]["outcome"] for r in rows if r["type"] == "completed"] == ["success"] * prompts
    seqs = [r["seq"] for r in rows]
    assert seqs == sorted(set(seqs))
    messages = [r["content"]["text"] for r in rows if r["type"] == "message" and r["content"]["kind"] == "text"]
    shown = await at(page, "answer-text").all_inner_texts()
    assert len(shown) == len(messages)
    for text, message in zip(shown, messages, strict=True):
        # markdown's marks and the button on a piece of code aside, nothing is missing and nothing is there twice
        assert letters(text).replace("Copy", "") == letters(message)
    return rows


def letters(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


async def test_a_question_is_answered_with_places(context: BrowserContext, server: Server) -> None:
    page = await opened(context, server)
    await ask(page)
    await ended(page)
    await expect(at(page, "step").first).to_be_visible()
    assert "src/hub.py" in await at(page, "transcript").inner_text()
    await same_as_log(page, server)


async def test_refresh_in_the_middle_of_a_token(context: BrowserContext, server: Server) -> None:
    server.environ["RECONVENE_OFFLINE_DELAY_MS"] = SLOW
    page = await opened(context, server)
    await ask(page)
    before = await streaming(page)
    await page.reload()
    after = await streaming(page, len(before) - 1)
    assert after.startswith(before[:40])
    await ended(page)
    rows = await same_as_log(page, server)
    assert not any(r["type"] == "item_aborted" for r in rows)


async def test_a_network_cut_in_the_middle_of_a_frame(context: BrowserContext, server: Server, proxy: Proxy) -> None:
    server.environ["RECONVENE_OFFLINE_DELAY_MS"] = SLOW
    page = await through(context, server, proxy)
    await ask(page)
    await streaming(page)
    for _ in range(3):
        connections = proxy.connections
        proxy.cut_after = proxy.bytes + 700
        while proxy.connections == connections:  # cut, and connected again by itself
            await asyncio.sleep(0.02)
    await ended(page)
    await same_as_log(page, server)


async def test_a_network_that_is_away_for_a_while(context: BrowserContext, server: Server, proxy: Proxy) -> None:
    server.environ["RECONVENE_OFFLINE_DELAY_MS"] = SLOW
    page = await through(context, server, proxy)
    await ask(page)
    await streaming(page)
    proxy.down()
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "waiting")
    await expect(at(page, "link-state")).to_contain_text("Reconnecting")
    proxy.up()
    await expect(at(page, "link-state")).to_contain_text("nothing lost", timeout=20_000)
    await ended(page)
    await same_as_log(page, server)


async def test_the_server_is_killed_and_comes_back(context: BrowserContext, server: Server) -> None:
    """The page is told nothing. The run goes on by itself, what was half written is written anew, once."""
    server.environ["RECONVENE_OFFLINE_DELAY_MS"] = SLOW
    page = await opened(context, server)
    await ask(page)
    await streaming(page)
    server.kill()
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "waiting")
    server.start()
    await ended(page)
    rows = await same_as_log(page, server)
    assert [r["content"]["status"] for r in rows if r["type"] == "run"] == [
        "queued",
        "running",
        "recovering",
        "running",
    ]
    assert sum(r["type"] == "item_aborted" for r in rows) == 1


async def test_a_prompt_written_offline_is_sent_once(context: BrowserContext, server: Server, proxy: Proxy) -> None:
    page = await through(context, server, proxy)
    await ask(page)
    await ended(page)
    proxy.down()
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "waiting")
    await ask(page, "What does the hub do?")
    await expect(at(page, "outgoing")).to_have_count(1)
    await expect(at(page, "link-state")).to_contain_text("1 message")
    proxy.up()
    await ended(page, turns=2)
    await expect(at(page, "outgoing")).to_have_count(0)
    await same_as_log(page, server, prompts=2)


async def test_a_prompt_whose_acknowledgement_was_lost_survives_a_reload(
    context: BrowserContext, server: Server, proxy: Proxy
) -> None:
    page = await through(context, server, proxy)
    await ask(page)
    await ended(page)
    proxy.down()
    await ask(page, "What does the hub do?")
    await expect(at(page, "outgoing")).to_have_count(1)
    proxy.up()
    await page.reload()
    await ended(page, turns=2)
    await same_as_log(page, server, prompts=2)


async def test_two_tabs_see_the_same_and_who_answered(context: BrowserContext, server: Server) -> None:
    first = await opened(context, server)
    await ask(first, "fix it")
    await expect(at(first, "question")).to_be_visible(timeout=20_000)
    second = await context.new_page()
    await second.goto(f"{server.origin}/s/{await session_of(first)}")
    await expect(at(second, "question")).to_be_visible()
    await at(second, "answer").fill(QUESTION)
    await at(second, "send-answer").click()
    for page in (first, second):
        await expect(at(page, "answered")).to_be_visible()
        await expect(at(page, "question")).to_have_count(0)
        await ended(page)
        await same_as_log(page, server)


async def test_a_question_waits_through_a_restart(context: BrowserContext, server: Server) -> None:
    page = await opened(context, server)
    await ask(page, "fix it")
    await expect(at(page, "question")).to_be_visible(timeout=20_000)
    server.kill()
    server.start()
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "live", timeout=20_000)
    await at(page, "answer").fill(QUESTION)
    await at(page, "send-answer").click()
    await ended(page)
    await same_as_log(page, server)


async def test_a_page_that_slept_finds_out(context: BrowserContext, server: Server, proxy: Proxy) -> None:
    """The clock jumps an hour, as after a closed lid: the connection is not trusted, and the page is there again."""
    page = await context.new_page()
    await page.clock.install()
    url = server.start("--public-url", f"http://localhost:{proxy.port}")
    proxy.target = server.port
    await page.goto(f"http://localhost:{proxy.port}/{url.split('/', 3)[3]}")
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "live")
    connections = proxy.connections
    await page.clock.fast_forward("01:00:00")
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    while proxy.connections == connections:
        await page.clock.run_for(500)
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "live")
    await ask(page)
    await page.clock.resume()
    await ended(page)
    await same_as_log(page, server)


async def test_stop_keeps_what_was_said(context: BrowserContext, server: Server) -> None:
    server.environ["RECONVENE_OFFLINE_DELAY_MS"] = SLOW
    page = await opened(context, server)
    await ask(page)
    await streaming(page)
    await at(page, "stop").click()
    await expect(at(page, "turn").first).to_have_attribute("data-outcome", "cancelled")
    assert len(await at(page, "answer-text").last.inner_text()) > 40
    rows = server.rows(await session_of(page))
    assert [r["content"]["outcome"] for r in rows if r["type"] == "completed"] == ["cancelled"]


async def test_prompts_wait_in_the_queue(context: BrowserContext, server: Server) -> None:
    server.environ["RECONVENE_OFFLINE_DELAY_MS"] = "40"
    page = await opened(context, server)
    await ask(page)
    await streaming(page)
    await ask(page, "What does the hub do?")
    await expect(at(page, "queued")).to_have_count(1)
    await ended(page, turns=2)
    await same_as_log(page, server, prompts=2)


async def test_signing_in(context: BrowserContext, server: Server) -> None:
    page = await context.new_page()
    link = server.start()
    answer = await page.goto(server.origin)
    assert answer is not None and answer.status == 401 and "reconvene open" in await page.inner_text("body")
    await page.goto(link)
    await expect(at(page, "prompt")).to_be_visible()
    await page.goto(link)  # used, but signed in already
    await expect(at(page, "prompt")).to_be_visible()
    stranger = await (await context.browser.new_context()).new_page()  # type: ignore[union-attr]
    answer = await stranger.goto(link)
    assert answer is not None and answer.status == 403
