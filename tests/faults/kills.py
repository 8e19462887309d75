"""Kill the server at random points of runs, start it again, and compare what the client and the log have.

A trial is one session: a prompt, a run of four model steps and seven tool calls, a question that is answered, and deaths of the server
in between. The client is the real one, over a real WebSocket, and never told of anything. What may be wrong comes as `violations`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from example import FILES
from reconvene.client.following import Address, Following, Lost
from reconvene.client.link import Advanced, Happening, Link, Opened, Receipt, Replaced, Settled, new_id
from reconvene.errors import ReconveneError
from reconvene.protocol.view import reduce

PATIENCE = 40.0
"""Seconds for a run of half a second to end after the last death: a client that met dead servers a few times in a row waits up
to ten before it tries again, twice if it is unlucky. Shorter than the servers' heartbeat here, which would hide a lost wake-up."""
TRIALS_A_FOLDER = 8
COLUMNS = ("session_id", "seq", "type", "content", "run_id", "item_id", "parent_id", "at", "key", "public")


@dataclass
class Tally:
    kills: int = 0
    trials: int = 0
    connections: int = 0
    attempts: Counter[int] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    repeated_in_flight: int = 0
    """Model calls and tools that were cut short by a death and done again: allowed, and counted."""

    def __str__(self) -> str:
        return (
            f"{self.kills} kills in {self.trials} runs over {self.connections} connections, {self.seconds:.0f} s: "
            f"{len(self.violations)} violations; {self.repeated_in_flight} steps in flight done again; "
            f"attempts a run: {dict(sorted(self.attempts.items()))}"
        )


class Servers:
    """One data folder and the servers that live and die on it."""

    def __init__(
        self, zygote: asyncio.subprocess.Process, folder: Path, mutation: str, files: dict[str, str] = FILES
    ) -> None:
        self.zygote, self.folder, self.mutation = zygote, folder, mutation
        self.script = "looking"
        self.settings: dict[str, Any] = {}
        self.pid = 0
        self.data = folder / "data"
        root = folder / "project"
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        self.data.mkdir(mode=0o700)

    async def start(self, die_at: int | None = None) -> None:
        """`die_at`: kills itself as soon as so many rows are on disk."""
        job = {
            "script": self.script,
            "settings": self.settings,
            "die_at": die_at,
            "data_dir": str(self.data),
            "root": str(self.folder / "project"),
            "out": str(self.folder / "server.log"),
            "effects": str(self.folder / "effects"),
            "mutation": self.mutation,
        }
        assert self.zygote.stdin and self.zygote.stdout
        self.zygote.stdin.write((json.dumps(job) + "\n").encode())
        self.pid = int(await self.zygote.stdout.readline())

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        while alive(self.pid):
            await asyncio.sleep(0.001)

    async def where(self) -> Address | None:
        try:
            server = json.loads((self.data / "server.json").read_text())
            token = (self.data / "owner.token").read_text().strip()
        except (OSError, ValueError):
            return None
        return Address(f"ws://127.0.0.1:{server['port']}/ws", token) if server["pid"] == self.pid else None

    def rows(self) -> list[dict[str, Any]]:
        """Every row on disk, read from a copy, as a server that starts now would find them."""
        with tempfile.TemporaryDirectory() as copy:
            for suffix in ("", "-wal"):
                source = Path(f"{self.data / 'reconvene.db'}{suffix}")
                if source.exists():
                    shutil.copy(source, Path(copy) / f"c.db{suffix}")
            db = apsw.Connection(str(Path(copy) / "c.db"))
            try:
                names = list(COLUMNS)
                columns = ", ".join("s.id" if n == "session_id" else f"e.{n}" for n in names)
                found = db.execute(f"select {columns} from event e join session s on s.n = e.session order by place")
                return [dict(zip(names, row, strict=True)) for row in found]
            except apsw.SQLError as e:
                if "no such table" in str(e):
                    return []  # killed before the first migration
                raise
            finally:
                db.close()

    def effects(self) -> list[tuple[str, str]]:
        """(session, key of the row it leads to) of every model request and tool call that was begun, in order."""
        path = self.folder / "effects"
        if not path.exists():
            return []
        return [(e["session"], e["key"]) for e in map(json.loads, path.read_text().splitlines())]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@contextlib.asynccontextmanager
async def preloaded() -> AsyncIterator[asyncio.subprocess.Process]:
    """The process that servers are forked from."""
    program = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("RECONVENE_")}
    process = await asyncio.create_subprocess_exec(
        *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environ
    )
    assert process.stdin and process.stdout
    assert await process.stdout.readline() == b"ready\n"
    try:
        yield process
    finally:
        process.stdin.close()
        await process.wait()


class Trial:
    """One session, followed by one client over all the server's lives."""

    def __init__(self, servers: Servers, rng: random.Random, tally: Tally, deaths: int) -> None:
        self.servers, self.rng, self.tally, self.deaths = servers, rng, tally, deaths
        self.link = Link(client={"id": new_id(), "name": "trial"})
        self.receipts: dict[str, Receipt] = {}
        self.changed = asyncio.Event()
        self.finished: dict[tuple[str, str], int] = {}
        """What was on disk at the last death, and how often it had been begun."""
        self.broken: list[str] = []
        self.shown: list[dict[str, Any]] = []
        """Every event the client ever applied."""
        self.drop_at_once = rng.random() < 0.3

    def happened(self, happening: Happening | Lost) -> None:
        if isinstance(happening, Replaced | Advanced):
            self.shown += happening.events
        elif isinstance(happening, Opened) and self.drop_at_once:
            # the acknowledgement of what was just sent is lost, what was sent is not: it will be sent again
            self.drop_at_once = False
            asyncio.get_running_loop().create_task(self.client.drop())
        if isinstance(happening, Settled):
            if happening.receipt is not None:
                self.receipts[happening.id] = happening.receipt
            elif happening.error is not None and happening.error.code not in ("already_answered", "question_closed"):
                self.broken.append(f"refused {happening.id}: {happening.error}")
        self.changed.set()

    async def run(self) -> None:
        async with Following(self.servers.where, self.link, self.happened) as client:
            self.client = client
            prompt = client.link.put({"type": "default", "content": f"trial {self.rng.random()}"})
            sending = asyncio.create_task(client.submit(prompt))
            answering = asyncio.create_task(self.answer(client))
            try:
                for _ in range(self.deaths):
                    if not self.done():
                        await self.die(client)
                async with asyncio.timeout(PATIENCE):
                    await sending
                    while not self.done():
                        self.changed.clear()
                        await self.changed.wait()
            except ReconveneError as e:
                self.broken.append(f"the prompt was refused: {e}")
            except TimeoutError:
                self.broken.append(f"stuck: the client is at {json.dumps(self.link.follower.view.to_json())[-1500:]}")
            finally:
                for task in (sending, answering):
                    task.cancel()
                await asyncio.gather(sending, answering, return_exceptions=True)
            self.tally.connections += client.connections

    def done(self) -> bool:
        runs = self.link.follower.view.runs
        return bool(runs) and all(r.get("outcome") for r in runs.values())

    async def die(self, client: Following) -> None:
        """Wait for a random moment, kill, note what was on disk, start again."""
        match self.rng.choice(["at once", "soon", "seen", "seen", "seen"]):
            case "at once":
                await asyncio.sleep(self.rng.uniform(0, 0.01))
            case "soon":
                await asyncio.sleep(self.rng.uniform(0, 0.5))
            case "seen":  # the client is back and the run goes on
                connections = client.connections
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(3):
                        while client.connections == connections and self.tally.kills:
                            self.changed.clear()
                            await self.changed.wait()
                await asyncio.sleep(self.rng.uniform(0, 0.4))
        if self.rng.random() < 0.2:
            await client.drop()
        await self.servers.kill()
        self.tally.kills += 1
        begun = Counter(self.servers.effects())
        on_disk = {(r["session_id"], r["key"]) for r in self.servers.rows() if r["key"]}
        again = [e for e, n in self.finished.items() if begun[e] > n]
        self.broken += [f"finished before a death, begun again after it: {e}" for e in again]
        self.finished = {e: n for e, n in begun.items() if e in on_disk}
        await self.servers.start()

    async def answer(self, client: Following) -> None:
        """Answer each question once, with one id, as a person would."""
        given: set[str] = set()
        while True:
            for item in self.link.follower.view.pending():
                if item["id"] not in given:
                    given.add(item["id"])
                    frame = {"type": "answer", "reply_to": item["id"], "content": "this one"}
                    asyncio.get_running_loop().create_task(swallow(client.submit(frame)))
            self.changed.clear()
            await self.changed.wait()


async def swallow(waiting: Any) -> None:
    with contextlib.suppress(Exception):
        await waiting


def check(servers: Servers, trials: list[Trial], tally: Tally) -> None:
    """Compare what is on disk with what every client was told and shows."""
    by_session: dict[str, list[dict[str, Any]]] = {}
    for row in servers.rows():
        by_session.setdefault(row["session_id"], []).append(row)
    effects = Counter(servers.effects())
    tally.repeated_in_flight += sum(n - 1 for n in effects.values())
    for trial in trials:
        wrong = list(trial.broken)
        session = trial.link.session_id or ""
        rows = by_session.get(session, [])
        if [r["seq"] for r in rows] != list(range(1, len(rows) + 1)):
            wrong.append("gap or repeat in the log")
        keys = [r["key"] for r in rows if r["key"]]
        if len(keys) != len(set(keys)):
            wrong.append("a key twice")
        on_disk = {r["seq"]: r for r in rows}
        for e in trial.shown:
            row = on_disk.get(e["seq"])
            folded = e["type"] in ("text", "reasoning")  # a snapshot joins pieces
            if row is None or row["type"] != e["type"] or (not folded and json.loads(row["content"]) != e["content"]):
                wrong.append(f"shown and not in the log: {json.dumps(e)[:200]}")
                break
        prompts = [json.loads(r["content"])["id"] for r in rows if r["type"] == "prompt"]
        if len(prompts) != 1:
            wrong.append(f"{len(prompts)} prompts in the log, one was sent")
        answers = [r for r in rows if r["type"] == "answered"]
        if len(answers) != 1:
            wrong.append(f"{len(answers)} answers in the log, one question was asked")
        for id, receipt in trial.receipts.items():
            row = next((r for r in rows if r["seq"] == receipt.seq), None)
            if receipt.status == "accepted" and (row is None or row["type"] not in ("prompt", "answered")):
                wrong.append(f"acknowledged and not in the log: {id} {receipt} {row and row['type']}")
        ended = [json.loads(r["content"]) for r in rows if r["type"] == "completed"]
        if [e["outcome"] for e in ended] != ["success"] or not ended[0]["text"].endswith("word39"):
            wrong.append(f"not ended well: {ended}")
        for kind, count in (("model", 4), ("tool_return", 7)):
            if (found := sum(r["type"] == kind for r in rows)) != count:
                wrong.append(f"{found} rows of {kind}, {count} expected")
        public = [{**r, "at": round(r["at"], 3), "content": json.loads(r["content"])} for r in rows if r["public"]]
        shown = trial.link.follower.view.to_json()
        if reduce(public).to_json() != shown:
            wrong.append(
                f"the client shows something else than the log: {differences(reduce(public).to_json(), shown)}"
            )
        tally.attempts[max((json.loads(r["content"])["attempt"] for r in rows if r["type"] == "run"), default=0)] += 1
        tally.violations += [f"{session} in {servers.folder}: {w}" for w in wrong]


def differences(log: Any, client: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, a line each."""
    if isinstance(log, dict) and isinstance(client, dict):
        keys = [*log, *(k for k in client if k not in log)]
        return [d for k in keys for d in differences(log.get(k), client.get(k), f"{path}.{k}")]
    if isinstance(log, list) and isinstance(client, list) and len(log) == len(client):
        return [d for i, (a, b) in enumerate(zip(log, client, strict=True)) for d in differences(a, b, f"{path}[{i}]")]
    return [] if log == client else [f"{path}: log {json.dumps(log)[:200]}, client {json.dumps(client)[:200]}"]


async def campaign(kills: int, seed: int, mutation: str = "none", *, until_violation: bool = False) -> Tally:
    """Kill `kills` times (or, `until_violation`, until something is wrong). Prints the seed."""
    print(f"\nseed {seed}, mutation {mutation}")
    rng, tally, began = random.Random(seed), Tally(), time.monotonic()
    async with preloaded() as zygote:
        while tally.kills < kills and not (until_violation and tally.violations):
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                servers = Servers(zygote, Path(folder), mutation)
                await servers.start()
                trials: list[Trial] = []
                for _ in range(TRIALS_A_FOLDER):
                    if tally.kills >= kills or (until_violation and any(t.broken for t in trials)):
                        break
                    trial = Trial(servers, rng, tally, rng.randint(1, 5))
                    trials.append(trial)
                    tally.trials += 1
                    await trial.run()
                await servers.kill()
                found = len(tally.violations)
                check(servers, trials, tally)
                if len(tally.violations) > found and mutation == "none":
                    keep = Path(tempfile.mkdtemp(prefix="reconvene-violation-"))
                    shutil.copytree(servers.folder, keep, dirs_exist_ok=True)
                    print(f"kept in {keep}")
    tally.seconds = time.monotonic() - began
    return tally
