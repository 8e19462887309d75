"""Thousands of server deaths: everything of a server but its sockets, forked from a preloaded process, killed, started again.

    python tests/faults/deaths.py '{"deaths": 1000, "seed": 1}'     prints one JSON line: a `Tally`

A trial is one session: a prompt, searches, a question, a change of three files that a person sends back once and accepts in part. Each
life of its server ends by SIGKILL: in the n-th call that changes a disk (half of a write may be done), or at a random moment. The client
is in the same process and knows only what it was told in writing: `told`, kept outside of the data folder, with the acknowledgements it
got and what it was shown. `check` compares that with what is on the disk in the end.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
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
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import apsw
import mutations
import structlog
from effects import note_effects
from io_points import REAL_WRITE, Points

import threefiles
from coding import agents, update
from house import ME, House
from reconvene.config import Limits, Settings
from reconvene.errors import ReconveneError
from reconvene.log.port import Row

PATIENCE = 30.0
"""Seconds for a life that is not killed: a run of half a second."""
LIVES = 60
"""Deaths of one trial, at most."""
SCRIPT: list[Any] = [
    [("search", {"query": "line_3"}), ("search", {"query": "old"})],
    [("read_file", {"path": "a.py"}), ("ask_user", {"question": "Which?"})],
    update("Change a.py, make sub/new.py, delete b.py.", "a.py", "b.py"),
    "It is written, as you wanted it.",
]
MODEL_CALLS = len(threefiles.CALLS) + 1
LATER = b"# saved by a person after the change\n"
SETTINGS: dict[str, Any] = {"limits": Limits(attempts_without_progress=10_000)}
"""A run is ended when it was started five times without getting further; here it is killed more often than that on purpose."""


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


# -- one life


class Client:
    """What a person's client does. It knows what it was told before (`known`), and writes down what it is told now."""

    def __init__(self, house: House, told: int, known: list[dict[str, Any]], again: bool) -> None:
        self.house, self.told, self.again = house, told, again
        self.acked = {k["ack"]: k["seq"] for k in known if "ack" in k}
        self.session = next((k["session"] for k in known if "session" in k), None)
        self.late = any("late" in k for k in known)
        self.woken = asyncio.Event()
        self.fresh = self.written = False

    def tell(self, **what: Any) -> None:
        REAL_WRITE(self.told, (json.dumps(what) + "\n").encode())

    async def look_back(self) -> None:
        """Before anything goes on: what of the session is on the disk. A person saves a file that was changed, once."""
        rows = await self.house.rows(self.session) if self.session else []
        self.written = any(r.type == "apply_outcome" for r in rows)
        self.tell(life=len(rows), digest=digest(rows))
        changed = self.house.folder / "project" / "a.py"
        if (
            any(r.type == "applied" for r in rows)
            and not self.late
            and changed.read_bytes() == threefiles.WANTED["a.py"]
        ):
            self.tell(late="begun")
            changed.write_bytes(threefiles.WANTED["a.py"] + LATER)
            self.tell(late="done")

    def committed(self, _id: str, rows: tuple[Row, ...]) -> None:
        self.tell(shown=[[r.seq, digest([r])] for r in rows])
        if not self.fresh and any(r.type != "run" for r in rows):
            self.fresh = True
            self.tell(fresh=True)
        self.woken.set()

    def touched(self, op: str, path: str) -> None:
        if self.written and op in ("create", "write", "renameat2", "rename") and "/project/" in path:
            self.tell(wrong=f"after the outcome of the change was on the disk: {op} {path}")

    async def run(self) -> None:
        sessions = self.house.sessions
        attached = await sessions.attach(ME, session_id=self.session, prompt_id="the prompt")
        session = attached.session.id
        if session != self.session:
            self.tell(session=session)
        turn = {"review": True, "max_iterations": 3}
        await self.send(sessions.submit, "the prompt", session, text=threefiles.PROMPT, turn=turn)
        while True:
            self.woken.clear()
            rows = await self.house.rows(session)
            if any(r.type == "completed" for r in rows):
                self.tell(end=True)
                return
            asked = [json.loads(r.content) | {"kind": r.type} for r in rows if r.type in ("question", "diff")]
            for n, item in enumerate([i for i in asked if i["kind"] == "diff"]):
                how = threefiles.decision(item, n)
                await self.send(sessions.decide, f"to {item['id']}", session, reply_to=item["id"], **how)
            for item in asked:
                if item["kind"] == "question":
                    await self.send(sessions.answer, f"to {item['id']}", session, reply_to=item["id"], value="this one")
            await self.woken.wait()

    async def send(self, command: Any, id: str, session: str, **frame: Any) -> None:
        """Send until it is acknowledged. What was acknowledged in an earlier life is sent once more, as after a lost answer."""
        if id in self.acked and not self.again:
            return
        try:
            receipt = await command(ME, session, id=id, body=f"body of {id}", **frame)
        except ReconveneError as e:
            self.tell(wrong=f"{id} is refused: {e}")
            return
        if self.acked.get(id, receipt.seq) != receipt.seq or (id in self.acked and receipt.status != "duplicate"):
            self.tell(wrong=f"{id} was acknowledged as {self.acked[id]}, now as {receipt}")
        self.acked[id] = receipt.seq
        self.again = False
        self.tell(ack=id, seq=receipt.seq)


def digest(rows: Sequence[Row]) -> str:
    texts = [text for r in rows for text in (str(r.seq), r.type, r.content, r.key or "")]
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=12).hexdigest()


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
    with Points([folder / "data", folder / "project"], act, sync=False):
        await house.load()
        await client.look_back()
        house.sessions.listeners.append(client.committed)
        await house.supervisor.start()
        await client.run()


# -- many


class Campaign:
    def __init__(self, job: dict[str, Any], scratch: Path) -> None:
        self.job = {"mutation": "none", "until_violation": False, "patience": PATIENCE, **job}
        self.rng, self.scratch, self.tally = random.Random(job["seed"]), scratch, Tally()

    def run(self) -> Tally:
        enough = 1 if self.job["until_violation"] else 5
        while self.tally.deaths < self.job["deaths"] and len(self.tally.violations) < enough:
            folder = self.scratch / f"trial{self.tally.trials}"
            found = self.trial(folder)
            if found and self.job["mutation"] == "none":
                kept = tempfile.mkdtemp(prefix="reconvene-violation-")
                shutil.copytree(folder, kept, dirs_exist_ok=True)
                found.append(f"kept in {kept}")
            self.tally.violations += [f"seed {self.job['seed']}, trial {self.tally.trials}: {f}" for f in found]
            self.tally.trials += 1
            shutil.rmtree(folder, ignore_errors=True)
        return self.tally

    def trial(self, folder: Path) -> list[str]:
        for name, text in threefiles.FILES.items():
            path = folder / "project" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        (folder / "data").mkdir(mode=0o700)
        begun = False
        for n in range(LIVES + 1):
            how = self.plan(n) if n < LIVES and self.tally.deaths < self.job["deaths"] else {"die_at": 0, "after": None}
            before = len(told(folder))
            status = self.life(folder, how)
            told_now = told(folder)[before:]
            if status == 0:
                return check(folder, self.tally)
            if status is None:
                return [f"stuck in life {n}: {told_now[-3:]}", *check(folder, self.tally)]
            if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
                return [f"life {n} ended with {status}: {(folder / 'out').read_text()[-2000:]}"]
            self.tally.deaths += 1
            dies = [t["dies"] for t in told_now if "dies" in t]
            self.tally.in_calls += len(dies)
            self.tally.calls.update(dies)
            self.tally.recovering += begun and not any("fresh" in t for t in told_now)
            begun = begun or any("ack" in t for t in told_now)
        raise AssertionError("the last life is not killed")

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

    def life(self, folder: Path, how: dict[str, Any]) -> int | None:
        """The wait status; None: it was stuck."""
        job = {**self.job, **how, "half": self.rng.random() < 0.5, "again": self.rng.random() < 0.3}
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                out = os.open(folder / "out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(out, 1)
                os.dup2(out, 2)
                known = told(folder)
                asyncio.run(live(folder, os.open(folder / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND), known, job))
                code = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(code)
        watched = os.pidfd_open(pid)
        try:
            ended = select.select([watched], [], [], how["after"] or self.job["patience"])[0]
            if not ended:
                os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
            return None if not ended and how["after"] is None else status
        finally:
            os.close(watched)


def told(folder: Path) -> list[dict[str, Any]]:
    path = folder / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def check(folder: Path, tally: Tally) -> list[str]:
    """What the disk has in the end, against what the client was told on the way."""
    lines = told(folder)
    wrong = [t["wrong"] for t in lines if "wrong" in t]
    rows = rows_of(folder / "data" / "reconvene.db")
    session = next((t["session"] for t in lines if "session" in t), "")
    others = {r.session_id for r in rows if r.session_id != session}
    if others:
        wrong.append(f"rows in sessions that nobody was told of: {others}")
    rows = [r for r in rows if r.session_id == session]
    if [r.seq for r in rows] != list(range(1, len(rows) + 1)):
        wrong.append("a gap or a repeat in the log")
    keys = [r.key for r in rows if r.key]
    wrong += [f"the key {k} twice" for k, n in Counter(keys).items() if n > 1]
    at = {r.seq: r for r in rows}
    for t in lines:
        for seq, was in t.get("shown", ()):
            if seq not in at or digest([at[seq]]) != was:
                wrong.append(f"shown and not in the log, or changed: {seq}")
        if "ack" in t and (t["seq"] not in at or at[t["seq"]].type not in ("prompt", "answered", "decided")):
            wrong.append(f"acknowledged and lost: {t}")
        if "life" in t and digest(rows[: t["life"]]) != t["digest"]:
            wrong.append("what was on the disk at a death is not there any more")
    tally.acknowledged += len({t["ack"] for t in lines if "ack" in t})
    wrong += begun_again(lines, rows, tally)
    kinds = Counter(r.type for r in rows)
    wanted = {"prompt": 1, "answered": 1, "decided": 2, "applied": 1, "completed": 1}
    wrong += [f"{kinds[k]} rows of {k}, {n} wanted" for k, n in wanted.items() if kinds[k] != n]
    if kinds["model"] + kinds["sub_model"] != MODEL_CALLS:
        wrong.append(f"{kinds['model'] + kinds['sub_model']} model responses, {MODEL_CALLS} wanted")
    wrong += [f"ended with {r.content}" for r in rows if r.type == "completed" and '"success"' not in r.content]
    root = folder / "project"
    files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    late = {t["late"] for t in lines if "late" in t}
    saved = threefiles.WANTED | {"a.py": threefiles.WANTED["a.py"] + LATER}
    if files != (saved if "done" in late else threefiles.WANTED) and not (late == {"begun"} and files == saved):
        wrong.append(f"files: { {k: v[-60:] for k, v in files.items()} }, late {late}")
    return wrong


def begun_again(lines: Sequence[dict[str, Any]], rows: Sequence[Row], tally: Tally) -> list[str]:
    """Model requests and tool calls that were begun although their result was on the disk when that life began."""
    finished: set[str | None] = set()
    begun: Counter[str] = Counter()
    wrong = []
    for t in lines:
        if "life" in t:
            finished = {r.key for r in rows[: t["life"]]}
        elif "begun" in t:
            begun[t["begun"]] += 1
            if t["begun"] in finished:
                wrong.append(f"finished before a death and begun again: {t['begun']}")
    tally.again += sum(n - 1 for n in begun.values())
    return wrong


def rows_of(database: Path) -> list[Row]:
    """Every row, as a server that starts now would find them."""
    db = apsw.Connection(str(database))
    names = ("seq", "type", "content", "run_id", "item_id", "parent_id", "key", "public", "stateful", "at", "tag")
    columns = ", ".join(f"e.{name}" for name in names)
    try:
        found = db.execute(f"select s.id, {columns} from event e join session s on s.n = e.session order by place")
        return [Row(**dict(zip(("session_id", *names), row, strict=True))) for row in found]
    finally:
        db.close()


async def rehearse(folder: Path) -> None:
    """One run in the process that is forked, so that what only a first run costs is not paid by every life."""
    house = await House.open(folder, agents(SCRIPT[:1] + SCRIPT[3:], []), files=threefiles.FILES)
    await house.completed(await house.ask("hello"))
    await house.close()


def main() -> None:
    job = json.loads(sys.argv[1])
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="reconvene-deaths-", ignore_cleanup_errors=True) as scratch:
        rehearsal = Path(scratch) / "rehearsal"
        rehearsal.mkdir()
        asyncio.run(rehearse(rehearsal))
        gc.collect()
        gc.disable()  # a collection would touch, and so copy, what the lives share
        tally = Campaign(job, Path(scratch)).run()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    tally.cpu = sum(u.ru_utime + u.ru_stime for u in used)
    print(json.dumps(vars(tally)))


if __name__ == "__main__":
    main()
