"""A rolling upgrade: two whole servers on one PostgreSQL are stopped (SIGTERM) and started again, one after the other, several times, while
people at both send prompts, follow their runs, and read each other's.

    python tests/faults/rolling.py '{"rounds": 5, "seed": 1}'        prints one JSON line: a tally

A client goes to its own node while that is there, as behind a proxy that spreads people, else to the other. Its longest pause is the
longest time in which nothing came, no event and no acknowledgement, while it waited for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from delivered import Delivered
from node_deaths import forked
from node_people import STUCK

import reconvene.agents.models
from example import FILES
from house import check_log, contents
from postgres import server as database_server
from reconvene.client.following import Address, Following
from reconvene.client.link import Frame, new_id
from reconvene.client.local import find
from reconvene.config import Limits, Settings
from reconvene.errors import ReconveneError
from reconvene.log.postgres import PostgresLog
from reconvene.runs.queue import RunQueue
from reconvene.server.lifecycle import run_server
from scripted import scripted

NODES = ("one", "two")
CLIENTS = 6
ANSWER = " ".join(f"word{n}" for n in range(40))
STEPS: Any = [[("search", {"query": "idle"})], [("read_file", {"path": "src/hub.py"})], ANSWER]


@dataclass
class Tally:
    restarts: int = 0
    prompts: int = 0
    """Acknowledged."""
    connections: int = 0
    pauses: list[float] = field(default_factory=list)
    """Seconds: the longest of each client."""
    before: list[float] = field(default_factory=list)
    """The same while both nodes are left alone."""
    stops: list[float] = field(default_factory=list)
    """Seconds from SIGTERM to the end of the process."""
    violations: list[str] = field(default_factory=list)


def serve(job: dict[str, Any], name: str) -> None:
    async def between(_step: int, _word: int) -> None:
        await asyncio.sleep(0.03)

    model = scripted(STEPS, between=between)
    reconvene.agents.models.resolve = lambda *_: model  # type: ignore[assignment]
    if job["mutation"] == "keeps_its_runs":

        async def nothing(*_: Any) -> None: ...

        RunQueue.give_back = nothing  # type: ignore[method-assign]
    folder = Path(job["folder"])
    data = folder / name
    data.mkdir(mode=0o700, exist_ok=True)
    limits = Limits(handshakes_per_second=1000)
    settings = Settings(data_dir=data, database=job["url"], takeover=job["takeover"], port=0, limits=limits)
    run_server(settings, [folder / "project"])


class Client:
    """One who asks, and one who reads along at the other node."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.home = folder, NODES[number % 2]
        self.asking = Delivered("who asks", root="project")
        self.reading: Delivered | None = None
        self.asking.came = self._sign  # type: ignore[method-assign]
        self.prompts: list[str] = []
        self.longest = 0.0
        self.connections = 0
        self._last: float | None = None
        self._at: dict[str, str] = {}

    def _sign(self, *_: Any) -> None:
        now = time.monotonic()
        if self._last is not None:
            self.longest = max(self.longest, now - self._last)
        self._last = now

    def where(self, who: str, home: str) -> Any:
        async def where() -> Address | None:
            for name in (home, *(n for n in NODES if n != home)):
                if (node := await asyncio.to_thread(find, self.folder / name)) is not None:
                    self._at[who] = name
                    return Address(node.ws_url, node.token)
            return None

        return where

    async def live(self, enough: Path) -> None:
        other = next(n for n in NODES if n != self.home)
        async with Following(self.where("asks", self.home), self.asking.link, self.asking.happened) as asks:
            await self._prompt(asks)
            self.reading = Delivered("who reads", session=self.asking.link.session_id)
            async with Following(self.where("reads", other), self.reading.link, self.reading.happened) as reads:
                going_home = [
                    asyncio.create_task(self._go_home(asks, "asks", self.home)),
                    asyncio.create_task(self._go_home(reads, "reads", other)),
                ]
                try:
                    while not enough.exists():
                        await self._prompt(asks)
                    await self._until(lambda: len(self.reading.view.runs) == len(self.prompts), self.reading, reads)
                    await self._until(lambda: _all_ended(self.reading), self.reading, reads)
                finally:
                    for task in going_home:
                        task.cancel()
                    self.connections = asks.connections + reads.connections

    async def _prompt(self, client: Following) -> None:
        frame: Frame = {"id": new_id(), "type": "default", "content": f"prompt {len(self.prompts)}"}
        self._last = time.monotonic()
        while True:
            try:
                await client.submit(frame)
                break
            except ReconveneError as e:
                if not e.retryable:
                    raise
                await asyncio.sleep(0.1)
        self._sign()
        self.prompts.append(frame["id"])
        await self._until(
            lambda: len(self.asking.view.runs) == len(self.prompts) and _all_ended(self.asking), self.asking, client
        )
        self._last = None

    async def _until(self, holds: Any, shown: Delivered, client: Following) -> None:
        while not holds():
            shown.news.clear()
            try:
                async with asyncio.timeout(STUCK):
                    await client.until(asyncio.ensure_future(shown.news.wait()))
            except TimeoutError:
                raise AssertionError(f"{shown.name} is stuck: {json.dumps(shown.view.to_json())[-500:]}") from None

    async def _go_home(self, client: Following, who: str, home: str) -> None:
        """What a proxy does that spreads connections over the nodes that are ready."""
        while True:
            await asyncio.sleep(0.5)
            if self._at.get(who) != home and await asyncio.to_thread(ready, self.folder / home):
                self._at[who] = home
                await client.drop()

    async def check(self, log: PostgresLog) -> None:
        session = self.asking.link.session_id
        assert session is not None and self.reading is not None
        rows = await log.read(session, 0)
        check_log(rows)
        self.asking.check(rows)
        self.reading.check(rows)
        assert [p["id"] for p in contents(rows, "prompt")] == self.prompts, "prompts are missing, or there twice"
        ended = [(c["outcome"], c["text"]) for c in contents(rows, "completed")]
        assert ended == [("success", ANSWER)] * len(self.prompts), f"they ended as {[o for o, _ in ended]}"


def _all_ended(shown: Delivered | None) -> bool:
    assert shown is not None
    return all(run.get("outcome") for run in shown.view.runs.values())


async def people(job: dict[str, Any], done: int) -> None:
    folder, tally = Path(job["folder"]), Tally()
    clients = [Client(folder, n) for n in range(CLIENTS)]
    lives = [asyncio.create_task(c.live(folder / "enough")) for c in clients]
    while not (folder / "begin").exists() and not any(life.done() for life in lives):
        await asyncio.sleep(0.05)
    for client in clients:
        tally.before.append(round(client.longest, 3))
        client.longest = 0.0
    found = await asyncio.gather(*lives, return_exceptions=True)
    log = await PostgresLog.open(job["url"])
    for client, error in zip(clients, found, strict=True):
        try:
            if isinstance(error, BaseException):
                raise error
            await client.check(log)
        except Exception as e:
            tally.violations.append(f"{client.asking.link.session_id}: {type(e).__name__}: {str(e)[:400]}")
        tally.prompts += len(client.prompts)
        tally.connections += client.connections
        tally.pauses.append(round(client.longest, 3))
    await log.close()
    os.write(done, json.dumps(asdict(tally)).encode())
    os.close(done)


def ready(data: Path) -> bool:
    """Whether the node there says that it takes traffic."""
    node = find(data)
    if node is None:
        return False
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_for(holds: Any, what: str, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited too long for {what}"
        time.sleep(0.05)


def run(job: dict[str, Any], folder: Path) -> Tally:
    job = {"rounds": 5, "takeover": 60.0, "mutation": "none", **job, "folder": str(folder)}
    rng = random.Random(job["seed"])
    for name, text in FILES.items():
        (folder / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "project" / name).write_text(text)
    database = database_server(folder / "database")
    job["url"] = database.url
    pids = {name: forked(lambda name=name: serve(job, name), folder / f"{name}.out") for name in NODES}
    person, tally = 0, Tally()
    try:
        wait_for(lambda: all(ready(folder / name) for name in NODES), "both nodes")
        reading, writing = os.pipe()
        person = forked(lambda: asyncio.run(people(job, writing)), folder / "people.out")
        os.close(writing)
        time.sleep(job.get("alone", 10.0))
        (folder / "begin").touch()
        for _ in range(job["rounds"]):
            for name in NODES:
                time.sleep(rng.uniform(1.0, 4.0))
                began = time.monotonic()
                os.kill(pids[name], signal.SIGTERM)
                _, status = os.waitpid(pids[name], 0)
                tally.stops.append(round(time.monotonic() - began, 3))
                if status:
                    tally.violations.append(
                        f"{name} ended with {status}: {(folder / f'{name}.out').read_text()[-500:]}"
                    )
                pids[name] = forked(lambda name=name: serve(job, name), folder / f"{name}.out")
                wait_for(lambda name=name: ready(folder / name), name)
                tally.restarts += 1
        (folder / "enough").touch()
        with os.fdopen(reading, "rb") as file:
            said = file.read()
        if not said:
            tally.violations.append(f"the people broke: {(folder / 'people.out').read_text()[-2000:]}")
        else:
            found = json.loads(said)
            for name in ("prompts", "connections", "pauses", "before"):
                setattr(tally, name, found[name])
            tally.violations += found["violations"]
    finally:
        for pid in (*pids.values(), person):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                if pid:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
        database.stop()
    return tally


def main() -> None:
    job = json.loads(sys.argv[1])
    out = os.dup(1)
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="reconvene-rolling-") as folder:
        os.chmod(folder, 0o755)
        tally = run(job, Path(folder))
    os.write(out, json.dumps(asdict(tally)).encode())


if __name__ == "__main__":
    main()
