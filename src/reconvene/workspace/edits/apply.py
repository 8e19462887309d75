"""Accepted changes, written: compare and write, all files or none, and told exactly when neither was possible.

In three parts. First every new content is laid beside its path and made durable: a full disk or a folder that may not be
written shows here, while nothing has changed. Then they change places, one by one (`slot`); if one of them meets
somebody else's file, those before it are taken back. At the end what came out is removed. What lies beside the paths
tells after a crash how far it came, so beginning again is the same as going on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from reconvene.errors import ReconveneError
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits.change import Transition
from reconvene.workspace.edits.disk import Disk, Seen
from reconvene.workspace.edits.folders import Folders, Opened, refused
from reconvene.workspace.edits.plan import FileOutcome, Outcome, Plan, Settled, Step, new_id, undo_of
from reconvene.workspace.edits.slot import Slot
from reconvene.workspace.names import encode, is_temporary, parse_path, parts, shown
from reconvene.workspace.reading import blob_id
from reconvene.workspace.workspace import Workspace

SETTLE_SECONDS = 5.0
"""After so long a file that was swapped out is looked at again, where the operating system cannot tell that nobody
writes into it any more."""


class Writer:
    """Writes into one workspace. Make one per workspace; every method blocks on the disk, and they take turns.

    The way of an accept: `plan` → the caller stores `plan.to_json()` in the log → `apply` → the caller logs the outcome
    → if `outcome.unsettled`, `settle` after `SETTLE_SECONDS`, and again while it says `waiting`. After a crash: `recover`
    every plan that has no outcome in the log, and `settle` those whose outcome was unsettled.
    """

    def __init__(self, workspace: Workspace, contents: Contents, *, disk: Disk | None = None) -> None:
        self._workspace = workspace
        self._contents = contents
        self._disk = disk or Disk()
        self._turn = threading.Lock()

    def plan(self, transitions: Sequence[Transition], *, id: str | None = None) -> Plan:
        """Decide what is to be done, and keep the contents that it takes, so that undo and recovery can be sure of them.

        Nothing in the workspace is touched. A base that does not hold is not refused here: `apply` says `conflict`.
        Several transitions of one path are put together. `id`: 16 hex digits, by default random.

        Raises:
            ReconveneError: `path_outside_root`, `invalid_path`, `name_too_long`, `disk_full`, `store_error`,
                `workspace_gone`.
        """
        self._workspace.check_alive()
        with self._turn:
            steps = self._steps(transitions, self._contents.put)
            folders = self._folders()
            make: list[str] = []
            for step in steps:
                if step.new_hash is not None:
                    make += [folder for folder in folders.missing(step.path) if folder not in make]
        return Plan(id or new_id(), steps, tuple(make))

    def undo(self, plans: Sequence[Plan], *, id: str | None = None) -> Plan:
        """The plan that takes back these plans, in the order in which they were applied: see `undo_of`, which this
        completes with the permission bits of now, so that taking it back in turn is exact.

        Raises:
            ReconveneError: `conflict`, `workspace_gone`.
        """
        self._workspace.check_alive()
        plan = undo_of(plans, id=id)
        steps = []
        for step in plan.steps:
            seen = self._glance(step.path) if step.base_hash is not None else None
            steps.append(replace(step, base_mode=seen.mode) if seen else step)
        return replace(plan, steps=tuple(steps))

    def stale(self, transitions: Sequence[Transition]) -> tuple[FileOutcome, ...]:
        """The files that are not what the transitions start from (for `stale_diff`); empty: all are. Writes nothing
        there; what somebody wrote instead is kept for a view of all three.

        Raises:
            ReconveneError: those of `plan`.
        """
        self._workspace.check_alive()
        with self._turn, self._open(Plan(new_id(), self._steps(transitions, blob_id))) as slots:
            return tuple(f for f in map(_survey, slots) if f.state == "conflict" and f.on_disk != f.base_hash)

    def apply(self, plan: Plan) -> Outcome:
        """Do it. Doing it again is harmless. What a file or a disk does is never raised: see `Outcome`.

        Raises:
            ReconveneError: `workspace_gone`: nothing was done, or what was is found by `recover` when it is back.
        """
        self._workspace.check_alive()
        with self._turn:
            return self._do(plan)

    def recover(self, plan: Plan) -> Outcome:
        """After a crash: find out from the hashes how far the plan came, and bring it to an end: forward where every
        file is old or new, else back. Harmless when it had ended.

        Raises:
            ReconveneError: as `apply`.
        """
        return self.apply(plan)

    def status(self, plan: Plan) -> tuple[FileOutcome, ...]:
        """What is on disk, file by file. Writes nothing there.

        Raises:
            ReconveneError: `workspace_gone`.
        """
        self._workspace.check_alive()
        with self._turn, self._open(plan) as slots:
            return tuple(_survey(slot) for slot in slots)

    def settle(self, plan: Plan, *, final: bool = False) -> Settled:
        """Look at the files that were swapped out once more, keep what came late, and remove them; also what a failing disk left.

        `final`: also those that a program still has open for writing.

        Raises:
            ReconveneError: `workspace_gone`.
        """
        self._workspace.check_alive()
        late, waiting = [], False
        with self._turn, self._open(plan) as slots:
            for slot in slots:
                try:
                    found, more = slot.settle(final)
                except OSError:
                    waiting = True
                else:
                    late += found
                    waiting |= more
            try:
                self._folders().sync(slot.folder for slot in slots)
            except OSError:
                waiting = True
        return Settled(tuple(late), waiting)

    # -- the three parts

    def _do(self, plan: Plan) -> Outcome:
        folders = self._folders()
        with self._open(plan) as slots:
            made: list[str] = []
            clash = False
            error: ReconveneError | None = None
            at = slots[0].step.path if slots else ""
            try:
                states = []
                for slot in slots:
                    at = slot.step.path
                    states.append(slot.begin())
                clash = "conflict" in states
                todo = [slot for slot, state in zip(slots, states, strict=True) if state == "not_done"]
                if not clash:
                    for slot in todo:
                        at = slot.step.path
                        slot.check()
                    for folder in plan.make if todo else ():
                        at = folder
                        self._disk.close(folders.make(folder, made))
                    for slot in todo:
                        at = slot.step.path
                        if slot.folder is None and slot.step.new_hash is not None:
                            slot.folder = folders.make(at.rpartition("/")[0], made)
                        slot.prepare()
                    for slot in _in_order(todo):
                        at = slot.step.path
                        if not slot.go():
                            clash = True
                            break
                    clash = clash or not all(
                        slot.folder is None or folders.still(slot.step.path, slot.folder) for slot in slots
                    )
                    folders.sync(slot.folder for slot in slots)
            except OSError as e:
                error = refused(e, at)
            except ReconveneError as e:
                error = e
            if clash or error:
                return self._take_back(plan, slots, made, error)
            for slot in slots:
                slot.clear()
            try:
                # Once the outcome is in the log nobody looks for what was swapped out: a power cut must not bring it back.
                folders.sync(slot.folder for slot in slots)
            except OSError:
                for slot in slots:
                    slot.waiting = True
            folders.remove(plan.drop)
            return Outcome(
                "applied", tuple(slot.applied() for slot in slots), unsettled=any(slot.waiting for slot in slots)
            )

    def _take_back(self, plan: Plan, slots: list[Slot], made: list[str], error: ReconveneError | None) -> Outcome:
        folders = self._folders()
        interrupted = any(slot.found for slot in slots)
        for slot in reversed(_in_order(slots)):
            try:
                if slot.begun or interrupted:
                    slot.back()
            except OSError as e:
                error, slot.waiting = error or refused(e, slot.step.path), True
            except ReconveneError as e:
                error, slot.waiting = error or e, True
            else:
                slot.clear()
        with suppress(OSError):
            folders.sync(slot.folder for slot in slots)
        folders.remove([*reversed(made), *(reversed(plan.make) if interrupted else ())])
        files = tuple(_survey(slot) for slot in slots)
        unsettled = any(slot.waiting for slot in slots)
        if error and all(f.state == "not_done" for f in files):
            return Outcome("none", files, error, unsettled)
        if error is None or error.code == "conflict":
            names = [shown(f.path) for f in files if f.state == "conflict"]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            sentence = f"Not applied, because of {', '.join(names[:3])}{more}: changed by somebody else. Nothing of theirs was overwritten."
            if not names:
                # Whoever was in the way has gone again; all is as it was.
                sentence = "Not applied: somebody changed a file at the same moment. Accept again."
            error = ReconveneError("conflict", sentence, paths=names)
        if all(f.state == "not_done" for f in files):
            return Outcome("none", files, error, unsettled)
        return Outcome("conflict", files, error, unsettled)

    def _steps(self, transitions: Sequence[Transition], name: Callable[[bytes], str]) -> tuple[Step, ...]:
        """One for each path; those that change nothing fall away. `name`: makes a content's hash."""
        steps: dict[str, Step] = {}
        for t in transitions:
            path = self._canonical(t.path)
            if is_temporary(path.rpartition("/")[2]):
                sentence = f"{shown(path)} is a name that this server uses for itself; choose another."
                raise ReconveneError("invalid_path", sentence, path=shown(path))
            base, new = (None if c is None else name(c) for c in (t.base, t.new))
            mode = t.mode
            if mode is None and t.base is None and t.like is not None:
                like = self._glance(self._canonical(t.like))
                mode = like.mode if like else None
            if before := steps.get(path):
                mode = mode if mode is not None else before.new_mode
                steps[path] = Step(path, before.base_hash, new, before.base_mode, mode)
            else:
                seen = self._glance(path) if t.base is not None else None
                steps[path] = Step(path, base, new, seen.mode if seen else None, mode)
        return tuple(s for s in steps.values() if s.base_hash != s.new_hash or s.new_mode not in (None, s.base_mode))

    # -- paths

    def _folders(self) -> Folders:
        return Folders(self._workspace.jail, self._disk)

    def _open(self, plan: Plan) -> Opened:
        return Opened(self._workspace.jail, self._disk, self._contents, plan)

    def _canonical(self, path: str) -> str:
        """The path as it is on disk, when it may be given in its display form."""
        plain = "/".join(parts(path))
        if (parsed := parse_path(plain)) != plain and self._glance(plain) is None:
            return "/".join(parts(parsed))
        return plain

    def _glance(self, path: str) -> Seen | None:
        parent, _, name = path.rpartition("/")
        try:
            folder = self._disk.open_folder(self._workspace.jail, parent)
        except OSError:
            return None
        try:
            return self._disk.look(folder, encode(name))
        except OSError:
            return None
        finally:
            self._disk.close(folder)


def _in_order(slots: Sequence[Slot]) -> list[Slot]:
    """Deletions first: where names differ only in case, a file is renamed so."""
    return sorted(slots, key=lambda slot: slot.step.new_hash is not None)


def _survey(slot: Slot) -> FileOutcome:
    try:
        return slot.outcome()
    except OSError as e:
        return slot.unreachable(refused(e, slot.step.path).message)
