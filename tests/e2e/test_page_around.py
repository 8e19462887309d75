"""What stands around the conversation: the map, completion, the palette, finding, deleting, links to a message, the first minute."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from accessible import clean
from cut_network import Proxy
from model_provider import Hold, Provider, do, say
from playwright.async_api import BrowserContext, Page, Route, expect
from real_server import Server
from shown import ask, at, ended, lasting, live, opened, same_as_log, session_of

SURE_MS, UNDO_MS = 2000, 8000
"""Within which Esc has to be pressed once more, and a deletion can be taken back."""
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_the_first_minute_is_about_this_code_base(context: BrowserContext, offline_server: Server) -> None:
    page = await opened(context, offline_server)
    await expect(at(page, "facts")).to_have_attribute("data-phase", "ready")
    await expect(at(page, "facts")).to_contain_text(re.compile(r"\d+ files, \d+ definitions"))
    await expect(at(page, "facts")).to_contain_text("python")
    await expect(at(page, "example")).to_have_count(3)
    await expect(at(page, "example").first).to_contain_text("src/")
    await expect(at(page, "example").nth(1)).to_contain_text(re.compile("Hub|Session"))
    await expect(at(page, "offline-model")).to_contain_text("Search, map, plans and questions work")
    await at(page, "example").nth(1).click()
    await expect(at(page, "prompt")).to_have_value(re.compile("`"))
    await at(page, "prompt").press("Enter")
    await ended(page)


async def test_how_far_the_code_is_read_is_seen(context: BrowserContext, offline_server: Server) -> None:
    """A code base that takes a while: the facts are followed until it is known."""
    done = 0

    async def reading(route: Route) -> None:
        nonlocal done
        answer = await route.fetch()
        told = await answer.json()
        if done < 100:
            state = {
                "phase": "building",
                "done": done,
                "of": 100,
                "files": done,
                "sentence": f"{done} of 100 read.",
                "notes": [],
            }
            told |= {"index": state}
        await route.fulfill(response=answer, json=told)

    await context.route(re.compile(r"/api/code\?"), reading)
    page = await opened(context, offline_server)
    for done in (10, 60):
        await expect(at(page, "facts")).to_contain_text(f"{done} of 100 read.")
        await expect(at(page, "facts").locator("progress")).to_have_attribute("value", str(done))
    await clean(page)
    done = 100
    await expect(at(page, "facts")).to_have_attribute("data-phase", "ready")
    await expect(at(page, "facts").locator("progress")).to_have_count(0)


async def test_the_map_says_why_leads_to_places_and_follows_edits(
    context: BrowserContext, offline_server: Server
) -> None:
    page = await opened(context, offline_server)
    await page.keyboard.press("Alt+m")
    await expect(at(page, "map-browser")).to_be_focused()
    hub = page.locator("[data-testid=map-file][data-path='src/hub.py']")
    await expect(hub).to_be_visible()
    await ask(page, "Where are idle sessions swept?")
    await ended(page)
    await expect(hub).to_contain_text(re.compile("in this session"))
    await hub.get_by_test_id("attach").first.click()
    await expect(at(page, "prompt")).to_have_value("@src/hub.py ")
    await expect(at(page, "prompt")).to_be_focused()
    await hub.get_by_test_id("map-symbol").first.click()
    places = at(page, "name-places")
    await expect(places.get_by_test_id("definition").first).to_have_text(re.compile(r"^src/hub\.py:\d+$"))
    await expect(places.locator("pre").first).to_contain_text("class")
    await at(page, "back").click()
    await at(page, "view-picture").click()
    cell = page.locator("[data-testid=cell][data-path='src/hub.py']")
    await expect(cell).to_have_attribute("data-touch", re.compile("read|found"))
    await at(page, "view-table").click()
    await expect(at(page, "picture-table")).to_contain_text("src/hub.py")
    await at(page, "view-list").click()
    # A file that is written while one looks appears by itself.
    new = offline_server.root / "src" / "broom.py"
    try:
        new.write_text("class Broomstick:\n    def sweep(self) -> None: ...\n")
        shown = page.locator("[data-testid=map-file][data-path='src/broom.py']")
        await expect(shown).to_contain_text("Broomstick")
        await at(page, "map-query").fill("broomstick")
        await expect(at(page, "map-file").first).to_have_attribute("data-path", "src/broom.py")
        await at(page, "map-query").fill("nothingiscalledlikethis")
        await expect(at(page, "map-browser")).to_contain_text("Nothing in the code base matches")
    finally:
        new.unlink()
    await at(page, "close-map").click()
    await expect(at(page, "map-browser")).to_have_count(0)


async def test_the_budget_changes_how_much_is_shown(context: BrowserContext, tmp_path: Path) -> None:
    """In tokens, and the map keeps to it."""
    server = Server(tmp_path)
    for n in range(120):
        (server.root / f"part_{n}.py").write_text(
            f"from part_{n // 2} import Part{n // 2}\n\n\nclass Part{n}:\n    def compute_{n}(self, value: int) -> int: ...\n"
        )
    try:
        server.start()
        page = await opened(context, server)
        await expect(at(page, "facts")).to_have_attribute("data-phase", "ready")
        await at(page, "open-map").click()
        await at(page, "budget").focus()
        sizes, before = [], 0
        said = at(page, "map-browser").get_by_role("status").first
        for key, budget in (("Home", 256), ("ArrowRight", 512), ("End", 16384)):
            await page.keyboard.press(key)
            await expect(at(page, "budget")).to_have_attribute("aria-valuetext", f"{budget} tokens")
            await page.wait_for_function(
                """([less, most]) => {
                  const said = document.querySelector('[data-testid=map-browser] [role=status]')?.textContent ?? ''
                  const tokens = Number(/([\\d,]+) tokens/.exec(said)?.[1].replace(',', ''))
                  return tokens > less && tokens <= most
                }""",
                arg=[before, budget],
            )
            before = budget
            await expect(said).to_contain_text(re.compile(r"\d+ files? of \d+"))
            sizes.append(await at(page, "map-file").count())
        assert sizes[0] < sizes[1] < sizes[2] and sizes[2] >= 120, sizes
        # By whom something is referred to is said, and shown.
        part = page.locator("[data-testid=map-file][data-path='part_7.py']").get_by_test_id("map-symbol")
        await expect(part.filter(has_text="class Part7")).to_contain_text("in 3 files")
        await part.filter(has_text="class Part7").click()
        await expect(at(page, "name-places")).to_contain_text("Used in 2 files")
        await expect(at(page, "use")).to_have_count(2)
        await at(page, "use").filter(has_text="from part_7 import Part7").first.click()
        await expect(at(page, "source").locator(".meant .line")).to_contain_text("from part_7 import Part7")
        await page.keyboard.press("Escape")
        await at(page, "back").click()
        await at(page, "map-query").fill("Part7")
        await expect(at(page, "map-file").first).to_have_attribute("data-path", "part_7.py")
        await expect(at(page, "map-file").first.locator(".why")).to_contain_text("exact name")
    finally:
        server.close()


async def test_the_picture_is_gone_through_by_keyboard(context: BrowserContext, offline_server: Server) -> None:
    page = await opened(context, offline_server)
    await at(page, "open-map").click()
    await at(page, "view-picture").click()
    cells = at(page, "cell")
    await expect(cells.first).to_be_visible()
    assert await page.locator("[data-testid=cell][tabindex='0']").count() == 1
    await page.locator("[data-testid=cell][tabindex='0']").focus()
    seen = set()
    for key in ("Home", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "End"):
        await page.keyboard.press(key)
        now = page.locator("[data-testid=cell]:focus")
        await expect(now).to_have_attribute("aria-label", re.compile(r"\S"))
        seen.add(await now.get_attribute("data-path"))
    assert len(seen) > 1
    await page.keyboard.press("Enter")
    await expect(page.locator("dialog[open]")).to_be_visible()


async def test_it_all_goes_on_after_an_outage_and_a_death(
    context: BrowserContext, server: Server, proxy: Proxy, provider: Provider
) -> None:
    """Without a network, and while the server is dead: what was there stays and is not called wrong; then it is up to date by itself."""
    provider.on("before it went", say("Said before."))
    page = await opened(context, server, via=proxy)
    await ask(page, "before it went")
    await ended(page)
    here = session(page, session_of(page))
    used = await at(page, "usage").inner_text()
    await page.keyboard.press("Alt+m")
    await expect(at(page, "map-file").filter(has_text="hub.py")).to_be_visible()

    async def palette() -> None:
        await page.keyboard.press("Control+k")
        await expect(at(page, "palette-input")).to_be_focused()
        await page.keyboard.type("keys")
        await expect(at(page, "choice").first).to_contain_text("Keys")
        await page.keyboard.press("Escape")
        await expect(at(page, "prompt")).to_be_focused()

    await at(page, "prompt").focus()
    await palette()

    async def gone() -> None:
        await expect(at(page, "link-state")).to_have_attribute("data-phase", "waiting")
        await expect(at(page, "map-file").filter(has_text="hub.py")).to_be_visible()
        await expect(at(page, "map-browser").get_by_role("alert")).to_have_count(0)
        await expect(here).to_be_visible()
        await expect(at(page, "usage")).to_have_text(used)
        await at(page, "prompt").fill("kept: @hu")
        await palette()  # what needs no server works
        await clean(page)

    async def back(name: str) -> None:
        await live(page)
        shown = page.locator(f"[data-testid=map-file][data-path='src/{name}.py']")
        await expect(shown).to_contain_text(f"{name.title()}stick")
        await expect(at(page, "prompt")).to_have_value("kept: @hu")
        await at(page, "prompt").press_sequentially("b")
        await expect(at(page, "completion").filter(has_text="src/hub.py").first).to_be_visible()
        await expect(at(page, "usage")).to_have_text(used)
        await same_as_log(page, server)

    written = [server.root / "src" / f"{name}.py" for name in ("mop", "brush")]
    try:
        proxy.down()
        await gone()
        written[0].write_text("class Mopstick:\n    def sweep(self) -> None: ...\n")
        proxy.up()
        await back("mop")
        server.kill()
        await gone()
        written[1].write_text("class Brushstick:\n    def sweep(self) -> None: ...\n")
        server.start()
        await back("brush")
        await at(page, "prompt").fill("before it went")
        await at(page, "prompt").press("Enter")
        await ended(page, turns=2)
    finally:
        for path in written:
            path.unlink(missing_ok=True)


async def test_names_are_completed_while_they_are_typed(context: BrowserContext, offline_server: Server) -> None:
    page = await opened(context, offline_server)
    box = at(page, "prompt")
    await box.press_sequentially("look at @hu")
    options = at(page, "completion")
    await expect(options.filter(has_text="src/hub.py").first).to_be_visible()
    # A fuller answer may leave out what was gone to in an earlier one: the first choice is the current one then.
    await expect(at(page, "completions")).to_have_attribute("data-of", "hu")
    await expect(at(page, "completions")).to_have_attribute("aria-busy", "false")
    await expect(box).to_have_attribute("aria-activedescendant", "completion-0")
    await page.keyboard.press("ArrowDown")
    await expect(box).to_have_attribute("aria-activedescendant", "completion-1")
    await page.keyboard.press("ArrowUp")
    chosen = await options.first.inner_text()
    await page.keyboard.press("Tab")
    await expect(at(page, "completions")).to_have_count(0)
    assert "src/hub.py" in chosen
    assert re.search(r"@src/hub\.py(:\d+)? $", await box.input_value())
    await expect(box).to_be_focused()
    # Dismissed, it stays away for this name, and Enter sends.
    await box.fill("")
    await box.press_sequentially("@hub")
    await expect(options.first).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(at(page, "completions")).to_have_count(0)
    await page.keyboard.press("Enter")
    await expect(at(page, "asked").first).to_contain_text("@hub")
    await ended(page)


async def test_names_that_were_not_told_are_asked_for_again(context: BrowserContext, offline_server: Server) -> None:
    page = await opened(context, offline_server)
    away = True

    async def names(route: Route) -> None:
        await (route.abort() if away else route.continue_())

    await page.route("**/api/code/names*", names)
    async with page.expect_event("requestfailed", lambda request: "q=hu" in request.url):
        await at(page, "prompt").press_sequentially("@hu")
    away = False
    await expect(at(page, "completion").filter(has_text="src/hub.py").first).to_be_visible()


async def test_a_slash_completes_actions(context: BrowserContext, offline_server: Server) -> None:
    page = await opened(context, offline_server)
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("/")
    await expect(at(page, "prompt")).to_be_focused()
    await page.keyboard.type("/ma")
    await expect(at(page, "completion").first).to_contain_text("/map")
    await page.keyboard.press("Enter")
    await expect(at(page, "map-browser")).to_be_visible()
    await expect(at(page, "prompt")).to_have_value("")


async def test_the_palette_finds_and_does_and_gives_the_focus_back(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    provider.on("palette", say("The zeppelinword is here."))
    page = await opened(context, server)
    await ask(page, "palette")
    await ended(page)
    first = session_of(page)
    await page.keyboard.press("Alt+n")
    await expect(page).not_to_have_url(re.compile(first))
    await live(page)
    await at(page, "prompt").focus()
    await page.keyboard.press("Control+k")
    await expect(at(page, "palette-input")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(at(page, "palette")).to_have_count(0)
    await expect(at(page, "prompt")).to_be_focused()
    await page.keyboard.press("Control+k")
    await page.keyboard.type("zeppelin")
    choice = at(page, "choice").filter(has_text="zeppelin").first
    await expect(choice).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(rf"/s/{first}#e\d+$"))
    await expect(page.locator(":focus")).to_contain_text("zeppelinword")
    await page.keyboard.press("Control+k")
    await page.keyboard.type("hub")
    await at(page, "choice").filter(has_text="src/hub.py").first.click()
    await expect(at(page, "palette")).to_have_count(0)


async def test_what_is_typed_for_a_palette_that_is_on_its_way_is_in_it(
    context: BrowserContext, offline_server: Server
) -> None:
    """And not in the prompt, nor lost."""
    fetched = asyncio.Event()

    async def late(route: Route) -> None:
        await fetched.wait()
        await route.continue_()

    await context.route(re.compile(r"/Palette-[^/]*\.js"), late)
    page = await opened(context, offline_server)
    await at(page, "prompt").fill("before")
    await page.keyboard.press("Control+k")
    await page.keyboard.type("hubx")
    await page.keyboard.press("Backspace")
    fetched.set()
    await expect(at(page, "palette-input")).to_have_value("hub")
    await page.keyboard.type(".py")
    await expect(at(page, "palette-input")).to_have_value("hub.py")
    await expect(at(page, "choice").filter(has_text="src/hub.py").first).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(at(page, "prompt")).to_have_value("before")


async def test_a_palette_that_cannot_be_fetched_keeps_nothing_from_the_prompt(
    context: BrowserContext, offline_server: Server
) -> None:
    await context.route(re.compile(r"/Palette-[^/]*\.js"), lambda route: route.abort())
    page = await opened(context, offline_server)
    await page.keyboard.press("Control+k")
    await expect(at(page, "complaint")).to_contain_text("could not be fetched")
    await at(page, "prompt").press_sequentially("typed")
    await expect(at(page, "prompt")).to_have_value("typed")


async def test_who_closes_the_palette_types_on_where_they_were(context: BrowserContext, offline_server: Server) -> None:
    """The caret comes back with the focus. Where it does not, every second letter is lost: hence so often."""
    page = await opened(context, offline_server)
    box, wanted = at(page, "prompt"), ""
    await box.fill("<>")
    await box.press("ArrowLeft")
    for letter in "abcdefghij":
        await page.keyboard.press("Control+k")
        await expect(at(page, "palette-input")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(box).to_be_focused()
        await expect(at(page, "palette")).to_have_count(0)
        await page.keyboard.type(letter)
        wanted += letter
        await expect(box).to_have_value(f"<{wanted}>")


async def test_keys_are_listed_and_do_what_they_say(context: BrowserContext, offline_server: Server) -> None:
    page = await opened(context, offline_server)
    await page.keyboard.type("why?")
    await expect(at(page, "prompt")).to_have_value("why?")  # in the prompt it is a question mark
    await at(page, "prompt").fill("")
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("?")
    await expect(at(page, "keys")).to_be_visible()
    await expect(at(page, "keys")).to_contain_text("Stop the run")
    await page.keyboard.press("Escape")
    await expect(at(page, "keys")).to_have_count(0)


def session(page: Page, id: str) -> Any:
    return page.locator(f"[data-testid=session][data-session={id}]")


async def choose(page: Page, id: str, name: str) -> None:
    await session(page, id).hover()
    await session(page, id).get_by_test_id("session-menu").click()
    await session(page, id).get_by_role("button", name=name, exact=True).click()


async def test_what_was_said_is_found_and_gone_to(context: BrowserContext, server: Server, provider: Provider) -> None:
    provider.on("long talk", say("Nothing much."))
    provider.on("the one", do(("search", {"query": "hub"})), say("A marvellousword stands here."))
    page = await opened(context, server)
    await ask(page, "the one")
    await ended(page)
    one = session_of(page)
    for turn in range(2, 14):  # more turns than are drawn at first
        await ask(page, "long talk")
        await ended(page, turns=min(turn, 12)) if turn <= 12 else await same_as_count(page, server, turn)
    await page.keyboard.press("Alt+n")
    await expect(page).not_to_have_url(re.compile(one))
    await at(page, "find").fill("marvellous")
    hit = at(page, "hit").filter(has_text="marvellous").first
    await expect(hit).to_be_visible()
    await expect(hit.locator("mark")).to_have_text("marvellous")
    await hit.click()
    await expect(page.locator(":focus")).to_contain_text("marvellousword")
    await expect(page.locator(":focus")).to_be_in_viewport()
    address = page.url
    await page.goto("about:blank")
    await page.goto(address)
    await expect(page.locator(":focus")).to_contain_text("marvellousword")
    await at(page, "find").fill("neversaidanywhere")
    await expect(at(page, "found")).to_contain_text("Nothing was said")


async def same_as_count(page: Page, server: Server, turns: int) -> None:
    await page.wait_for_function(
        "n => document.querySelectorAll('[data-testid=turn][data-outcome=success]').length >= Math.min(n, 12)",
        arg=turns,
    )
    while sum(row["type"] == "completed" for row in server.rows(session_of(page))) < turns:
        await page.wait_for_timeout(20)


async def test_a_deletion_can_be_taken_back(context: BrowserContext, server: Server, provider: Provider) -> None:
    await lasting(context, UNDO_MS)  # what is deleted in the end is deleted by the page that is closed
    provider.on("keep me", say("Kept."))
    provider.on("lose me", say("Lost."))
    page = await opened(context, server)
    await ask(page, "keep me")
    await ended(page)
    kept = session_of(page)
    await choose(page, kept, "Delete")
    await expect(at(page, "deleted")).to_contain_text("keep me")
    await expect(session(page, kept)).to_have_count(0)
    await at(page, "undo-delete").click()
    await expect(page).to_have_url(re.compile(kept))
    await expect(session(page, kept)).to_be_visible()
    await ended(page)
    assert server.call("GET", f"/api/sessions/{kept}")["session_id"] == kept
    # A page that is closed before the time is up deletes what it said it had.
    await at(page, "new-session").click()
    await live(page)
    await ask(page, "lose me")
    await ended(page)
    lost = session_of(page)
    await choose(page, lost, "Delete")
    await expect(at(page, "deleted")).to_be_visible()
    await page.goto("about:blank")
    while lost in {s["session_id"] for s in server.call("GET", "/api/sessions")["sessions"]}:
        await page.wait_for_timeout(20)
    assert kept in {s["session_id"] for s in server.call("GET", "/api/sessions")["sessions"]}


async def test_a_session_is_forked_from_a_message_and_taken_along(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    provider.on("first thing", say("The first answer."))
    provider.on("second thing", say("The second answer."))
    page = await opened(context, server)
    await ask(page, "first thing")
    await ended(page)
    await ask(page, "second thing")
    await ended(page, turns=2)
    source = session_of(page)
    await expect(at(page, "usage")).to_be_visible()
    answer = at(page, "turn").first.locator(".said").filter(has=at(page, "answer-text"))
    await answer.hover()
    await answer.get_by_test_id("fork-here").click()
    await expect(page).not_to_have_url(re.compile(source))
    await ended(page)
    await expect(at(page, "answer-text")).to_have_text("The first answer.")
    await same_as_log(page, server)
    await page.goto(f"{server.origin}/s/{source}")
    await ended(page, turns=2)
    prompt = at(page, "turn").nth(1).locator(".said").first
    await prompt.hover()
    await prompt.get_by_test_id("fork-here").click()
    await expect(page).not_to_have_url(re.compile(source))
    await ended(page)
    await expect(at(page, "prompt")).to_have_value(re.compile("second thing"))
    # Taken along, from the menu.
    await session(page, source).hover()
    await session(page, source).get_by_test_id("session-menu").click()
    await expect(session(page, source).get_by_test_id("stay")).to_contain_text(re.compile("archived in|Kept"))
    for name, beginning in (("Markdown", "# first thing"), ("HTML", "<!doctype html>"), ("JSONL", "{")):
        if not await session(page, source).get_by_role("link", name=name, exact=True).is_visible():
            await session(page, source).get_by_test_id("session-menu").click()
        async with page.expect_download() as download:
            await session(page, source).get_by_role("link", name=name, exact=True).click()
        text = Path(await (await download.value).path()).read_text()
        assert text.startswith(beginning) and "The second answer." in text
        if name == "JSONL":
            assert next(json.loads(line)["seq"] for line in text.splitlines()) == 1


async def test_a_link_to_a_message_is_copied(context: BrowserContext, server: Server, provider: Provider) -> None:
    provider.on("link me", say("Linked."))
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await opened(context, server)
    await ask(page, "link me")
    await ended(page)
    answer = at(page, "turn").locator(".said").filter(has=at(page, "answer-text"))
    await answer.hover()
    await answer.get_by_test_id("copy-link").click()
    await page.wait_for_function("navigator.clipboard.readText().then(text => text.includes('/s/'))")
    link = await page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(rf"{server.origin}/s/{session_of(page)}#e\d+", link)
    await page.goto("about:blank")
    await page.goto(link)
    await expect(page.locator(":focus")).to_contain_text("Linked.")


async def test_the_first_thing_by_keyboard_skips_the_list(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    await lasting(context, SURE_MS)
    provider.on("goes on here", say("Going", Hold(), " on."))
    page = await opened(context, server)
    await page.evaluate("document.body.tabIndex = -1, document.body.focus()")
    await page.keyboard.press("Tab")
    await expect(page.locator(":focus")).to_have_text("Skip to the prompt")
    await page.keyboard.press("Enter")
    await expect(at(page, "prompt")).to_be_focused()
    await ask(page, "goes on here")
    await expect(at(page, "stop")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await ended(page, outcome="cancelled")
