"""What scrolling costs the page's main thread, and what it costs Chromium itself: the same nodes and styles in a page without a script.

Every frame scrolls on by so many pixels, and is over when it has been laid out and painted. The floor is scrolled in the same way, with the
same text: what the page has drawn of it is taken as HTML, with every style, into a page in which nothing runs; its blocks have
`content-visibility: auto` and the height that they have. Below that is a long page with nothing in it: what asking costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from playwright.async_api import BrowserContext, CDPSession, Page

from bench.table import Row, percentile

FRAME_MS = 1000 / 60
SHARE = 0.95

SCROLL = """async ([selector, by]) => {
  let box = document.querySelector(selector)
  while (box && !/auto|scroll/.test(getComputedStyle(box).overflowY)) box = box.parentElement
  box.scrollTop += by
  await new Promise(done => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = done // after the frame has been laid out and painted
    port2.postMessage(null)
  }))
  return by < 0 ? box.scrollTop <= 0 : box.scrollTop + box.clientHeight >= box.scrollHeight - 2
}"""

DRAWN = """selector => {
  const styles = [...document.styleSheets].flatMap(sheet => [...sheet.cssRules].map(rule => rule.cssText))
  const nodes = [...document.querySelectorAll(selector)]
  return [styles.join('\\n'), nodes.map(node => [node.outerHTML, Math.ceil(node.getBoundingClientRect().height)])]
}"""


class Thread:
    """The page's main thread."""

    def __init__(self, devtools: CDPSession) -> None:
        self._devtools = devtools

    @classmethod
    async def of(cls, page: Page) -> Thread:
        devtools = await page.context.new_cdp_session(page)
        await devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        return cls(devtools)

    async def ms(self) -> float:
        """CPU that it has used, in ms."""
        told = await self._devtools.send("Performance.getMetrics")
        return 1000 * next(float(metric["value"]) for metric in told["metrics"] if metric["name"] == "TaskDuration")


async def scrolled(page: Page, thread: Thread, selector: str, by: int, frames: int) -> list[float]:
    """ms of CPU for each frame, so many pixels further each, to the end or for so many frames."""
    costs: list[float] = []
    for _ in range(frames):
        before = await thread.ms()
        over = await page.evaluate(SCROLL, [selector, by])
        costs.append(await thread.ms() - before)
        if over:
            break
    return costs


@dataclass(frozen=True)
class Still:
    """What a page had drawn: its styles, and blocks as HTML with their heights in px."""

    styles: str
    blocks: Sequence[tuple[str, int]]

    @classmethod
    async def of(cls, page: Page, selector: str) -> Still:
        styles, blocks = await page.evaluate(DRAWN, selector)
        return cls(styles, [(html, height) for html, height in blocks])

    def html(self, times: int) -> str:
        """All of it as often, in one box that scrolls."""
        blocks = "".join(
            f'<div style="content-visibility: auto; contain-intrinsic-height: auto {height}px">{html}</div>'
            for html, height in self.blocks
        )
        return in_a_box(blocks * times, self.styles)


def in_a_box(inside: str, styles: str = "") -> str:
    return (
        f"<!doctype html><style>{styles}</style><body style='margin: 0'><div style='height: 100vh; overflow-y: auto'>"
        f"<div data-testid='transcript' style='max-width: 48rem; margin: auto'>{inside}</div></div>"
    )


EMPTY = in_a_box("<div style='height: 1000000px'></div>")


async def scrolled_still(context: BrowserContext, html: str, by: int, frames: int) -> list[float]:
    """The same in a page in which nothing runs; upwards from its end."""
    page = await context.new_page()
    try:
        await page.set_content(html)
        thread = await Thread.of(page)
        if by < 0:
            await page.evaluate(
                "() => { const box = document.body.firstElementChild; box.scrollTop = box.scrollHeight }"
            )
        await scrolled(page, thread, "[data-testid=transcript]", 0, 3)  # its beginning is no scrolling
        return await scrolled(page, thread, "[data-testid=transcript]", by, frames)
    finally:
        await page.close()


def scrolling(what: str, costs: Sequence[float], still: Sequence[float], empty: Sequence[float]) -> Row:
    """Of a hundred frames 95 take less than there is until the next."""
    ours, floor, none = (percentile(each, SHARE) for each in (costs, still, empty))
    note = (
        f"95 of 100; median {median(costs):.1f} ms, most {max(costs):.1f} ms, of {len(costs)} frames. The floor, the same without a "
        f"script: median {median(still):.1f} ms, most {max(still):.1f} ms. A page with nothing in it: {none:.1f} ms, median "
        f"{median(empty):.1f} ms"
    )
    limit = round(FRAME_MS, 1)
    return Row(what, f"{ours:.1f} ms", f"{floor:.1f} ms", f"{ours / floor:.1f}", f"≤ {limit} ms", ours <= limit, note)
