"""Thousands of server deaths: everything of a server but its sockets, forked from a preloaded process, killed, started again.

    python tests/faults/deaths.py '{"deaths": 1000, "seed": 1}'     prints one JSON line: a `Tally`
    python tests/faults/deaths.py '{"every": 1, "share": [0, 2], "seed": 1}'     dies once in every call that changes a disk

A trial is one session as in `life`. Each life of its server ends by SIGKILL: in the n-th call that changes a disk (half of a write may
be done), or at a random moment. `life.check` says what is wrong in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import mutations
import structlog
from effects import note_effects
from io_points import Points
from life import SCRIPT, SETTINGS, Client, acknowledged, begun_again, check, rows_of, told

import threefiles
from coding import agents
from house import House
from reconvene.config import Settings
from reconvene.index import worker
from reconvene.index.workers import Workers

PATIENCE = 30.0
"""Seconds for a life that is not killed, a run of half a second, not counted those in which it only waited for a processor."""
LIVES = 60
"""Deaths of one trial, at most."""
Plan = dict[str, Any]
"""`die_at`: the call in which a life ends; 0: none. `after`: seconds until it is killed from outside."""
LIVE_ON: Plan = {"die_at": 0, "after": None}
Lived = Callable[[int, list[dict[str, Any]]], Coroutine[Any, Any, None]]


@dataclass
class Tally:
    """What a campaign did and what it found wrong; adding two makes one."""

    deaths: int = 0
    recovering: int = 0
    """Deaths of a server that had something to recover and had done nothing new yet."""
    in_calls: int = 0
    """Deaths in a call that changes a disk; the others came at a random moment."""
    trials: int = 0
    acknowledged: int = 0
    points: int = 0
    """Calls of a run that was ended in each of them."""
    again: int = 0
    """Model requests that were under way at a death and asked again: allowed."""
    calls: Counter[str] = field(default_factory=Counter)
    """In which calls."""
    violations: list[str] = field(default_factory=list)
    cpu: float = 0.0

    def add(self, other: Tally) -> None:
        for name, value in vars(other).items():
            mine = getattr(self, name)
            setattr(self, name, Counter(mine) + Counter(value) if name == "calls" else mine + value)


async def live(folder: Path, told: int, known: list[dict[str, Any]], job: dict[str, Any]) -> None:
    """A server and its client, until the run has ended or the process has."""
    (mutations.MUTATIONS | mutations.OF_CHANGES | mutations.OF_DEATHS)[job["mutation"]]()
    model = agents(SCRIPT, threefiles.CODER, threefiles.REVIEWER)
    house = House(folder, lambda _name: model, Settings(data_dir=folder / "data", **SETTINGS))
    client = Client(house, told, known, job["again"])
    note_effects(lambda session, key: client.tell(begun=key))

    def act(n: int, op: str, path: str, half: Callable[[], None]) -> None:
        client.touched(op, path)
        if n == job["die_at"]:
            client.tell(dies=op)
            if job["half"]:
                half()
            os.kill(os.getpid(), signal.SIGKILL)

    # A death loses nothing that was written, synced or not: syncs are counted, and save their time.
    with Points([folder / "data", folder / "project"], act, sync=job.get("sync", False)):
        await house.load()
        await client.look_back()
        house.sessions.listeners.append(client.committed)
        await house.supervisor.start()
        await client.run()


class Campaign:
    def __init__(self, job: dict[str, Any], scratch: Path) -> None:
        self.job = {"mutation": "none", "until_violation": False, "patience": PATIENCE, **job}
        self.rng, self.scratch, self.tally = random.Random(job["seed"]), scratch, Tally()

    def run(self) -> Tally:
        enough = 1 if self.job["until_violation"] else 5
        for plans in self.every() if "every" in self.job else self.at_random():
            folder = self.scratch / f"trial{self.tally.trials}"
            found = self.trial(folder, plans)
            if found and self.job["mutation"] == "none":
                kept = tempfile.mkdtemp(prefix="reconvene-violation-")
                shutil.copytree(folder, kept, dirs_exist_ok=True)
                found.append(f"kept in {kept}")
            self.tally.violations += [f"seed {self.job['seed']}, trial {self.tally.trials}: {f}" for f in found]
            self.tally.trials += 1
            shutil.rmtree(folder, ignore_errors=True)
            if len(self.tally.violations) >= enough:
                break
        return self.tally

    def at_random(self) -> Iterator[Iterator[Plan]]:
        while self.tally.deaths < self.job["deaths"]:
            yield (self.plan(n) for n in range(LIVES) if self.tally.deaths < self.job["deaths"])

    def every(self) -> Iterator[Iterator[Plan]]:
        """A death in each call of a run (every so many of them), and after each eighth a second one in the recovery from it."""
        first, step = self.job["share"]
        for at in range(1 + first * self.job["every"], 10_000, step * self.job["every"]):
            before = self.tally.deaths
            yield iter([{"die_at": at, "after": None}])
            if self.tally.deaths == before:
                return  # the run has fewer calls
            self.tally.points += 1
            if at % 8 == 0:
                yield iter([{"die_at": at, "after": None}, {"die_at": 1 + at // 8 % 16, "after": None}])

    def trial(self, folder: Path, plans: Iterator[Plan]) -> list[str]:
        prepare(folder)
        begun = False
        while True:
            plan = next(plans, LIVE_ON)
            before = len(told(folder))
            status = self.life(folder, plan)
            told_now = told(folder)[before:]
            if status == 0:
                self.tally.acknowledged += acknowledged(folder)
                self.tally.again += begun_again(told(folder), rows_of(folder / "data" / "reconvene.db"))[1]
                return check(folder)
            if status is None:
                return [f"stuck: {told_now[-3:]}", *check(folder)]
            if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
                return [f"a life ended with {status}: {(folder / 'out').read_text()[-2000:]}"]
            self.tally.deaths += 1
            dies = [t["dies"] for t in told_now if "dies" in t]
            self.tally.in_calls += len(dies)
            self.tally.calls.update(dies)
            self.tally.recovering += begun and not any("fresh" in t for t in told_now)
            begun = begun or any("ack" in t for t in told_now)

    def plan(self, n: int) -> dict[str, Any]:
        """When life `n` ends: soon, so that recovery is met; later; or at a moment that has nothing to do with calls."""
        if n == 0:  # making a database alone takes 60 calls
            return {"die_at": self.rng.randint(1, 200), "after": None}
        match self.rng.choices(("soon", "later", "late", "moment"), (4, 5, 1, 1))[0]:
            case "soon":
                return {"die_at": self.rng.randint(1, 12), "after": None}
            case "later":
                return {"die_at": self.rng.randint(5, 60), "after": None}
            case "late":
                return {"die_at": self.rng.randint(50, 250), "after": None}
            case _:
                return {"die_at": 0, "after": self.rng.uniform(0.005, 0.4)}

    def life(self, folder: Path, how: Plan) -> int | None:
        """The wait status; None: it was stuck."""
        job = {**self.job, **how, "half": self.rng.random() < 0.5, "again": self.rng.random() < 0.3}
        return in_child(
            folder,
            lambda out, known: live(folder, out, known, job),
            how["after"] or self.job["patience"],
            how["after"] is None,
        )


def prepare(folder: Path) -> None:
    for name, text in threefiles.FILES.items():
        path = folder / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    (folder / "data").mkdir(mode=0o700)


def in_child(folder: Path, lived: Lived, patience: float, stuck: bool = True) -> int | None:
    """Await `lived(told, known)` in a forked process. The wait status; None: it was killed after `patience` seconds and is `stuck`.

    A life that others keep from its processor is not stuck: it gets that time on top.
    """
    return ended(forked(folder, lived), patience, stuck)


def forked(folder: Path, lived: Lived, begin: int | None = None) -> int:
    """Its process, which begins when something can be read from the descriptor `begin`."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if begin is not None:
                os.read(begin, 1)
            out = os.open(folder / "out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(out, 1)
            os.dup2(out, 2)
            asyncio.run(lived(os.open(folder / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), told(folder)))
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    return pid


def ended(pid: int, patience: float, stuck: bool = True) -> int | None:
    watched = os.pidfd_open(pid)
    try:
        began, left = time.monotonic(), patience
        while not (gone := select.select([watched], [], [], left)[0]) and stuck:
            left = patience - (time.monotonic() - began - starved(pid))
            if left <= 0:
                break
        if not gone:
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        return None if not gone and stuck else status
    finally:
        os.close(watched)


def starved(pid: int) -> float:
    """Seconds for which the threads of a process were ready to run and others ran (proc(5), schedstat)."""
    waited = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # it has ended since
            waited += int(thread.read_text().split()[1])
    return waited / 1e9


async def rehearse(folder: Path) -> None:
    """One run in the process that is forked, so that what only a first run costs is not paid by every life."""
    analysed_here()
    house = await House.open(folder, agents(SCRIPT[:1] + SCRIPT[3:], []), files=threefiles.FILES)
    await house.completed(await house.ask("hello"))
    await house.close()


def analysed_here() -> None:
    """Files are analysed in this process and not in one started for it, which costs a life twice what the rest of it does."""
    Workers._asked = lambda self, task, data, language, codec: worker._done(task, data, codec, language)  # type: ignore[method-assign]


@contextlib.contextmanager
def preloaded() -> Iterator[Path]:
    """This process is made ready to be forked; a folder to work in."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="reconvene-deaths-", ignore_cleanup_errors=True) as scratch:
        rehearsal = Path(scratch) / "rehearsal"
        rehearsal.mkdir()
        asyncio.run(rehearse(rehearsal))
        gc.collect()
        gc.disable()  # a collection would touch, and so copy, what the lives share
        yield Path(scratch)


def cpu() -> float:
    """Processor seconds of this process and its children so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def main() -> None:
    with preloaded() as scratch:
        tally = Campaign(json.loads(sys.argv[1]), scratch).run()
    tally.cpu = cpu()
    print(json.dumps(vars(tally)))


if __name__ == "__main__":
    main()
