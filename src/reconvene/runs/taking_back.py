"""A run that takes changes back: the files as they were before, unless somebody changed them since."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart

from reconvene.errors import ReconveneError
from reconvene.index import RootIndex
from reconvene.runs.applying import Applying
from reconvene.runs.journal import Journal
from reconvene.sessions.kept import OUTCOME, PLAN
from reconvene.sessions.state import SessionState
from reconvene.workspace import display_path
from reconvene.workspace.edits import Plan, undo_of


async def take_back(
    journal: Journal, state: SessionState, diffs: Sequence[str], applying: Applying, index: RootIndex
) -> str:
    """Undo these diffs, newest first, all of them or none. Returns what is said at the end.

    Raises:
        ReconveneError: `conflict`: files changed since; none was overwritten. CannotWrite: nothing could be written now.
    """
    if not diffs:
        return "The conversation was taken back; no file had been changed."
    plans = await _plans(journal, diffs)
    name = diffs[0] if len(diffs) == 1 else f"{diffs[0]}+{len(diffs) - 1}"
    plan = undo_of([plans[d] for d in reversed(diffs) if d in plans])
    outcome = await applying.take_back(name, plan, diffs)
    await index.refresh_within(2.0)
    clashes = [f for f in outcome["files"] if f["state"] != "done"]
    if clashes:
        reasons = " ".join(f["note"] for f in clashes if f["note"]) or "Files were changed since."
        others = ", ".join(display_path(f["path"]) for f in clashes if not f["note"])
        rest = f" It is all files or none, so {others} stays too." if others else ""
        raise ReconveneError("conflict", f"Not taken back. {reasons}{rest}", paths=[f["path"] for f in clashes])
    paths = ", ".join(display_path(s.path) for s in plan.steps)
    if not any(state.runs[journal.run_id].first_seq == seq + 1 for _, seq in state.rewinds):
        said = f"(The person took a change of yours back: {paths} is as it was before.)"
        await journal.record_tail([ModelRequest([UserPromptPart(said)]), ModelResponse([TextPart("(Noted.)")])])
    return f"Taken back: {paths}."


async def _plans(journal: Journal, diffs: Sequence[str]) -> dict[str, Plan]:
    """What these diffs did on disk, as far as it was done."""
    rows = await journal.sessions.log.read(journal.session_id, 0, types=(PLAN, OUTCOME))
    found: dict[tuple[str, int], dict[str, object]] = {}
    plans: dict[str, Plan] = {}
    for row in rows:
        content = json.loads(row.content)
        key = content["diff_id"], content["n"]
        if row.type == PLAN:
            found[key] = content
            continue
        write, outcome = found[key], content["outcome"]
        shown = str(write["shown"])
        if shown in diffs and not write["undo"] and outcome["status"] != "none":
            done = {f["path"] for f in outcome["files"] if f["state"] == "done"}
            plan = Plan.from_json(str(write["plan"]))
            plans[shown] = replace(plan, steps=tuple(s for s in plan.steps if display_path(s.path) in done))
    if missing := [d for d in diffs if d not in plans]:
        raise ReconveneError("no_such_diff", f"The log does not say what {missing[0]} wrote; it cannot be taken back.")
    return plans
