"""What a model is told beside the conversation: what people did to a plan, what an earlier try wrote, the project's notes. Each is in
the log when it is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from reconvene.agents.notes import Note, Notes
from reconvene.log.port import Row
from reconvene.protocol import events as ev
from reconvene.runs.journal import Journal
from reconvene.sessions.rows import event, private
from reconvene.sessions.state import PromptState, RunState, SessionState
from reconvene.workspace import Workspace

NOTES = "notes"
"""Private row: `{"path", "fingerprint"}`: a note of the project that was shown."""


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


def notes_of(journal: Journal, rows: Sequence[Row], workspace: Workspace) -> Notes:
    """The project's notes, each shown as a step when the session has not shown it as it is now. `rows`: the session's of type `NOTES`."""
    shown = {c["path"]: c["fingerprint"] for c in (json.loads(row.content) for row in rows)}

    async def show(note: Note) -> None:
        mark = hashlib.sha256(f"{note.path}\0{note.fingerprint}".encode()).hexdigest()[:12]
        item, lines = f"{journal.run_id}.notes-{mark}", note.text.count("\n") + 1
        summary = f"{note.path}: {lines} {'line' if lines == 1 else 'lines'} for agents" + (", cut" if note.cut else "")
        call = ev.ToolCall(id=item, name="project_notes", args={"path": note.path})
        result = ev.ToolResult(id=item, summary=summary, truncated=note.cut)
        told = {"path": note.path, "fingerprint": note.fingerprint}
        await journal.write(
            [
                event(call, run_id=journal.run_id, item_id=item, key=f"call:{item}"),
                event(result, run_id=journal.run_id, item_id=item, key=f"result:{item}"),
                private(NOTES, told, run_id=journal.run_id, key=f"notes:{item}", stateful=False),
            ]
        )

    return Notes(workspace, show, shown)


def written_before(state: SessionState, run: RunState) -> list[str]:
    """Of a run that is run once more: what its earlier tries wrote, of which the model knows nothing. At most one sentence."""
    tries = {i for i in state.replaced if set(state.runs[i].prompts) & set(run.prompts)}
    paths = sorted({p for c in state.changes.values() if c.run_id in tries for p in c.paths})
    if not paths:
        return []
    return [f"(An earlier try at this was ended. The person had accepted what it wrote to {', '.join(paths)}.)"]


def _id(seq: int) -> str:
    return f"plan:{seq}"
