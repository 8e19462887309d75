"""What a page shows, what its log says it has to show, and whether the two are the same."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

from cut_network import Proxy
from playwright.async_api import BrowserContext, Locator, Page, expect
from real_server import Server

from reconvene.protocol.view import reduce

PATIENCE = 120_000
"""Milliseconds. Long, because the machine may be busy; nothing waits so long that is well."""
expect.set_options(timeout=PATIENCE)

NUMBERS = re.compile(r"(?m)^ *\d+\. ")
"""Of a list, which the page does not have as text."""

SHOWN = """() => {
  const all = (node, id) => [...node.querySelectorAll(`[data-testid=${id}]`)]
  const text = node => {
    const copy = node.cloneNode(true)
    copy.querySelectorAll('button, .sr-only').forEach(part => part.remove())
    return copy.textContent
  }
  return all(document, 'turn').map(turn => ({
    run: turn.dataset.run,
    outcome: turn.dataset.outcome,
    asked: all(turn, 'asked').map(node => node.querySelector('p').textContent),
    texts: all(turn, 'answer-text').map(node => text(node.querySelector('.prose'))),
    steps: all(turn, 'step').map(node => `${node.dataset.tool} ${node.dataset.status}`),
    maps: all(turn, 'repo-map').map(node => node.dataset.reused),
    plan: all(turn, 'plan').flatMap(node => [...node.querySelectorAll('li')].map(text)),
    questions: all(turn, 'question').map(node => node.dataset.question),
    answers: all(turn, 'answered').map(node => node.querySelector('.answer').textContent),
    errors: all(turn, 'error').map(node => node.dataset.code),
  }))
}"""

WATCH = """() => {
  let last = null
  const look = () => {
    const texts = [...document.querySelectorAll('[data-testid=answer-text] .prose')].map(node => node.textContent)
    const now = JSON.stringify(texts)
    if (now !== last) window.sawTexts((last = now, texts))
  }
  new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true })
}"""


def at(page: Page, id: str) -> Locator:
    return page.get_by_test_id(id)


async def live(page: Page) -> None:
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "live")
    await expect(at(page, "link-state")).to_have_attribute("data-synced", "true")


async def lasting(context: BrowserContext, *moments: int) -> None:
    """What pages show for so many ms they show for as long as the test needs: a slow machine would look too late."""
    await context.add_init_script(
        f"""{{ const later = window.setTimeout
        window.setTimeout = (run, ms, ...more) => later(run, {list(moments)}.includes(ms) ? 600_000 : ms, ...more) }}"""
    )


async def opened(context: BrowserContext, server: Server, path: str = "/", via: Proxy | None = None) -> Page:
    """The page in a new tab, signed in and live; `via` a proxy or straight from the server."""
    context.set_default_timeout(PATIENCE)
    await server.sign_in(context)
    page = await context.new_page()
    await page.goto(f"{(via or server).origin}{path}")
    await live(page)
    return page


async def ask(page: Page, prompt: str) -> None:
    await at(page, "prompt").fill(prompt)
    await at(page, "prompt").press("Enter")
    await expect(at(page, "prompt")).to_have_value("")


async def says(page: Page, text: str) -> None:
    """Wait until the latest answer, as far as it goes, is this."""
    await expect(at(page, "answer-text").last).to_have_text(text)


async def ended(page: Page, turns: int = 1, outcome: str = "success") -> None:
    await expect(at(page, "turn")).to_have_count(turns)
    await expect(at(page, "turn").last).to_have_attribute("data-outcome", outcome)


def session_of(page: Page) -> str:
    return page.url.rsplit("/s/", 1)[1]


async def accepted(page: Page) -> None:
    """Wait until the server has whatever was sent from this page: it is drawn before it is accepted."""
    await expect(at(page, "link-state")).to_have_attribute("data-unsent", "0")


async def same_as_log(page: Page, server: Server, patience: float = PATIENCE / 1000) -> list[dict[str, Any]]:
    """The page shows the fold of the log, no more and no less; the log's numbers rise. Returns the log's events."""
    end = time.monotonic() + patience
    while True:
        rows = server.rows(session_of(page))
        wanted, shown = expected(rows), [_words(turn) for turn in await page.evaluate(SHOWN)]
        if wanted == shown or time.monotonic() > end:
            break
        await asyncio.sleep(0.05)  # the page draws a frame later than it knows
    assert shown == wanted, _difference(shown, wanted)
    seqs = [row["seq"] for row in rows]
    assert seqs == sorted(set(seqs))
    ids = [row["content"]["id"] for row in rows if row["type"] == "prompt"]
    assert len(ids) == len(set(ids))
    return rows


def _difference(shown: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> str:
    for here, there in zip(shown, wanted, strict=False):
        for key, value in there.items():
            if here[key] != value:
                return f"turn {here['run']}, {key}: the page has {here[key]}, the log {value}"
    return f"turns: the page has {[turn['run'] for turn in shown]}, the log {[turn['run'] for turn in wanted]}"


def expected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The turns that a page has to show of these events."""
    view = reduce(rows).to_json()
    turns: dict[str, list[dict[str, Any]]] = {}
    for item in view["items"]:
        if not item.get("removed"):
            turns.setdefault(item["run_id"], []).append(item)
    order = {
        run: next((n for n, i in enumerate(view["items"]) if i in items and i["type"] != "prompt"), 10**6)
        for run, items in turns.items()
    }
    shown = []
    for run_id in sorted(turns, key=lambda run: order[run]):
        run, items = view["runs"][run_id], turns[run_id]
        if all(item["type"] == "prompt" for item in items) and run["status"] == "queued" and run["outcome"] is None:
            continue
        shown.append(_turn(run_id, run, items))
    return shown


def _turn(run_id: str, run: dict[str, Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    def of(*types: str) -> list[dict[str, Any]]:
        return [item for item in items if item["type"] in types]

    over, plan = run["outcome"] is not None, run.get("plan")
    # A plan and a question are shown as what they are, not as the steps that made them.
    told = {"create_plan"} if plan else set()
    told |= {"ask_user"} if of("question", "confirmation", "diff") else set()
    steps = []
    for tool in of("tool"):
        ok = None if tool["result"] is None else tool["result"]["ok"]
        if tool["name"] not in told or ok is False:
            status = ("lost" if over else "running") if ok is None else ("ok" if ok else "failed")
            steps.append(f"{tool['name']} {status}")
    asks = of("question", "confirmation")
    return _words(
        {
            "run": run_id,
            "outcome": run["outcome"] or "",
            "asked": [item["text"] for item in of("prompt")],
            "texts": [NUMBERS.sub("", item["text"]) for item in of("text") if item["kind"] == "text"],
            "steps": steps,
            "maps": [str(item["content"]["reused"]).lower() for item in of("repo_map")],
            "plan": [step["title"] for step in plan["steps"]] if plan else [],
            "questions": [] if over else [item["id"] for item in asks if item["settled"] is None],
            "answers": [str(item["settled"]["answer"]) for item in asks if item["settled"]],
            "errors": [item["content"]["code"] for item in of("error")],
        }
    )


def letters(text: str) -> str:
    """A text without the marks of its markdown and its spaces."""
    return "".join(c for c in text if c.isalnum())


def _words(turn: dict[str, Any]) -> dict[str, Any]:
    return {**turn, **{key: [letters(text) for text in turn[key]] for key in ("texts", "plan")}}


class Watch:
    """Every text that any page of a context has drawn, frame by frame, across reloads: what was there for a moment counts too."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    @classmethod
    async def of(cls, context: BrowserContext) -> Watch:
        watch = cls()
        await context.expose_binding("sawTexts", lambda source, texts: watch.seen.append(texts))
        await context.add_init_script(f"({WATCH})()")
        return watch

    def last_was(self, text: str) -> None:
        """No page has drawn more than this yet."""
        assert [letters(shown) for shown in self.seen[-1]] == [letters(text)]

    def only_grew_to(self, *finals: str) -> None:
        """Nothing was ever shown but these texts, in this order, from their beginnings: nothing doubled, mixed or out of place."""
        assert self.seen
        wanted = [letters(final) for final in finals]
        for texts in self.seen:
            assert len(texts) <= len(wanted), texts
            for text, final in zip(texts, wanted, strict=False):
                assert final.startswith(letters(text)), texts


async def written(server: Server, session_id: str, wanted: Callable[[dict[str, Any]], bool], times: int = 1) -> None:
    """Wait until so many events like this are in the log."""
    end = time.monotonic() + PATIENCE / 1000
    while sum(wanted(row) for row in server.rows(session_id)) < times:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def finished(server: Server, session_id: str, runs: int = 1) -> None:
    """Wait until so many runs have ended, whether or not a page knows."""
    await written(server, session_id, lambda row: row["type"] == "completed", runs)


async def drawn(page: Page) -> None:
    """Let two frames pass: what has arrived is on the screen."""
    await page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
