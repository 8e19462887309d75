"""Thousands of interleavings of the real server and client under a seeded clock, disk and network: see `schedules`."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import schedules
import structlog

from proof import report
from reconvene.log.sqlite import SqliteLog
from reconvene.log.writer import Writer
from reconvene.server.connections import Connections
from reconvene.sessions.service import Sessions

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 31)))


@pytest.fixture(autouse=True)
def _quiet() -> None:
    structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])


def two_sessions_for_one_prompt(patch: pytest.MonkeyPatch) -> None:
    """Two connections that bring the same first prompt do not wait for each other."""
    patch.setattr(Connections, "bringing", lambda *_: asyncio.Lock())


def no_idempotency_key(patch: pytest.MonkeyPatch) -> None:
    append = SqliteLog.append

    async def known(self: Any, command: Any) -> None:
        return None

    async def forgetful(self: Any, session_id: str, events: Any, *, command: Any = None, **rest: Any) -> Any:
        return await append(self, session_id, events, **rest)

    patch.setattr(Sessions, "_known", known)
    patch.setattr(SqliteLog, "append", forgetful)


def told_before_it_is_written(patch: pytest.MonkeyPatch) -> None:
    """A batch is committed only some time after it was answered; a death in between forgets it."""
    commit = Writer._commit

    def late(self: Writer, db: Any, tx: Any, answers: Any) -> None:
        if random.Random(len(answers) + self.commits).random() < 0.2:
            db.execute("rollback")
            return
        commit(self, db, tx, answers)

    patch.setattr(Writer, "_commit", late)


MUTATIONS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    f.__name__: f for f in (two_sessions_for_one_prompt, no_idempotency_key, told_before_it_is_written)
}


def explored(first: int, count: int) -> tuple[int, int]:
    """Deaths and cuts of so many seeds from one on."""
    deaths = cuts = 0
    for seed in range(first, first + count):
        try:
            died, cut, _ = schedules.run(seed)
        except BaseException as e:
            raise AssertionError(f"seed {seed}: {e!r}") from e
        deaths, cuts = deaths + died, cuts + cut
    return deaths, cuts


def until_noticed(first: int, count: int) -> int | None:
    """The number of schedules after which something was wrong."""
    for n in range(count):
        try:
            schedules.run(first + n)
        except Exception:
            return n + 1
    return None


def test_some_schedules_end_well() -> None:
    print(f"\nseed {SEED}")
    deaths, cuts = explored(SEED, 20)
    assert deaths and cuts


def test_the_schedule_that_split_a_session_in_two() -> None:
    """Found by this: a prompt was brought by two connections at once, and each made a session of its own for it."""
    schedules.run(58)


def test_a_seed_is_the_same_schedule_each_time() -> None:
    assert schedules.run(SEED) == schedules.run(SEED)


def test_control_two_sessions_for_one_prompt_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    two_sessions_for_one_prompt(monkeypatch)
    assert until_noticed(40, 600)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_five_thousand_schedules_end_well() -> None:
    began, cpu, count = time.monotonic(), time.process_time(), int(os.environ.get("SCHEDULES", "5000"))
    deaths, cuts = explored(SEED, count)
    figure = (
        "{schedules:,} schedules of server and two clients, {deaths:,} deaths, {cuts:,} cut or silent networks: each prompt and "
        "answer once, both clients show exactly the log, none stuck"
    )
    counts = {"schedules": count, "deaths": deaths, "cuts": cuts}
    spent = time.process_time() - cpu
    report(
        "Schedules: server and client", figure, counts=counts, seed=SEED, seconds=time.monotonic() - began, cpu=spent
    )


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_control_a_broken_defence_is_caught_by_schedules(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[mutation](monkeypatch)
    found = until_noticed(SEED, 500)
    assert found, f"{mutation} was not noticed"
    report("Schedules: server and client", control=f"{mutation}: noticed after {found} schedules", seed=SEED)
