"""Nodes that die: two of them work on runs, are killed at random moments and begin again, while a third, a whole server without any code
base, is the one that people are connected to (`node_people`). Also PostgreSQL itself dies and comes back.

    python tests/faults/node_deaths.py '{"kills": 300, "seed": 1}'            prints one JSON line: a tally
    python tests/faults/node_deaths.py '{"database_kills": 50, "seed": 1}'

Nodes at work are without their network, which nobody uses: so a death and a new beginning cost tenths of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import asyncpg
from node_people import STUCK_FILE, Person, Tally, print_tasks

import threefiles
from coding import agents
from example import FILES  # noqa: F401 - imported before the fork, like all that nodes need
from nodes import Node
from postgres import Server as Database
from postgres import server as database_server
from reconvene.agents import rehearsal as _rehearsal  # noqa: F401
from reconvene.client.following import Address
from reconvene.config import Limits, Settings
from reconvene.index import root as _index  # noqa: F401
from reconvene.log.postgres.address import Address as DatabaseAddress
from reconvene.log.postgres.writer import Writer
from reconvene.repomap import map as _map  # noqa: F401
from reconvene.runs.queue import RunQueue
from reconvene.server import plain_client as _plain  # noqa: F401
from reconvene.server import resumable_client as _resumable  # noqa: F401
from reconvene.server.lifecycle import Ready, Server
from reconvene.workspace.edits import Writer as _writer  # noqa: F401

SESSIONS = 4
WENT_BACK = "went_back"
"""A file: a node found that the database lacks what it had acknowledged."""
SCRIPT = [[("ask_user", {"question": "Really?"})], *threefiles.ORCHESTRATOR]


def model(rng: random.Random) -> Any:
    async def before(who: str, n: int) -> None:
        await asyncio.sleep(rng.uniform(0.0, 0.08))

    return agents(SCRIPT, threefiles.CODER, threefiles.REVIEWER, before=before)


class Worker(Node):
    """A node with all the code bases."""

    roots_of: tuple[Path, ...] = ()

    async def load(self) -> None:
        self.serves = False
        await super().load()
        self.log.on_gone_back = (self.folder / WENT_BACK).touch
        for path in self.roots_of:
            self.roots.add(path)


async def node(job: dict[str, Any], name: str, *, works: bool) -> Worker:
    folder = Path(job["folder"])
    data = folder / name
    data.mkdir(mode=0o700, exist_ok=True)
    scripted = model(random.Random(f"{job['seed']}{name}"))
    # A run that is killed again and again is to go on for ever here: that a crash loop ends is proved elsewhere.
    limits = Limits(attempts_without_progress=10_000)
    settings = Settings(data_dir=data, database=job["url"], takeover=job["takeover"], limits=limits)
    worker = Worker(folder, lambda _: scripted, settings)
    worker.roots_of = tuple(folder / f"project{n}" for n in range(SESSIONS)) if works else ()
    await worker.reopen()
    return worker


async def work(job: dict[str, Any], name: str) -> None:
    """Until it is killed. What it holds is told in a file, by which the driver knows whom a kill interrupted."""
    worker = await node(job, name, works=True)
    told, stuck = Path(job["folder"]) / f"{name}.held", Path(job["folder"]) / STUCK_FILE
    said = False
    while True:
        if not said and stuck.exists():
            print_tasks(name)
            said = True
        part = told.with_suffix(".part")
        part.write_text("\n".join(t.session_id for t in worker.supervisor._held.values()))
        part.rename(told)
        await asyncio.sleep(0.02)


async def people(job: dict[str, Any], done: int) -> None:
    """The node that people are connected to: a whole server, without any code base. Told to end by a file."""
    if job["mutation"] == "answers_before_commit":
        Writer._commit = _acknowledge_without_committing  # type: ignore[method-assign]
    folder = Path(job["folder"])
    data = folder / "people"
    data.mkdir(mode=0o700)
    tally, told, enough = Tally(), folder / "recovering.jsonl", folder / "enough"
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    wide = Limits(handshakes_per_second=1000)
    settings = Settings(data_dir=data, database=job["url"], takeover=job["takeover"], port=0, limits=wide)
    server = Server(settings, [], on_ready=ready.set_result)
    serving = asyncio.create_task(server.run())
    await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    address = Address(f"ws://127.0.0.1:{ready.result().port}/ws", (data / "owner.token").read_text().strip())
    assert server.services is not None
    while not all(server.services.sessions.elsewhere(f"project{n}") for n in range(SESSIONS)):
        await asyncio.sleep(0.05)

    server.services.sessions.log.on_gone_back = (folder / WENT_BACK).touch  # type: ignore[attr-defined]

    async def one(number: int) -> None:
        person = Person(server, address, folder / f"project{number}", tally, told)
        while not enough.exists() and len(tally.violations) < 5:
            await person.session()
            (folder / "runs").write_text(f"{tally.runs} {len(tally.violations)}")

    async def lost() -> None:
        """Nodes that find acknowledged events gone write nothing more, so nobody would see anything else."""
        while not (folder / WENT_BACK).exists():
            await asyncio.sleep(0.05)
        tally.violations.append("PostgreSQL came back without events that it had acknowledged")

    everybody = asyncio.gather(*(one(n) for n in range(SESSIONS)))
    looking = asyncio.create_task(lost())
    await asyncio.wait({everybody, looking}, return_when=asyncio.FIRST_COMPLETED)
    if everybody.done():
        await everybody
    os.write(done, json.dumps(asdict(tally)).encode())
    os.close(done)


def forked(what: Callable[[], object], out: Path) -> int:
    """The process that does it, and then ends with 0."""
    pid = os.fork()
    if pid:
        return pid
    try:
        file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
        what()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


class Campaign:
    def __init__(self, job: dict[str, Any], folder: Path) -> None:
        self.job = {"kills": 0, "database_kills": 0, "takeover": 1.5, "mutation": "none", "longest": 1500.0, **job}
        self.job["folder"] = str(folder)
        self.folder, self.rng, self.tally = folder, random.Random(job["seed"]), Tally()
        self.killed: list[tuple[float, set[str]]] = []
        self.longest_life = 1.5
        """Seconds from a node having runs to its death."""

    def run(self) -> Tally:
        database = database_server(self.folder / "database")
        self.job["url"] = database.url
        for n in range(SESSIONS):
            (self.folder / f"project{n}").mkdir()
        if self.job["mutation"] == "no_fence":
            from reconvene.log.decisions import Decisions

            Decisions.check = lambda self, fence: None  # type: ignore[method-assign]
        if self.job["mutation"] == "patient":
            RunQueue.__init__ = _patient(RunQueue.__init__)  # type: ignore[method-assign]
        if self.job["mutation"] == "asynchronous_commit":
            settings = DatabaseAddress.settings
            DatabaseAddress.settings = lambda self, **more: settings(self, **more) | {"synchronous_commit": "off"}  # type: ignore[method-assign]
            asyncio.run(_lazy_about_its_disk(database.url))
        workers = {
            name: forked(lambda name=name: asyncio.run(work(self.job, name)), self.folder / f"{name}.out")
            for name in ("one", "two")
        }
        reading, writing = os.pipe()  # after the workers: it is read until nobody has its other end
        person = forked(lambda: asyncio.run(people(self.job, writing)), self.folder / "people.out")
        os.close(writing)
        try:
            self.kill(workers, database)
            (self.folder / "enough").touch()
            with os.fdopen(reading, "rb") as file:
                said = file.read()
            if not said:
                tail = (self.folder / "people.out").read_text()[-2000:]
                self.tally.violations.append(f"the node of the people broke: {tail}")
            else:
                found = json.loads(said)
                for name in ("runs", "acknowledged", "connections", "attached"):
                    setattr(self.tally, name, found[name])
                self.tally.violations += found["violations"]
        finally:
            for pid in (*workers.values(), person):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
            database.stop()
        self.measure()
        return self.tally

    def kill(self, workers: dict[str, int], database: Database) -> None:
        began, before = time.monotonic(), 0
        while self.told() is None and time.monotonic() - began < 120:
            time.sleep(0.1)
        while time.monotonic() - began < self.job["longest"]:
            runs, wrong = self.told() or (before, 0)
            if (self.folder / WENT_BACK).exists():
                return
            if wrong >= (5 if self.job["mutation"] == "none" else 1):
                return
            if self.tally.kills >= self.job["kills"] and self.tally.database_kills >= self.job["database_kills"]:
                return
            if self.tally.kills < self.job["kills"]:
                name, held = self.victim(workers)
                sessions = set(held.read_text().split()) if held.exists() else set()
                os.kill(workers[name], signal.SIGKILL)
                at = time.time()
                os.waitpid(workers[name], 0)
                held.unlink(missing_ok=True)
                self.tally.kills += 1
                self.tally.working += bool(sessions)
                self.killed.append((at, sessions))
                # As often as this machine can take it: lives get longer while none is long enough for a run to end.
                self.longest_life = (
                    max(0.7, 0.8 * self.longest_life) if runs > before else min(10.0, 1.2 * self.longest_life)
                )
                before = runs
                workers[name] = forked(lambda name=name: asyncio.run(work(self.job, name)), self.folder / f"{name}.out")
            elif self.tally.database_kills < self.job["database_kills"]:
                time.sleep(self.rng.uniform(0.5, 4.0))
                database.kill()
                self.tally.database_kills += 1
                time.sleep(self.rng.uniform(0.0, 0.5))
                database.start()

    def told(self) -> tuple[int, int] | None:
        """The runs that people saw to their end so far, and how many things were wrong; None: not yet, or not just now."""
        file = self.folder / "runs"
        said = file.read_text().split() if file.exists() else []
        return (int(said[0]), int(said[1])) if said else None

    def victim(self, workers: dict[str, int]) -> tuple[str, Path]:
        """A node that has runs, a random moment after it got them; after some seconds, any."""
        patience = time.monotonic() + 4.0
        while True:
            name = self.rng.choice(list(workers))
            held = self.folder / f"{name}.held"
            if (held.exists() and held.read_text()) or time.monotonic() > patience:
                time.sleep(self.rng.uniform(0.0, self.longest_life))
                return name, held
            time.sleep(0.02)

    def measure(self) -> None:
        told = self.folder / "recovering.jsonl"
        recovered = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
        for row in recovered:
            before = [at for at, sessions in self.killed if row["session"] in sessions and at < row["recovering"]]
            if before:
                self.tally.takeovers.append(round(row["recovering"] - before[-1], 3))


async def _acknowledge_without_committing(self: Any, db: Any, tx: Any, answers: Any) -> None:
    """A control: what people were answered may never have been written."""
    if random.SystemRandom().random() < 0.1:
        await db.execute("rollback")
    else:
        await db.execute("commit")
    self.commits += 1
    self._last_commit = time.monotonic()


async def _lazy_about_its_disk(url: str) -> None:
    """What nobody waits for is on the disk seconds later, not within some tenths: however slow the machine is, a death takes some of it."""
    db = await asyncpg.connect(url)
    await db.execute("alter system set wal_writer_delay = '10s'")
    await db.execute("select pg_reload_conf()")
    await db.close()


def _patient(made: Callable[..., None]) -> Callable[..., None]:
    """A control: who is silent is taken for dead after five times as long as was asked for."""

    def init(self: Any, log: Any, *, takeover: float, per_owner: int) -> None:
        made(self, log, takeover=5 * takeover, per_owner=per_owner)

    return init


def main() -> None:
    job = json.loads(sys.argv[1])
    out = os.dup(1)
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="reconvene-nodes-") as folder:
        os.chmod(folder, 0o755)
        tally = Campaign(job, Path(folder)).run()
        if tally.violations and job.get("mutation", "none") == "none":
            keep = tempfile.mkdtemp(prefix="reconvene-nodes-violation-")
            subprocess.run(["cp", "-r", *Path(folder).glob("*.out"), keep], check=False)
            print(f"what the nodes said is kept in {keep}", file=sys.stderr)
    os.write(out, json.dumps(asdict(tally)).encode())


if __name__ == "__main__":
    main()
