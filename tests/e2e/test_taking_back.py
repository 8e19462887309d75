"""Going back and going on otherwise: prompts sent again, conversations rewound, runs tried again, plans and queues changed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from accessible import clean
from changed_events import changed
from cut_network import Proxy
from model_provider import Hold, Provider, do, say
from playwright.async_api import BrowserContext, expect
from real_server import Server
from shown import accepted, ask, at, ended, opened, same_as_log, says, session_of, written

from reconvene.agents.edit_format import Create, Edit, Replace, render

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def changing(provider: Provider, server: Server, name: str, *more: Create) -> None:
    (server.root / f"{name}.py").write_text("value = 1\n")
    provider.on(f"set {name}", do(("update_code", {"task": f"Set {name}", "files": [f"{name}.py"]})), say("It is two."))
    edit = Edit(f"{name}.py", (Replace(("value = 1",), ("value = 2",)),))
    provider.on(f"The task:\nSet {name}", say(render([edit, *more])))


async def test_a_conversation_is_rewound_with_its_files_and_can_be_read(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    changing(provider, server, "back")
    page = await opened(context, server)
    await ask(page, "the first")
    await ended(page)
    await ask(page, "set back")
    await at(page, "accept").click()
    await ended(page, 2)
    assert (server.root / "back.py").read_text() == "value = 2\n"
    await at(page, "rewind").nth(1).click()
    await expect(at(page, "with-files")).to_be_checked()
    await clean(page)
    await at(page, "go-back").click()
    await expect(at(page, "rewound")).to_have_count(1)
    await written(server, session_of(page), lambda row: row["type"] == "applied" and row["content"]["undo"])
    assert (server.root / "back.py").read_text() == "value = 1\n"
    await expect(at(page, "asked")).to_have_count(1)
    await page.reload()
    await at(page, "rewound").get_by_role("button").click()
    await expect(at(page, "written")).to_have_text("Taken back")
    await expect(at(page, "asked").nth(1)).to_contain_text("set back")
    await clean(page)


async def test_a_prompt_is_edited_and_sent_again_and_the_files_stay(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    changing(provider, server, "again")
    page = await opened(context, server)
    await ask(page, "set again")
    await at(page, "accept").click()
    await ended(page)
    await at(page, "resend").click()
    await expect(at(page, "resend-text")).to_be_focused()
    await at(page, "resend-text").fill("say something else")
    await at(page, "with-files").uncheck()
    await at(page, "go-back").click()
    await says(page, "You said: say something else")
    await ended(page)
    await expect(at(page, "asked")).to_have_count(1)
    await expect(at(page, "rewound")).to_contain_text("set again")
    assert (server.root / "again.py").read_text() == "value = 2\n"


async def test_a_run_that_failed_is_tried_again(context: BrowserContext, server: Server, provider: Provider) -> None:
    provider.on("try me", say("Half an answer", Hold()))
    page = await opened(context, server)
    await ask(page, "try me")
    await says(page, "Half an answer")
    await at(page, "stop").click()
    await ended(page, outcome="cancelled")
    provider.on("try me", say("All of it."))
    await at(page, "retry").click()
    await says(page, "All of it.")
    await ended(page, 2)
    await expect(at(page, "retry")).to_have_count(0)


async def test_a_plan_is_edited_before_and_while_it_is_carried_out(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    hold = Hold()
    steps = ["Read `hub`", "Write it", "Test it"]
    provider.on("plan it", do(("create_plan", {"title": "The plan", "steps": steps})), say("At", hold, " work."))
    page = await opened(context, server)
    await ask(page, "plan it")
    await says(page, "At")
    await at(page, "tick").first.click()
    await expect(at(page, "plan").locator("li").first).to_have_class(re.compile("done"))
    await at(page, "plan-edit").click()
    rows = at(page, "plan-step")
    await rows.nth(2).press("Alt+ArrowUp")
    await expect(rows.nth(1)).to_be_focused()
    await expect(rows.nth(1)).to_have_value("Test it")
    await page.get_by_label("Remove step 3").click()
    await at(page, "plan-add").click()
    await expect(rows.nth(2)).to_be_focused()
    await page.keyboard.type("Tell of it")
    await clean(page)
    await page.keyboard.press("Enter")
    await written(server, session_of(page), lambda row: row["type"] == "plan", 3)
    await expect(at(page, "plan-edit")).to_be_visible()
    await same_as_log(page, server)
    shown = await at(page, "plan").locator("li").all_inner_texts()
    assert [text.split("\n")[0].split(",")[0] for text in shown] == ["Read hub", "Test it", "Tell of it"]
    hold.set()
    await ended(page)
    await at(page, "plan").locator("summary").click()
    await at(page, "tick").nth(1).click()
    await expect(at(page, "plan").locator("li").nth(1)).to_have_class(re.compile("done"))
    await page.reload()
    await ended(page)  # as long as it runs the plan is open
    await at(page, "plan").locator("summary").click()
    await expect(at(page, "plan").locator("li").nth(1)).to_have_class(re.compile("done"))


async def test_steps_that_are_ticked_in_an_outage_are_all_ticked(
    context: BrowserContext, server: Server, proxy: Proxy, provider: Provider
) -> None:
    """Each tick builds on the one before, also while the server has taken none of them."""
    provider.on("plan three", do(("create_plan", {"title": "Three", "steps": ["a", "b", "c"]})), say("Planned."))
    page = await opened(context, server, via=proxy)
    await ask(page, "plan three")
    await ended(page)
    await expect(at(page, "plan")).not_to_have_attribute("open", "")
    await at(page, "plan").locator("summary").click()
    proxy.down()
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "waiting")
    steps = at(page, "plan").locator("li")
    for n in range(2):
        await at(page, "tick").nth(n).click()
        await expect(steps.nth(n)).to_have_class(re.compile("done"))
    await expect(at(page, "plan").locator(".count")).to_have_text("2 of 3")
    proxy.up()
    await written(server, session_of(page), lambda row: row["type"] == "plan", 3)
    last = [row for row in server.rows(session_of(page)) if row["type"] == "plan"][-1]
    assert [step["status"] for step in last["content"]["steps"]] == ["done", "done", "pending"]
    await expect(at(page, "plan").locator(".count")).to_have_text("2 of 3")
    await same_as_log(page, server)


async def test_the_queue_is_reordered(context: BrowserContext, server: Server, provider: Provider) -> None:
    hold = Hold()
    provider.on("head", say("One", hold, "."))
    page = await opened(context, server)
    await ask(page, "head")
    await says(page, "One")
    for prompt in ("second", "third", "fourth"):
        await ask(page, prompt)
    await expect(at(page, "queued")).to_have_count(3)
    await at(page, "earlier-queued").nth(2).click()
    await expect(at(page, "queued").nth(1)).to_contain_text("fourth")
    await at(page, "earlier-queued").nth(1).click()
    await expect(at(page, "queued").nth(0)).to_contain_text("fourth")
    await clean(page)
    await accepted(page)
    hold.set()
    await ended(page, 4)
    assert await at(page, "asked").locator("p").all_inner_texts() == ["head", "fourth", "second", "third"]


async def test_changes_are_accepted_without_asking_where_the_person_said_so(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    changing(provider, server, "mode", Create("Makefile", ("all:", "\ttrue")))
    (server.root / "Makefile").unlink(missing_ok=True)
    page = await opened(context, server)
    await at(page, "edit-mode").select_option("accept")
    await ask(page, "set mode")
    await expect(at(page, "verdict")).to_have_text("accepted · accept edits")
    await expect(at(page, "risk")).to_be_visible()  # what can run something is asked about all the same
    await at(page, "reject").click()
    await ended(page)
    assert (server.root / "mode.py").read_text() == "value = 2\n" and not (server.root / "Makefile").exists()
    await page.reload()
    await expect(at(page, "edit-mode")).to_have_value("accept")


async def test_a_question_with_a_shape_is_a_form(context: BrowserContext, server: Server, provider: Provider) -> None:
    schema = {
        "type": "object",
        "required": ["name", "level"],
        "properties": {
            "name": {"type": "string", "title": "Name", "description": "As in the list"},
            "level": {"enum": ["low", "high"]},
            "count": {"type": "integer"},
            "sure": {"type": "boolean"},
        },
    }

    def shaped(event: dict[str, Any]) -> None:
        if event["type"] == "question":
            event["content"]["schema"] = schema

    await changed(context, shaped)
    provider.on("a form", do(("ask_user", {"question": "How is it to be?"})), say("So be it."))
    page = await opened(context, server)
    await ask(page, "a form")
    form = at(page, "form")  # in the list of sessions others may be called like a field
    await expect(at(page, "field")).to_have_count(4)
    await clean(page)
    await form.get_by_label("Name").fill("hub")
    await form.get_by_label("Count").fill("many")
    await at(page, "send-answer").click()
    await expect(form.get_by_label("Level")).to_be_focused()
    await expect(form).to_contain_text("This is needed.")
    await expect(form).to_contain_text("This must be a number.")
    await clean(page)
    await form.get_by_label("Level").select_option("high")
    await form.get_by_label("Count").fill("3")
    await form.get_by_label("Sure").check()
    await at(page, "send-answer").click()
    await ended(page)
    [answered] = [r["content"]["answer"] for r in server.rows(session_of(page)) if r["type"] == "answered"]
    assert answered == {"name": "hub", "level": "high", "count": 3, "sure": True}
    await expect(at(page, "answered")).to_contain_text("name: hub, level: high, count: 3, sure: true")


async def test_a_full_context_is_told(context: BrowserContext, server: Server, provider: Provider) -> None:
    """And what it costs, while it runs."""
    used = 42_000

    def counted(event: dict[str, Any]) -> None:
        if event["type"] == "usage":
            event["content"] |= {"context_used": used, "context_limit": 100_000, "cost": used / 100_000}

    hold = Hold()
    provider.on("fill it", do(("search", {"query": "hub"})), say("Half", hold, " and full."))
    await changed(context, counted)
    page = await opened(context, server)
    await ask(page, "fill it")
    await says(page, "Half")
    await expect(at(page, "usage")).to_contain_text("150 tokens · $0.42")
    await expect(at(page, "context")).to_have_attribute("data-high", "false")
    await expect(at(page, "context-high")).to_have_count(0)
    used = 87_000
    hold.set()
    await ended(page)
    await expect(at(page, "outcome")).to_contain_text("300 tokens · $0.87")
    await expect(at(page, "context-high")).to_have_text("context 87 %")
    await at(page, "usage").click()
    await expect(at(page, "usage-all")).to_contain_text("87,000 of 100,000 tokens")
    await expect(at(page, "usage-all")).to_contain_text("latest step: 120 in, 30 out")
    await clean(page)
    await page.keyboard.press("Escape")
    await expect(at(page, "usage-all")).to_be_hidden()


HIDDEN = """() => {
  window.told = []
  Object.defineProperty(document, 'visibilityState', { get: () => 'hidden', configurable: true })
  window.Notification = class extends EventTarget {
    static permission = 'default'
    static async requestPermission() { return (window.Notification.permission = 'granted') }
    constructor(text, options) { super(); window.told.push([text, options.tag]) }
  }
}"""


async def test_who_looks_elsewhere_is_told(context: BrowserContext, server: Server, provider: Provider) -> None:
    hold = Hold()
    provider.on("tell me", do(("ask_user", {"question": "Which one?"}), hold), say("That one."))
    await context.add_init_script(f"({HIDDEN})()")
    page = await opened(context, server)
    await ask(page, "tell me")
    await at(page, "notify").click()
    await expect(at(page, "notify")).to_have_count(0)
    hold.set()
    await expect(at(page, "question")).to_be_visible()
    await expect(page).to_have_title(re.compile(r"^\(1\) "))
    await at(page, "answer").fill("the left one")
    await at(page, "answer").press("Enter")
    await ended(page)
    await expect(page).to_have_title(re.compile("^✓ "))
    told = await page.evaluate("window.told")
    assert [text.split(": ", 1)[1] for text, _ in told] == [
        "needs your answer. Which one?",
        told[-1][0].split(": ", 1)[1],
    ]
    assert "Done" in told[-1][0] and {tag for _, tag in told} == {f"reconvene {session_of(page)}"}
