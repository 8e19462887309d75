"""Power cuts in the middle of a whole session: its log, the kept contents and the code base, each as the platter has it.

    python tests/faults/power_cuts.py '{"cuts": 100, "mode": "torn", "seed": 1}'     prints one JSON line: a `Cuts`

One run of `life` is recorded in every write and sync; at random ones it is noted what a cut would leave, and what had been acknowledged
and shown until then. Afterwards each of these is a folder on which a server starts.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import pickle
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "log"))

import mutations
import structlog
from deaths import cpu, in_child, prepare, rehearse
from faulty_disk import Disk
from io_points import Points
from life import OLD, SCRIPT, SETTINGS, Client, broken_promises, check, files_of, rows_of, told
from platter import Platter

import threefiles
from coding import agents
from house import House
from reconvene.config import Limits, Settings
from reconvene.errors import ReconveneError
from reconvene.log import database
from reconvene.workspace import Workspace
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits import Plan, Writer

A_RUN = 150
"""Cuts of one recorded run."""
WHOLE = 25
"""Of so many cuts one is gone on from until the run ends; the others are started on and looked at."""


@dataclass
class Cuts:
    cuts: int = 0
    runs: int = 0
    in_writing: int = 0
    """Cuts while a change of files was planned and not known to be done."""
    whole: int = 0
    acknowledged: int = 0
    violations: list[str] = field(default_factory=list)
    cpu: float = 0.0


@dataclass
class Image:
    """What one cut leaves."""

    database: dict[str, bytes]
    files: dict[str, bytes | None]
    told: bytes


async def recorded(folder: Path, seed: int, mode: str, cuts: int, synchronous: str) -> list[Image]:
    """A run, and what cuts at random moments of it would leave. `synchronous`: SQLite's."""
    rng = random.Random(seed)
    prepare(folder)
    images: list[Image] = []
    model = agents(SCRIPT, threefiles.CODER, threefiles.REVIEWER)
    house = House(folder, lambda _name: model, Settings(data_dir=folder / "data", **SETTINGS))
    with Disk() as disk, open(folder / "told", "ab", 0) as out:
        client = Client(house, out.fileno(), [], False)
        await _installed(folder)
        platter = Platter([folder / "data", folder / "project"])
        chance = A_RUN / 1200  # of the calls of a run; those on the code base are few, and matter as much

        def maybe(op: str, path: str) -> None:
            if rng.random() < chance * (5 if "/project/" in path else 1):
                files = {
                    p: c for p, c in platter.cut(rng, mode).items() if "/indexes" not in p and "reconvene.db" not in p
                }
                images.append(Image(disk.power_cut(rng, mode), files, (folder / "told").read_bytes()))

        def act(_n: int, op: str, path: str, _half: Callable[[], None]) -> None:
            maybe(op, path)
            if op in ("unlink", "remove", "renameat2", "rename", "replace"):
                platter.remember(path)

        before, database.VFS = database.VFS, disk.name
        opened = database.open_writer
        database.open_writer = lambda path, **more: opened(path, **{**more, "synchronous": synchronous})  # type: ignore[assignment]
        try:
            with Points([folder / "data", folder / "project"], act, sync=False, sqlite=False, done=platter.did):
                disk.before = maybe
                await house.load()
                house.sessions.listeners.append(client.committed)
                await client.look_back()
                await house.supervisor.start()
                await client.run()
                disk.before = lambda op, path: None
                await house.close()
        finally:
            database.VFS, database.open_writer = before, opened
    return rng.sample(images, min(cuts, len(images)))


async def _record(
    folder: Path, images: Path, seed: int, mode: str, cuts: int, synchronous: str, _out: int, _known: Any
) -> None:
    images.write_bytes(pickle.dumps(await recorded(folder, seed, mode, cuts, synchronous)))


async def _installed(folder: Path) -> None:
    """The database was there before: making it is another proof's."""
    from reconvene.log.sqlite import SqliteLog

    await (await SqliteLog.open(folder / "data" / "reconvene.db")).close()


def restored(folder: Path, recorded_in: Path, image: Image) -> None:
    (folder / "data").mkdir(parents=True, mode=0o700)
    (folder / "project").mkdir()
    for path, content in sorted(image.files.items()):
        target = folder / Path(path).relative_to(recorded_in)
        if content is None:
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    for name, content in image.database.items():
        (folder / "data" / name).write_bytes(content)
    (folder / "told").write_bytes(image.told)


def looked_at(folder: Path, found: Cuts) -> list[str]:
    """Start on it as far as the log and the writer go."""
    try:
        db, _ = database.open_installed(folder / "data" / "reconvene.db", "full", 1000, 2**40)
    except ReconveneError as e:
        return [f"the server does not start: {e}"]
    db.close()
    rows = rows_of(folder / "data" / "reconvene.db")
    lines = told(folder)
    found.acknowledged += len([t for t in lines if "ack" in t])
    wrong = broken_promises(lines, rows)
    plans = [json.loads(r.content) for r in rows if r.type == "apply_plan"]
    outcomes = [json.loads(r.content)["outcome"]["status"] for r in rows if r.type == "apply_outcome"]
    if not plans:
        visible = OLD
    elif outcomes:
        visible = threefiles.WANTED
    else:
        found.in_writing += 1
        visible = threefiles.WANTED
        workspace = Workspace.open(folder / "project", data_dir=folder / "data", limits=Limits())
        outcome = Writer(workspace, Contents(folder / "data" / "contents")).recover(Plan.from_json(plans[-1]["plan"]))
        if outcome.status != "applied":
            wrong.append(f"what was planned ended as {outcome}")
    there = files_of(folder)
    if {p: c for p, c in there.items() if ".reconvene-" not in p} != visible:
        wrong.append(f"files: {there}")
    elif there != visible:
        wrong.append(f"left beside: {set(there) - set(visible)}")
    return wrong


async def gone_on(folder: Path, out: int, known: list[dict[str, Any]]) -> None:
    """A whole server, until the run has ended."""
    model = agents(SCRIPT, threefiles.CODER, threefiles.REVIEWER)
    house = House(folder, lambda _name: model, Settings(data_dir=folder / "data", **SETTINGS))
    client = Client(house, out, known, False)
    await house.load()
    house.sessions.listeners.append(client.committed)
    await house.supervisor.start()
    await client.run()


def main() -> None:
    job = {"mutation": "none", "synchronous": "full", "until_violation": False, **json.loads(sys.argv[1])}
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    (mutations.MUTATIONS | mutations.OF_POWER)[job["mutation"]]()
    rng, found = random.Random(job["seed"]), Cuts()
    with tempfile.TemporaryDirectory(prefix="reconvene-power-", ignore_cleanup_errors=True) as scratch:
        (Path(scratch) / "rehearsal").mkdir()
        asyncio.run(rehearse(Path(scratch) / "rehearsal"))
        while found.cuts < job["cuts"] and not (
            found.violations and (job["until_violation"] or len(found.violations) > 5)
        ):
            run = Path(scratch) / "run"
            shutil.rmtree(run, ignore_errors=True)
            run.mkdir()
            images_of = Path(scratch) / "images"
            cuts = min(A_RUN, job["cuts"] - found.cuts)
            record = functools.partial(
                _record, run, images_of, rng.randrange(1 << 32), job["mode"], cuts, job["synchronous"]
            )
            # In another process: SQLite knows files by their inode, and those of the cuts may get those of the recorded run.
            assert in_child(run, record, 60.0) == 0, (run / "out").read_text()[-3000:]
            for image in pickle.loads(images_of.read_bytes()):
                shutil.rmtree(run)
                restored(run, run, image)  # the same path: a session names the root it belongs to
                wrong = looked_at(run, found)
                found.cuts += 1
                if not wrong and found.cuts % WHOLE == 0:
                    found.whole += 1
                    status = in_child(run, functools.partial(gone_on, run), 30.0)
                    wrong = check(run) if status == 0 else [f"stuck, or broken: {status}, {told(run)[-5:]}"]
                if wrong and job["mutation"] == "none" and job["synchronous"] == "full" and len(found.violations) < 3:
                    kept = tempfile.mkdtemp(prefix="reconvene-violation-")
                    shutil.copytree(run, kept, dirs_exist_ok=True)
                    wrong.append(f"kept in {kept}")
                found.violations += wrong
            found.runs += 1
    found.cpu = cpu()
    print(json.dumps(vars(found)))


if __name__ == "__main__":
    main()
