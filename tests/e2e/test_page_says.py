"""What the page says without being asked: how the link is, what waits, what goes on, what was kept; and that it takes nobody's place."""

from __future__ import annotations

import re
from typing import Any

import pytest
from accessible import clean
from changed_events import changed
from cut_network import Proxy
from model_provider import Hold, Provider, do, say
from playwright.async_api import BrowserContext, WebSocketRoute, expect
from real_server import Server
from shown import ask, at, drawn, ended, lasting, live, opened, same_as_log, says, session_of

SURE_MS = 2000
"""Within which Esc has to be pressed once more."""
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_machine_without_a_network_says_so_and_what_it_holds(
    context: BrowserContext, server: Server, proxy: Proxy
) -> None:
    page = await opened(context, server, via=proxy)
    await ask(page, "before the flight")
    await ended(page)
    await context.set_offline(True)
    proxy.down()
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "offline")
    await ask(page, "above the clouds")
    await expect(at(page, "link-state")).to_contain_text("Offline · 1 message waiting")
    await expect(at(page, "link-state").get_by_role("status")).to_have_text("Offline")
    await clean(page)
    assert "refresh" not in (await page.locator("main").inner_text()).lower()
    await context.set_offline(False)
    proxy.up()
    await ended(page, turns=2)
    await expect(at(page, "outgoing")).to_have_count(0)
    await same_as_log(page, server)


async def test_who_does_not_want_to_wait_tries_at_once(context: BrowserContext, server: Server, proxy: Proxy) -> None:
    """The clock of the page stands still: nothing but the button can have connected it."""
    await server.sign_in(context)
    page = await context.new_page()
    await page.clock.install()
    await page.goto(proxy.origin)
    await live(page)
    proxy.down()
    await page.clock.pause_at("2050-01-01")
    while not await at(page, "try-now").is_visible():
        await page.clock.run_for(20)
    await expect(at(page, "link-state")).to_contain_text(re.compile(r"Reconnecting"))
    # What was tried just now has been refused before this is.
    await page.evaluate("fetch('/api/me').catch(() => null)")
    sockets = proxy.sockets
    proxy.up()
    assert proxy.sockets == sockets
    await at(page, "try-now").click()
    await proxy.connected_again(sockets)


@pytest.mark.parametrize("event", ["visibilitychange", "pageshow", "online", "focus", "resume"])
async def test_who_comes_back_is_connected_at_once(
    context: BrowserContext, server: Server, proxy: Proxy, event: str
) -> None:
    """Seen again, shown again, a network again, gone to, thawed. The clock of the page stands still: nothing else can have done it."""
    await server.sign_in(context)
    page = await context.new_page()
    await page.clock.install()
    await page.goto(proxy.origin)
    await live(page)
    proxy.down()
    await page.clock.pause_at("2050-01-01")
    while not await at(page, "try-now").is_visible():
        await page.clock.run_for(20)
    await page.evaluate("fetch('/api/me').catch(() => null)")  # what was tried just now has been refused before this is
    sockets = proxy.sockets
    proxy.up()
    of = "document" if event in ("visibilitychange", "resume") else "window"
    # A try that was under way may be refused only now; then it is the next time that somebody comes back.
    while proxy.sockets == sockets:
        await page.evaluate(f"{of}.dispatchEvent(new Event('{event}'))")
        await page.evaluate("fetch('/api/me').catch(() => null)")
    await proxy.connected_again(sockets)


async def test_what_is_being_written_is_there_after_a_reload(context: BrowserContext, server: Server) -> None:
    page = await opened(context, server)
    await ask(page, "the first")
    await ended(page)
    await at(page, "prompt").fill("half of a thought")
    await page.reload()
    await expect(at(page, "prompt")).to_have_value("half of a thought")
    # It belongs to its session.
    await at(page, "new-session").click()
    await expect(at(page, "empty")).to_be_visible()
    await expect(at(page, "prompt")).to_have_value("")
    await page.go_back()
    await expect(at(page, "prompt")).to_have_value("half of a thought")
    await at(page, "prompt").fill("")
    await page.reload()
    await expect(at(page, "asked")).to_have_count(1)
    await expect(at(page, "prompt")).to_have_value("")


async def test_who_begins_anew_while_a_session_is_loaded_is_in_a_new_one(
    context: BrowserContext, server: Server
) -> None:
    """A session of which nothing has come yet is not an empty one."""
    page = await opened(context, server)
    await ask(page, "the first")
    await ended(page)
    silent = True

    def route(socket: WebSocketRoute) -> None:
        served = socket.connect_to_server()
        if silent:
            served.on_message(lambda _message: None)

    await page.route_web_socket(re.compile("/ws$"), route)
    await page.reload()
    await expect(page.get_by_text("Loading the session…")).to_be_visible()
    silent = False
    await at(page, "new-session").click()
    await expect(at(page, "empty")).to_be_visible()
    # A new one that is there already is not made again.
    session = session_of(page)
    await at(page, "new-session").click()
    await expect(at(page, "prompt")).to_be_focused()
    assert session_of(page) == session


async def test_a_run_that_is_taken_up_again_says_which_attempt_and_what_is_left(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    def recovering(event: dict[str, Any]) -> None:
        if event["type"] == "run" and event["content"]["status"] == "running":
            event["content"] |= {"status": "recovering", "attempt": 2, "budget": {"attempts_left": 3}}

    hold = Hold()
    provider.on("taken up", say("Half", hold, " and whole."))
    await changed(context, recovering)
    page = await opened(context, server)
    await ask(page, "taken up")
    await expect(at(page, "run-state")).to_have_text("Recovering · attempt 2 · 3 left")
    await expect(at(page, "working")).to_contain_text("Going on after a restart · attempt 2")
    await expect(page.locator(f"[data-session={session_of(page)}]")).to_have_attribute("data-state", "recovering")
    await clean(page)
    hold.set()
    await ended(page)


async def test_what_waits_is_counted_in_the_header_and_in_the_list(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    asks = (("ask_user", {"question": "Left?"}), ("ask_user", {"question": "Right?"}))
    provider.on("counted", do(*asks), say("Both."))
    page = await opened(context, server)
    await ask(page, "counted")
    await expect(at(page, "run-state")).to_contain_text("Waiting for you")
    here = page.locator(f"[data-testid=session][data-session={session_of(page)}]")
    await expect(at(page, "question")).to_have_count(2)
    await expect(at(page, "run-state")).to_have_text(re.compile(r"Waiting for you.· 2 questions"))
    await expect(here.get_by_test_id("waits")).to_have_text("2")
    await expect(page).to_have_title(re.compile(r"^\(2\) "))
    # From another session it is seen too.
    await at(page, "new-session").click()
    await expect(at(page, "empty")).to_be_visible()
    await expect(here.get_by_test_id("waits")).to_be_visible()
    await clean(page)
    await here.locator("a").click()
    for left in (1, 0):
        await at(page, "answer").first.fill("yes")
        await at(page, "send-answer").first.click()
        await expect(at(page, "question")).to_have_count(left)
    await ended(page)
    await expect(here.get_by_test_id("waits")).to_have_count(0)


async def test_thoughts_are_folded_and_code_is_copied(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    thought: list[str] = []

    def thinking(event: dict[str, Any]) -> None:
        """What the model says first becomes what it thinks."""
        if event["type"] in ("text", "message") and not thought:
            thought.append(event["item_id"])
        if event["item_id"] and event["item_id"] in thought:
            event["type"] = "reasoning" if event["type"] == "text" else event["type"]
            if event["type"] == "message":
                event["content"]["kind"] = "reasoning"

    provider.on("think", say("First I look.\n\nThen I leap.", "\n\n```python\nx = 1\n```"))
    provider.on("and tell", say("So:\n\n```python\ndef f():\n    return 1\n```\n"))
    await changed(context, thinking)
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await opened(context, server)
    await ask(page, "think")
    await ended(page)
    await expect(at(page, "reasoning")).to_contain_text("First I look.")
    await expect(at(page, "reasoning")).not_to_contain_text("Then I leap.")
    await at(page, "reasoning").locator("summary").click()
    await expect(at(page, "reasoning")).to_contain_text("Then I leap.")
    await ask(page, "and tell")
    await ended(page, 2)
    await clean(page)
    await at(page, "answer-text").get_by_test_id("copy-code").click()
    await page.wait_for_function("navigator.clipboard.readText().then(text => text.includes('def f'))")
    assert await page.evaluate("navigator.clipboard.readText()") == "def f():\n    return 1"


GROWS_WHILE_IT_SCROLLS = """() => {
    const scroller = document.querySelector('[data-testid=transcript]').parentElement, grown = document.createElement('div')
    grown.id = 'grown'
    grown.style.minHeight = '700px'
    scroller.scrollTop -= 20
    const between = change => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(change)))
    return new Promise(done => between(() => {
        scroller.scrollTop += 20
        scroller.firstElementChild.append(grown)
        done()
    }))
}"""


async def test_what_has_the_focus_keeps_it_while_the_answer_grows(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    """And what is read stays in its place."""
    holds = [Hold(), Hold()]
    long = "\n\n".join(f"Paragraph {n}." for n in range(60))
    provider.on(
        "focus", do(("search", {"query": "hub"})), say(long, holds[0], "\n\nMore of it.", holds[1], "\n\nThe end.")
    )
    page = await opened(context, server)
    await ask(page, "focus")
    await expect(at(page, "answer-text")).to_contain_text("Paragraph 59.")
    # Scrolling is told a frame later: what came meanwhile has not led the reader away from the end.
    await page.evaluate(GROWS_WHILE_IT_SCROLLS)
    await drawn(page)
    await drawn(page)
    await expect(at(page, "latest")).to_have_count(0)
    await page.evaluate("document.getElementById('grown').remove()")
    summary = at(page, "step").locator("summary").first
    await summary.focus()
    await page.keyboard.press("Enter")
    await expect(at(page, "step").get_by_test_id("place").first).to_be_visible()
    await at(page, "step").get_by_test_id("place").first.focus()
    await drawn(page)
    where = await at(page, "step").first.bounding_box()
    for hold, text in zip(holds, ("More of it.", "The end."), strict=True):
        hold.set()
        await expect(at(page, "answer-text")).to_contain_text(text)
        await drawn(page)
        await expect(at(page, "step").get_by_test_id("place").first).to_be_focused()
    await ended(page)
    await expect(at(page, "step").get_by_test_id("place").first).to_be_focused()
    assert await at(page, "step").first.bounding_box() == where
    await expect(at(page, "latest")).to_be_visible()


async def test_a_link_into_a_step_opens_what_it_is_in(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    (server.root / "deep.py").write_text("deep = 1\n")
    provider.on("go deep", do(("update_code", {"task": "Deep", "files": ["deep.py"]})), say("Done."))
    provider.on("The task:\nDeep", do(("read_file", {"path": "deep.py"})), say("I change nothing."))
    page = await opened(context, server)
    await ask(page, "go deep")
    await expect(at(page, "turn")).to_have_attribute("data-outcome", re.compile("success|failed"))
    rows = server.rows(session_of(page))
    inner = next(r for r in rows if r["type"] == "tool_call" and r["parent_id"])
    await page.reload()
    await expect(at(page, "turn")).to_have_count(1)
    await expect(at(page, "step")).to_have_count(1)  # what is inside is drawn when it is opened
    address = f"{server.origin}/s/{session_of(page)}#e{inner['seq']}"
    await page.goto("about:blank")
    await page.goto(address)
    pointed = page.locator(f"#e{inner['seq']}")
    await expect(pointed).to_be_focused()
    await expect(pointed).to_contain_text("deep.py")
    await expect(pointed).to_be_in_viewport()
    await expect(at(page, "step")).to_have_count(2)


async def test_stop_is_seen_at_once(context: BrowserContext, server: Server, provider: Provider) -> None:
    await lasting(context, SURE_MS)
    provider.on("never ends", say("On and", Hold(), " on."))
    page = await opened(context, server)
    await ask(page, "never ends")
    await says(page, "On and")
    await page.keyboard.press("Escape")
    await expect(page.locator(".hint")).to_have_text("Press Esc again to stop the run.")
    await page.keyboard.press("Escape")
    await ended(page, outcome="cancelled")
