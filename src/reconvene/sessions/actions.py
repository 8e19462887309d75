"""The actions of the `action` frame: each checks its arguments against the state and says what to write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reconvene.errors import ReconveneError
from reconvene.protocol import events as ev
from reconvene.sessions.state import PromptState, SessionState


@dataclass(frozen=True, slots=True)
class Begins:
    """A new run. `prompts`: those it answers, by id; `text` (with `turn`, its config): a new one. `undo`: diffs it takes back first."""

    prompts: tuple[str, ...] = ()
    text: str | None = None
    turn: dict[str, Any] | None = None
    undo: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The action's event, the fields of the session's row it sets, the run it ends, what else becomes of it, and the run it begins."""

    action: ev.Action
    update: dict[str, Any] = field(default_factory=dict)
    ends_run: str | None = None
    plan: ev.Plan | None = None
    begins: Begins | None = None


def prepare(state: SessionState, name: str, args: dict[str, Any], by: str) -> Prepared:
    """Raises: unknown_action, invalid_field."""
    action = ACTIONS.get(name)
    if action is None:
        raise ReconveneError(
            "unknown_action",
            f"There is no action {name!r}. Known: {', '.join(sorted([*ACTIONS, 'fork']))}.",
            known=sorted([*ACTIONS, "fork"]),
        )
    return action(state, args, by)


def _argument(args: dict[str, Any], name: str, kind: type, *, choices: tuple[Any, ...] = ()) -> Any:
    value = args.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)) or (choices and value not in choices):
        wanted = (
            f"one of {', '.join(map(str, choices))}"
            if choices
            else {str: "text", bool: "true or false", int: "a whole number"}[kind]
        )
        raise ReconveneError("invalid_field", f"content.args.{name} must be {wanted}.", path=f"content.args.{name}")
    unknown = set(args) - {
        "id",
        "title",
        "pinned",
        "archived",
        "policy",
        "model",
        "text",
        "position",
        "mode",
        "diff_id",
        "upto",
        "steps",
        "run_id",
        "files",
    }
    if unknown:
        raise ReconveneError(
            "invalid_field", f"content.args has no {min(unknown)}.", path=f"content.args.{min(unknown)}"
        )
    return value


def _rename(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    title = " ".join(_argument(args, "title", str).split())[:200]
    if not title or "\0" in title:
        raise ReconveneError("invalid_field", "A title needs at least one character.", path="content.args.title")
    return Prepared(ev.Action(name="rename", args={"title": title}, by=by), {"title": title})


def _pin(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    pinned = _argument(args, "pinned", bool)
    return Prepared(ev.Action(name="pin", args={"pinned": pinned}, by=by), {"pinned": pinned})


def _archive(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    archived = _argument(args, "archived", bool)
    if archived and state.status != "idle":
        raise ReconveneError(
            "invalid_field",
            "A session that runs or waits cannot be archived. Stop it first.",
            path="content.args.archived",
        )
    return Prepared(ev.Action(name="archive", args={"archived": archived}, by=by), {"archived": archived})


def _recovery(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    policy = _argument(args, "policy", str, choices=("auto", "ask", "never"))
    return Prepared(ev.Action(name="recovery", args={"policy": policy}, by=by))


def _model(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    return Prepared(ev.Action(name="model", args={"model": _argument(args, "model", str)}, by=by))


def _queued(state: SessionState, args: dict[str, Any]) -> PromptState:
    prompt = state.prompts.get(_argument(args, "id", str))
    if prompt is None or state.runs[prompt.run_id].status != "queued":
        raise ReconveneError(
            "invalid_field",
            "No prompt with this id waits in the queue; it may be running already.",
            path="content.args.id",
        )
    return prompt


def _edit_prompt(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    prompt, text = _queued(state, args), _argument(args, "text", str)
    if not text.strip() or "\0" in text:
        raise ReconveneError("empty_prompt", "The prompt is empty. Remove it instead.")
    return Prepared(ev.Action(name="edit_prompt", args={"id": prompt.id, "text": text}, by=by))


def _remove_prompt(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    prompt = _queued(state, args)
    alone = state.runs[prompt.run_id].prompts == [prompt.id]
    return Prepared(
        ev.Action(name="remove_prompt", args={"id": prompt.id}, by=by), ends_run=prompt.run_id if alone else None
    )


def _move_prompt(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    prompt, position = _queued(state, args), _argument(args, "position", int)
    others = [run for run in state.queue if run.id != prompt.run_id]
    position = max(0, min(position, len(others)))
    # Who reads a snapshot does not know who was in the queue then, so it is said before whom it comes.
    before = next(iter(others[position].prompts), None) if position < len(others) else None
    return Prepared(
        ev.Action(name="move_prompt", args={"id": prompt.id, "position": position, "before": before}, by=by)
    )


def _edit_mode(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    mode = _argument(args, "mode", str, choices=("ask", "accept"))
    return Prepared(ev.Action(name="edit_mode", args={"mode": mode}, by=by))


def _undo(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    diff_id = _argument(args, "diff_id", str)
    if diff_id not in state.changes or diff_id in state.undoing:
        raise ReconveneError("no_such_diff", "No change with this id was applied and not taken back in this session.")
    return Prepared(ev.Action(name="undo", args={"diff_id": diff_id}, by=by), begins=Begins(undo=(diff_id,)))


def _rewind(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    upto = _argument(args, "upto", int)
    if not 0 <= upto <= state.seq:  # 0: to before its first prompt
        raise ReconveneError(
            "invalid_field", f"upto must be a seq between 0 and {state.seq}.", path="content.args.upto"
        )
    if state.status != "idle":
        raise ReconveneError(
            "invalid_field", "A session that runs or waits cannot be rewound. Stop it first.", path="content.args.upto"
        )
    files = _files(args, True)
    action = ev.Action(name="rewind", args={"upto": upto} if files else {"upto": upto, "files": False}, by=by)
    return Prepared(action, begins=Begins(undo=_changes_after(state, upto)) if files else None)


def _files(args: dict[str, Any], otherwise: bool) -> bool:
    """Whether the files are taken back too."""
    return bool(_argument(args, "files", bool)) if "files" in args else otherwise


def _changes_after(state: SessionState, seq: int) -> tuple[str, ...]:
    return tuple(c.diff_id for c in reversed(state.changes.values()) if c.seq > seq)


def _resend(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    """A prompt sent anew, edited or not: the conversation goes back to before it, and if wanted the files do."""
    prompt = state.prompts.get(_argument(args, "id", str))
    if prompt is None:
        raise ReconveneError("invalid_field", "The session has no prompt with this id.", path="content.args.id")
    text = _argument(args, "text", str) if "text" in args else prompt.text
    if not text.strip() or "\0" in text:
        raise ReconveneError("empty_prompt", "The prompt is empty. Write what you want to know or have done.")
    if state.status != "idle":
        raise ReconveneError(
            "invalid_field",
            "A prompt cannot be sent anew while the session runs or waits. Stop it first.",
            path="content.args.id",
        )
    upto = prompt.seq - 1
    diffs = _changes_after(state, upto) if _files(args, False) else ()
    action = ev.Action(name="resend", args={"id": prompt.id, "upto": upto, "files": bool(diffs)}, by=by)
    return Prepared(action, begins=Begins(text=text, turn=prompt.turn, undo=diffs or None))


def _retry(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    """A run that failed or was stopped, once more: the same prompts. What it did to files stays."""
    run_id = _argument(args, "run_id", str)
    run = state.runs.get(run_id)
    if run is None:
        raise ReconveneError("no_such_run", f"The session has no run {run_id[:40]}.")
    if run.status != "completed" or run.outcome == "success":
        sentence = "Only a run that failed or was stopped is run again. To ask a prompt anew, send it anew."
        raise ReconveneError("invalid_field", sentence, path="content.args.run_id")
    if run_id in state.replaced:
        raise ReconveneError("invalid_field", "This run was run again already.", path="content.args.run_id")
    prompts = tuple(p.id for p in state.prompts.values() if p.run_id == run_id)
    undo = run.undo if run.undo and set(run.undo) <= state.changes.keys() - state.undoing else None
    if not prompts and undo is None:
        raise ReconveneError("invalid_field", "Nothing is left of this run to do again.", path="content.args.run_id")
    return Prepared(ev.Action(name="retry", args={"run_id": run_id}, by=by), begins=Begins(prompts, undo=undo))


def _fallback(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    if "model" not in args:  # back to the server's
        return Prepared(ev.Action(name="fallback", args={}, by=by))
    model = None if args["model"] is None else _argument(args, "model", str).strip()
    return Prepared(ev.Action(name="fallback", args={"model": model or None}, by=by))


def _edit_plan(state: SessionState, args: dict[str, Any], by: str) -> Prepared:
    if state.plan is None:
        raise ReconveneError("invalid_field", "This session has no plan to edit.", path="content.name")
    steps = args.get("steps")
    path = "content.args.steps"
    if not isinstance(steps, list) or not 1 <= len(steps) <= MOST_STEPS:
        raise ReconveneError("invalid_field", f"content.args.steps must be 1 to {MOST_STEPS} steps.", path=path)
    shown: list[ev.PlanStep] = []
    for step in steps:
        title = step.get("title") if isinstance(step, dict) else step
        status = step.get("status", "pending") if isinstance(step, dict) else "pending"
        if not isinstance(title, str) or not title.strip() or "\0" in title or len(title) > 300:
            raise ReconveneError("invalid_field", "Every step needs a title of at most 300 characters.", path=path)
        if status not in ("pending", "active", "done", "skipped"):
            raise ReconveneError("invalid_field", "A step is pending, active, done or skipped.", path=path)
        shown.append(ev.PlanStep(title=" ".join(title.split()), status=status))
    title = _argument(args, "title", str) if "title" in args else state.plan[1].get("title")
    plan = ev.Plan(title=title, steps=shown)
    stored = plan.model_dump(mode="json")
    return Prepared(ev.Action(name="edit_plan", args=stored, by=by), plan=plan)


MOST_STEPS = 50

ACTIONS: dict[str, Callable[[SessionState, dict[str, Any], str], Prepared]] = {
    "rename": _rename,
    "pin": _pin,
    "archive": _archive,
    "recovery": _recovery,
    "model": _model,
    "edit_prompt": _edit_prompt,
    "remove_prompt": _remove_prompt,
    "move_prompt": _move_prompt,
    "edit_mode": _edit_mode,
    "edit_plan": _edit_plan,
    "fallback": _fallback,
    "resend": _resend,
    "retry": _retry,
    "undo": _undo,
    "rewind": _rewind,
}
