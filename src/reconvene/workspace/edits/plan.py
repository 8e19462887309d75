"""What an accept is going to do on disk, decided before it is begun: the plan is its own journal.

The caller stores `Plan.to_json()` in the log and then acts. Whatever happens in between, the hashes in the plan and
what is on disk tell what was done. A plan holds no content: that is in `Contents`, under the hashes.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reconvene.errors import ReconveneError
from reconvene.workspace.names import display_path, parse_path, shown


@dataclass(frozen=True, slots=True)
class Step:
    """One path: the content and the permission bits it has and is to have.

    `base_hash`, `new_hash`: git's blob ids; None: no file. `base_mode`: as found when the plan was made. `new_mode`: None
    keeps what the file has by then (a new file gets 0o666 less the umask).
    """

    path: str
    base_hash: str | None
    new_hash: str | None
    base_mode: int | None = None
    new_mode: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps that are done together. `make`: folders to be made first; `drop`: folders to be removed if they are empty
    at the end, deepest first."""

    id: str
    steps: tuple[Step, ...]
    make: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()

    def temporary(self, step: int) -> str:
        """The name, beside the step's file, under which its new content is laid and its old one comes out; see
        `names.is_temporary`."""
        return f".reconvene-{self.id}-{step}"

    @property
    def hashes(self) -> frozenset[str]:
        """Contents that undo and recovery need: to be kept for as long as the plan is."""
        return frozenset(h for s in self.steps for h in (s.base_hash, s.new_hash) if h)

    def to_json(self) -> str:
        steps = [[display_path(s.path), s.base_hash, s.new_hash, s.base_mode, s.new_mode] for s in self.steps]
        folders = {"make": [display_path(f) for f in self.make], "drop": [display_path(f) for f in self.drop]}
        return json.dumps({"id": self.id, "steps": steps, **folders}, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        value: dict[str, Any] = json.loads(text)
        steps = tuple(Step(parse_path(path), *rest) for path, *rest in value["steps"])
        make, drop = (tuple(parse_path(f) for f in value[key]) for key in ("make", "drop"))
        return cls(value["id"], steps, make, drop)


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one step.

    `state`: `done` (the new content is there), `not_done` (the old one is), `conflict` (something else is, or it could
    not be told). `on_disk`: blob id of what is at the path now, None: nothing; "?": it cannot be read.
    `kept`: blob ids, in `Contents`, of what somebody wrote and is not at the path any more (a save that came while the
    files changed places). `left`: a file beside it that holds such content because it could not be kept.
    `note`: a sentence for people.
    """

    path: str
    state: Literal["done", "not_done", "conflict"]
    base_hash: str | None
    new_hash: str | None
    on_disk: str | None
    kept: tuple[str, ...] = ()
    left: str | None = None
    note: str | None = None

    def to_value(self) -> dict[str, Any]:
        """As JSON; the path in its display form."""
        return {
            "path": display_path(self.path), "state": self.state, "base_hash": self.base_hash,
            "new_hash": self.new_hash, "on_disk": self.on_disk, "kept": list(self.kept), "left": self.left,
            "note": self.note,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a plan ended.

    `status`: `applied`: every file is new. `none`: every file is as it was, for the reason in `error`; the plan can be
    applied again. `conflict`: at least one file is neither; `files` name exactly what is on disk.
    `unsettled`: what was swapped out still lies beside the files; call `Writer.settle` in `SETTLE_SECONDS`.
    """

    status: Literal["applied", "none", "conflict"]
    files: tuple[FileOutcome, ...]
    error: ReconveneError | None = None
    unsettled: bool = False

    def to_value(self) -> dict[str, Any]:
        """As JSON."""
        error = self.error.content() if self.error else None
        return {"status": self.status, "files": [f.to_value() for f in self.files], "error": error}


@dataclass(frozen=True, slots=True)
class Late:
    """Bytes that a program wrote into a file after it had been replaced: `hash` in `Contents`, or `left` beside it."""

    path: str
    hash: str | None
    left: str | None


@dataclass(frozen=True, slots=True)
class Settled:
    """`late`: what came late, to be reported. `waiting`: a program still has an old file open for writing; settle again
    after another `SETTLE_SECONDS`."""

    late: tuple[Late, ...]
    waiting: bool


def new_id() -> str:
    return secrets.token_hex(8)


def undo_of(plans: Sequence[Plan], *, id: str | None = None) -> Plan:
    """The plan that takes back these plans (in the order in which they were applied): bases and new swapped, several
    changes of a path as one.

    Raises:
        ReconveneError: `conflict` when somebody changed a file between two of the plans: taking back both would lose
            that. `details.paths` names the files.
    """
    first: dict[str, Step] = {}
    last: dict[str, Step] = {}
    modes: dict[str, int | None] = {}
    after: dict[str, int | None] = {}
    torn: list[str] = []
    for plan in plans:
        for step in plan.steps:
            before = last.get(step.path)
            if before is not None and before.new_hash != step.base_hash:
                torn.append(step.path)
            first.setdefault(step.path, step)
            last[step.path] = step
            if step.new_mode is not None or step.new_hash is None:
                after[step.path] = step.new_mode
            if step.new_mode is not None or step.new_hash is None:
                # Of several changes of a mode the first one knows what it was.
                modes.setdefault(step.path, step.base_mode)
    if torn:
        names = sorted({display_path(p) for p in torn})
        sentence = (
            f"{shown(torn[0])} was changed by somebody between the changes that are to be taken back. "
            "Take back the later ones first, one by one."
        )
        raise ReconveneError("conflict", sentence, paths=names)
    steps = []
    for path, old in first.items():
        mode = modes.get(path) if old.base_hash else None
        step = Step(path, last[path].new_hash, old.base_hash, after.get(path), mode)
        if step.base_hash != step.new_hash or step.new_mode not in (None, step.base_mode):
            steps.append(step)
    made = [f for plan in plans for f in plan.make]
    dropped = [f for plan in plans for f in plan.drop]
    return Plan(
        id or new_id(),
        tuple(steps),
        tuple(sorted(set(dropped), key=_depth)),
        tuple(sorted(set(made), key=_depth, reverse=True)),
    )


def _depth(folder: str) -> tuple[int, str]:
    return folder.count("/"), folder
