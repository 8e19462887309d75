"""A wide question, looked into by several agents, while its model runs out of quota and another takes over: the server killed by SIGKILL
once at every event boundary. Nothing is looked into twice, and the other model is not forgotten."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from kills import Servers, preloaded, swallow

import widequestion
from proof import report
from reconvene.client.following import Following
from reconvene.client.link import Link, new_id
from reconvene.protocol.view import reduce

PATIENCE = 120.0
MOST = 90
"""More than the rows that it takes."""


async def one(zygote: Any, folder: Path, at: int, mutation: str) -> tuple[list[str], int]:
    """One question with a death once `at` rows are on disk. What is wrong, and how many rows it took."""
    servers = Servers(zygote, folder, mutation, widequestion.FILES)
    servers.script, servers.settings = "wide question", {"model": "first", "fallback": "second"}
    await servers.start(die_at=at)
    link, wrong = Link(client={"id": new_id(), "name": "person"}), list[str]()
    before: list[dict[str, Any]] = []
    begun: Counter[tuple[str, str]] = Counter()

    async def revive() -> None:
        nonlocal before, begun
        while os.path.exists(f"/proc/{servers.pid}"):
            await asyncio.sleep(0.01)
        before, begun = servers.rows(), Counter(servers.effects())
        await servers.start()

    async with Following(servers.where, link, lambda _: None) as client:
        frame = {"type": "default", "content": widequestion.PROMPT}
        tasks = [asyncio.create_task(t) for t in (swallow(client.submit(frame)), revive())]
        try:
            async with asyncio.timeout(PATIENCE):
                while not (runs := link.follower.view.runs) or not all(r.get("outcome") for r in runs.values()):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            wrong.append(f"stuck at {json.dumps(link.follower.view.to_json())[-1500:]}")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await servers.kill()
    rows = servers.rows()
    wrong += check(servers, rows, before, begun, link.follower.view.to_json())
    return [f"killed at {at}: {w}" for w in wrong], len(rows)


def check(
    servers: Servers, rows: list[dict[str, Any]], before: list[dict[str, Any]], begun: Any, shown: Any
) -> list[str]:
    wrong: list[str] = []
    if [r["seq"] for r in rows] != list(range(1, len(rows) + 1)):
        wrong.append("gaps")
    if rows[: len(before)] != before:
        wrong.append("what was on disk changed")
    keys = [r["key"] for r in rows if r["key"]]
    if len(keys) != len(set(keys)):
        wrong.append("a key twice")
    after = Counter(servers.effects())
    finished = {(r["session_id"], r["key"]) for r in before if r["key"]}
    wrong += [f"finished before the death, begun again after it: {e}" for e in finished if after[e] > begun[e]]
    of = lambda kind: [json.loads(r["content"]) for r in rows if r["type"] == kind]  # noqa: E731
    if [(c["outcome"], c["text"]) for c in of("completed")] != [("success", widequestion.ANSWER)]:
        wrong.append(f"ended: {of('completed')}")
    if sum(r["type"] in ("model", "sub_model") for r in rows) != widequestion.MODEL_ROWS:
        wrong.append("model calls")
    names = Counter(c["name"] for c in of("tool_call"))
    if names != {"explore": 1, "explorer": 3, "search": 3, "read_file": 3, "fallback": 1, "project_notes": 2}:
        wrong.append(f"steps: {names}")
    if sorted(c["args"]["path"] for c in of("tool_call") if c["name"] == "project_notes") != widequestion.NOTES:
        wrong.append("notes")
    results = Counter(c["id"] for c in of("tool_result"))
    if set(results) != {c["id"] for c in of("tool_call")} or max(results.values(), default=0) > 1:
        wrong.append("results that are missing or there twice")
    public = [{**r, "at": round(r["at"], 3), "content": json.loads(r["content"])} for r in rows if r["public"]]
    if reduce(public).to_json() != shown:
        wrong.append("the client shows something else than the log")
    return wrong


async def campaign(places: list[int], mutation: str = "none") -> tuple[list[str], int]:
    """What is wrong, and how many deaths there were."""
    wrong: list[str] = []
    deaths = 0
    async with preloaded() as zygote:
        for at in places:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                found, rows = await one(zygote, Path(folder), at, mutation)
                wrong, deaths = wrong + found, deaths + 1
                if found and mutation == "none":
                    keep = Path(tempfile.mkdtemp(prefix="reconvene-violation-"))
                    shutil.copytree(folder, keep, dirs_exist_ok=True)
                    print(f"killed at {at}: kept in {keep}")
                if at > rows or (mutation != "none" and wrong):
                    break
    return wrong, deaths


@pytest.mark.timeout(300)
async def test_killed_at_a_handful_of_boundaries() -> None:
    wrong, _ = await campaign([9, 27, 45, 60])
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_killed_at_every_boundary() -> None:
    began = time.monotonic()
    wrong, deaths = await campaign(list(range(1, MOST)))
    assert not wrong, "\n".join(wrong)
    report(
        "Deaths: a wide question and a change of models",
        "{deaths:,} deaths, one after each row; 0 finished calls repeated, 0 steps lost or twice",
        counts={"deaths": deaths},
        seconds=time.monotonic() - began,
    )


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_control_explorers_that_are_forgotten_are_noticed() -> None:
    wrong, _ = await campaign(list(range(24, MOST)), "forgetful_sub_agents")
    assert wrong
    report("Deaths: a wide question and a change of models", control="responses of sub-agents not looked up: noticed")
