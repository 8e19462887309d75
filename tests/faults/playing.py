"""Runs as a script plays them, through the same calls that runs make: some words, a question, and an end. Nothing of an agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from reconvene.protocol import events as ev
from reconvene.sessions.rows import event
from reconvene.sessions.service import Sessions


async def play(
    sessions: Sessions, id: str, words: int, between: Callable[[], Awaitable[None]], *, asks: bool = True
) -> None:
    """Every run of a session that can go on, step by step, from what the log has."""
    while run := (await sessions.state(id)).runnable():
        fence = await sessions.log.claim(f"{id}/{run.id}")
        rows = await sessions.log.read(id, 0, run_id=run.id)
        keys = {r.key for r in rows}
        if not any(r.type == "run" and '"running"' in r.content for r in rows) or f"asked:{run.id}.q" in keys:
            begun = event(ev.Run(status="running", attempt=1), run_id=run.id)
            await sessions.append_run(id, [begun], fence=fence, changes={run.id: "running"})
        for n in range(sum(r.type == "text" for r in rows), words):
            text = ev.Text(text=f"word{n} ", attempt=1)
            sessions.log.append_soon(id, [event(text, run_id=run.id, item_id=f"{run.id}.0.0")], fence=fence)
            await between()
        if asks and f"asked:{run.id}.q" not in keys:
            question = ev.Question(id=f"{run.id}.q", text="Which?")
            rows_of_it = [
                event(question, run_id=run.id, item_id=question.id, key=f"asked:{question.id}"),
                event(ev.Run(status="waiting", attempt=1), run_id=run.id),
            ]
            await sessions.append_run(id, rows_of_it, fence=fence, changes={run.id: "waiting"})
            continue
        await sessions.finish_run(id, run.id, "success", fence=fence, text="done")
