"""The tests, the same for all. Each gives the cells of some rows; what one cannot do says why in its cell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bench.machine import cpu_seconds
from bench.peers.peer import Page, Peer, memory, until
from bench.peers.provider import LONG, PACE, SLOW, TOOL_SECONDS

Cells = dict[str, str]
AWAY = 2.5
"""Seconds for which a connection is gone."""

THINKING = 12.0
"""Seconds that a person has not answered yet: more than those after which a server that writes now and then has written."""

READY = "start to first answer"
IDLE = "memory, idle"
DROP = f"connection gone for {AWAY:g} s in the middle of an answer"
DROP_END = "… when the answer has ended"
REFRESH = "page loaded anew in the middle of an answer"
TABS = "two tabs on one session"
TWICE = "a message sent twice with one id"
TEXT = "`kill -9` in the middle of an answer"
AGAIN = "`kill -9` to ready again"
TOOL = "`kill -9` in the middle of a command"
ORPHAN = "… the command itself, while no server runs"
LEAVE = "a command waits for leave, `kill -9`"
RESUME = "an answer of 10,000 pieces, on a new page"
ROWS = (DROP, DROP_END, REFRESH, TABS, TWICE, TEXT, TOOL, ORPHAN, LEAVE, RESUME, READY, AGAIN, IDLE)


async def measured(peer: Peer, told: Callable[[str], None]) -> Cells:
    """All cells of one server. It is started here and is up in the end, if it can be."""
    cells: Cells = {READY: await started(peer)}
    assert peer.process is not None
    await asyncio.sleep(5)
    cells[IDLE] = f"{memory(peer.process.pid):.0f} MB"
    tests: list[tuple[tuple[str, ...], Callable[[Peer], Awaitable[Cells]]]] = [
        ((DROP, DROP_END), drop),
        ((REFRESH,), refresh),
        ((TABS,), tabs),
        ((TWICE,), twice),
        ((RESUME,), resume),
        ((TEXT, AGAIN), kill_in_text),
        ((TOOL, ORPHAN), kill_in_tool),
        ((LEAVE,), kill_while_asked),
    ]
    for rows, test in tests:
        try:
            async with asyncio.timeout(300):
                cells |= await test(peer)
        except Exception as e:
            cells |= dict.fromkeys(rows, f"not measured: {type(e).__name__}: {str(e)[:160]}")
            if peer.process.poll() is not None:
                await peer.start()
        for row in rows:
            told(f"{peer.name}: {row}: {cells.get(row)}")
    return cells


async def started(peer: Peer) -> str:
    """Start it; how long that took."""
    seconds = await peer.start()
    assert peer.process is not None
    return f"{seconds:.1f} s ({cpu_seconds(peer.process.pid):.1f} s of CPU)"


def compared(page: Page, upto: int | None = None) -> tuple[int, int, int]:
    """Of the tokens up to the newest that is shown (or `upto`): how many are missing, how many are there twice; and their number."""
    shown = page.tokens
    last = max(shown, default=-1) + 1 if upto is None else upto
    return len(set(range(last)) - set(shown)), len(shown) - len(set(shown)), last


async def drop(peer: Peer) -> Cells:
    session = await peer.new()
    page = await peer.page(session)
    await peer.send(session, "SLOW drop")
    await page.until(40)
    await page.cut()
    await asyncio.sleep(AWAY)
    again = await peer.page(session, page.kept)
    try:
        await asyncio.sleep(2.0)
        missing, double, last = compared(again)
        now = f"{missing} of {last} tokens lost, {double} doubled" if again.tokens else "nothing is shown any more"
        await until(lambda: peer.provider.said["SLOW drop"] == SLOW, 60, "the model is not asked to the end")
        await asyncio.sleep(3)
        missing, double, _ = compared(again, SLOW)
        return {DROP: now, DROP_END: f"{missing} of {SLOW} lost, {double} doubled"}
    finally:
        await again.cut()


async def refresh(peer: Peer) -> Cells:
    session = await peer.new()
    page = await peer.page(session)
    await peer.send(session, "SLOW refresh")
    await page.until(100)
    await page.cut()
    said = peer.provider.said["SLOW refresh"]
    fresh = await peer.page(session)
    try:
        await asyncio.sleep(1.5)
        shown = len({n for n in fresh.tokens if n < said})
        going = " and it goes on" if any(n >= said for n in fresh.tokens) else ", and it stands still"
        return {REFRESH: f"{shown} of {said} tokens are shown{going}"}
    finally:
        await fresh.cut()


async def tabs(peer: Peer) -> Cells:
    session = await peer.new()
    left, right = await peer.page(session), await peer.page(session)
    try:
        await peer.send(session, "SLOW tabs")
        await until(lambda: peer.provider.said.get("SLOW tabs", 0) >= 100, 60, "the model is not asked")
        await asyncio.sleep(0.5)
        return {
            TABS: f"of 100 tokens the first shows {min(100, len(left.tokens))}, the second {min(100, len(right.tokens))}"
        }
    finally:
        await left.cut()
        await right.cut()


async def twice(peer: Peer) -> Cells:
    session = await peer.new()
    before = time.monotonic()
    for n in range(2):
        try:
            await peer.send(session, "SLOW twice", id=peer.an_id)
        except Exception as e:
            if n == 0:
                raise
            return {TWICE: f"the second is refused ({type(e).__name__}: {str(e)[:60]})"}
    await asyncio.sleep(2 * SLOW * PACE + 10)  # one that waits for the other has its turn
    requests = peer.provider.since(before)
    return {TWICE: "one run" if requests == 1 else f"{requests} runs"}


async def resume(peer: Peer) -> Cells:
    session = await peer.new()
    page = await peer.page(session)
    await peer.send(session, "LONG")
    await until(lambda: peer.provider.said.get("LONG", 0) == LONG, 240, lambda: f"{peer.provider.said} of {LONG} taken")
    await page.until(LONG, 60)
    await page.cut()
    await asyncio.sleep(1)
    began = time.monotonic()
    fresh = await peer.page(session)
    try:
        try:
            await until(lambda: len(fresh.tokens) >= LONG, 60, "", every=0.005)
        except TimeoutError:
            return {RESUME: f"{len(fresh.tokens):,} of {LONG:,} are shown after 60 s"}
        return {RESUME: f"{(time.monotonic() - began) * 1000:,.0f} ms"}
    finally:
        await fresh.cut()


async def kill_in_text(peer: Peer) -> Cells:
    session = await peer.new()
    page = await peer.page(session)
    await peer.send(session, "SLOW kill")
    await page.until(60)
    had = len(page.tokens)
    await peer.kill()
    killed = time.monotonic()
    await page.cut()
    cells = {AGAIN: await started(peer)}
    await asyncio.sleep(1)
    fresh = await peer.page(session)
    try:
        await asyncio.sleep(2)
        kept = f"{len({n for n in fresh.tokens if n < had})} of {had} tokens shown after the restart"
        try:
            await until(lambda: len(set(fresh.tokens)) >= SLOW, 40, "it does not go on")
            goes_on = "goes on by itself to its end"
        except TimeoutError:
            asked = peer.provider.since(killed)
            goes_on = f"does not go on (model asked {asked} times in 40 s; said to be: {await peer.state(session)})"
        return cells | {TEXT: f"{goes_on}; {kept}"}
    finally:
        await fresh.cut()


async def _leave(peer: Peer, session: str) -> None:
    """Until the command is begun, giving leave if it is asked for."""
    given: set[str] = set()

    async def begun() -> bool:
        for id in await peer.asked(session):
            if id not in given:
                given.add(id)
                await peer.allow(session, id)
        return _marks(peer).count("begun") > 0

    await until(begun, 60, "the command is not begun", every=0.2)


def _marks(peer: Peer) -> list[str]:
    return peer.provider.marks.read_text().split() if peer.provider.marks.exists() else []


async def kill_in_tool(peer: Peer) -> Cells:
    peer.provider.marks.unlink(missing_ok=True)
    session = await peer.new()
    page = await peer.page(session)
    await peer.send(session, "TOOL kill")
    await _leave(peer, session)
    await asyncio.sleep(1)
    await peer.kill()
    await page.cut()
    await asyncio.sleep(TOOL_SECONDS + 1)
    ran_on = "ended" in _marks(peer)
    killed = time.monotonic()
    await peer.start()
    try:
        await until(lambda: peer.provider.since(killed) > 0, 25, "the model is not asked")
        await asyncio.sleep(TOOL_SECONDS + 2)
        outcome = "goes on by itself"
    except TimeoutError:
        outcome = "does not go on"
    begun, ended = _marks(peer).count("begun"), _marks(peer).count("ended")
    state = await peer.state(session)
    return {
        TOOL: f"{outcome} (said to be: {state}); begun {begun} times, ended {ended} times",
        ORPHAN: "runs on to its end" if ran_on else "is killed with the server",
    }


async def kill_while_asked(peer: Peer) -> Cells:
    if not peer.can_ask:
        return {LEAVE: "it does not ask"}
    peer.provider.marks.unlink(missing_ok=True)
    session = await peer.new()
    page = await peer.page(session)
    await peer.send(session, "TOOL asked")

    async def waits() -> bool:
        return bool(await peer.asked(session))

    await until(waits, 60, "nobody is asked", every=0.2)
    await asyncio.sleep(THINKING)
    await peer.kill()
    await page.cut()
    await peer.start()
    await asyncio.sleep(3)
    asked: list[Any] = await peer.asked(session)
    if not asked:
        return {LEAVE: f"nothing is asked any more (said to be: {await peer.state(session)})"}
    page = await peer.page(session)
    try:
        await peer.allow(session, asked[0])
        try:
            await until(lambda: "begun" in _marks(peer), 30, "not begun")
        except TimeoutError:
            return {LEAVE: "is asked still, but leave that is given does nothing"}
        return {LEAVE: "is asked still; leave that is given then starts the command"}
    finally:
        await page.cut()
