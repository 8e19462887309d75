"""Every call that changes a disk fails once, or that one and all after it: EIO or ENOSPC. The session of `life`, in a forked process.

    python tests/faults/io_faults.py '{"share": [0, 2], "every": 1}'     prints one JSON line: a `Found`

While the disk fails, each command of the client gets a typed error or its acknowledgement, and reading goes on. Then the disk is whole
again, nobody restarts anything, and the run comes to its end by itself.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import mutations
from deaths import cpu, in_child, preloaded, prepare
from effects import note_effects
from io_points import Points
from life import (
    FAILED_TOOL,
    OLD,
    SCRIPT,
    SETTINGS,
    Client,
    broken_promises,
    check,
    failed_tools,
    files_of,
    rows_of,
    told,
)

import reconvene.runs.supervisor as supervisor
import threefiles
from coding import agents
from house import ME, House
from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.search import search

TYPED = {
    "disk_full",
    "store_error",
    "store_busy",
    "data_dir_unusable",
    "store_corrupt",
    "permission_denied",
    "draining",
}
"""What a command, or the start of a server, may be answered while the disk fails."""
OF_TOOLS = TYPED | {"search_failed"}
"""What a model may be answered instead of a tool's result."""
CHANGE = "return:r1.2:call_0"
"""The call that writes files."""
FAILING = 0.6
"""Seconds for which a disk that fails for good is tried before it is whole again."""
PATIENCE = 40.0
CODES = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC}


@dataclass
class Found:
    runs: int = 0
    calls: int = 0
    """Of one run, that were failed; each in several ways."""
    refused: Counter[str] = field(default_factory=Counter)
    """Typed errors, by code."""
    unfinished: int = 0
    """Runs that told the person of the error and ended without the change: the files are as they were."""
    tools: int = 0
    """Tool calls that were answered with a typed error, in the moment in which the disk failed."""
    violations: list[str] = field(default_factory=list)
    cpu: float = 0.0


class Patient(Client):
    """Repeats what was refused, with the same id, until it is taken."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.failing = False

    async def send(self, command: Any, id: str, session: str, **frame: Any) -> None:
        while id not in self.acked:
            try:
                receipt = await command(ME, session, id=id, body=f"body of {id}", **frame)
            except ReconveneError as e:
                if e.code in ("already_answered", "already_decided", "question_closed", "stale_diff"):
                    self.tell(closed=f"{id}: {e.code}")
                    return
                if e.code not in TYPED:
                    self.tell(wrong=f"{id} is refused: {e}")
                self.tell(refused=e.code)
                await self.reads(session)
                await asyncio.sleep(0.03)
            else:
                self.acked[id] = receipt.seq
                self.tell(ack=id, seq=receipt.seq)

    async def reads(self, session: str) -> None:
        """What was shown is still shown while nothing can be written."""
        try:
            snapshot = await self.house.sessions.snapshot(session)
            self.tell(read=snapshot.cursor.seq)
        except Exception as e:
            self.tell(wrong=f"reading while the disk fails: {e!r}")

    async def run(self) -> None:
        """As a `Client`, and a person who answers `retry` to a run that was paused."""
        sessions = self.house.sessions
        while True:
            try:
                attached = await sessions.attach(ME, session_id=self.session, prompt_id="the prompt")
                break
            except ReconveneError as e:
                self.tell(refused=e.code) if e.code in TYPED else self.tell(wrong=f"attach: {e}")
                await asyncio.sleep(0.03)
        session = self.session = attached.session.id
        self.tell(session=session)
        turn = {"review": True, "max_iterations": 3}
        await self.send(sessions.submit, "the prompt", session, text=threefiles.PROMPT, turn=turn)
        while True:
            self.woken.clear()
            rows = await self.house.rows(session)
            if any(r.type == "completed" for r in rows):
                self.tell(end=True)
                return
            settled = {r.key for r in rows}
            diffs = -1
            for row in rows:
                if row.type not in ("question", "diff"):
                    continue
                content = json.loads(row.content)
                diffs += row.type == "diff"
                id = f"to {content['id']}"
                if f"settled:{content['id']}" in settled and id not in self.acked:
                    continue
                if row.type == "diff":
                    how = threefiles.decision(content, min(diffs, 1))
                    await self.send(sessions.decide, id, session, reply_to=content["id"], **how)
                else:
                    value = "retry" if "retry" in str(content.get("schema")) else "this one"
                    await self.send(sessions.answer, id, session, reply_to=content["id"], value=value)
            await self.woken.wait()


async def live(folder: Path, out: int, known: list[dict[str, Any]], job: dict[str, Any]) -> None:
    (mutations.MUTATIONS | mutations.OF_FAULTS)[job["mutation"]]()
    supervisor.STORE_PATIENCE = 0.05
    model = agents(SCRIPT, threefiles.CODER, threefiles.REVIEWER)
    house = House(folder, lambda _name: model, Settings(data_dir=folder / "data", **SETTINGS))
    client = Patient(house, out, known, False)
    faults = 0
    at_begin: dict[str, int] = {}

    def begun(session: str, key: str) -> None:
        at_begin[key] = faults
        client.tell(begun=key)

    note_effects(begun, lambda key: client.tell(tool=key, faults=faults - at_begin[key]))
    healed = asyncio.Event()
    loop = asyncio.get_running_loop()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: client.tell(wrong=f"unforeseen: {context}"))

    def act(n: int, op: str, path: str, half: Callable[[], None]) -> None:
        nonlocal faults
        if healed.is_set() or n < job["at"] or (n > job["at"] and not job["for_ever"]):
            return
        if not client.failing:
            client.failing = True
            client.tell(fails=op, path=os.path.relpath(path, folder))
            if job["for_ever"]:
                loop.call_soon_threadsafe(loop.call_later, FAILING, healed.set)
        faults += 1
        raise OSError(CODES[job["error"]], os.strerror(CODES[job["error"]]))

    with Points([folder / "data", folder / "project"], act, sync=False):
        while True:
            try:
                await house.load()
                break
            except ReconveneError as e:
                # A server that cannot start says why; whoever keeps it running starts it again.
                client.tell(refused=e.code) if e.code in TYPED else client.tell(wrong=f"start: {e}")
                await asyncio.sleep(0.05)
        house.sessions.listeners.append(client.committed)
        while True:
            try:
                await house.supervisor.start()
                break
            except ReconveneError as e:
                client.tell(refused=e.code)
                await asyncio.sleep(0.05)
        await client.run()
        healed.set()
        await finds(house, client)


async def finds(house: House, client: Client) -> None:
    """Now that the disk is whole again, code is found again, in the same process."""
    try:
        index = await house.indexes.get(house.workspace)
        await index.refresh()
        found = await search(index, "x")
        if index.left_out() or "sub/keep.txt" not in index.view.paths():
            client.tell(
                wrong=f"after the disk failed, these are in the index: {sorted(index.view.paths())}, left out {index.left_out()}"
            )
        client.tell(found=[snippet.path for snippet in found.snippets])
    except ReconveneError as e:
        client.tell(wrong=f"searched after the disk failed: {e}")


def judged(folder: Path, status: int | None) -> tuple[list[str], bool]:
    """What is wrong after a run whose disk failed; whether it came to its end without the change."""
    lines = told(folder)
    if status is None:
        return [f"stuck: {lines[-6:]}"], False
    if status != 0:
        return [f"ended with {status}: {(folder / 'out').read_text()[-1500:]}"], False
    rows = rows_of(folder / "data" / "reconvene.db")
    wrong = broken_promises(lines, rows)
    pauses = sum(r.type == "question" and "pause" in r.content for r in rows)
    left = [w for w in check(folder) if w != f"{1 + pauses} rows of answered, 1 wanted"]
    met = {t["tool"]: t["faults"] for t in lines if "tool" in t}
    failed = failed_tools(rows)
    for key, code in failed.items():
        if not met.get(key):
            wrong.append(f"{FAILED_TOOL}, and the disk had not failed meanwhile: {key} with {code}")
        elif code not in OF_TOOLS:
            wrong.append(f"{FAILED_TOOL}, and not by a typed error: {key} with {code}")
    if wrong:
        return wrong, False
    left = [w for w in left if not w.startswith(FAILED_TOOL)]
    told_of = [r for r in rows if r.type == "completed" and '"success"' not in r.content]
    if left and (CHANGE in failed or told_of):
        if files_of(folder) not in (OLD, threefiles.WANTED):
            return [f"files that are neither old nor new: {files_of(folder)}"], True
        return [], True
    return left, False


def main() -> None:
    job = {
        "mutation": "none",
        "every": 1,
        "share": [0, 1],
        "errors": list(CODES),
        "kinds": [False, True],
        "until_violation": False,
        **json.loads(sys.argv[1]),
    }
    found = Found()
    first, step = job["share"]
    with preloaded() as scratch:
        kinds = [(error, for_ever) for error in job["errors"] for for_ever in job["kinds"]]
        for error, for_ever in kinds:
            for at in range(1 + first * job["every"], 10_000, step * job["every"]):
                folder = scratch / f"run{found.runs}"
                folder.mkdir()
                prepare(folder)
                one = {**job, "at": at, "error": error, "for_ever": for_ever}
                status = in_child(folder, lambda out, known: live(folder, out, known, one), PATIENCE)  # noqa: B023
                wrong, unfinished = judged(folder, status)
                lines = told(folder)
                found.runs += 1
                found.unfinished += unfinished
                found.tools += len(failed_tools(rows_of(folder / "data" / "reconvene.db"))) if status == 0 else 0
                found.refused.update(t["refused"] for t in lines if "refused" in t)
                met = [f"{t['fails']} {t['path']}" for t in lines if "fails" in t]
                if wrong and job["mutation"] == "none":
                    kept = tempfile.mkdtemp(prefix="reconvene-violation-")
                    shutil.copytree(folder, kept, dirs_exist_ok=True)
                    wrong.append(f"kept in {kept}")
                found.violations += [
                    f"{error} {'for ever' if for_ever else 'once'} at {at} ({met}): {w}" for w in wrong
                ]
                shutil.rmtree(folder, ignore_errors=True)
                if not met:
                    break  # the run has fewer calls
                found.calls += (error, for_ever) == kinds[0]
                if found.violations and (job["until_violation"] or len(found.violations) > 20):
                    break
    found.cpu = cpu()
    print(json.dumps(vars(found)))


if __name__ == "__main__":
    main()
