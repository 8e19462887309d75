"""Accepted changes, written: compare and write, all files or none, and told exactly when neither was possible."""

from __future__ import annotations

from collections.abc import Sequence

from reconvene.workspace.contents import Contents
from reconvene.workspace.edits.change import Transition
from reconvene.workspace.edits.plan import FileOutcome, Outcome, Plan, Settled
from reconvene.workspace.workspace import Workspace

SETTLE_SECONDS = 5.0
"""After so long a file that was swapped out is looked at again, where the operating system cannot tell that nobody
writes into it any more."""


class Writer:
    """Writes into one workspace. Make one per workspace; every method blocks on the disk, and they take turns.

    The way of an accept: `plan` → the caller stores `plan.to_json()` in the log → `apply` → the caller logs the outcome
    → if `outcome.unsettled`, `settle` after `SETTLE_SECONDS`, and again while it says `waiting`. After a crash: `recover`
    every plan that has no outcome in the log.
    """

    def __init__(self, workspace: Workspace, contents: Contents) -> None:
        self._workspace = workspace
        self._contents = contents

    def plan(self, transitions: Sequence[Transition], *, id: str | None = None) -> Plan:
        """Decide what is to be done, and keep the contents that it takes, so that undo and recovery can be sure of them.

        Nothing in the workspace is touched. A base that does not hold is not refused here: `apply` says `conflict`.
        Several transitions of one path are put together. `id`: 16 hex digits, by default random.

        Raises:
            ReconveneError: those of the path jail, `disk_full`, `workspace_gone`, `too_large`.
        """
        raise NotImplementedError

    def stale(self, transitions: Sequence[Transition]) -> tuple[FileOutcome, ...]:
        """The files that are not what the transitions start from (for `stale_diff`); empty: all are. Writes nothing."""
        raise NotImplementedError

    def apply(self, plan: Plan) -> Outcome:
        """Do it. Doing it again is harmless. Never raises for what a file or a disk does: see `Outcome`.

        Raises:
            ReconveneError: `workspace_gone`.
        """
        raise NotImplementedError

    def recover(self, plan: Plan) -> Outcome:
        """After a crash: find out from the hashes how far the plan came, and bring it to an end: forward where every
        file is old or new, else back. Harmless when it had ended."""
        raise NotImplementedError

    def status(self, plan: Plan) -> tuple[FileOutcome, ...]:
        """What is on disk, file by file. Writes nothing."""
        raise NotImplementedError

    def settle(self, plan: Plan, *, final: bool = False) -> Settled:
        """Look at the files that were swapped out once more, keep what came late, and remove them.

        `final`: also those that a program still has open for writing.
        """
        raise NotImplementedError
