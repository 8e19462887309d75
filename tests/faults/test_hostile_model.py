"""Thousands of runs with a hostile model: nothing is written that was not accepted, nothing from outside is read, every run ends.

`RUNS=10000 make faults` sets how many; a hundred are in `make test`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import secrets
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hostile_model import Hostile

from house import ME, House, check_log, contents
from proof import report
from reconvene.agents import changes
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.log.port import Row
from reconvene.workspace import display_path

AT_ONCE = 4
A_HOUSE = 100
"""Runs before everything begins anew: a tree that only grows would be another test."""
LIMITS = Limits(model_requests=12, tool_calls=30)
WATCHED = ("question", "confirmation", "diff", "completed")


def line(name: str) -> str:
    return "".join(f"line {n} of it\n" for n in range(1, 10)) + f"# {name}\n"


FILES = {
    name: line(name)
    for name in ("a.py", "src/b.py", "src/deep/c.txt", "README.md", "Makefile", "with space.txt", "üñï.txt")
}


class Violation(AssertionError):
    pass


class Siege:
    """A house, its hostile model, and a person who answers at random; `check` looks at what became of the disk."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.secret = f"OUTSIDE-{secrets.token_hex(8)}"
        self.accepted: dict[str, set[str | None]] = {}
        self.counts: Counter[str] = Counter()
        self.rng = random.Random(seed)

    async def open(self) -> None:
        outside = self.folder / "outside"
        outside.mkdir()
        (outside / "secret.txt").write_text(f"{self.secret}\n{line('outside')}")
        root = self.folder / "project"
        root.mkdir()
        (root / "out").symlink_to(outside)
        (root / "file-out").symlink_to(outside / "secret.txt")
        os.mkfifo(root / "fifo")
        self.house = await House.open(self.folder, Hostile(self.seed).model, files=FILES, limits=LIMITS)
        (root / ".git" / "hooks").mkdir(parents=True)
        self.before = self.tree(root)
        self.outside = self.tree(outside)

    @staticmethod
    def tree(root: Path) -> dict[str, str]:
        """Git's blob id of every regular file."""
        found = {}
        for place, _, names in os.walk(root):
            for name in names:
                path = Path(place) / name
                if path.is_file() and not path.is_symlink():
                    data = path.read_bytes()
                    found[display_path(str(path.relative_to(root)))] = hashlib.sha1(
                        b"blob %d\0" % len(data) + data
                    ).hexdigest()
        return found

    async def run(self, number: int) -> None:
        """One prompt, answered whatever it asks, to its end."""
        house = self.house
        session = await house.session()
        turn = {"review": True, "max_iterations": 1} if number % 3 == 0 else {}
        news: asyncio.Queue[Row] = asyncio.Queue()
        told = lambda i, rows: [news.put_nowait(row) for row in rows if i == session and row.type in WATCHED]  # noqa: E731
        house.sessions.listeners.append(told)
        try:
            await house.sessions.submit(ME, session, id=None, text=f"task {self.seed}/{number}", turn=turn)
            async with asyncio.timeout(600):
                await self._person(session, news, random.Random(f"{self.seed}/{number}"))
        except TimeoutError:
            raise Violation(f"run {number} of seed {self.seed} never ended") from None
        finally:
            house.sessions.listeners.remove(told)
        rows = await house.rows(session)
        check_log(rows)
        self.counts[contents(rows, "completed")[0]["outcome"]] += 1
        verdicts = {d["id"]: d["verdict"] for d in contents(rows, "decided")}
        for applied in contents(rows, "applied"):
            if verdicts.get(applied["diff_id"]) != "accept":
                raise Violation(f"{applied} was written, decided: {verdicts.get(applied['diff_id'])}")
            for file in applied["files"]:
                self.accepted.setdefault(file["path"], set()).add(file["new_hash"])
                self.counts["files written"] += 1
            [diff] = [d for d in contents(rows, "diff") if d["id"] == applied["diff_id"]]
            for file in diff["files"]:
                if file["op"] == "rename":
                    self.accepted.setdefault(file["old_path"], set()).add(None)
        self.counts.update({"diffs": len(contents(rows, "diff")), "calls": len(contents(rows, "tool_call"))})
        if any(self.secret in r.content for r in rows):
            raise Violation(f"run {number} of seed {self.seed}: what lies outside is in the log")

    async def _person(self, session: str, news: asyncio.Queue[Row], rng: random.Random) -> None:
        """Answers what is asked, once each, until the run has ended."""
        met: set[str] = set()
        while (row := await news.get()).type != "completed":
            waiting = json.loads(row.content)
            if waiting["id"] in met:
                continue
            met.add(waiting["id"])
            with contextlib.suppress(ReconveneError):  # it was stale, or had ended
                if "files" in waiting:
                    await self._decide(session, waiting, rng, len(met))
                else:
                    value = _value(waiting.get("schema") or {}, rng)
                    await self.house.sessions.answer(ME, session, id=None, reply_to=waiting["id"], value=value)

    async def _decide(self, session: str, shown: dict[str, Any], rng: random.Random, met: int) -> None:
        hunks = [h["id"] for f in shown["files"] for h in f["hunks"]]
        verdict = rng.choice(["accept", "accept", "reject", "feedback"]) if met < 8 else "reject"
        some = [h for h in hunks if rng.random() < 0.5] if verdict == "accept" and rng.random() < 0.4 else []
        more: dict[str, Any] = {"feedback": "otherwise, please"} if verdict == "feedback" else {}
        await self.house.sessions.decide(
            ME, session, id=None, reply_to=shown["id"], verdict=verdict, hunks=some or None, **more
        )

    def check(self) -> None:
        """The disk holds what was there and what was accepted, and nothing else."""
        now = self.tree(self.folder / "project")
        for path in now.keys() | self.before.keys():
            allowed = self.accepted.get(path, set()) | {self.before.get(path)}
            if now.get(path) not in allowed:
                raise Violation(f"seed {self.seed}: {path!r} is {now.get(path)}, and nobody accepted that")
        if self.tree(self.folder / "outside") != self.outside:
            raise Violation(f"seed {self.seed}: something outside was written")


def _value(schema: dict[str, Any], rng: random.Random) -> Any:
    choices = schema.get("enum")
    if choices:
        return "stop" if "stop" in choices else rng.choice(choices)
    return rng.choice(["yes", "no", "whatever you think", "x" * 1000])


async def besiege(folder: Path, seed: int, runs: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    for first in range(0, runs, A_HOUSE):
        place = folder / str(first)
        place.mkdir()
        siege = Siege(place, seed + first)
        await siege.open()
        numbers = iter(range(first, min(first + A_HOUSE, runs)))

        async def worker(siege: Siege = siege, numbers: Any = numbers) -> None:
            for number in numbers:
                await siege.run(number)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(worker())
        except* Violation as e:
            raise e.exceptions[0] from None
        finally:
            await siege.house.close()
        siege.check()
        counts += siege.counts
        shutil.rmtree(place)
    return counts


def told(counts: Counter[str], seed: int) -> None:
    print(f"\nseed {seed}: " + ", ".join(f"{count:,} {what}" for what, count in counts.most_common()))


async def test_a_hundred_runs(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    counts = await besiege(tmp_path, seed, 100)
    assert counts["files written"] > 3 and counts["success"] > 40, counts


@pytest.mark.long
@pytest.mark.timeout(7200)
async def test_thousands_of_runs(tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", random.randrange(2**32)))
    runs = int(os.environ.get("RUNS", "10000"))
    began, cpu = time.monotonic(), time.process_time()
    counts = await besiege(tmp_path, seed, runs)
    told(counts, seed)
    assert counts["success"] + counts["failed"] + counts["cancelled"] == runs
    assert counts["files written"] > runs / 50
    report(
        "A model that does its worst",
        "{runs:,} runs, {calls:,} calls of tools with arguments made up, {diffs:,} diffs, {written:,} files written that were accepted: "
        "0 writes that were not, 0 bytes from outside, every run ended",
        counts={"runs": runs, "calls": counts["calls"], "diffs": counts["diffs"], "written": counts["files written"]},
        seed=seed,
        seconds=time.monotonic() - began,
        cpu=time.process_time() - cpu,
    )


async def test_control_a_change_that_asks_nobody_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decided = changes.Change._decided

    async def writes_at_once(self: changes.Change, n: int, files: Any) -> Any:
        for file in files:
            if file.new is not None and "/" not in file.change.path:
                with contextlib.suppress(OSError, ValueError):
                    (self.deps.workspace.root / file.change.path).write_bytes(file.new + b"not asked")
        return await decided(self, n, files)

    monkeypatch.setattr(changes.Change, "_decided", writes_at_once)
    with pytest.raises((Violation, BaseExceptionGroup)):
        await besiege(tmp_path, 7, 100)
    report(
        "A model that does its worst", control="a change that is written before anybody is asked is found on the disk"
    )
