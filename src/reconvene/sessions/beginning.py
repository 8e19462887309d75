"""The rows with which a run begins: for a prompt, for what was steered too late, for a prompt that is sent once more, for taking back."""

from __future__ import annotations

from collections.abc import Sequence

from reconvene.log.port import NewEvent
from reconvene.protocol import events as ev
from reconvene.sessions.rows import event, private
from reconvene.sessions.state import ORIGIN, UNDO, SessionState

TITLE_LENGTH = 80


def beginning(
    state: SessionState,
    run_id: str,
    prompts: Sequence[str],
    *,
    plain: str | None = None,
    undo: Sequence[str] | None = None,
    reason: str | None = None,
    position: int | None = None,
) -> list[NewEvent]:
    """A run in the queue.

    Args:
        prompts: what it answers; none for a run that only takes back.
        plain: the hash that attaches a plain client.
        undo: diffs that it takes back first, newest first.
        reason: shown with it.
        position: how many runs go first; None: all that are there.
    """
    if position is None:
        position = len(state.queue) + (state.active is not None)
    queued = ev.Run(status="queued", prompts=list(prompts), position=position, reason=reason)
    rows = [event(queued, run_id=run_id)]
    if prompts:
        rows.append(private(ORIGIN, {"run_id": run_id, "plain": plain}, run_id=run_id))
    if undo is not None:
        rows.append(private(UNDO, {"run_id": run_id, "diffs": list(undo)}, run_id=run_id))
    return rows


def title_of(text: str) -> str:
    """A session's first title: the first line of its first prompt."""
    line = " ".join(text.strip().splitlines()[0].split())
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"
