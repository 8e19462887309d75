"""Pictures of the page for people to look at: `make screenshots` leaves them in `build/screenshots`."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect
from test_page import ask, at, ended, streaming

from conftest import Server

pytestmark = pytest.mark.browser

FOLDER = Path(__file__).parents[2] / "build" / "screenshots"
SIZES = {"wide": (1440, 900), "narrow": (320, 640)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_every_view_is_drawn(browser: Browser, server: Server, scheme: str, size: str) -> None:
    """Empty, running, answered, asking, reconnecting; no view is wider than the window and nothing is logged as an error."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    width, height = SIZES[size]
    context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda e: complaints.append(str(e)))
    server.environ["RECONVENE_OFFLINE_DELAY_MS"] = "25"

    async def picture(name: str) -> None:
        await page.screenshot(path=FOLDER / f"{name}-{scheme}-{size}.png")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
            f"{name} is wider than {width}"
        )

    await page.goto(server.start())
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "live")
    await picture("empty")
    await ask(page, "fix it")
    await expect(at(page, "question")).to_be_visible(timeout=20_000)
    await picture("question")
    await at(page, "answer").fill("Where are idle sessions swept?")
    await at(page, "send-answer").click()
    await streaming(page, 20)
    await picture("running")
    await ended(page)
    await picture("answered")
    server.kill()
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "waiting")
    await picture("reconnecting")
    await context.close()
    assert not complaints
