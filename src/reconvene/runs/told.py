"""What people did to a plan, for the model: each change of theirs is said once."""

from __future__ import annotations

from reconvene.runs.journal import Journal
from reconvene.sessions.state import PromptState, RunState, SessionState


def plan_edits(state: SessionState, journal: Journal) -> list[PromptState]:
    """The newest change of the plan that no model was told of, as what is sent into the run; older ones are contained in it."""
    new = [(seq, by) for seq, by in state.plan_edits if _id(seq) not in journal.steered | journal.told]
    if not new or state.plan is None:
        return []
    seq, by = new[-1]
    content = state.plan[1]
    steps = "\n".join(f"{n}. [{step['status']}] {step['title']}" for n, step in enumerate(content["steps"], 1))
    title = f' "{content["title"]}"' if content.get("title") else ""
    text = f"({by} changed the plan{title}. It is now, and you keep to it:\n{steps})"
    return [PromptState(_id(seq), text, "steer", journal.run_id, seq)]


def written_before(state: SessionState, run: RunState) -> list[str]:
    """Of a run that is run once more: what its earlier tries wrote, of which the model knows nothing. At most one sentence."""
    tries = {i for i in state.replaced if set(state.runs[i].prompts) & set(run.prompts)}
    paths = sorted({p for c in state.changes.values() if c.run_id in tries for p in c.paths})
    if not paths:
        return []
    return [f"(An earlier try at this was ended. The person had accepted what it wrote to {', '.join(paths)}.)"]


def _id(seq: int) -> str:
    return f"plan:{seq}"
