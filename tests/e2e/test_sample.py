"""The sample client of the protocol, to the letter, in a real Chromium: it must work for ever."""

from __future__ import annotations

import pytest
from model_provider import Hold, Provider, do, say
from playwright.async_api import BrowserContext, Page, expect
from real_server import Server
from shown import finished

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SAMPLE = """\
let sessionId = localStorage.getItem('sessionId');
function connect() {
  const ws = new WebSocket('ws://localhost:8000/ws');
  ws.onopen = () => ws.send(JSON.stringify({
    type: 'default', content: userPrompt,
    config: { session_id: sessionId /*, other config… */ }
  }));
  ws.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === 'session') {
      sessionId = message.content.session_id;
      localStorage.setItem('sessionId', sessionId);
    } // other types …
  };
}
"""
QUESTION = "Where are idle sessions swept?"


async def opened(context: BrowserContext, server: Server) -> Page:
    await server.sign_in(context)
    page = await context.new_page()
    await page.goto(f"{server.origin}/sample")
    return page


async def ask(page: Page, prompt: str) -> None:
    await page.fill("#prompt", prompt)
    await page.click("#connect")


async def received(page: Page, kind: str, text: str = "") -> None:
    await expect(page.locator(f"#log li.{kind}", has_text=text).first).to_be_visible()


async def shown(page: Page) -> list[str]:
    return await page.eval_on_selector_all("#log li", "items => items.map(i => i.className)")


async def completed(page: Page) -> list[str]:
    await received(page, "completed")
    return await shown(page)


async def stored(page: Page) -> str:
    return str(await page.evaluate("localStorage.getItem('sessionId')"))


def runs(server: Server, session: str) -> int:
    return sum(r["type"] == "prompt" for r in server.rows(session))


async def test_a_new_session(context: BrowserContext, offline_server: Server) -> None:
    page = await opened(context, offline_server)
    served = await context.request.get(f"{offline_server.origin}/sample/sample.js")
    assert await served.text() == SAMPLE
    await ask(page, QUESTION)
    kinds = await completed(page)
    assert kinds[0] == "session" and kinds[-1] == "completed" and kinds[-2] in ("log", "usage")
    assert set(kinds) <= {"session", "log", "plan", "diff", "question", "confirmation", "usage", "completed", "error"}
    assert (await stored(page)).startswith("s_")
    assert "src/hub.py" in await page.inner_text("#log")


async def test_a_reload_in_the_middle_of_a_run_attaches(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    hold = Hold()
    provider.on("sample, reload", do(("search", {"query": "hub"})), say("Half", hold, " and whole."))
    page = await opened(context, server)
    await ask(page, "sample, reload")
    await received(page, "log", "[search]")
    session = await stored(page)
    await page.reload()
    await ask(page, "sample, reload")
    await received(page, "log", "[search]")
    assert "completed" not in await shown(page)
    hold.set()
    kinds = await completed(page)
    assert await stored(page) == session and runs(server, session) == 1
    assert kinds.count("completed") == 1


async def test_a_reload_after_completion_replays(context: BrowserContext, server: Server) -> None:
    page = await opened(context, server)
    await ask(page, "sample, replay")
    first = await completed(page)
    session = await stored(page)
    await page.reload()
    await ask(page, "sample, replay")
    again = await completed(page)
    assert again == first and runs(server, session) == 1


async def test_another_prompt_is_another_turn(context: BrowserContext, server: Server) -> None:
    page = await opened(context, server)
    await ask(page, "sample, one")
    await completed(page)
    session = await stored(page)
    await ask(page, "sample, another")
    await received(page, "log", "sample, another")
    await completed(page)
    assert await stored(page) == session and runs(server, session) == 2


async def test_a_question_is_answered(context: BrowserContext, offline_server: Server) -> None:
    """The offline model asks back when a prompt says nothing. What is pending is asked again after a reload."""
    page = await opened(context, offline_server)
    await ask(page, "fix it")
    await received(page, "question")
    await page.reload()
    await ask(page, "fix it")
    await received(page, "question")
    await page.fill("#answer", QUESTION)
    await page.click("#send")
    await completed(page)
    rows = offline_server.rows(await stored(page))
    assert [r["content"]["answer"] for r in rows if r["type"] == "answered"] == [QUESTION]


@pytest.mark.parametrize(
    "id",
    ["undefined", "null", "", "garbage", "../x", "s_" + "A" * 22, "x" * 300],
    ids=lambda i: f"bad49-{i[:9] or 'empty'}",
)
async def test_a_stale_or_garbage_id_is_replaced(context: BrowserContext, server: Server, id: str) -> None:
    page = await opened(context, server)
    await page.evaluate("id => localStorage.setItem('sessionId', id)", id)
    await page.reload()
    await ask(page, f"sample, instead of {id}")
    kinds = await completed(page)
    assert kinds[0] == "session" and (await stored(page)).startswith("s_") and await stored(page) != id


async def test_two_sample_tabs_share_a_session(context: BrowserContext, server: Server, provider: Provider) -> None:
    hold = Hold()
    provider.on("sample, twice", do(("search", {"query": "hub"})), say("Half", hold, " and whole."))
    first = await opened(context, server)
    await ask(first, "sample, twice")
    await received(first, "log", "[search]")
    second = await opened(context, server)
    await ask(second, "sample, twice")
    await received(second, "log", "[search]")
    hold.set()
    assert (await completed(second))[-1] == (await completed(first))[-1] == "completed"
    session = await stored(first)
    assert await stored(second) == session and runs(server, session) == 1


async def test_the_sample_survives_a_killed_server(context: BrowserContext, server: Server, provider: Provider) -> None:
    hold = Hold()
    provider.on("sample, killed", do(("search", {"query": "hub"})), say("Half", hold, " and whole."))
    page = await opened(context, server)
    await ask(page, "sample, killed")
    await received(page, "log", "[search]")
    session = await stored(page)
    server.kill()
    await expect(page.locator("#state")).to_contain_text("Closed")
    server.start()
    hold.set()
    await finished(server, session)
    await ask(page, "sample, killed")
    await completed(page)
    rows = server.rows(session)
    assert await stored(page) == session and runs(server, session) == 1
    assert [r["content"]["outcome"] for r in rows if r["type"] == "completed"] == ["success"]
    assert provider.requests["sample, killed", 0] == 1


async def test_nothing_is_searched_again_after_a_reconnect_and_a_restart(
    context: BrowserContext, offline_server: Server
) -> None:
    """And the repo map is not built again."""
    page = await opened(context, offline_server)
    await ask(page, "How is a session idle?")
    await completed(page)
    await page.reload()
    offline_server.kill()
    offline_server.start()
    await ask(page, "How is a session idle? ")  # the same words: another turn of the same session
    await received(page, "completed")
    rows = offline_server.rows(await stored(page))
    second = [r for r in rows if r["run_id"] == "r2"]
    assert [r["content"]["reused"] for r in second if r["type"] == "repo_map"] == [True]
    searches = [r["content"]["cache"] for r in second if r["type"] == "tool_result" and r["content"]["cache"]]
    assert all(c == "cached" for c in searches), searches
