"""What the page costs: bytes before it can be used, and work for each piece of a long answer."""

from __future__ import annotations

import gzip

import pytest
from model_provider import Hold, Provider, say
from playwright.async_api import BrowserContext, Response, expect
from real_server import Server
from shown import ask, at, drawn, ended, opened

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

FIRST_LOAD = 90_000
"""Bytes of JavaScript, compressed."""
PARAGRAPH = "The *hub* keeps every session, as `src/hub.py:2` says, until `Hub.sweep` is called. It is **never** called twice.\n\n"
PIECES = 60


async def test_the_first_load_is_small(context: BrowserContext, server: Server) -> None:
    scripts: list[Response] = []
    context.on("response", lambda answer: scripts.append(answer) if answer.url.endswith(".js") else None)
    page = await opened(context, server)
    await expect(at(page, "empty")).to_be_visible()
    sizes = {answer.url.rsplit("/", 1)[1]: len(gzip.compress(await answer.body(), 9)) for answer in scripts}
    assert sizes and sum(sizes.values()) <= FIRST_LOAD, sizes


async def test_a_piece_of_a_long_answer_costs_what_its_block_costs(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    """Counted, not timed: how many nodes are made anew while the same number of words come, early and 40 kB later."""
    holds = [Hold() for _ in range(4)]
    words = "word " * PIECES
    long = PARAGRAPH * (40_000 // len(PARAGRAPH))
    provider.on(
        "at length", say("Begin.\n\n", holds[0], words, holds[1], f"\n\n{long}", holds[2], words, holds[3], "\n\nEnd.")
    )
    page = await opened(context, server)
    await ask(page, "at length")

    async def nodes(before: Hold, text: str) -> int:
        await page.evaluate(
            """() => {
              window.made = 0
              window.watching?.disconnect()
              window.watching = new MutationObserver(seen => {
                for (const change of seen) window.made += change.addedNodes.length
              })
              window.watching.observe(document.querySelector('.prose'), { subtree: true, childList: true })
            }"""
        )
        before.set()
        await expect(at(page, "answer-text").locator(".prose > :last-child > :last-child")).to_have_text(text)
        await drawn(page)
        return int(await page.evaluate("window.made"))

    await expect(at(page, "answer-text")).to_have_text("Begin.")
    early = await nodes(holds[0], words.strip())
    holds[1].set()
    await expect(at(page, "answer-text").locator(".prose > div > div")).to_have_count(2 + long.count("\n\n"))
    await drawn(page)
    late = await nodes(holds[2], words.strip())
    assert late <= 2 * PIECES + 10, (early, late)  # of some 350 blocks, one or two are drawn for each piece
    holds[3].set()
    await ended(page)
