"""The page through refreshes, cut networks, killed servers and sleep. Each test ends by comparing what it shows with the log."""

from __future__ import annotations

import re

import pytest
from cut_network import Proxy
from model_provider import Hold, Provider, do, say
from playwright.async_api import BrowserContext, expect
from real_server import Server
from shown import Watch, ask, at, drawn, ended, finished, live, opened, same_as_log, says, session_of, written

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SEARCH = do(("search", {"query": "idle"}), ("search", {"query": "sweep"}))
HEAD, REST = "Idle sessions are swept by the hub, which", " removes those that were last active more than an hour ago."


async def test_refresh_in_the_middle_of_a_token(
    context: BrowserContext, server: Server, provider: Provider, watch: Watch
) -> None:
    hold = Hold()
    provider.on("refresh", SEARCH, say(HEAD, " rem", hold, "oves those that are idle."))
    page = await opened(context, server)
    await ask(page, "refresh")
    await says(page, f"{HEAD} rem")
    await page.reload()
    await says(page, f"{HEAD} rem")
    await expect(at(page, "turn")).to_have_attribute("data-outcome", "")
    hold.set()
    await ended(page)
    rows = await same_as_log(page, server)
    assert [r["content"]["text"] for r in rows if r["type"] == "completed"] == [f"{HEAD} removes those that are idle."]
    assert not [r for r in rows if r["type"] == "item_aborted"] and provider.requests["refresh", 1] == 1
    watch.only_grew_to(f"{HEAD} removes those that are idle.")


async def test_the_network_is_cut_in_the_middle_of_a_frame(
    context: BrowserContext, server: Server, proxy: Proxy, provider: Provider, watch: Watch
) -> None:
    """Three times. Only a part of the frame arrives, and the page fetches what it missed by itself."""
    holds = [Hold() for _ in range(3)]
    pieces = [piece for n, hold in enumerate(holds) for piece in (hold, f" Then came part {n}, and it was whole.")]
    provider.on("cut", say(HEAD, *pieces, REST))
    page = await opened(context, server, via=proxy)
    await ask(page, "cut")
    told = HEAD
    for n, hold in enumerate(holds):
        await says(page, told)
        await live(page)
        cuts, sockets = proxy.cuts, proxy.sockets
        proxy.cut_next()
        hold.set()
        await proxy.cut(cuts)
        await proxy.connected_again(sockets)
        told += f" Then came part {n}, and it was whole."
    await ended(page)
    await says(page, told + REST)
    await same_as_log(page, server)
    watch.only_grew_to(told + REST)


async def test_the_network_is_away_for_a_while(
    context: BrowserContext, server: Server, proxy: Proxy, provider: Provider, watch: Watch
) -> None:
    hold = Hold()
    provider.on("away", say(HEAD, hold, REST))
    page = await opened(context, server, via=proxy)
    await ask(page, "away")
    await says(page, HEAD)
    proxy.down()
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "waiting")
    await expect(at(page, "link-state")).to_contain_text("Reconnecting")
    await expect(at(page, "try-now")).to_be_visible()
    hold.set()
    await finished(server, session_of(page))
    watch.last_was(HEAD)
    proxy.up()
    await expect(at(page, "link-state")).to_contain_text(re.compile(r"Resumed · \d+ missed events?, nothing lost"))
    await ended(page)
    await says(page, HEAD + REST)
    await same_as_log(page, server)
    watch.only_grew_to(HEAD + REST)


async def test_the_server_is_killed_and_comes_back(
    context: BrowserContext, server: Server, provider: Provider, watch: Watch
) -> None:
    """Nobody does anything in the page. The run goes on by itself; what was half said is struck and said anew, once."""
    hold = Hold()
    provider.on("killed", SEARCH, say(HEAD, hold, REST))
    page = await opened(context, server)
    await ask(page, "killed")
    await says(page, HEAD)
    server.kill()
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "waiting")
    await says(page, HEAD)
    server.start()
    await expect(at(page, "run-state")).to_have_text("Running · attempt 2")
    # Said anew while the page looks: what it showed before is struck, not added to.
    await written(server, session_of(page), lambda row: row["type"] == "text" and row["content"]["attempt"] == 2)
    await drawn(page)
    await says(page, HEAD)
    hold.set()
    await ended(page)
    rows = await same_as_log(page, server)
    statuses = [r["content"]["status"] for r in rows if r["type"] == "run"]
    assert statuses == ["queued", "running", "recovering", "running"]
    assert sum(r["type"] == "item_aborted" for r in rows) == 1 and sum(r["type"] == "prompt" for r in rows) == 1
    assert (provider.requests["killed", 0], provider.requests["killed", 1]) == (1, 2)
    watch.only_grew_to(HEAD + REST)


async def test_a_question_waits_through_a_restart(context: BrowserContext, server: Server, provider: Provider) -> None:
    provider.on("restart", do(("ask_user", {"question": "Which hub?"})), say("The old one, then."))
    page = await opened(context, server)
    await ask(page, "restart")
    await expect(at(page, "question")).to_be_visible()
    await at(page, "answer").fill("the old one")
    server.stop()
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "waiting")
    await at(page, "send-answer").click()
    await expect(at(page, "question")).to_contain_text("Kept here")
    entry = page.locator(f"[data-testid=session][data-session={session_of(page)}]")
    await expect(entry).to_have_attribute("data-state", "waiting")
    server.start()
    await ended(page)
    await expect(at(page, "answered")).to_contain_text("the old one")
    rows = await same_as_log(page, server)
    assert [r["content"]["answer"] for r in rows if r["type"] == "answered"] == ["the old one"]
    assert provider.requests["restart", 0] == provider.requests["restart", 1] == 1


async def test_a_page_that_slept_with_a_dead_connection(
    context: BrowserContext, server: Server, proxy: Proxy, provider: Provider, watch: Watch
) -> None:
    """The lid was closed for an hour: nothing says that the connection is dead, but the wall clock jumped."""
    hold = Hold()
    provider.on("sleep", say(HEAD, hold, REST))
    await server.sign_in(context)
    page = await context.new_page()
    await page.clock.install()
    await page.goto(proxy.origin)
    await live(page)
    await ask(page, "sleep")
    await says(page, HEAD)
    proxy.freeze()
    hold.set()
    await finished(server, session_of(page))
    watch.last_was(HEAD)
    sockets = proxy.sockets
    await page.clock.fast_forward("01:00:00")
    await proxy.connected_again(sockets)
    await ended(page)
    await says(page, HEAD + REST)
    await same_as_log(page, server)
    watch.only_grew_to(HEAD + REST)


async def test_a_page_that_stood_still(
    context: BrowserContext, server: Server, proxy: Proxy, provider: Provider, watch: Watch
) -> None:
    """A page whose code did not run while the answer came, as in a suspended browser; awake again, it has all of it."""
    hold = Hold()
    provider.on("still", say(HEAD, hold, REST))
    page = await opened(context, server, via=proxy)
    await ask(page, "still")
    await says(page, HEAD)
    session = session_of(page)
    devtools = await context.new_cdp_session(page)
    await devtools.send("Debugger.enable")
    await devtools.send("Debugger.pause")
    hold.set()
    await finished(server, session)
    watch.last_was(HEAD)
    await devtools.send("Debugger.disable")
    await ended(page)
    await same_as_log(page, server)
    watch.only_grew_to(HEAD + REST)


async def test_a_prompt_written_offline_is_sent_once(context: BrowserContext, server: Server, proxy: Proxy) -> None:
    page = await opened(context, server, via=proxy)
    await ask(page, "before the outage")
    await ended(page)
    proxy.down()
    await expect(at(page, "link-state")).to_have_attribute("data-phase", "waiting")
    await ask(page, "in the outage")
    await expect(at(page, "outgoing")).to_contain_text("Kept here since")
    await expect(at(page, "link-state")).to_contain_text("1 message waiting")
    proxy.up()
    await ended(page, turns=2)
    await expect(at(page, "outgoing")).to_have_count(0)
    rows = await same_as_log(page, server)
    assert [r["content"]["text"] for r in rows if r["type"] == "prompt"] == ["before the outage", "in the outage"]


async def test_a_prompt_written_offline_survives_its_page(
    context: BrowserContext, server: Server, proxy: Proxy
) -> None:
    """The tab is closed before the network is back; the next page of this browser sends what it finds."""
    page = await opened(context, server, via=proxy)
    await ask(page, "before the closing")
    await ended(page)
    proxy.down()
    await ask(page, "kept in the browser")
    await expect(at(page, "outgoing")).to_have_count(1)
    await page.close()
    proxy.up()
    page = await opened(context, server, via=proxy)
    await ended(page, turns=2)
    await expect(at(page, "outgoing")).to_have_count(0)
    await page.reload()
    await live(page)
    rows = await same_as_log(page, server)
    assert [r["content"]["text"] for r in rows if r["type"] == "prompt"] == [
        "before the closing",
        "kept in the browser",
    ]
    assert await page.evaluate("Object.keys(localStorage).filter(key => key.includes('outbox'))") == []


async def test_a_prompt_whose_acknowledgement_is_lost_is_not_asked_twice(
    context: BrowserContext, server: Server, proxy: Proxy, provider: Provider
) -> None:
    """It reached the server, the answer did not reach the page: it is sent again under its id, and known there."""
    page = await opened(context, server, via=proxy)
    await ask(page, "before the silence")
    await ended(page)
    session = session_of(page)
    proxy.mute()
    await ask(page, "into the silence")
    await expect(at(page, "outgoing")).to_have_count(1)
    await finished(server, session, runs=2)
    proxy.break_all()
    await ended(page, turns=2)
    await expect(at(page, "outgoing")).to_have_count(0)
    rows = await same_as_log(page, server)
    assert sum(r["type"] == "prompt" for r in rows) == 2 and provider.requests["into the silence", 0] == 1
