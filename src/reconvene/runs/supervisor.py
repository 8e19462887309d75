"""Which run makes a step, and when: one run of a session at a time, started by what is committed, recovered after a crash.

The supervisor holds no state that the log does not have. It looks at a session whenever something was committed there that can set a
run going, and once for every session when the server starts.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import structlog

from reconvene.errors import ReconveneError
from reconvene.log.port import Fence, Row, SessionRow
from reconvene.protocol import events as ev
from reconvene.runs.daily_cap import BY_CAP, CAP, DAILY_CAP, Capped, affordable
from reconvene.sessions.rows import event, private
from reconvene.sessions.service import Sessions
from reconvene.sessions.state import CANCEL, DUE, RunState, SessionState

if TYPE_CHECKING:
    from reconvene.runs.attempt import Attempt, Surroundings

_log = structlog.get_logger(__name__)
WAKING = frozenset({"run", "answered", "decided", "completed", CANCEL})
"""Rows that can set a run going or stop one."""
RUNS_AT_ONCE = 32
"""Of the whole server; the others wait their turn, oldest first."""


class Supervisor:
    """`start` recovers what a crash interrupted; `kick` looks at one session; `drain` stops everything, resumable."""

    def __init__(self, sessions: Sessions, surroundings: Surroundings | None = None) -> None:
        self.sessions = sessions
        self.around = surroundings
        """None until the agents' packages are imported: sessions are served meanwhile, runs wait."""
        self._attempts: dict[str, Attempt] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._reasons: dict[tuple[str, str], str] = {}
        self._roots: dict[str, str] = {}
        """Of the sessions whose run is about to start: what was looked up for that."""
        self._breaks: Counter[tuple[str, str]] = Counter()
        self._capped = Capped(self._affordable, self._go_on)
        self._slots = asyncio.Semaphore(RUNS_AT_ONCE)
        self._started = self._draining = False
        self._early: set[str] = set()
        """Sessions in which something happened before the start."""
        self._interrupted: set[str] = set()
        """Sessions whose recovery policy is still to be asked, since the last process ended in the middle of a run."""
        self.recovered = 0
        """Runs that a crash had interrupted and that this start continued."""
        sessions.listeners.append(self._committed)

    @property
    def active(self) -> int:
        """Runs that are going on in this process."""
        return len(self._tasks)

    async def start(self) -> None:
        """Continue what was interrupted, as each session's recovery policy says. Call it once, with `around` set."""
        assert self.around is not None
        rows = await self.sessions.log.sessions(statuses=["running", "waiting", "recovering"])
        self._interrupted = {row.id for row in rows}
        self._started = True
        for session_id in [*self._interrupted, *self._early]:
            self.kick(session_id)
        self._early.clear()

    def kick(self, session_id: str) -> None:
        """See whether a run of this session can go on. Cheap, and safe at any time."""
        if self._draining:
            return
        if not self._started:  # nothing may run before it is known which runs were interrupted
            self._early.add(session_id)
        elif session_id in self._looking:
            self._again.add(session_id)
        else:
            self._looking[session_id] = asyncio.create_task(self._look(session_id), name=f"look {session_id}")

    async def kick_root(self, root: str) -> None:
        """A code base is served now: what waited for it goes on."""
        for row in await self.sessions.log.sessions(statuses=["running", "waiting", "recovering"]):
            if row.root == root:
                self.kick(row.id)

    async def drain(self) -> None:
        """Stop every run where it is. Nothing is lost and nothing is ended: the next start continues them."""
        self._draining = True
        tasks = [*self._looking.values(), *self._tasks.values(), *self._capped.tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=ENDS_WITHIN)
        for session_id, running in [*self._tasks.items()]:
            self._abandon(session_id, running)
        if self.around is not None:
            self.around.foreign.close()

    # -- inside

    def _committed(self, session_id: str, rows: tuple[Row, ...]) -> None:
        attempt = self._attempts.get(session_id)
        for row in rows:
            if row.type not in WAKING:
                continue
            if attempt is not None and row.run_id == attempt.run_id:
                if row.type == CANCEL:
                    attempt.cancel()
                elif row.type == "answered":
                    content = json.loads(row.content)
                    attempt.answered(content["id"], content["answer"])
                elif row.type == "completed":
                    attempt.cancel()  # somebody else ended it (an expired question): stop working for nobody
            else:
                self.kick(session_id)

    async def _look(self, session_id: str) -> None:
        _log_as(session_id=session_id)
        try:
            if session_id not in self._tasks:
                state = await self.sessions.state(session_id)
                if session_id in self._interrupted:
                    await self._recover(session_id, state)
                    self._interrupted.discard(session_id)
                if state.active is not None and state.active.held_by == DAILY_CAP:
                    self._capped.add(session_id)
                # a run that is to be stopped needs no code base for it
                if (run := state.runnable()) and (run.cancelled or await self._served(session_id)):
                    self._start(session_id, run)
        except ReconveneError as e:
            _log.error("a session could not be read", code=e.code, message=e.message)
            self._later(session_id, e)
        except Exception:
            _log.exception("a session could not be looked at")
        finally:
            self._looking.pop(session_id, None)
            if session_id in self._again:
                self._again.discard(session_id)
                self.kick(session_id)

    async def _affordable(self) -> bool:
        assert self.around is not None
        return await affordable(self.around.providers, self.around.spending)

    async def _go_on(self, session_id: str) -> None:
        """The day has money again: what waits for it goes on."""
        state = await self.sessions.state(session_id)
        for question in [p for p in state.pending.values() if f".{CAP}-" in p.id]:
            await self.sessions.settle(session_id, question.id, "continue", by=BY_CAP)

    async def _served(self, session_id: str) -> bool:
        row = await self.sessions.log.session(session_id)
        if not isinstance(row, SessionRow) or self.sessions.roots.by_root(row.root) is None:
            return False
        self._roots[session_id] = row.root
        return True

    def _start(self, session_id: str, run: RunState) -> None:
        from reconvene.runs.attempt import Attempt

        assert self.around is not None
        reason = self._reasons.pop((session_id, run.id), None)
        attempt = Attempt(self.around, session_id, run.id, reason, self._roots.pop(session_id, None))
        if run.cancelled:
            attempt.cancel()
        self._attempts[session_id] = attempt
        self._tasks[session_id] = asyncio.create_task(self._run(session_id, attempt), name=f"run {session_id}/{run.id}")

    async def _run(self, session_id: str, attempt: Attempt) -> None:
        _log_as(session_id=session_id, run_id=attempt.run_id)
        try:
            async with self._slots:
                began = time.monotonic()
                _log.info("a run goes on", reason=attempt.reason)
                await attempt.run()
                _log.info("a run has ended, or waits for a person", seconds=round(time.monotonic() - began, 3))
        except asyncio.CancelledError:
            raise
        except ReconveneError as e:
            # the store refused: the log is as it was, and the run goes on when the store does
            _log.error("a run stopped", code=e.code, message=e.message)
            self._later(session_id, e)
        except Exception:
            _log.exception("a run broke")
            await self._broke(session_id, attempt.run_id)
        else:
            asyncio.get_running_loop().call_soon(self.kick, session_id)
        finally:
            if self._attempts.get(session_id) is attempt:  # it may have been abandoned, and another be in its place
                self._tasks.pop(session_id, None)
                self._attempts.pop(session_id, None)

    def _abandon(self, session_id: str, running: asyncio.Task[None]) -> None:
        """An attempt that was told to end and does not is left to itself: whoever goes on with its run claims it, and from then on the
        log takes nothing of this one."""
        if running.done() or self._tasks.get(session_id) is not running:
            return
        _log.error(
            "an attempt that was told to end does not, and is left to itself",
            session=session_id, seconds=ENDS_WITHIN, waits_for=waits_for(running),
        )  # fmt: skip
        self._tasks.pop(session_id)
        self._attempts.pop(session_id)

    def _later(self, session_id: str, e: ReconveneError) -> None:
        if e.code not in ("fenced", "store_lost", "no_such_session"):
            asyncio.get_running_loop().call_later(STORE_PATIENCE, self.kick, session_id)

    async def _broke(self, session_id: str, run_id: str) -> None:
        """A run that breaks without getting to where its attempts are counted is tried a few times, then ended."""
        self._breaks[session_id, run_id] += 1
        if self._breaks[session_id, run_id] < self.sessions.settings.limits.attempts_without_progress:
            asyncio.get_running_loop().call_later(STORE_PATIENCE, self.kick, session_id)
            return
        message = "Something unforeseen ended the run; the server's log has it. Sending the prompt again may help."
        error = event(ev.Error(code="internal", message=message, retryable=True), run_id=run_id)
        try:
            fence = await self.sessions.log.claim(f"{session_id}/{run_id}")
            await self.sessions.finish_run(
                session_id, run_id, "failed", fence=fence, text=message, reason="internal", before=[error]
            )
        except ReconveneError as e:
            _log.error("a broken run could not be ended", code=e.code)
            self._later(session_id, e)
        else:
            asyncio.get_running_loop().call_soon(self.kick, session_id)  # for the prompts that wait behind it

    async def _recover(self, session_id: str, state: SessionState) -> None:
        """Say in the log that a run was interrupted and what happens to it now. Raises what the store raises: to be done again."""
        run = state.active
        if run is None or run.status == "waiting" or run.cancelled:
            return
        policy = state.recovery or self.sessions.settings.recovery
        fence = await self.sessions.log.claim(f"{session_id}/{run.id}")
        if policy == "never":
            message = "The server was restarted, and this session does not go on by itself. Send the prompt again."
            error = event(ev.Error(code="interrupted", message=message, retryable=True), run_id=run.id)
            await self.sessions.finish_run(
                session_id, run.id, "failed", fence=fence, text=message, reason="interrupted", before=[error]
            )
        elif policy == "ask":
            await self._ask_whether(session_id, state, run, fence)
        else:
            shown = event(ev.Run(status="recovering", attempt=run.attempt, reason="restart"), run_id=run.id)
            await self.sessions.append_run(session_id, [shown], fence=fence, changes={run.id: "recovering"})
            self.recovered += 1
            self._reasons[session_id, run.id] = "restart"

    async def _ask_whether(self, session_id: str, state: SessionState, run: RunState, fence: Fence) -> None:
        number = 1 + sum(i.startswith(f"{run.id}.resume-") for i in [*state.settled, *state.closed, *state.pending])
        question_id = f"{run.id}.resume-{number}"
        limit = self.sessions.settings.limits.question_time
        confirmation = ev.Confirmation(
            id=question_id, text="The server was restarted while this run was going on. Go on from where it was?"
        )
        due = {"id": question_id, "up": self.sessions.uptime.now() + limit}
        rows = [
            event(confirmation, run_id=run.id, item_id=question_id, key=f"asked:{question_id}"),
            private(DUE, due, run_id=run.id, key=f"due:{question_id}"),
            event(ev.Run(status="waiting", attempt=run.attempt, reason="restart"), run_id=run.id),
        ]
        await self.sessions.append_run(session_id, rows, fence=fence, changes={run.id: "waiting"})


def _log_as(**ids: str) -> None:
    """Every line that this task logs from now on, and what it starts, in threads too, has these ids and no other's."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**ids)


def waits_for(task: asyncio.Task[Any]) -> str:
    """The place in the code at which a task waits, the innermost that is known."""
    place = ""
    waiting: Any = task.get_coro()
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)
        if frame is not None:
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
    return place


STORE_PATIENCE = 2.0
"""Seconds until a run that the store refused is tried again."""
ENDS_WITHIN = 4.0
"""Seconds that an attempt has to end when it is told to. It waits then for nothing but a file that is being written, and the log."""
