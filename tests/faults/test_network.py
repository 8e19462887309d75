"""What a network does to sessions: resets, silence, half-open ends, a cut at every byte, delay, late comers, storms. See `network`."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import network
import pytest
from network import LIMITS, Players, one
from proxy import KINDS, Fault
from serving import Serving, serving
from storm import storm

from proof import report
from reconvene.client.link import Link
from reconvene.log.sqlite import SqliteLog
from reconvene.protocol.follower import Follower
from reconvene.sessions.service import Sessions

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 31)))
EVERY = int(os.environ.get("EVERY", "1"))
AT_ONCE = int(os.environ.get("AT_ONCE", "12"))
Plan = Callable[[int], Fault]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake that nobody answers is given up after a second, not ten."""
    monkeypatch.setattr("reconvene.client.following.OPEN_TIME", 1.0)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving(tmp_path, limits=LIMITS) as server:
        players = Players(server.sessions)
        yield server
        await asyncio.gather(*players.tasks.values())
        assert not players.broken, players.broken


@dataclass
class Found:
    conversations: int = 0
    connections: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    slow: int = 0
    """Connections of which each piece of bytes was held up."""
    wrong: list[str] = field(default_factory=list)


async def conversations(server: Serving, plans: Sequence[Plan], *, enough: int = 5) -> Found:
    """One conversation for each plan, some at a time. Ends early with so many that went wrong."""
    found, left = Found(), list(enumerate(plans))[::-1]

    async def worker() -> None:
        while left and len(found.wrong) < enough:
            n, plan = left.pop()
            try:
                wrong, proxy, _ = await one(server.sessions, server.port, server.token, plan, SEED + n)
            except AssertionError as e:
                wrong, proxy = [f"the log: {e}"], None
            found.conversations += 1
            found.connections += proxy.accepted if proxy else 0
            met = proxy.struck if proxy else []
            found.faults.update(fault.kind for fault in met)
            found.slow += sum(fault.delay > 0 for fault in met)
            found.wrong += [f"seed {SEED}, conversation {n} {[plan(k) for k in range(3)]}: {w}" for w in wrong]

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return found


async def length(server: Serving) -> dict[str, int]:
    """Bytes of a conversation over one connection that nothing happens to."""
    wrong, proxy, _ = await one(server.sessions, server.port, server.token, lambda n: Fault(), SEED)
    assert not wrong
    return proxy.passed


def first(fault: Fault) -> Plan:
    return lambda n: fault if n == 0 else Fault()


def mixed(seed: int, sizes: dict[str, int]) -> Plan:
    """A few connections in a row that each go wrong somewhere, some of them slow."""
    rng = random.Random(seed)
    faults = []
    for _ in range(rng.randint(1, 4)):
        way = rng.choice(("up", "down"))
        slow = rng.random() < 0.3
        fault = Fault(
            rng.choice(KINDS), rng.randint(0, sizes[way]), way, rng.randint(1, 400) if slow else 65536, 0.002 * slow
        )
        faults.append(fault)
    return lambda n: faults[n] if n < len(faults) else Fault()


async def test_some_of_every_fault_lose_nothing(server: Serving) -> None:
    print(f"\nseed {SEED}")
    sizes = await length(server)
    cuts = [Fault(kind, at, "down") for kind in KINDS[:2] for at in range(1, sizes["down"], 491)]
    quiet = [Fault(kind, at, "down") for kind in KINDS[2:] for at in (300, 600)]
    up = [Fault(kind, at, "up") for kind in KINDS for at in (60, sizes["up"] - 20)]
    plans = [first(fault) for fault in cuts + quiet + up] + [lambda n: Fault(piece=97, delay=0.001)]
    found = await conversations(server, plans)
    assert not found.wrong, "\n".join(found.wrong)
    assert set(found.faults) == set(KINDS)


def forgets_what_was_not_answered(patch: pytest.MonkeyPatch) -> None:
    """A client that takes a prompt for sent once it was."""
    opening = Link.opening

    def once(self: Link) -> list[dict[str, Any]]:
        frames = opening(self)
        self.outbox.clear()
        return frames

    patch.setattr(Link, "opening", once)


def takes_a_prompt_twice(patch: pytest.MonkeyPatch) -> None:
    """A server that does not know the id of a command again."""
    append = SqliteLog.append

    async def known(self: Any, command: Any) -> None:
        return None

    async def forgetful(self: Any, session_id: str, events: Any, *, command: Any = None, **rest: Any) -> Any:
        return await append(self, session_id, events, **rest)

    patch.setattr(Sessions, "_known", known)
    patch.setattr(SqliteLog, "append", forgetful)


def resumes_too_late(patch: pytest.MonkeyPatch) -> None:
    """A client that believes to have had a batch when the first half of it was there, and takes what joins on to nothing."""
    receive = Follower.receive

    def careless(self: Follower, frame: Any) -> Any:
        if frame["type"] == "batch":
            events = frame["content"]["events"]
            late = self.mode == "resume" and len(events) > 1
            self._apply(frame["content"]["upto"], {**frame["content"], "events": events[late:]})
            return "applied"
        return receive(self, frame)

    patch.setattr(Follower, "receive", careless)


def waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A client that does not take silence for death."""

    async def patient(self: Any, socket: Any, heard: float) -> Any:
        return await socket.recv()

    patch.setattr("reconvene.client.following.Following._hear", patient)


MUTATIONS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    f.__name__: f for f in (forgets_what_was_not_answered, takes_a_prompt_twice, resumes_too_late, waits_for_ever)
}


@pytest.mark.parametrize(
    "mutation", [pytest.param(name, marks=[pytest.mark.long] * (name != "takes_a_prompt_twice")) for name in MUTATIONS]
)
async def test_control_a_broken_defence_is_caught_by_the_network(
    server: Serving, mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = await length(server)
    MUTATIONS[mutation](monkeypatch)
    if mutation == "waits_for_ever":
        plans = [first(Fault("server gone", 500))]
    else:
        plans = [first(Fault("reset", at, way)) for way in ("down", "up") for at in range(150, sizes[way], 90)]
    monkeypatch.setattr(
        network, "PATIENCE", 4.0
    )  # what is not sent again, or waited for in vain, is waited for in vain
    found = await conversations(server, plans, enough=1)
    assert found.wrong, f"{mutation} was not noticed"
    report("Network: a cut at every byte", control=f"{mutation}: noticed after {found.conversations} conversations")


def test_a_thousand_that_are_cut_at_once_are_back_in_time() -> None:
    for sees_refusals in (True, False):
        found = storm(1000, SEED, sees_refusals=sees_refusals)
        assert len(found.back) == 1000 and found.p99 <= 1.3 * found.ideal, (SEED, found.p99, found.ideal)
        assert found.back[-1] <= 1.5 * found.ideal


def test_control_without_news_by_heartbeat_the_first_come_back_all_at_once() -> None:
    worst = max(storm(1000, SEED + n, heartbeats=False).p99 for n in range(5))
    assert worst > 1.3 * 20.0
    report("Network: a storm of reconnections", control=f"no news of the spread by heartbeat: p99 {worst:.0f} s")


# -- the long ones


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutation", MUTATIONS)
async def test_control_a_broken_defence_is_caught_in_some_way(
    server: Serving, mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()
    sizes = await length(server)
    MUTATIONS[mutation](monkeypatch)
    monkeypatch.setattr(network, "PATIENCE", 20.0)
    found = await conversations(server, [mixed(SEED + n, sizes) for n in range(1000)], enough=1)
    assert found.wrong, f"{mutation} was not noticed"
    told = f"{mutation}: noticed after {found.conversations} conversations"
    report("Network: every way to fail", control=told, seed=SEED, seconds=time.monotonic() - began)


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_a_cut_at_every_byte_loses_nothing(server: Serving) -> None:
    began, cpu = time.monotonic(), time.process_time()
    sizes = await length(server)
    plans = [
        first(Fault(("reset", "closed")[at % 2], at, way))
        for way in ("down", "up")
        for at in range(1, sizes[way], EVERY)
    ]
    found = await conversations(server, plans)
    assert not found.wrong, "\n".join(found.wrong)
    which = "each" if EVERY == 1 else f"each {EVERY}th"
    figure = (
        f"a conversation of two prompts and two answers is {sizes['down']:,} bytes down and {sizes['up']:,} up; cut at {which} of them by "
        f"RST or FIN: {found.faults.total():,} cuts, each prompt and answer once, the client shows exactly the log"
    )
    spent = time.process_time() - cpu
    report("Network: a cut at every byte", figure, seed=SEED, seconds=time.monotonic() - began, cpu=spent)


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_every_way_to_fail_loses_nothing(server: Serving) -> None:
    began, cpu, count = time.monotonic(), time.process_time(), int(os.environ.get("CONVERSATIONS", "2000"))
    sizes = await length(server)
    found = await conversations(server, [mixed(SEED + n, sizes) for n in range(count)])
    assert not found.wrong, "\n".join(found.wrong)
    figure = (
        "{conversations:,} conversations over {connections:,} connections that fail one after the other: {reset:,} RST and {closed:,} FIN "
        "to both ends, {black_hole:,} black holes, {client_gone:,} and {server_gone:,} half open (the server, the client is not told), "
        "{late:,} whose bytes come after those of the next one; {slow:,} in small pieces with a delay: each prompt and answer once, the "
        "client shows exactly the log, none stuck"
    )
    counts = {kind.replace(" ", "_"): found.faults[kind] for kind in KINDS}
    counts |= {"conversations": found.conversations, "connections": found.connections, "slow": found.slow}
    spent = time.process_time() - cpu
    report("Network: every way to fail", figure, counts=counts, seed=SEED, seconds=time.monotonic() - began, cpu=spent)
