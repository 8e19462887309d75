"""Changes as a person reviews them: part by part, by keyboard, with comments, in two layouts; what clashed, and what cannot be seen."""

from __future__ import annotations

import re

import pytest
from accessible import clean, violations
from model_provider import Hold, Provider, do, say
from playwright.async_api import BrowserContext, Page, expect
from real_server import Server
from shown import accepted, ask, at, drawn, ended, opened

from reconvene.agents.edit_format import Create, Edit, Replace, render

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LINES = "".join(f"line_{n} = {n}\n" for n in range(30))


def propose(provider: Provider, server: Server, name: str, *edits: Edit | Create) -> None:
    (server.root / f"{name}.py").write_text(LINES)
    provider.on(
        f"review {name}", do(("update_code", {"task": f"Review {name}", "files": [f"{name}.py"]})), say("That was it.")
    )
    provider.on(f"The task:\nReview {name}", say(render([two(name), *edits])))


def two(name: str, mark: str = "new") -> Edit:
    parts = (Replace(("line_3 = 3",), (f"line_3 = '{mark}'",)), Replace(("line_25 = 25",), (f"line_25 = '{mark}'",)))
    return Edit(f"{name}.py", parts)


async def proposed(page: Page, name: str, hunks: int) -> None:
    await ask(page, f"review {name}")
    await expect(at(page, "hunk")).to_have_count(hunks)


async def test_a_diff_is_read_and_decided_by_keyboard_alone(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    propose(provider, server, "keys", Create("keys_new.py", ("# new",)))
    page = await opened(context, server)
    await proposed(page, "keys", 3)
    await at(page, "link-state").evaluate("() => document.activeElement.blur()")
    hunks = at(page, "hunk")
    await page.keyboard.press("j")
    await expect(hunks.nth(0)).to_be_focused()
    await page.keyboard.press("j")
    await page.keyboard.press("r")
    await expect(hunks.nth(1)).to_have_attribute("data-taken", "false")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await expect(hunks.nth(2)).to_be_focused()
    await page.keyboard.press("r")
    await page.keyboard.press("a")
    await expect(hunks.nth(2)).to_have_attribute("data-taken", "true")
    await page.keyboard.press("k")
    await page.keyboard.press("c")
    await expect(at(page, "comment-text")).to_be_focused()
    await page.keyboard.type("jar: keep the number")  # letters in a comment are letters
    await page.keyboard.press("Escape")
    await expect(hunks.nth(1)).to_be_focused()
    assert (server.root / "keys.py").read_text() == LINES
    await expect(at(page, "send-back")).to_have_text("Send back with 1 comment")
    again = "The person read your change and says:\n\nkeys.py, lines 23–29: jar: keep the number"
    provider.on(again, say(render([two("keys", "number")])))
    await at(page, "send-back").press("Enter")
    await expect(at(page, "diff")).to_have_count(2)
    assert [key for key, _ in provider.requests if key.startswith(again)]
    await expect(at(page, "verdict").first).to_have_text("sent back with feedback · you, here")
    await at(page, "accept").press("Enter")
    await ended(page)
    assert "line_25 = 'number'\n" in (server.root / "keys.py").read_text()
    await clean(page, "[data-testid=transcript]")


async def test_a_whole_file_is_left_out_at_once(context: BrowserContext, server: Server, provider: Provider) -> None:
    propose(provider, server, "whole", Create("whole_new.py", ("# new",)))
    page = await opened(context, server)
    await proposed(page, "whole", 3)
    every = page.get_by_label("All 2 parts of whole.py")
    await every.uncheck()
    taken = [await hunk.get_attribute("data-taken") for hunk in await at(page, "hunk").all()]
    assert taken == ["false", "false", "true"]
    await at(page, "hunk").first.get_by_role("checkbox").check()
    await expect(every).not_to_be_checked()
    await every.check()
    await every.uncheck()
    await at(page, "accept").click()
    await ended(page)
    await expect(at(page, "verdict")).to_contain_text("1 of 3 parts accepted")
    assert (server.root / "whole.py").read_text() == LINES and (server.root / "whole_new.py").exists()


async def test_both_layouts_show_what_changed_within_a_line(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    propose(provider, server, "layouts")
    page = await opened(context, server)
    await page.set_viewport_size({"width": 1440, "height": 900})
    await proposed(page, "layouts", 2)
    rows = at(page, "rows").first
    await expect(rows.locator(".remove mark")).to_have_text("3")
    await expect(rows.locator(".add mark")).to_have_text("'new'")
    await expect(rows.locator(".add .hljs-string")).to_have_text("'new'")
    await clean(page)
    await at(page, "split").click()
    pair = rows.locator(".pair", has=page.locator(".half.remove"))
    await expect(pair.locator(".half.remove .line")).to_contain_text("line_3 = 3")
    await expect(pair.locator(".half.add .line")).to_contain_text("line_3 = 'new'")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 1440
    box, column = await at(page, "diff").bounding_box(), await at(page, "asked").first.bounding_box()
    assert box and column and box["width"] > column["width"] + 100
    await clean(page)
    await page.reload()
    await expect(at(page, "rows").first).to_have_attribute("data-layout", "split")
    await page.set_viewport_size({"width": 320, "height": 640})
    await expect(at(page, "accept")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 320
    await at(page, "unified").evaluate("button => button.click()")
    await clean(page)
    await at(page, "reject").click()
    await ended(page)


async def test_characters_that_do_not_show_are_named_and_risky_files_marked(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    sly = Replace(("line_3 = 3",), ("line_3 = 'admin\u202e' # \u2066 if user \u2069",))
    (server.root / "sly.py").write_text(LINES)
    provider.on("review sly", do(("update_code", {"task": "Review sly", "files": ["sly.py"]})), say("That was it."))
    provider.on("The task:\nReview sly", say(render([Edit("sly.py", (sly,)), Create("Makefile", ("all:", "\ttrue"))])))
    page = await opened(context, server)
    await ask(page, "review sly")
    await expect(at(page, "unseen")).to_be_visible()
    await expect(page.locator(".rows .unseen")).to_have_text(["U+202E", "U+2066", "U+2069"])
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", await at(page, "rows").first.inner_text())
    await at(page, "accept").click()
    await expect(at(page, "diff")).to_have_count(2)
    await expect(at(page, "risk")).to_be_visible()
    await clean(page)
    await at(page, "reject").last.click()
    await ended(page)


async def test_what_clashed_is_compared_and_nothing_is_overwritten(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    propose(provider, server, "clash")
    page = await opened(context, server)
    await proposed(page, "clash", 2)
    await at(page, "accept").click()
    await ended(page)
    await expect(at(page, "written")).to_have_text("Written: 1 file")
    mine = LINES.replace("line_10 = 10\n", "line_10 = 'mine'\n").replace("line_3 = 3\n", "line_3 = 'new'\n")
    (server.root / "clash.py").write_text(mine)
    await at(page, "undo").click()
    await expect(at(page, "conflict")).to_contain_text("clash.py was not taken back")
    assert (server.root / "clash.py").read_text() == mine
    await at(page, "compare").click()
    beside = at(page, "beside")
    await expect(beside.locator(".add .line", has_text="line_10 = 'mine'")).to_be_visible()
    await clean(page)
    await at(page, "tab-mine").press("ArrowRight")
    await expect(at(page, "tab-theirs")).to_be_focused()
    await expect(beside.locator(".add .line", has_text="line_25 = 25")).to_be_visible()
    await at(page, "tab-base").click()
    await expect(at(page, "source")).to_contain_text("line_25 = 'new'")
    await page.keyboard.press("Escape")
    await expect(beside).to_have_count(0)
    await at(page, "merge").click()
    await expect(at(page, "prompt")).to_have_value(
        re.compile(r"^Take back .* in @clash\.py, and keep what was changed there")
    )
    await expect(at(page, "prompt")).to_be_focused()


async def test_an_accept_of_what_changed_meanwhile_writes_nothing_and_is_resolved(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    """The file is saved by somebody while the change waits: it is compared, made anew from the file as it is, and both are kept."""
    propose(provider, server, "meanwhile")
    provider.on("meanwhile.py changed after this was proposed.", say(render([two("meanwhile", "newer")])))
    page = await opened(context, server)
    await proposed(page, "meanwhile", 2)
    mine = LINES.replace("line_10 = 10\n", "line_10 = 'mine'\n")
    (server.root / "meanwhile.py").write_text(mine)
    await at(page, "accept").click()
    await expect(at(page, "verdict").first).to_contain_text("out of date")
    first, second = at(page, "diff").nth(0), at(page, "diff").nth(1)
    await expect(first.get_by_test_id("conflict")).to_contain_text("meanwhile.py was not written: it was changed")
    await expect(second.get_by_test_id("hunk")).to_have_count(2)
    await expect(at(page, "refused")).to_have_count(0)  # it is said once
    assert (server.root / "meanwhile.py").read_text() == mine
    await first.get_by_test_id("compare").click()
    beside = at(page, "beside")
    await expect(beside.locator(".add .line", has_text="line_10 = 'mine'")).to_be_visible()
    await at(page, "tab-theirs").click()
    await expect(beside.locator(".add .line", has_text="line_25 = 'new'")).to_be_visible()
    await at(page, "tab-base").click()
    await expect(at(page, "source")).to_contain_text("line_10 = 10")
    await clean(page)
    await page.keyboard.press("Escape")
    await expect(first.get_by_test_id("compare")).to_be_focused()
    await second.get_by_test_id("accept").click()
    await ended(page)
    changed = mine.replace("line_3 = 3\n", "line_3 = 'newer'\n").replace("line_25 = 25\n", "line_25 = 'newer'\n")
    assert (server.root / "meanwhile.py").read_text() == changed
    await clean(page)


async def test_a_citation_opens_what_was_quoted_and_says_what_became_of_it(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    (server.root / "cited.py").write_text(LINES)
    provider.on("cite", do(("read_file", {"path": "cited.py"})), say("It is at `cited.py:4`, see `nowhere.py:3`."))
    page = await opened(context, server)
    await ask(page, "cite")
    await ended(page)
    (server.root / "cited.py").write_text("# all new\n" + LINES)
    cited = at(page, "answer-text").locator("[data-place='cited.py:4']")
    beside = at(page, "beside")
    await cited.focus()
    await page.keyboard.press("Enter")
    await expect(beside).to_have_attribute("data-changed", "changed")
    await expect(at(page, "beside-state")).to_contain_text("Changed since")
    await expect(at(page, "source").locator(".meant .line")).to_have_text("line_3 = 3")
    await clean(page)
    await at(page, "tab-between").click()
    await expect(beside.locator(".row.add .line")).to_have_text("# all new")
    await expect(beside.locator(".row.add")).to_match_aria_snapshot("- code: 'added: # all new'")
    (server.root / "cited.py").unlink()
    await page.keyboard.press("Escape")
    await cited.click()
    await expect(beside).to_have_attribute("data-changed", "gone")
    await expect(at(page, "source").locator(".meant .line")).to_have_text("line_3 = 3")
    await page.keyboard.press("Escape")
    await page.locator("[data-place='nowhere.py:3']").click()
    await expect(beside).to_contain_text("There is no such file now.")
    await page.keyboard.press("Escape")
    await page.locator("[data-testid=step] summary").first.click()
    await at(page, "place").first.click()
    await expect(at(page, "source")).to_contain_text("line_29 = 29")
    await clean(page)


async def test_two_thousand_lines_are_drawn_in_a_moment(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    """Counted, not timed: what is out of sight is not laid out, and a decision does not draw the lines anew."""
    created = Create("large_new.py", tuple(f"value_{n}={n}" for n in range(2000)))
    propose(provider, server, "large", created)
    page = await opened(context, server)
    await proposed(page, "large", 3)
    await page.wait_for_function("[...document.querySelectorAll('.chunk')].every(chunk => chunk.firstChild)")
    assert await page.locator(".rows .row").count() >= 2000
    skipped = """() => [...document.querySelectorAll('.chunk')]
      .filter(chunk => !chunk.firstChild.checkVisibility({ contentVisibilityAuto: true })).length"""
    # All of them in their colours, which come a slice at a time: what is drawn after that is drawn anew.
    await expect(page.locator(".rows .add .hljs-number")).to_have_count(2000)
    wanted = await page.locator(".chunk").count() - 8
    for _ in range(100):  # what is in sight is found out a frame later
        await drawn(page)
        if await page.evaluate(skipped) >= wanted:
            break
    assert await page.evaluate(skipped) >= wanted
    await page.evaluate(
        """() => {
          window.redrawn = 0
          new MutationObserver(seen => (window.redrawn += seen.reduce((sum, change) => sum + change.addedNodes.length, 0)))
            .observe(document.querySelector('[data-testid=diff]'), { subtree: true, childList: true })
        }"""
    )
    await at(page, "hunk").first.get_by_role("checkbox").uncheck()
    await expect(at(page, "accept")).to_have_text("Accept 2 of 3 parts")
    assert await page.evaluate("window.redrawn") < 20
    await at(page, "reject").click()
    await ended(page)


async def test_what_a_sub_agent_did_is_inside_of_its_step(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    propose(provider, server, "inner")
    provider.on(
        "The task:\nReview inner",
        do(("read_file", {"path": "inner.py"}), ("search", {"query": "line_3"})),
        say(render([two("inner")])),
    )
    page = await opened(context, server)
    await proposed(page, "inner", 2)
    outer = page.locator("[data-testid=step][data-tool=update_code]")
    await expect(outer.locator("> summary")).to_contain_text("2 steps")
    await expect(outer).to_have_attribute("open", "")  # as long as it works
    inside = outer.get_by_test_id("step")
    assert [await step.get_attribute("data-tool") for step in await inside.all()] == ["read_file", "search"]
    await expect(outer.get_by_test_id("hunk")).to_have_count(0)  # what a person decides on stands by itself
    await at(page, "reject").click()
    await ended(page)
    await expect(outer).not_to_have_attribute("open", "")
    await outer.locator("> summary").click()
    await inside.first.locator("summary").click()
    await inside.first.get_by_test_id("place").click()
    await expect(at(page, "source")).to_contain_text("line_29 = 29")
    await page.keyboard.press("Escape")
    await clean(page)


ANSWER = """\
## What there is

A table and a list, with `src/hub.py:2` and [a link](https://example.org/x):

| what | where |
|---|---|
| hub | `src/hub.py` |

1. one
2. two

```python
def sweep(self, now: float = 1.5) -> "list":  # a comment
    return [s for s in self.sessions if s.idle(now)]
```

> quoted
"""


async def test_every_state_of_a_run_is_accessible(context: BrowserContext, server: Server, provider: Provider) -> None:
    hold = Hold()
    provider.on(
        "all states",
        do(
            ("search", {"query": "sweep"}), ("read_file", {"path": "no/such.py"}), ("read_file", {"path": "src/hub.py"})
        ),
        say(ANSWER, hold, "The end."),
    )
    page = await opened(context, server)
    await ask(page, "all states")
    await expect(at(page, "answer-text")).to_contain_text("quoted")
    for prompt in ("one more", "and another"):
        await ask(page, prompt)
    await expect(at(page, "queued")).to_have_count(2)
    moving = "document.getAnimations().filter(each => each.playState === 'running').length"
    await page.wait_for_function(f"{moving} > 0")
    await page.emulate_media(reduced_motion="reduce")  # who wants nothing to move sees nothing move
    await page.wait_for_function(f"{moving} === 0")
    await at(page, "prompt").fill("Steer it")
    await expect(at(page, "steer")).to_be_visible()
    await clean(page)
    for step in await at(page, "step").all():
        await step.locator("summary").click()
    await clean(page)
    await page.set_viewport_size({"width": 320, "height": 640})
    await clean(page)
    await at(page, "steer").click()
    await page.set_viewport_size({"width": 1280, "height": 720})
    await accepted(page)  # else it may steer the run after this one
    hold.set()
    await ended(page, 4)  # what steers too late is a turn of its own
    await page.locator(".hljs-keyword").first.wait_for(state="attached")
    await clean(page)


async def test_the_search_for_faults_finds_one(context: BrowserContext, server: Server) -> None:
    page = await opened(context, server)
    await page.evaluate(
        """() => {
          document.querySelector('h1').style.color = '#bbb'
          document.querySelector('[for=prompt]').remove()
          document.querySelector('#prompt').placeholder = ''
        }"""
    )
    found = await violations(page)
    assert any(fault.startswith("color-contrast") for fault in found) and any(
        fault.startswith("label") for fault in found
    )
