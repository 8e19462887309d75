"""A page in Chromium at one node, while the two others that work on its runs are killed, one after the other, at random moments."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_provider import MODEL, Hold, Provider, do, say
from playwright.async_api import BrowserContext
from real_server import Server
from shown import ask, ended, live, opened, same_as_log, says

from postgres import fresh_url
from proof import report

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.asyncio(loop_scope="session")]
SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
HEAD, REST = "Idle sessions are swept by the hub, which", " removes those that were last active more than an hour ago."


PROOF = "Nodes: the page at another node"
TELLS_OTHERWISE = """
from dataclasses import replace
from reconvene.log.postgres import follower, log, news, transaction

read = news.to_row

def told(session_id, columns):
    row = read(session_id, columns)
    return replace(row, content=row.content.replace("an hour", "a week"))

for module in (follower, log, news, transaction):
    module.to_row = told
"""
"""A node that tells people something else than other nodes wrote."""


def made(tmp_path: Path, provider: Provider, mutation: str | None = None) -> Iterator[tuple[Server, list[Server]]]:
    """The one with the page, whose own code base is another, and two with the code base that is asked about."""
    environ = {**provider.environ, "RECONVENE_DATABASE": fresh_url(), "RECONVENE_TAKEOVER": "3"}
    servers = []
    for name in ("page", "one", "two"):
        (tmp_path / name).mkdir()
        changed = mutation if name == "page" else None
        servers.append(Server(tmp_path / name, "--model", MODEL, environ=environ, mutation=changed))
    page, *others = servers
    others[1].root = others[0].root
    page.root = page.root.rename(page.root.with_name("here"))
    for node in servers:
        node.start()
    yield page, others
    for node in servers:
        node.close()


@pytest.fixture
def nodes(tmp_path: Path, provider: Provider) -> Iterator[tuple[Server, list[Server]]]:
    yield from made(tmp_path, provider)


@pytest.fixture
def one_that_tells_otherwise(tmp_path: Path, provider: Provider) -> Iterator[tuple[Server, list[Server]]]:
    yield from made(tmp_path, provider, TELLS_OTHERWISE)


async def until_served(node: Server, root: str) -> None:
    async with asyncio.timeout(60):
        while root not in [r["root"] for r in node.call("GET", "/api/roots")["elsewhere"]]:
            await asyncio.sleep(0.05)


@pytest.mark.timeout(3000)
async def test_a_page_at_one_node_sees_it_all_while_the_others_are_killed(
    context: BrowserContext, nodes: tuple[Server, list[Server]], provider: Provider
) -> None:
    rounds, rng, began = int(os.environ.get("PAGE_ROUNDS", "10")), random.Random(SEED), time.monotonic()
    print(f"\nseed {SEED}")
    people, others = nodes
    await until_served(people, str(others[0].root))
    session = people.call("POST", "/api/sessions", {"root_directory": "project"})["session_id"]
    page = await opened(context, people, f"/s/{session}")
    kills = 0
    for n in range(rounds):
        hold = Hold()
        provider.on(f"question {n}", do(("search", {"query": "idle"})), say(HEAD, hold, REST))
        await ask(page, f"question {n}")
        for node in rng.sample(others, 2):  # one of them has the run, and then the other
            await asyncio.sleep(rng.uniform(0.0, 1.0))
            node.kill()
            kills += 1
            await says(page, HEAD)
            node.start()
            await until_served(people, str(node.root))
        hold.set()
        await ended(page, turns=n + 1)
        await says(page, HEAD + REST)
    await live(page)
    rows = await same_as_log(page, people)
    assert [r["content"]["text"] for r in rows if r["type"] == "completed"] == [HEAD + REST] * rounds
    recovered = sum(r["type"] == "run" and r["content"]["status"] == "recovering" for r in rows)
    assert recovered > 0
    figure = (
        "{kills:,} deaths of the nodes that worked on them, {rounds:,} runs followed in Chromium at another node, {recovered:,} times "
        "taken over: the page was not reloaded and shows exactly the log"
    )
    counts = {"kills": kills, "rounds": rounds, "recovered": recovered}
    report(PROOF, figure, counts=counts, seed=SEED, seconds=time.monotonic() - began)


@pytest.mark.timeout(300)
async def test_control_a_page_that_is_told_something_else_is_noticed(
    context: BrowserContext, one_that_tells_otherwise: tuple[Server, list[Server]], provider: Provider
) -> None:
    began = time.monotonic()
    people, others = one_that_tells_otherwise
    await until_served(people, str(others[0].root))
    session = people.call("POST", "/api/sessions", {"root_directory": "project"})["session_id"]
    page = await opened(context, people, f"/s/{session}")
    provider.on("question", do(("search", {"query": "idle"})), say(HEAD, REST))
    await ask(page, "question")
    await ended(page)
    with pytest.raises(AssertionError, match="aweekago"):
        await same_as_log(page, others[0], patience=1.0)
    report(PROOF, control="a node that tells the page another word: noticed", seconds=time.monotonic() - began)
