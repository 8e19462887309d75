"""Changes of files: as objects that are decided on hunk by hunk, written so that nothing is lost, and taken back."""

from reconvene.workspace.edits.apply import SETTLE_SECONDS, Writer
from reconvene.workspace.edits.change import FileChange, Hunk, Transition, change_of, check_size, chosen, transitions
from reconvene.workspace.edits.patch import as_patch
from reconvene.workspace.edits.plan import FileOutcome, Late, Outcome, Plan, Settled, Step, undo_of
from reconvene.workspace.edits.risk import risky

__all__ = [
    "SETTLE_SECONDS",
    "FileChange",
    "FileOutcome",
    "Hunk",
    "Late",
    "Outcome",
    "Plan",
    "Settled",
    "Step",
    "Transition",
    "Writer",
    "as_patch",
    "change_of",
    "check_size",
    "chosen",
    "risky",
    "transitions",
    "undo_of",
]
