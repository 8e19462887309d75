"""Nothing piles up: sessions come and go for an hour and longer, and what the server holds stays the same; a clock that jumps matters not.

What is compressed is idle time (`soaked.py`); the work is real. The long ones run in `make soak`, for `MINUTES`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from pathlib import Path

import pytest
import soaking
from soaked import LEAKS
from soaking import Figures, Load, grown, slope

from proof import report

MINUTES = float(os.environ.get("MINUTES", "10"))
SESSIONS = int(os.environ.get("SESSIONS", "1000"))
HOUR, DAY = 3600.0, 86400.0
IDLE = HOUR + 60
"""Beyond `idle_unload`."""
RETENTION = 31 * DAY
PAGES = 3 * 8192 * 1024 / 1e6
"""MB that the three connections to a database of this size and more keep of its pages: `cache_size` in log/database.py."""
PROOF = "Soak: mixed load"


async def emptied(child: soaking.Child) -> Figures:
    """All sessions are idle for long enough to be unloaded, then archived, then deleted; what is held then."""
    await child.swept(IDLE)
    loaded = (await child.order("figures"))["loaded"]
    for _ in range(2):
        await child.swept(RETENTION)
    figures: Figures = await child.order("figures")
    return figures | {"loaded": loaded}


async def small_rounds(folder: Path, leak: str) -> list[Figures]:
    rounds = []
    async with soaking.server(folder, leak) as child:
        load = Load(child, seed=1, at_once=4)
        for _ in range(3):
            await load.sessions(4, ("look", "plain", "ask", "dropped", "change"))
            rounds.append(await emptied(child))
    print(json.dumps(rounds[1:]))
    return rounds[1:]


async def test_a_few_sessions_leave_nothing_behind(tmp_path: Path) -> None:
    assert grown(await small_rounds(tmp_path, "none"), small=True) == []


@pytest.mark.long
@pytest.mark.parametrize("leak", [name for name in LEAKS if name != "none"])
async def test_a_leak_is_noticed(tmp_path: Path, leak: str) -> None:
    found = grown(await small_rounds(tmp_path, leak), small=True)
    assert found
    report(PROOF, control=f"{leak}: {found[0].partition(':')[0]} grow")


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_an_hour_of_mixed_load_is_flat(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", random.randrange(2**31)))
    print(f"\nseed {seed}")
    began, idle = time.monotonic(), 0.0
    rounds: list[Figures] = []
    async with soaking.server(tmp_path) as child:
        load = Load(child, seed)
        await load.sessions(150)  # what is made once is made
        await emptied(child)
        while len(rounds) < 8 or time.monotonic() - began < MINUTES * 60:
            for _ in range(3):
                await load.sessions(15)
                await child.swept(IDLE)
                idle += IDLE
            rounds.append(await emptied(child))
            print(" ".join(f"{name} {value:.1f}" for name, value in rounds[-1].items()), flush=True)
    assert grown(rounds) == []
    per_round = sum(load.done.values()) / (len(rounds) + 150 / 45)
    climb = slope([r["memory"] for r in rounds]) / per_round * 1000
    first, last = rounds[0], rounds[-1]
    report(
        PROOF,
        f"{sum(load.done.values()):,} sessions of {len(load.done)} kinds in {len(rounds)} rounds, {idle / HOUR:.0f} hours of idle time: "
        f"memory {first['memory']:.0f} → {last['memory']:.0f} MB ({climb:+.1f} MB per 1,000 sessions), descriptors "
        f"{first['descriptors']:.0f} → {last['descriptors']:.0f}, tasks {first['tasks']:.0f} → {last['tasks']:.0f}, threads "
        f"{first['threads']:.0f} → {last['threads']:.0f}, database {first['stored']:.1f} → {last['stored']:.1f} MB",
        seed=seed,
        seconds=time.monotonic() - began,
    )


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_memory_is_back_after_a_thousand_sessions_came_and_went(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", random.randrange(2**31)))
    print(f"\nseed {seed}")
    began = time.monotonic()
    async with soaking.server(tmp_path) as child:
        load = Load(child, seed)
        await load.sessions(100)
        start = await emptied(child)
        await load.sessions(SESSIONS)
        full = await child.order("figures")
        assert full["loaded"] >= SESSIONS * 0.8
        swept = await child.swept(IDLE)
        unloaded = await child.order("figures")
        end = await emptied(child)
    print(json.dumps([start, full, unloaded, end]))
    assert swept["unloaded"] >= SESSIONS * 0.8 and unloaded["loaded"] == 0
    assert unloaded["memory"] <= start["memory"] * 1.10 + PAGES
    assert end["memory"] <= start["memory"] * 1.10 and end["sessions"] == 0
    report(
        "Soak: the sweeper frees",
        f"{SESSIONS:,} sessions came and went: {start['memory']:.0f} MB before, {full['memory']:.0f} MB with {full['loaded']:.0f} in "
        f"memory, {unloaded['memory']:.0f} MB when they had been idle for an hour (up to {PAGES:.0f} of it pages of the database), "
        f"{end['memory']:.0f} MB when they were deleted",
        seed=seed,
        seconds=time.monotonic() - began,
    )


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_wall_clock_that_jumps_moves_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    async with soaking.server(tmp_path) as child, child.connect() as live:
        load = Load(child, seed=1)
        await load.sessions(12)
        await soaking._send(live, {"type": "default", "proto": 1, "id": "asked", "content": "ask live"})
        session = json.loads(await live.recv())["content"]["session_id"]
        question = await soaking._event(live, "question")
        while (await child.http("GET", f"/api/sessions/{session}"))["status"] != "waiting":
            await asyncio.sleep(0.02)
        before = (await child.http("GET", "/api/sessions"))["sessions"]
        for jump in (3 * DAY, -6 * DAY, 3 * DAY):
            await child.order("wall", seconds=jump)
            assert await child.order("sweep") == {"unloaded": 0, "archived": 0, "deleted": 0}
            now = (await child.http("GET", "/api/sessions"))["sessions"]  # the token holds
            assert {s["session_id"]: (s["status"], s["archived"], s["head"]) for s in now} == {
                s["session_id"]: (s["status"], s["archived"], s["head"]) for s in before
            }
            await load.sessions(4)
            before = (await child.http("GET", "/api/sessions"))["sessions"]
        assert (await child.http("GET", f"/api/sessions/{session}"))["status"] == "waiting"
        answer = {"type": "answer", "id": "answered", "reply_to": question["content"]["id"], "content": "this one"}
        await soaking._send(live, answer)  # over the connection that was open all the time
        await soaking._completed(live)
        events = (await child.http("GET", f"/api/sessions/{session}/events?limit=1000"))["events"]
        assert [e["seq"] for e in events] == sorted(e["seq"] for e in events)
        # The control: time in which the server runs does move it.
        swept = await child.swept(RETENTION)
    assert swept["unloaded"] > 0 and swept["archived"] > 0
    report(
        "Soak: clock jumps",
        "the wall clock set 3 days on, 6 back and 3 on: no session swept, no question expired, sign-in and open connection hold, new runs "
        "end, the order stays",
        control=f"31 days of uptime instead: {swept['archived']} sessions archived",
        seconds=time.monotonic() - began,
    )
