"""The built page in a real Chromium: what a person sees and does, compared with the log."""

from __future__ import annotations

import re

import pytest
from accessible import clean
from cut_network import Proxy
from model_provider import Hold, Provider, Refuse, do, say
from playwright.async_api import BrowserContext, expect
from real_server import Server
from shown import Watch, accepted, ask, at, ended, lasting, opened, same_as_log, says, session_of

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

COPIED_MS = 1500
"""For which a button says that something was copied."""
QUESTION = "Where are idle sessions swept?"


async def test_an_answer_names_its_places(context: BrowserContext, offline_server: Server) -> None:
    await lasting(context, COPIED_MS)
    page = await opened(context, offline_server)
    await ask(page, QUESTION)
    await ended(page)
    rows = await same_as_log(page, offline_server)
    assert [r["content"]["cache"] for r in rows if r["type"] == "tool_result" and r["content"]["cache"]]
    place = at(page, "answer-text").locator("[data-place]").first
    await expect(place).to_have_text(re.compile(r"^src/hub\.py:\d+"))
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    await place.click()
    await expect(at(page, "beside")).to_have_attribute("data-changed", "same")
    await expect(at(page, "source").locator(".meant .line").first).to_contain_text("def sweep")
    await at(page, "copy-place").click()
    await expect(at(page, "copy-place")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == await place.get_attribute("data-place")
    await page.keyboard.press("Escape")
    await expect(at(page, "beside")).to_have_count(0)
    await expect(place).to_be_focused()
    step = page.locator("[data-testid=step][data-tool=search]").first
    await step.locator("summary").click()
    await expect(step.get_by_test_id("place").first).to_be_visible()
    await expect(at(page, "outcome")).to_contain_text("Done")
    await expect(at(page, "usage")).to_contain_text("tokens")


async def test_a_plan_is_shown_with_its_steps(context: BrowserContext, offline_server: Server) -> None:
    page = await opened(context, offline_server)
    await ask(page, "Plan how to sweep idle sessions more often")
    await ended(page)
    rows = await same_as_log(page, offline_server)
    [plan] = [r["content"] for r in rows if r["type"] == "plan"]
    assert len(plan["steps"]) >= 3
    await expect(at(page, "plan").locator("summary")).to_contain_text(plan["title"])


async def test_a_vague_prompt_is_asked_back(context: BrowserContext, offline_server: Server) -> None:
    page = await opened(context, offline_server)
    await ask(page, "fix it")
    await expect(at(page, "question")).to_be_visible()
    await expect(at(page, "run-state")).to_have_text("Waiting for you")
    await expect(page).to_have_title(re.compile(r"^\(1\) "))
    await same_as_log(page, offline_server)
    await at(page, "answer").fill(QUESTION)
    await at(page, "answer").press("Enter")
    await ended(page)
    await expect(at(page, "answered")).to_contain_text("you, here")
    await same_as_log(page, offline_server)


async def test_steps_are_seen_while_they_run(context: BrowserContext, server: Server, provider: Provider) -> None:
    provider.on(
        "steps",
        do(("search", {"query": "hub"}), ("read_file", {"path": "no/such/file.py"})),
        do(("read_file", {"path": "src/hub.py"})),
        say("It is `src/hub.py:1`."),
    )
    page = await opened(context, server)
    await ask(page, "steps")
    await ended(page)
    await same_as_log(page, server)
    steps = await at(page, "step").evaluate_all("steps => steps.map(s => `${s.dataset.tool} ${s.dataset.status}`)")
    assert steps == ["search ok", "read_file failed", "read_file ok"]


async def test_a_step_says_how_long_it_took_and_what_was_known(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    """What this session searched before is not searched again, and it is said; what was found opens."""
    provider.on("look twice", do(("search", {"query": "sweep idle sessions"})), say("Once."))
    page = await opened(context, server)
    for turn in (1, 2):
        await ask(page, "look twice")
        await ended(page, turns=turn)
    first, second = at(page, "step").nth(0), at(page, "step").nth(1)
    await expect(first.locator(".badge")).to_have_text("fresh")
    await expect(second.locator(".badge")).to_have_text("cached")
    await expect(second.locator(".ms")).to_have_text(re.compile(r"^\d+(\.\d)? (ms|s)$"))
    await expect(at(page, "outcome").first).to_have_text(re.compile(r"^Done · \S+ m?s · 1 tool call · 300 tokens$"))
    await second.locator("summary").click()
    await second.get_by_test_id("place").filter(has_text="src/hub.py").first.click()
    await expect(at(page, "source").locator(".meant .line").first).to_contain_text(re.compile("Hub|sweep"))
    await expect(at(page, "beside-state")).to_contain_text("has not changed since")
    await page.keyboard.press("Escape")
    await clean(page)


async def test_stop_keeps_what_was_said(context: BrowserContext, server: Server, provider: Provider) -> None:
    provider.on("stop me", say("The beginning of a long story", Hold(), " and its end."))
    page = await opened(context, server)
    await ask(page, "stop me")
    await says(page, "The beginning of a long story")
    await at(page, "stop").click()
    await ended(page, outcome="cancelled")
    await expect(at(page, "answer-text")).to_contain_text("The beginning of a long story")
    await expect(at(page, "turn")).to_contain_text("Stopped here.")
    await expect(at(page, "stop")).to_have_count(0)
    await same_as_log(page, server)


async def test_prompts_wait_in_a_queue_that_can_be_changed(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    hold = Hold()
    provider.on("first", say("One", hold, " is done."))
    page = await opened(context, server)
    await ask(page, "first")
    await says(page, "One")
    for prompt in ("second", "third", "fourth"):
        await ask(page, prompt)
    await expect(at(page, "queued")).to_have_count(3)
    await at(page, "remove-queued").nth(1).click()
    await expect(at(page, "queued")).to_have_count(2)
    await at(page, "edit-queued").nth(1).click()
    await at(page, "queue").locator("textarea").fill("fourth, in other words")
    await at(page, "queue").locator("textarea").press("Enter")
    await expect(at(page, "queued").nth(1)).to_contain_text("fourth, in other words")
    await same_as_log(page, server)
    await accepted(page)
    hold.set()
    await ended(page, turns=3)
    await expect(at(page, "queue")).to_have_count(0)
    await same_as_log(page, server)
    assert await at(page, "asked").locator("p").all_inner_texts() == ["first", "second", "fourth, in other words"]


async def test_a_prompt_steers_the_run(context: BrowserContext, server: Server, provider: Provider) -> None:
    hold = Hold()
    provider.on("go left", do(("search", {"query": "hub"}), hold), say("Left."))
    page = await opened(context, server)
    await ask(page, "go left")
    await expect(at(page, "run-state")).to_have_text("Running")
    await at(page, "prompt").fill("go right instead")
    await at(page, "prompt").press("Control+Enter")
    await expect(at(page, "turn").get_by_test_id("asked")).to_have_count(2)
    await accepted(page)
    hold.set()
    await ended(page)
    await expect(at(page, "answer-text")).to_have_text("You said: go right instead")
    await same_as_log(page, server)
    assert provider.requests["go left", 1] == 0


async def test_a_prompt_that_steers_too_late_is_answered_too(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    hold = Hold()
    provider.on("straight on", say("There", hold, " it is."))
    page = await opened(context, server)
    await ask(page, "straight on")
    await says(page, "There")
    await at(page, "prompt").fill("turn round")
    await at(page, "prompt").press("Control+Enter")
    await expect(at(page, "turn").get_by_test_id("asked")).to_have_count(2)
    await accepted(page)
    hold.set()
    await ended(page, turns=2)
    await expect(at(page, "answer-text")).to_have_text(["There it is.", "You said: turn round"])
    await same_as_log(page, server)


async def test_two_tabs_are_both_live(
    context: BrowserContext, server: Server, provider: Provider, watch: Watch
) -> None:
    hold = Hold()
    provider.on("two tabs", do(("ask_user", {"question": "Which one?"})), say("This one", hold, " it is."))
    first = await opened(context, server)
    await ask(first, "two tabs")
    await expect(at(first, "question")).to_be_visible()
    second = await opened(context, server, f"/s/{session_of(first)}")
    await expect(at(second, "question")).to_be_visible()
    await at(second, "answer").fill("the left one")
    await at(second, "send-answer").click()
    await expect(at(second, "answered")).to_contain_text("you, here")
    await expect(at(first, "answered")).to_contain_text("by Chrome on Linux")
    await expect(at(first, "question")).to_have_count(0)
    await says(first, "This one")
    await says(second, "This one")
    hold.set()
    for page in (first, second):
        await ended(page)
        await same_as_log(page, server)
    watch.only_grew_to("This one it is.")


async def test_the_first_of_two_answers_wins(
    context: BrowserContext, server: Server, proxy: Proxy, provider: Provider
) -> None:
    """One tab answers without a network, the other meanwhile with one."""
    provider.on("who wins", do(("ask_user", {"question": "Which one?"})), say("Settled."))
    slow = await opened(context, server, via=proxy)
    await ask(slow, "who wins")
    await expect(at(slow, "question")).to_be_visible()
    quick = await opened(context, server, f"/s/{session_of(slow)}")
    proxy.down()
    await at(slow, "answer").fill("the slow one's")
    await at(slow, "send-answer").click()
    await expect(at(slow, "question")).to_contain_text("Kept here")
    await at(quick, "answer").fill("the quick one's")
    await at(quick, "send-answer").click()
    await ended(quick)
    proxy.up()
    await ended(slow)
    for page in (slow, quick):
        await expect(at(page, "answered")).to_contain_text("the quick one's")
        await same_as_log(page, server)
    await expect(at(quick, "answered")).to_contain_text("you, here")
    await expect(at(slow, "answered")).to_contain_text("by Chrome on Linux")
    await expect(at(slow, "refused")).to_have_attribute("data-code", "already_answered")
    await expect(at(slow, "transcript")).to_contain_text("Your answer was: the slow one's")
    await at(slow, "refused").get_by_role("button", name="Dismiss").click()
    await expect(at(slow, "refused")).to_have_count(0)
    await expect(at(slow, "answered")).to_contain_text("by Chrome on Linux")


async def test_an_error_of_the_provider_is_told_and_can_be_mended(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    provider.on("no key", Refuse(401, "Incorrect API key provided"))
    page = await opened(context, server)
    await ask(page, "no key")
    await expect(at(page, "error")).to_have_attribute("data-code", "provider_auth")
    await expect(at(page, "question")).to_be_visible()
    await expect(at(page, "question")).not_to_contain_text("refused the key")  # the error above it says so
    await same_as_log(page, server)
    provider.on("no key", say("Now there is one."))
    await at(page, "question").get_by_role("button", name="retry").click()
    await ended(page)
    await same_as_log(page, server)


async def test_what_a_model_writes_runs_nothing_and_loads_nothing(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    """In a browser that keeps the page's policy; what becomes of each mark is tested with the renderer."""
    bait = "<img src=//evil.test/a onerror=pwned=1><script>pwned=1</script><iframe src=//evil.test/b></iframe>"
    links = "![a picture](http://evil.test/c.png) [a link](javascript:pwned=1) [out](http://evil.test/d)"
    provider.on("bait", say(f"{bait}\n\n{links}\n\nThe end."))
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = await opened(context, server)
    await ask(page, "bait")
    await ended(page)
    await expect(at(page, "answer-text")).to_contain_text("<script>pwned=1</script>")
    await at(page, "answer-text").get_by_text("a link").click()
    assert await page.evaluate("typeof pwned") == "undefined"
    assert await at(page, "answer-text").locator("img, script, iframe, [onerror]").count() == 0
    assert (
        await at(page, "answer-text").locator("a").evaluate_all("links => links.map(a => a.protocol)") == ["http:"] * 2
    )
    assert asked and all(url.startswith(server.origin) for url in asked)


async def test_a_page_that_shows_too_much_is_noticed(context: BrowserContext, server: Server, watch: Watch) -> None:
    """The control of what the other tests rely on: a text or a turn that is there twice."""
    page = await opened(context, server)
    await ask(page, "said once")
    await ended(page)
    await same_as_log(page, server)
    watch.only_grew_to("You said: said once")
    await page.evaluate(
        "const p = document.querySelector('[data-testid=answer-text] p'); p.textContent += p.textContent"
    )
    await expect(at(page, "answer-text")).to_contain_text("onceYou")
    with pytest.raises(AssertionError):
        await same_as_log(page, server, patience=0)
    with pytest.raises(AssertionError):
        watch.only_grew_to("You said: said once")
