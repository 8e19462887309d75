"""What a run does to its session: it writes, under its fence, and it ends, once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal

from reconvene.log.port import Appended, Fence, NewEvent
from reconvene.protocol import events as ev
from reconvene.sessions.again import again_when_moved
from reconvene.sessions.beginning import beginning
from reconvene.sessions.entrance import Entrance
from reconvene.sessions.rows import event, private
from reconvene.sessions.state import ENDED, RunStatus

Events = list[NewEvent]


class RunEnded(Exception):
    """What a run wanted to write comes too late: it has its `completed` already."""


class RunSide(Entrance):
    """The part of `Sessions` that runs use."""

    def ending(
        self,
        run_id: str,
        outcome: Literal["success", "cancelled", "failed"],
        *,
        text: str = "",
        reason: str | None = None,
    ) -> Events:
        """The last events of a run; its key makes sure that it ends once."""
        done = event(ev.Completed(outcome=outcome, text=text, reason=reason), run_id=run_id, key=f"completed:{run_id}")
        return [done, private(ENDED, {"up": self.uptime.now()}, run_id=run_id)]

    @again_when_moved
    async def append_run(
        self,
        session_id: str,
        events: Sequence[NewEvent],
        *,
        fence: Fence,
        changes: Mapping[str, RunStatus] | None = None,
    ) -> Appended:
        """A run's own append: fenced, and it moves the session's last activity.

        `changes` waits for every other change of the session, so that the session's status is that of its runs.
        Raises: RunEnded when one of the runs to be changed has ended already.
        """
        if not changes:
            return await self._append_run(session_id, events, fence, {}, None)
        async with self.memory.alone(session_id) as state:
            if any(i in state.runs and state.runs[i].status == "completed" for i in changes):
                raise RunEnded
            status, run_id = state.status_with(dict(changes))
            return await self._append_run(
                session_id, events, fence, {"status": status, "run_id": run_id}, self.seen(state)
            )

    async def _append_run(
        self, session_id: str, events: Sequence[NewEvent], fence: Fence, update: Mapping[str, Any], seen: int | None
    ) -> Appended:
        moved = {"last_active": self.uptime.now(), "active_at": time.time(), **update}
        return await self.log.append(session_id, events, fence=fence, update=moved, seen=seen)

    @again_when_moved
    async def finish_run(
        self,
        session_id: str,
        run_id: str,
        outcome: Literal["success", "cancelled", "failed"],
        *,
        fence: Fence,
        text: str = "",
        reason: str | None = None,
        before: Sequence[NewEvent] = (),
        consumed: AbstractSet[str] = frozenset(),
    ) -> None:
        """End a run, unless it has ended. A prompt that was steered into it and that no model saw starts a run of its own, in the
        same commit."""
        async with self.memory.alone(session_id) as state:
            if state.runs[run_id].status == "completed":
                return
            new = [*before, *self.ending(run_id, outcome, text=text, reason=reason)]
            changes: dict[str, RunStatus] = {run_id: "completed"}
            late = [p.id for p in state.steering(run_id) if p.id not in consumed]
            if late:
                next_id = state.next_run_id()
                new += beginning(state, next_id, late, position=len(state.queue))
                changes[next_id] = "queued"
            status, current = state.status_with(changes)
            await self._append_run(session_id, new, fence, {"status": status, "run_id": current}, self.seen(state))

    @again_when_moved
    async def settle(self, session_id: str, question_id: str, answer: Any, *, by: str) -> bool:
        """Answer a question for nobody in particular, because what it waited for came to be; whether it was still open."""
        async with self.memory.alone(session_id) as state:
            pending = state.pending.get(question_id)
            if pending is None:
                return False
            answered = ev.Answered(id=question_id, answer=answer, by=by)
            row = event(answered, run_id=pending.run_id, key=f"settled:{question_id}")
            await self.log.append(session_id, [row], seen=self.seen(state))
            return True
