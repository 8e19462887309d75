"""A change of three files, the server killed by SIGKILL once at every event boundary: each byte as it should be, nothing done twice."""

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
from mutations import OF_CHANGES

import threefiles
from proof import report
from reconvene.client.following import Following
from reconvene.client.link import Link, new_id
from reconvene.protocol.view import reduce

PROOF = "Crash: a change of three files, killed after each row"
PATIENCE = 40.0
MOST = 90
"""More than the rows that the change takes."""


async def one(zygote: Any, folder: Path, at: int, mutation: str) -> tuple[list[str], int]:
    """One change with a death once `at` rows are on disk. What is wrong, and how many rows it took."""
    servers = Servers(zygote, folder, mutation, threefiles.FILES)
    servers.script = "three files"
    await servers.start(die_at=at)
    link, changed, wrong = Link(client={"id": new_id(), "name": "person"}), asyncio.Event(), list[str]()
    view = link.follower.view
    over = lambda: bool(view.runs) and all(r.get("outcome") for r in view.runs.values())  # noqa: E731
    before: list[dict[str, Any]] = []
    begun: Counter[tuple[str, str]] = Counter()

    async def revive() -> None:
        nonlocal before, begun
        # Its first thread may be gone while the others still hold its files: it is dead when nothing is left of it.
        while os.path.exists(f"/proc/{servers.pid}"):
            await asyncio.sleep(0.01)
        before, begun = servers.rows(), Counter(servers.effects())
        await servers.start()

    async def decide(client: Following) -> None:
        said: set[str] = set()
        while True:
            for item in link.follower.view.pending():
                if item["id"] not in said:
                    said.add(item["id"])
                    content = threefiles.decision(item, len(said) - 1)
                    frame = {"type": "decision", "reply_to": item["id"], "content": content}
                    sending.append(asyncio.create_task(swallow(client.submit(frame))))
            changed.clear()
            await changed.wait()

    sending: list[asyncio.Task[None]] = []
    async with Following(servers.where, link, lambda _: changed.set()) as client:
        config = {"review": True, "max_iterations": 3}
        frame = {"type": "default", "content": threefiles.PROMPT, "config": config}
        tasks = [asyncio.create_task(t) for t in (swallow(client.submit(frame)), decide(client), revive())]
        try:
            async with asyncio.timeout(PATIENCE):
                while not over():
                    view = link.follower.view
                    await asyncio.sleep(0.01)
        except TimeoutError:
            wrong.append(f"stuck at {json.dumps(link.follower.view.to_json())[-1500:]}")
        for task in [*tasks, *sending]:
            task.cancel()
        await asyncio.gather(*tasks, *sending, return_exceptions=True)
    await servers.kill()
    rows = servers.rows()
    wrong += check(servers, rows, before, begun, link.follower.view.to_json())
    return [f"killed at {at}: {w}" for w in wrong], len(rows)


def check(
    servers: Servers, rows: list[dict[str, Any]], before: list[dict[str, Any]], begun: Any, shown: Any
) -> list[str]:
    wrong: list[str] = []
    root = servers.folder / "project"
    found = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    if found != threefiles.WANTED:
        wrong.append(f"files: {found}")
    if [r["seq"] for r in rows] != list(range(1, len(rows) + 1)):
        wrong.append("gaps")
    if rows[: len(before)] != before:
        wrong.append("what was on disk changed")
    keys = [r["key"] for r in rows if r["key"]]
    if len(keys) != len(set(keys)):
        wrong.append("a key twice")
    finished = {(r["session_id"], r["key"]) for r in before if r["key"]}
    after = Counter(servers.effects())
    wrong += [f"finished before the death, begun again after it: {e}" for e in finished if after[e] > begun[e]]
    of = lambda kind: [json.loads(r["content"]) for r in rows if r["type"] == kind]  # noqa: E731
    if [d["verdict"] for d in of("decided")] != ["feedback", "accept"]:
        wrong.append(f"decisions: {of('decided')}")
    if len(of("applied")) != 1 or of("applied")[0]["conflicts"]:
        wrong.append(f"applied: {of('applied')}")
    if [c["outcome"] for c in of("completed")] != ["success"]:
        wrong.append(f"ended: {of('completed')}")
    if sum(r["type"] in ("model", "sub_model") for r in rows) != len(threefiles.CALLS):
        wrong.append("model calls")
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
                wrong += found
                deaths += at <= rows
                if found and mutation == "none":
                    keep = Path(tempfile.mkdtemp(prefix="reconvene-violation-"))
                    shutil.copytree(folder, keep, dirs_exist_ok=True)
                    print(f"killed at {at}: kept in {keep}")
                if at > rows or (mutation != "none" and wrong):
                    break
    return wrong, deaths


@pytest.mark.timeout(300)
async def test_bad102_killed_at_a_handful_of_boundaries() -> None:
    wrong, _ = await campaign([3, 17, 29, 41, 49, 55])
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", OF_CHANGES)
async def test_control_a_broken_defence_of_changes_is_caught(mutation: str) -> None:
    began = time.monotonic()
    wrong, deaths = await campaign(list(range(12, MOST)), mutation)
    assert wrong, f"{mutation} was not noticed"
    report(PROOF, control=f"{mutation}: noticed after {deaths} deaths", seconds=time.monotonic() - began)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_bad102_killed_at_every_boundary() -> None:
    began = time.monotonic()
    wrong, deaths = await campaign(list(range(1, MOST)))
    assert not wrong, "\n".join(wrong)
    assert deaths > 40
    figure = (
        "{deaths:,} deaths of the server, one as soon as each row was on the disk: every byte of the files as accepted, each written "
        "once, 0 finished calls repeated, 0 stuck, the client shows exactly the log"
    )
    report(PROOF, figure, counts={"deaths": deaths}, seconds=time.monotonic() - began)
