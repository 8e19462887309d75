"""Nodes that die: two of them work on runs, are killed at random moments and begin again, while a third, which has no code base, is the
one that people are connected to. Also PostgreSQL itself dies and comes back.

    python tests/faults/node_deaths.py '{"kills": 300, "seed": 1}'            prints one JSON line: a tally
    python tests/faults/node_deaths.py '{"database_kills": 50, "seed": 1}'

Each of a few sessions at a time asks for the change of three files, answers a question, sends the change back, accepts it in part, and
checks in the end what was delivered (no gap, no repeat), what the log holds, and what the files are.
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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import threefiles
from coding import agents
from example import FILES  # noqa: F401 - imported before the fork, like all that nodes need
from house import ME, check_log, contents
from nodes import Node
from postgres import Server, server
from reconvene.config import Limits, Settings
from reconvene.errors import ReconveneError
from reconvene.index import root as _index  # noqa: F401
from reconvene.log.port import Row
from reconvene.repomap import map as _map  # noqa: F401
from reconvene.workspace.edits import Writer as _writer  # noqa: F401

SESSIONS = 4
STUCK = 120.0
"""Seconds without any event, after which a session counts as stuck."""
PROMPT = "Change the three files."
SCRIPT = [[("ask_user", {"question": "Really?"})], *threefiles.ORCHESTRATOR]


@dataclass
class Tally:
    kills: int = 0
    working: int = 0
    """Kills of a node that had a run."""
    database_kills: int = 0
    runs: int = 0
    acknowledged: int = 0
    takeovers: list[float] = field(default_factory=list)
    """Seconds from a kill to the first event that another node wrote for the run."""
    violations: list[str] = field(default_factory=list)


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
    told = Path(job["folder"]) / f"{name}.held"
    while True:
        part = told.with_suffix(".part")
        part.write_text("\n".join(t.session_id for t in worker.supervisor._held.values()))
        part.rename(told)
        await asyncio.sleep(0.02)


class Person:
    """One session at a time on the node without code: asks, answers, decides, and checks."""

    def __init__(self, house: Worker, number: int, tally: Tally, told: Path) -> None:
        self.house, self.number, self.tally, self.told = house, number, tally, told
        self.root = house.folder / f"project{number}"

    async def session(self) -> None:
        for path in self.root.rglob("*"):
            if path.is_file() and ".git" not in path.parts:
                path.unlink()
        for name, text in threefiles.FILES.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(text.encode())
        house = self.house
        session = await self.surely(lambda: house.session(root=self.root.name))
        rows: list[Row] = []
        try:
            prompt: dict[str, Any] = {
                "id": f"p{session}",
                "text": PROMPT,
                "turn": {"review": True, "max_iterations": 3},
            }
            await self.surely(lambda: house.sessions.submit(ME, session, **prompt))
            await self.follow(session, rows)
            self.check(session, rows, await self.surely(lambda: house.log.read(session, 0)))
        except Exception as e:
            self.tally.violations.append(f"{session}: {type(e).__name__}: {str(e)[:500]}")
            print(self.tally.violations[-1], flush=True)
        self.tally.runs += 1

    async def surely(self, what: Any) -> Any:
        """Do it until the store takes it; with the same id, so it is done once."""
        while True:
            try:
                done = await what()
            except ReconveneError as e:
                if not e.retryable and e.code not in ("already_answered", "already_decided"):
                    raise
                if e.code in ("already_answered", "already_decided"):
                    return None
                await asyncio.sleep(0.1)
            else:
                self.tally.acknowledged += 1
                return done

    async def follow(self, session: str, rows: list[Row]) -> None:
        """What a connection does: a watch, a cursor, and whatever comes after it."""
        feed, woken, after, diffs = self.house.sessions.feed, asyncio.Event(), 0, 0
        watch = feed.watch(session, woken.set)
        try:
            while True:
                woken.clear()
                try:
                    chunk = await feed.read(session, after)
                except ReconveneError as e:
                    if not e.retryable:
                        raise
                    await asyncio.sleep(0.1)
                    continue
                if chunk.after != after or any(not after < r.seq <= chunk.upto for r in chunk.rows):
                    raise AssertionError(f"a chunk of ({chunk.after}, {chunk.upto}] was delivered after {after}")
                after = chunk.upto
                rows += chunk.rows
                for row in chunk.rows:
                    self.note(session, row)
                    diffs = await self.react(session, row, diffs)
                    if row.type == "completed":
                        return
                if chunk.at_head:
                    async with asyncio.timeout(STUCK):
                        await woken.wait()
        finally:
            watch.close()

    def note(self, session: str, row: Row) -> None:
        if row.type == "run" and json.loads(row.content)["status"] == "recovering":
            with self.told.open("a") as file:
                file.write(json.dumps({"session": session, "recovering": row.at}) + "\n")

    async def react(self, session: str, row: Row, diffs: int) -> int:
        sessions, content = self.house.sessions, json.loads(row.content)
        if row.type == "question":
            value = "yes" if "Really" in content["text"] else "retry"
            await self.surely(
                lambda: sessions.answer(
                    ME, session, id=f"a{content['id']}{session}", reply_to=content["id"], value=value
                )
            )
        elif row.type == "diff":
            decided = threefiles.decision(content, diffs)
            await self.surely(
                lambda: sessions.decide(ME, session, id=f"d{content['id']}{session}", reply_to=content["id"], **decided)
            )
            return diffs + 1
        return diffs

    def check(self, session: str, delivered: list[Row], log: list[Row]) -> None:
        check_log(log)
        wanted = [r for r in log if r.public and r.type not in ("text", "reasoning")]
        seen = [r for r in delivered if r.type not in ("text", "reasoning")]
        if wanted != seen:
            raise AssertionError(f"delivered {[r.seq for r in seen]}, the log has {[r.seq for r in wanted]}")
        if [c["outcome"] for c in contents(log, "completed")] != ["success"]:
            raise AssertionError(f"it ended as {contents(log, 'completed')}")
        files = {str(p.relative_to(self.root)): p.read_bytes() for p in self.root.rglob("*") if p.is_file()}
        if files != threefiles.WANTED:
            raise AssertionError(f"the files are {sorted(files)}, or not what was accepted")


async def people(job: dict[str, Any], done: int) -> None:
    """The node that people are connected to; told to end by a file."""
    folder = Path(job["folder"])
    house = await node(job, "people", works=False)
    tally, told, enough = Tally(), folder / "recovering.jsonl", folder / "enough"
    house.supervisor._news.set()
    while not all(house.sessions.elsewhere(f"project{n}") for n in range(SESSIONS)):
        await asyncio.sleep(0.05)

    async def one(number: int) -> None:
        person = Person(house, number, tally, told)
        while not enough.exists() and len(tally.violations) < 5:
            await person.session()
            (folder / "runs").write_text(f"{tally.runs} {len(tally.violations)}")

    await asyncio.gather(*(one(n) for n in range(SESSIONS)))
    os.write(done, json.dumps(asdict(tally)).encode())
    os.close(done)


def forked(what: Any, out: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
        asyncio.run(what())
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
        database: Server = server(self.folder / "database")
        self.job["url"] = database.url
        for n in range(SESSIONS):
            (self.folder / f"project{n}").mkdir()
        if self.job["mutation"] == "no_fence":
            from reconvene.log.decisions import Decisions

            Decisions.check = lambda self, fence: None  # type: ignore[method-assign]
        if self.job["mutation"] == "answers_before_commit":
            from reconvene.log.postgres.writer import Writer

            Writer._commit = _acknowledge_without_committing  # type: ignore[method-assign]
        workers = {
            name: forked(lambda name=name: work(self.job, name), self.folder / f"{name}.out") for name in ("one", "two")
        }
        reading, writing = os.pipe()  # after the workers: it is read until nobody has its other end
        person = forked(lambda: people(self.job, writing), self.folder / "people.out")
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
                self.tally.runs, self.tally.acknowledged = found["runs"], found["acknowledged"]
                self.tally.violations += found["violations"]
        finally:
            for pid in (*workers.values(), person):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
            database.stop()
        self.measure()
        return self.tally

    def kill(self, workers: dict[str, int], database: Server) -> None:
        began, before = time.monotonic(), 0
        while not (self.folder / "runs").exists() and time.monotonic() - began < 120:
            time.sleep(0.1)
        while time.monotonic() - began < self.job["longest"]:
            runs, wrong = map(int, ((self.folder / "runs").read_text() or f"{before} 0").split())
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
                workers[name] = forked(lambda name=name: work(self.job, name), self.folder / f"{name}.out")
            elif self.tally.database_kills < self.job["database_kills"]:
                time.sleep(self.rng.uniform(0.5, 4.0))
                database.kill()
                self.tally.database_kills += 1
                time.sleep(self.rng.uniform(0.0, 0.5))
                database.start()

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
    """A control: what was answered may never have been written."""
    if random.random() < 0.02:
        await db.execute("rollback")
    else:
        await db.execute("commit")
    self.commits += 1
    self._last_commit = time.monotonic()


def main() -> None:
    job = json.loads(sys.argv[1])
    out = os.dup(1)
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="reconvene-nodes-") as folder:
        os.chmod(folder, 0o755)
        tally = Campaign(job, Path(folder)).run()
        if tally.violations and job.get("keep"):
            subprocess.run(["cp", "-r", folder, job["keep"]], check=False)
    os.write(out, json.dumps(asdict(tally)).encode())


if __name__ == "__main__":
    main()
