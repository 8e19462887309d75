"""The sample client of the protocol, to the letter, in a real Chromium: it must work for ever."""

from __future__ import annotations

import urllib.request

import pytest
from playwright.async_api import BrowserContext, Page

from conftest import Server

pytestmark = pytest.mark.browser

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
VAGUE = "fix it"


async def opened(context: BrowserContext, server: Server, *args: str) -> Page:
    await (await context.new_page()).goto(server.start(*args))
    page = await context.new_page()
    await page.goto(f"{server.origin}/sample")
    return page


async def ask(page: Page, prompt: str = QUESTION) -> None:
    await page.fill("#prompt", prompt)
    await page.click("#connect")


async def shown(page: Page) -> list[str]:
    return await page.eval_on_selector_all("#log li", "items => items.map(i => i.className)")


async def completed(page: Page) -> list[str]:
    await page.wait_for_selector("#log li.completed", timeout=30_000)
    return await shown(page)


async def stored(page: Page) -> str:
    return str(await page.evaluate("localStorage.getItem('sessionId')"))


def runs(server: Server, session: str) -> int:
    return sum(r["type"] == "prompt" for r in server.rows(session))


async def test_a_new_session(context: BrowserContext, server: Server) -> None:
    page = await opened(context, server)
    token = (server.data / "owner.token").read_text().strip()
    request = urllib.request.Request(f"{server.origin}/sample/sample.js", headers={"Authorization": f"Bearer {token}"})
    assert urllib.request.urlopen(request).read().decode() == SAMPLE
    await ask(page)
    kinds = await completed(page)
    assert kinds[0] == "session" and kinds[-1] == "completed" and kinds[-2] in ("log", "usage")
    assert set(kinds) <= {"session", "log", "plan", "diff", "question", "confirmation", "usage", "completed", "error"}
    assert (await stored(page)).startswith("s_")
    assert "src/hub.py" in await page.inner_text("#log")


async def test_a_reload_in_the_middle_of_a_run_attaches(context: BrowserContext, server: Server) -> None:
    server.environ["RECONVENE_OFFLINE_DELAY_MS"] = "20"
    page = await opened(context, server)
    await ask(page)
    await page.wait_for_selector("#log li.log")
    session = await stored(page)
    await page.reload()
    await ask(page)
    kinds = await completed(page)
    assert await stored(page) == session and runs(server, session) == 1
    assert kinds.count("completed") == 1


async def test_a_reload_after_completion_replays(context: BrowserContext, server: Server) -> None:
    page = await opened(context, server)
    await ask(page)
    first = await completed(page)
    session = await stored(page)
    await page.reload()
    await ask(page)
    again = await completed(page)
    assert again == first and runs(server, session) == 1


async def test_another_prompt_is_another_turn(context: BrowserContext, server: Server) -> None:
    page = await opened(context, server)
    await ask(page)
    await completed(page)
    session = await stored(page)
    await ask(page, "What does the hub do?")
    await completed(page)
    assert await stored(page) == session and runs(server, session) == 2


async def test_a_question_is_answered(context: BrowserContext, server: Server) -> None:
    """The offline model asks back when a prompt says nothing."""
    page = await opened(context, server)
    await ask(page, VAGUE)
    if "question" not in await shown(page):
        await page.wait_for_selector("#log li.question, #log li.completed", timeout=30_000)
    assert "question" in await shown(page)
    await page.reload()
    await ask(page, VAGUE)
    await page.wait_for_selector("#log li.question")
    await page.fill("#answer", QUESTION)
    await page.click("#send")
    await completed(page)
    rows = server.rows(await stored(page))
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
    await ask(page)
    kinds = await completed(page)
    assert kinds[0] == "session" and (await stored(page)).startswith("s_") and await stored(page) != id


async def test_two_sample_tabs_share_a_session(context: BrowserContext, server: Server) -> None:
    server.environ["RECONVENE_OFFLINE_DELAY_MS"] = "20"
    first = await opened(context, server)
    await ask(first)
    await first.wait_for_selector("#log li.log")
    second = await context.new_page()
    await second.goto(f"{server.origin}/sample")
    await ask(second)
    assert (await completed(second))[-1] == (await completed(first))[-1] == "completed"
    session = await stored(first)
    assert await stored(second) == session and runs(server, session) == 1


async def test_the_sample_survives_a_killed_server(context: BrowserContext, server: Server) -> None:
    server.environ["RECONVENE_OFFLINE_DELAY_MS"] = "20"
    page = await opened(context, server)
    await ask(page)
    await page.wait_for_selector("#log li.log")
    session = await stored(page)
    server.kill()
    server.start()
    await ask(page)
    await completed(page)
    rows = server.rows(session)
    assert await stored(page) == session and runs(server, session) == 1
    assert [r["content"]["outcome"] for r in rows if r["type"] == "completed"] == ["success"]


async def test_what_the_mission_complains_of(context: BrowserContext, server: Server) -> None:
    """After a reconnect and after a restart nothing is searched again and the map is not built again."""
    page = await opened(context, server)
    await ask(page)
    await completed(page)
    await page.reload()
    server.kill()
    server.start()
    await ask(page, QUESTION + " ")  # the same words: another turn of the same session
    await completed(page)
    session = await stored(page)
    rows = server.rows(session)
    second = [r for r in rows if r["run_id"] == "r2"]
    assert [r["content"]["reused"] for r in second if r["type"] == "repo_map"] == [True]
    searches = [r["content"]["cache"] for r in second if r["type"] == "tool_result" and r["content"]["cache"]]
    assert all(c == "cached" for c in searches), searches
