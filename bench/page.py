"""`python -m bench.page [--quick] [--only PART]`: what the page costs in a real Chromium, as one table.

CPU is that of the page's main thread as Chromium's own counters tell it (`Performance.getMetrics` in thread ticks): on a busy
machine the clock says more of others than of the page. Where a person waits, the clock counts; it is the median of several
rounds, and the best beside it.
The servers, the scripted provider and the ways through the page are those of the browser tests.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from playwright.async_api import Browser, BrowserContext, Page, Request, Response, async_playwright

from bench import machine
from bench.page_scroll import EMPTY, Still, Thread, scrolled, scrolled_still, scrolling
from bench.table import Row, percentile, render

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "e2e")]

from chromium import chromium_path  # noqa: E402
from long_session import TURNS, long_log, write  # noqa: E402
from model_provider import MODEL, Hold, Provider, do, say  # noqa: E402
from real_server import Server  # noqa: E402
from shown import ask, at, drawn, opened  # noqa: E402

from reconvene.agents.edit_format import Create  # noqa: E402
from reconvene.agents.edit_format import render as as_answer  # noqa: E402

PARAGRAPH = "The *hub* keeps every session, as `src/hub.py:2` says, until `Hub.sweep` is called. It is **never** called twice.\n\n"
PATIENCE = 120_000
FRAMES = 200
"""Of scrolling, in a round."""
TURN_PX, DIFF_PX = 150, 300
"""How much further each is."""
WANTED = [f"{kind}_{n}" for kind in ("module", "compute", "part") for n in (1, 7, 12, 77, 123, 199, 4)]
WANTED += ["m", "mod", "c", "com", "p", "par"]
"""What is typed after the `@`."""


TYPING_MS = 120
"""Between two keys: somebody types fast."""

WAITS = """() => {
  window.waits = []
  let wanted = null, began = 0
  document.querySelector('[data-testid=prompt]').addEventListener('input', event => {
    began = event.timeStamp
    wanted = /@(\\S*)$/.exec(event.target.value)?.[1] ?? null
  })
  new MutationObserver(() => {
    if (wanted === null || document.querySelector('[data-testid=completions]')?.dataset.of !== wanted) return
    wanted = null
    requestAnimationFrame(() => window.waits.push(performance.now() - began))
  }).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true })
}"""
"""From a key to the frame that shows what was known of just what had been typed."""


TASKS = """window.tasks = []
new PerformanceObserver(list => window.tasks.push(...list.getEntries().map(entry => entry.duration))).observe({ type: 'longtask' })"""


class Bench:
    def __init__(self, browser: Browser, folder: Path, provider: Provider, rounds: int, quick: bool) -> None:
        self.browser, self.folder, self.provider, self.rounds, self.quick = browser, folder, provider, rounds, quick
        self.server = Server(folder / "scripted", "--model", MODEL, environ=provider.environ)

    async def context(self) -> BrowserContext:
        context = await self.browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(PATIENCE)
        return context

    async def first_load(self) -> list[Row]:
        """Nothing in the cache."""
        walls: list[float] = []
        sizes: dict[str, int] = {}
        for _ in range(self.rounds):
            async with await self.context() as context:
                scripts: list[Response] = []
                context.on("response", lambda answer, to=scripts: to.append(answer))
                await self.server.sign_in(context)
                page = await context.new_page()
                began = time.perf_counter()
                await page.goto(self.server.origin)
                await at(page, "empty").wait_for()
                walls.append(1000 * (time.perf_counter() - began))
                for kind in (".js", ".css"):
                    mine = [answer for answer in scripts if answer.url.endswith(kind)]
                    sizes[kind] = sum([(await answer.request.sizes())["responseBodySize"] for answer in mine])
        styles = f"and {sizes['.css'] / 1000:.1f} kB of styles"
        return [
            limited("first load, JavaScript over the wire", sizes[".js"] / 1000, "kB", 90, note=styles),
            Row("… until the empty session is there", clock(walls)),
        ]

    async def long_session(self) -> list[Row]:
        session = self.server.call("POST", "/api/sessions", {})["session_id"]
        rows = long_log()
        self.server.stop()
        await write(self.server, session, rows)
        self.server.start()
        walls: list[float] = []
        cpu: list[float] = []
        frames: list[float] = []
        still: list[float] = []
        empty: list[float] = []
        for _ in range(self.rounds):
            async with await self.context() as context:
                await self.server.sign_in(context)
                page = await context.new_page()
                thread = await Thread.of(page)
                before, began = await thread.ms(), time.perf_counter()
                await page.goto(f"{self.server.origin}/s/{session}")
                await at(page, "turn").last.get_by_text(f"Answer {TURNS},").wait_for()
                await drawn(page)
                walls.append(1000 * (time.perf_counter() - began))
                cpu.append(await thread.ms() - before)
                drawn_now = await Still.of(page, "[data-testid=turn]")
                frames += await scrolled(page, thread, "[data-testid=transcript]", -TURN_PX, FRAMES)
                still += await scrolled_still(context, drawn_now.html(TURNS), -TURN_PX, FRAMES)
                empty += await scrolled_still(context, EMPTY, -TURN_PX, FRAMES)
        return [
            limited("session of 10,000 events: opened", median(walls) / 1000, "s", 1.0, note=clock(walls)),
            Row("… CPU", f"{median(cpu):.0f} ms"),
            scrolling("… scrolled upwards, CPU of a frame", frames, still, empty),
        ]

    async def large_change(self) -> list[Row]:
        lines = tuple(f"value_{n} = compute({n}, 'a text')  # {n}" for n in range(2000))
        self.provider.on("large", do(("update_code", {"task": "Large", "files": []})), say("That was it."))
        self.provider.on("The task:\nLarge", say(as_answer([Create("large.py", lines)])))
        async with await self.context() as context:
            page = await opened(context, self.server)
            await ask(page, "large")
            await at(page, "hunk").wait_for()
            address = page.url
        cpu: list[float] = []
        longest: list[float] = []
        frames: list[float] = []
        still: list[float] = []
        empty: list[float] = []
        for _ in range(self.rounds):
            async with await self.context() as context:
                await self.server.sign_in(context)
                page = await context.new_page()
                await page.add_init_script(TASKS)
                thread = await Thread.of(page)
                await page.goto(self.server.origin)
                await at(page, "empty").wait_for()
                before = await thread.ms()
                await page.evaluate("window.tasks.length = 0")
                await page.evaluate(
                    "path => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')) }",
                    address.partition(self.server.origin)[2],
                )
                await page.locator(".rows .hljs-string").nth(1990).wait_for(state="attached")
                await drawn(page)
                cpu.append(await thread.ms() - before)
                longest.append(await page.evaluate("Math.max(0, ...window.tasks)"))
                frames += await scrolled(page, thread, "[data-testid=transcript]", -DIFF_PX, FRAMES)
                still += await scrolled_still(
                    context, (await Still.of(page, "[data-testid=diff]")).html(1), -DIFF_PX, FRAMES
                )
                empty += await scrolled_still(context, EMPTY, -DIFF_PX, FRAMES)
        return [
            Row("change of 2,000 lines: opened and coloured, CPU", f"{median(cpu):.0f} ms"),
            Row(
                "… longest task", f"{median(longest):.0f} ms", note=f"best {min(longest):.0f}; 0: none of more than 50"
            ),
            scrolling("… scrolled through, CPU of a frame", frames, still, empty),
        ]

    async def long_answer(self) -> list[Row]:
        tokens = 60 if self.quick else 200
        long = PARAGRAPH * (40_000 // len(PARAGRAPH))
        begin, middle, end, over = ([Hold() for _ in range(tokens)], Hold(), [Hold() for _ in range(tokens)], Hold())
        words = [part for hold in begin for part in (hold, "word ")]
        more = [part for hold in end for part in (hold, "word ")]
        self.provider.on("at length", say("Begin.\n\n", *words, middle, f"\n\n{long}", *more, over, "\n\nEnd."))
        async with await self.context() as context:
            page = await opened(context, self.server)
            thread = await Thread.of(page)
            await ask(page, "at length")
            answer = at(page, "answer-text").locator(".prose")
            await answer.get_by_text("Begin.").wait_for()
            early = await self._streamed(page, thread, begin)
            middle.set()
            await page.wait_for_function(
                "n => document.querySelectorAll('.prose > div > div').length >= n",
                arg=1 + long.count("\n\n"),
            )
            await drawn(page)
            late = await self._streamed(page, thread, end)
            over.set()
            await answer.get_by_text("End.").wait_for()
        note = "the floor is the same at the answer's beginning; 100 tokens a second"
        return [limited("a token of an answer, at 40 kB, CPU", late, "ms", 1.0, f"{early:.2f} ms", late / early, note)]

    @staticmethod
    async def _streamed(page: Page, thread: Thread, holds: list[Hold]) -> float:
        """ms of CPU for each token, a hundredth of a second apart."""
        before = await thread.ms()
        for hold in holds:
            hold.set()
            await asyncio.sleep(0.01)
        await page.wait_for_function(
            "n => (document.querySelector('.prose > :last-child').lastElementChild.textContent.match(/word/g) ?? []).length >= n",
            arg=len(holds),
        )
        await drawn(page)
        return (await thread.ms() - before) / len(holds)

    async def completion(self) -> list[Row]:
        files = 2_000 if self.quick else 50_000
        server = Server(self.folder / "many")
        for n in range(files):
            path = server.root / f"part_{n % 250}" / f"module_{n}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"def compute_{n}(value):\n    return value + {n}\n")
        server.start()
        try:
            async with await self.context() as context:
                page = await opened(context, server)
                await page.wait_for_selector("[data-testid=facts][data-phase=ready]", timeout=600_000)
                answers: list[float | None] = []
                page.on("requestfinished", lambda request: answers.append(took(request)))
                await page.evaluate(WAITS)
                box = at(page, "prompt")
                for wanted in WANTED:
                    await box.fill("")
                    await box.press_sequentially(f"@{wanted}", delay=TYPING_MS)
                    await page.locator(f"[data-testid=completions][data-of='{wanted}']").wait_for()
                waits = await page.evaluate("window.waits")
                known = [ms for ms in answers if ms is not None]
                asked = f"95 of 100; median {median(waits):.0f} ms of {len(waits)}, most {max(waits):.0f} ms"
                note = f"95 of 100; median {median(known):.0f} ms of {len(known)}"
                return [
                    limited(
                        f"@ completion, {files:,} files: from a key to its names",
                        percentile(waits, 0.95),
                        "ms",
                        50,
                        note=asked,
                    ),
                    Row("… of it the server's answer", f"{percentile(known, 0.95):.0f} ms", note=note),
                ]
        finally:
            server.close()


def took(request: Request) -> float | None:
    """ms until names were answered; None for other requests."""
    return float(request.timing["responseEnd"]) if "/code/names" in request.url else None


def limited(
    what: str, value: float, unit: str, limit: float, floor: str = "", ratio: float | None = None, note: str = ""
) -> Row:
    digits = 2 if value < 10 else 0
    beside = "" if ratio is None else f"{ratio:.1f}"
    return Row(what, f"{value:.{digits}f} {unit}", floor, beside, f"≤ {limit:g} {unit}", value <= limit, note)


def clock(walls: list[float]) -> str:
    return f"{median(walls):.0f} ms (best {min(walls):.0f})"


async def measured(folder: Path, quick: bool, only: str | None) -> list[Row]:
    provider = Provider()
    await provider.start()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(chromium_path()), args=["--no-sandbox", "--disable-gpu"]
        )
        bench = Bench(browser, folder, provider, 2 if quick else 5, quick)
        parts: dict[str, Callable[[], Awaitable[list[Row]]]] = {
            "load": bench.first_load, "session": bench.long_session, "change": bench.large_change,
            "answer": bench.long_answer, "completion": bench.completion,
        }  # fmt: skip
        bench.server.start()
        try:
            rows: list[Row] = []
            for name, part in parts.items():
                if only in (None, name):
                    print(f"· {name}", file=sys.stderr, flush=True)
                    rows += await part()
            return rows
        finally:
            bench.server.close()
            await browser.close()
            await provider.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a check that it works: two rounds, 2,000 files")
    parser.add_argument("--only", choices=["load", "session", "change", "answer", "completion"], help="one part of it")
    args = parser.parse_args()
    Path("build").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-page-", dir="build")).resolve()
    try:
        others = machine.Others()
        about = machine.description(folder)
        rows = asyncio.run(measured(folder, args.quick, args.only))
        print(f"The page, {time.strftime('%Y-%m-%d %H:%M %Z')}")
        print("\n".join(about))
        print(f"Other programs kept {others.cores():.1f} cores busy.\n")
        print(render(rows))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
