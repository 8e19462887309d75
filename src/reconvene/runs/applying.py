"""Writing accepted changes, through the log: planned there before anything is touched, and what became of it recorded after.

A crash between the two leaves a plan without an outcome; the hashes in the plan and what is on disk tell how far it came, and it is
brought to its end before the run does anything else. So nothing is written twice, and nothing is half written.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from reconvene.agents.durable import CannotWrite
from reconvene.protocol import events as ev
from reconvene.runs.journal import SETTLED, Journal
from reconvene.sessions.kept import OUTCOME, PLAN
from reconvene.sessions.rows import event, private
from reconvene.workspace import Workspace
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits import SETTLE_SECONDS, Outcome, Plan, Transition, Writer

T = TypeVar("T")
SETTLES = 12
"""How often, at most, a file that a program keeps open is looked at again."""


@dataclass
class Writers:
    """One writer for each code base, and the contents they share."""

    contents: Contents
    _writers: dict[str, Writer] = field(default_factory=dict)

    def of(self, workspace: Workspace) -> Writer:
        root = str(workspace.root)
        if root not in self._writers:
            self._writers[root] = Writer(workspace, self.contents)
        return self._writers[root]


class Applying:
    """What one attempt writes. `sleep` is waited with until a file that was replaced is looked at again."""

    def __init__(self, journal: Journal, writer: Writer, sleep: Callable[[float], Awaitable[Any]]) -> None:
        self.journal, self.writer, self._sleep = journal, writer, sleep

    async def apply(self, diff_id: str, transitions: Sequence[Transition], *, parent: str) -> dict[str, Any]:
        """Write what was accepted, once. Returns `Outcome.to_value()` of `applied` or `conflict`.

        Raises:
            CannotWrite: no file was changed, and trying again may help.
        """

        async def plan() -> Plan:
            return await whole(asyncio.to_thread(self.writer.plan, transitions, id=self._id(diff_id)))

        return await self._once(diff_id, plan, {"shown": diff_id, "parent": parent, "undo": False})

    async def take_back(self, name: str, plan: Plan, diffs: Sequence[str]) -> dict[str, Any]:
        """Carry out a plan that takes these diffs back. Returns and raises as `apply`."""

        async def made() -> Plan:
            return plan

        more = {"shown": diffs[0], "parent": None, "undo": True, "diffs": list(diffs)}
        return await self._once(f"{self.journal.run_id}.undo.{name}", made, more)

    async def recover(self) -> None:
        """Bring to its end what a crash interrupted."""
        for writes in list(self.journal.writes.values()):
            for write in writes:
                if not write.get("outcome"):
                    await self._finish(write, recovering=True)

    async def settle(self) -> None:
        """Look once more at the files that were replaced, where the operating system could not tell that nobody writes into them."""
        for writes in list(self.journal.writes.values()):
            for write in writes:
                if write.get("unsettled") and not write.get("settled"):
                    await self._settle(write)

    # -- inside

    def _last(self, diff_id: str) -> dict[str, Any] | None:
        writes = self.journal.writes.get(diff_id)
        return writes[-1] if writes else None

    def _id(self, diff_id: str) -> str:
        """Of the plan: the same for the same try, so that what a crash left beside the files is found again."""
        n = len(self.journal.writes.get(diff_id, ())) + 1
        return hashlib.sha256(f"{self.journal.session_id}/{diff_id}/{n}".encode()).hexdigest()[:16]

    async def _once(self, diff_id: str, plan: Callable[[], Awaitable[Plan]], more: dict[str, Any]) -> dict[str, Any]:
        done = self._last(diff_id)
        if done is not None and done.get("outcome") and done["outcome"]["status"] != "none":
            return dict(done["outcome"])
        if done is None or done.get("outcome"):
            n = len(self.journal.writes.get(diff_id, ())) + 1
            done = {"diff_id": diff_id, "n": n, "plan": (await plan()).to_json(), **more}
            row = private(PLAN, done, run_id=self.journal.run_id, key=f"plan:{diff_id}.{n}", stateful=False)
            await self.journal.write([row])
            self.journal.writes.setdefault(diff_id, []).append(done)
        return await self._finish(done, recovering=False)

    async def _finish(self, write: dict[str, Any], *, recovering: bool) -> dict[str, Any]:
        plan = Plan.from_json(write["plan"])
        act = self.writer.recover if recovering else self.writer.apply
        # The person may stop the run meanwhile: what was begun is finished and written down first (BAD_INPUTS 68).
        return await whole(self._done(write, asyncio.to_thread(act, plan)))

    async def _done(self, write: dict[str, Any], acting: Awaitable[Outcome]) -> dict[str, Any]:
        outcome = await acting
        value = outcome.to_value()
        diff_id, n = write["diff_id"], write["n"]
        recorded = {"diff_id": diff_id, "n": n, "outcome": value, "unsettled": outcome.unsettled}
        rows = [private(OUTCOME, recorded, run_id=self.journal.run_id, key=f"outcome:{diff_id}.{n}", stateful=False)]
        if outcome.status != "none":
            shown = applied(write["shown"], outcome, undo=write["undo"])
            key = f"applied:{diff_id}.{n}"
            rows.append(event(shown, run_id=self.journal.run_id, parent_id=write["parent"], key=key))
            # Each diff that was taken back is said to be; what is on disk now is said with the newest of them.
            rows += [
                event(
                    shown.model_copy(update={"diff_id": other, "files": []}),
                    run_id=self.journal.run_id,
                    key=f"{key}/{other}",
                )
                for other in write.get("diffs", ())[1:]
            ]
        await self.journal.write(rows)
        write.update(recorded)
        if outcome.status == "none" and outcome.error is not None:
            raise CannotWrite(outcome.error.code, outcome.error.message, **outcome.error.details)
        return value

    async def _settle(self, write: dict[str, Any]) -> None:
        plan = Plan.from_json(write["plan"])
        for turn in range(1, SETTLES + 1):
            await self._sleep(SETTLE_SECONDS)
            settled = await whole(asyncio.to_thread(self.writer.settle, plan, final=turn == SETTLES))
            rows = [
                event(_late(late.path, late.hash, late.left), run_id=self.journal.run_id, parent_id=write["parent"])
                for late in settled.late
            ]
            if not settled.waiting or turn == SETTLES:
                names = {"diff_id": write["diff_id"], "n": write["n"]}
                key = f"tidied:{write['diff_id']}.{write['n']}"
                rows.append(private(SETTLED, names, run_id=self.journal.run_id, key=key, stateful=False))
                await self.journal.write(rows)
                write["settled"] = True
                return
            await self.journal.write(rows)


def applied(diff_id: str, outcome: Outcome, *, undo: bool = False) -> ev.Applied:
    """The event: what is on disk now."""
    values = [f.to_value() for f in outcome.files]
    return ev.Applied(
        diff_id=diff_id,
        files=[
            ev.AppliedFile(path=f["path"], base_hash=f["base_hash"], new_hash=f["new_hash"])
            for f in values
            if f["state"] == "done"
        ],
        conflicts=[
            ev.Conflict(path=f["path"], on_disk=f["on_disk"], note=f["note"]) for f in values if f["state"] != "done"
        ],
        undo=undo,
    )


def _late(path: str, hash: str | None, left: str | None) -> ev.Error:
    where = f"lies beside it as {left}" if left else f"is kept under {hash}"
    message = f"Another program wrote into {path} after it had been replaced. What it wrote {where}."
    return ev.Error(code="conflict", message=message, details={"path": path, "hash": hash, "left": left})


async def whole(work: Awaitable[T]) -> T:
    """Await it to its end, also when the run is stopped meanwhile; the stop goes on then."""
    task = asyncio.ensure_future(work)
    stopped: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as e:
            stopped = e
    if stopped is not None:
        if not task.cancelled():
            task.exception()  # what the log could not take is found out again by whoever goes on
        raise stopped
    return task.result()
