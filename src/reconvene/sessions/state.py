"""The state of a session: a pure fold of its stateful events.

Only events marked stateful are needed, so a session of ten thousand deltas is loaded by reading a few dozen rows. Whatever changes
a session goes through the log first; nothing here is ever set by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

RunStatus = Literal["queued", "running", "waiting", "recovering", "completed"]

ORIGIN = "origin"
"""Private row beside a prompt: `{"run_id", "plain", "up"}`; `plain` is the hash that attaches a plain client."""
CANCEL = "cancel"
"""Private row: `{"run_id", "by", "reason"}`, the wish to stop a run."""
DUE = "due"
"""Private row beside a question: `{"id", "up"}`, the total uptime at which it expires."""
ENDED = "ended"
"""Private row beside `completed`: `{"up"}`, the total uptime of the end."""


UNDO = "undo"
"""Private row: `{"run_id", "diffs"}`: a run that takes these diffs back, newest first."""
ACCEPTS_EDITS = "accept edits"
"""Who decided, when the session's edit mode did."""


class StatefulRow(Protocol):
    """What the fold reads of a row of the log."""

    seq: int
    type: str
    content: str
    run_id: str | None


@dataclass(slots=True)
class PromptState:
    id: str
    text: str
    delivery: str
    run_id: str
    seq: int
    turn: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RunState:
    id: str
    status: RunStatus
    prompts: list[str]
    first_seq: int
    attempt: int = 0
    outcome: str | None = None
    ended_at: float | None = None
    """Total uptime."""
    plain: str | None = None
    cancelled: bool = False
    cancel_reason: str = "stopped"
    waiting_on: frozenset[str] = frozenset()
    """What was unanswered when the run was unloaded."""
    undo: tuple[str, ...] | None = None
    """The diffs that this run takes back before it answers its prompts, if it has any; None: it takes nothing back."""
    held_by: str | None = None
    """Why the run waits, as its last `waiting` said."""


@dataclass(slots=True)
class Pending:
    """Something that waits for a person. `expires`: total uptime."""

    id: str
    kind: Literal["question", "confirmation", "diff"]
    run_id: str | None
    seq: int
    text: str
    schema: dict[str, Any] | None
    expires: float | None = None
    files: tuple[dict[str, Any], ...] = ()
    """Of a diff: its files, without the text of their hunks."""


@dataclass(frozen=True, slots=True)
class Change:
    """A diff that was written to files."""

    diff_id: str
    run_id: str | None
    seq: int
    paths: tuple[str, ...]


@dataclass(slots=True)
class SessionState:
    seq: int = 0
    runs: dict[str, RunState] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    """Run ids, in the order in which they run."""
    prompts: dict[str, PromptState] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)
    settled: dict[str, tuple[Any, str | None]] = field(default_factory=dict)
    """Of every answered question and decided diff: what, and by whom."""
    closed: set[str] = field(default_factory=set)
    """Questions that ended without an answer."""
    title: str | None = None
    pinned: bool = False
    archived: bool = False
    recovery: str | None = None
    model: str | None = None
    edit_mode: Literal["ask", "accept"] = "ask"
    """Whether diffs are decided on by a person, or accepted at once unless they are risky."""
    changes: dict[str, Change] = field(default_factory=dict)
    """What was written and not taken back, by diff, oldest first."""
    undoing: set[str] = field(default_factory=set)
    """Diffs that are being taken back."""
    plan: tuple[str | None, dict[str, Any]] | None = None
    """The last plan: its run and its content."""
    rewinds: list[tuple[int, int]] = field(default_factory=list)
    """(upto, seq): what lies between the two was taken back, files and conversation."""
    replaced: set[str] = field(default_factory=set)
    """Runs whose prompts were sent once more: what they came to is not told to a model again."""
    fallback: str | None = None
    """The model that takes over when the other one fails; "" for none, None: what the server has."""
    plan_edits: list[tuple[int, str]] = field(default_factory=list)
    """Changes of the plan by people: their seq, and who."""

    # -- what is asked of it

    @property
    def active(self) -> RunState | None:
        """The run that was begun and has not ended; there is at most one."""
        return next((r for r in self._open() if r.status != "queued"), None)

    @property
    def queue(self) -> list[RunState]:
        return [r for r in self._open() if r.status == "queued"]

    @property
    def status(self) -> Literal["idle", "running", "waiting", "recovering"]:
        run = self.active
        if run is None:
            return "running" if self.queue else "idle"
        return run.status if run.status in ("running", "waiting", "recovering") else "running"

    def _open(self) -> Iterable[RunState]:
        return (r for i in self.order if (r := self.runs[i]).status != "completed")

    def status_with(
        self, changes: dict[str, RunStatus]
    ) -> tuple[Literal["idle", "running", "waiting", "recovering"], str | None]:
        """The session's status and current run once these runs have these statuses (new runs are named too)."""
        after = {i: self.runs[i].status for i in self.order} | changes
        for run_id, status in after.items():
            if status in ("running", "waiting", "recovering"):
                return status, run_id
        queued = next((i for i, status in after.items() if status == "queued"), None)
        return ("running", queued) if queued else ("idle", None)

    def next_run_id(self, ahead: int = 0) -> str:
        return f"r{len(self.runs) + 1 + ahead}"

    def runnable(self) -> RunState | None:
        """The run that can make a step now: one that was begun and does not wait, else the first of the queue."""
        if run := self.active:
            unanswered = bool(run.waiting_on) and run.waiting_on <= self.pending.keys()
            if run.status == "waiting" and not run.cancelled and unanswered:
                return None  # with nothing to wait for it was answered in the moment in which it was unloaded
            return run
        return next(iter(self.queue), None)

    def steering(self, run_id: str) -> list[PromptState]:
        """Prompts that a person sent into a running run, oldest first."""
        return [p for p in self.prompts.values() if p.run_id == run_id and p.id not in self.runs[run_id].prompts]

    # -- how it changes

    def apply(self, row: StatefulRow) -> None:
        """Fold one row. Rows that are known or not stateful change nothing."""
        if row.seq <= self.seq:
            return
        self.seq = row.seq
        fold = _FOLDS.get(row.type)
        if fold is not None:
            fold(self, row, json.loads(row.content))


def _prompt(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
    s.prompts[c["id"]] = PromptState(
        c["id"], c["text"], c["delivery"], row.run_id or "", row.seq, c.get("config") or {}
    )


def _run(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
    assert row.run_id is not None
    run = s.runs.get(row.run_id)
    if run is None:
        run = s.runs[row.run_id] = RunState(row.run_id, "queued", list(c.get("prompts") or ()), row.seq)
        s.order.append(row.run_id)
        for p in run.prompts:  # a steered prompt that came too late becomes a run of its own
            if p in s.prompts:
                s.prompts[p].run_id = row.run_id
                run.first_seq = min(run.first_seq, s.prompts[p].seq)
    if run.status == "completed":
        return
    run.status = c["status"]
    run.attempt = max(run.attempt, c.get("attempt") or 0)
    run.held_by = c.get("reason") if run.status == "waiting" else None
    if run.status == "waiting":
        run.waiting_on = frozenset(p.id for p in s.pending.values() if p.run_id == run.id)


def _origin(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
    if run := s.runs.get(c["run_id"]):
        run.plain = c.get("plain")


def _undo(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
    if run := s.runs.get(c["run_id"]):
        run.undo = tuple(c["diffs"])


def _cancel(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
    run = s.runs.get(c["run_id"])
    if run is not None and not run.cancelled:
        run.cancelled, run.cancel_reason = True, c.get("reason") or "stopped"


def _asked(kind: Literal["question", "confirmation", "diff"]) -> Any:
    def fold(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
        files = tuple({**f, "hunks": [h["id"] for h in f["hunks"]]} for f in c.get("files", ()))
        s.pending[c["id"]] = Pending(
            c["id"], kind, row.run_id, row.seq, c.get("text", ""), c.get("schema"), None, files
        )

    return fold


def _due(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
    if pending := s.pending.get(c["id"]):
        pending.expires = c["up"]


def _answered(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
    s.pending.pop(c["id"], None)
    s.settled[c["id"]] = (c["answer"], c.get("by"))


def _decided(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
    s.pending.pop(c["id"], None)
    s.settled[c["id"]] = (c, c.get("by"))


def _applied(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
    if c.get("undo"):
        if not c.get("conflicts"):
            s.changes.pop(c["diff_id"], None)
    elif c["files"]:
        s.changes[c["diff_id"]] = Change(c["diff_id"], row.run_id, row.seq, tuple(f["path"] for f in c["files"]))


def _plan(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
    s.plan = (row.run_id, c)


def _completed(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
    run = s.runs[row.run_id or ""]
    run.status, run.outcome = "completed", c["outcome"]
    s.undoing -= set(run.undo or ())
    for p in [p for p in s.pending.values() if p.run_id == run.id]:
        del s.pending[p.id]
        s.closed.add(p.id)


def _ended(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
    if run := s.runs.get(row.run_id or ""):
        run.ended_at = c["up"]


def _action(s: SessionState, row: StatefulRow, c: dict[str, Any]) -> None:
    name, args = c["name"], c.get("args", {})
    match name:
        case "rename":
            s.title = args["title"]
        case "pin":
            s.pinned = bool(args["pinned"])
        case "archive":
            s.archived = bool(args["archived"])
        case "recovery":
            s.recovery = args["policy"]
        case "model":
            s.model = args["model"]
        case "edit_mode":
            s.edit_mode = args["mode"]
        case "undo":
            s.undoing.add(args["diff_id"])
        case "rewind":
            s.rewinds.append((args["upto"], row.seq))
        case "resend":
            s.rewinds.append((args["upto"], row.seq))
        case "retry":
            s.replaced.add(args["run_id"])
            s.undoing.update(s.runs[args["run_id"]].undo or ())
        case "fallback":
            s.fallback = (args["model"] or "") if "model" in args else None
        case "edit_plan":
            s.plan_edits.append((row.seq, c.get("by") or "the person"))
        case "edit_prompt":
            s.prompts[args["id"]].text = args["text"]
        case "remove_prompt":
            prompt = s.prompts.pop(args["id"])
            run = s.runs[prompt.run_id]
            run.prompts = [p for p in run.prompts if p != prompt.id]
        case "move_prompt":
            run_id = s.prompts[args["id"]].run_id
            waiting = [r.id for r in s.queue if r.id != run_id]
            waiting.insert(max(0, min(args["position"], len(waiting))), run_id)
            s.order = [i for i in s.order if i not in waiting] + waiting


_FOLDS: dict[str, Any] = {
    "prompt": _prompt,
    "run": _run,
    ORIGIN: _origin,
    UNDO: _undo,
    CANCEL: _cancel,
    "question": _asked("question"),
    "confirmation": _asked("confirmation"),
    "diff": _asked("diff"),
    DUE: _due,
    "answered": _answered,
    "decided": _decided,
    "applied": _applied,
    "plan": _plan,
    "completed": _completed,
    ENDED: _ended,
    "action": _action,
}
