"""The runs of one node among several: those that the queue gives it, until nothing is left to do for them.

Everything a run is stays as it is with one process; only who may start it is decided elsewhere. A run that waits for a person holds no
job: whoever takes the answer puts it back in the queue.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import asyncpg  # type: ignore[import-untyped]
import structlog

from reconvene.errors import ReconveneError
from reconvene.log.port import SessionRow
from reconvene.log.postgres import PostgresLog
from reconvene.log.postgres.address import is_lost
from reconvene.runs.queue import WAKING, RunQueue, Task
from reconvene.runs.shared_contents import SharedContents
from reconvene.runs.supervisor import ENDS_WITHIN, STORE_PATIENCE, Supervisor
from reconvene.sessions.service import Sessions
from reconvene.sessions.state import RunState, SessionState
from reconvene.workspace.contents import Contents

_log = structlog.get_logger(__name__)
LONGEST_PAUSE = 1.0
REMEMBERED = 60.0
"""Seconds, at least, for which a silent node's code bases are known. After an outage of the database all are silent, and a prompt that was
refused for it would be lost; one for a node that does not come back waits in the queue."""
QUEUE_TIME = 30.0
"""Seconds for what is asked of the queue at once, the wait for its connection included."""
GIVE_BACK_TIME = 2.0
LEAVING = 3
"""Times that a node says that it goes, until it is taken."""
HOUSEKEEPING = 3600.0
"""Seconds between two looks for what the queue need not keep."""


class NodeSupervisor(Supervisor):
    """A supervisor that starts what it was given. `start` begins to take runs, `drain` gives back what goes on."""

    def __init__(self, sessions: Sessions, surroundings: Any = None) -> None:
        super().__init__(sessions, surroundings)
        settings = sessions.settings
        self.log = cast(PostgresLog, sessions.log)
        self.queue = RunQueue(self.log, takeover=settings.takeover, per_owner=settings.limits.runs_of_owner)
        self.taken = 0
        """Runs that were given to this node so far."""
        self._beat = settings.takeover / 10
        self._remembered = max(settings.takeover, REMEMBERED)
        self._held: dict[int, Task] = {}
        self._work_of: dict[int, asyncio.Task[None]] = {}
        self._events: dict[str, asyncio.Event] = {}
        self._providers: dict[str, asyncio.Semaphore] = {}
        self._elsewhere: dict[str, list[str]] = {}
        self._db: asyncpg.Connection | None = None
        self._using = asyncio.Lock()
        self._news = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self.log.hook(WAKING, self.queue.in_commit)
        sessions.contents = SharedContents(self.log, Contents(settings.data_dir / "contents"))
        sessions.elsewhere = self.has_elsewhere
        sessions.all_elsewhere = lambda: self._elsewhere

    async def install(self) -> None:
        """The queue's tables; before anything is written, as every commit that sets a run going writes to them."""
        db = await self.log.address.connect(locks=True)
        try:
            await self.queue.install(db)
            self._elsewhere = await self.queue.roots_elsewhere(db, self._remembered)
        except asyncpg.PostgresError as e:
            raise self.log.address.explain(e) from e
        finally:
            await db.close()

    def has_elsewhere(self, root: str) -> str | None:
        """The real path of a code base that another node has, by its path or its folder's name."""
        return next((r for r in self._elsewhere if r == root or r.rpartition("/")[2] == root), None)

    async def start(self) -> None:
        self._started = True
        self._early.clear()
        self._serving = asyncio.create_task(self._serve(), name="runs of this node")

    def kick(self, session_id: str) -> None:
        """Look again at a session of which this node has a run; of the others the queue decides."""
        if (event := self._events.get(session_id)) is not None:
            event.set()

    async def kick_root(self, root: str) -> None:
        self._news.set()

    async def drain(self) -> None:
        self._draining = True
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        held, working = list(self._held.values()), list(self._work_of.values())
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        await super().drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GIVE_BACK_TIME):
                await self._leave(held)
        if self._db is not None:
            self._db.terminate()

    async def _leave(self, held: Sequence[Task]) -> None:
        """Others may take over at once. When PostgreSQL stops a statement whose task was stopped is its own affair: it may be the next one
        of the connection, so what fails is tried again, on another connection."""
        for _ in range(LEAVING):
            try:
                db = await self._connection()
                await self.queue.give_back(db, held)
                await self.queue.leave(db)
                return
            except Exception as e:
                self._failed(e)

    # the queue's connection

    async def _connection(self) -> asyncpg.Connection:
        if self._db is None or self._db.is_closed():
            db = await self.log.address.connect(locks=True)
            try:
                await self.queue.listen(db, self._news.set)
            except BaseException:  # one that does not listen would hear of new runs at its beats only
                db.terminate()
                raise
            self._db = db
        return self._db

    @contextlib.asynccontextmanager
    async def _queue(self) -> AsyncIterator[asyncpg.Connection]:
        """The connection, for one who has it alone; nobody waits for it, or has it, for longer than `QUEUE_TIME`."""
        async with asyncio.timeout(QUEUE_TIME), self._using:
            yield await self._connection()

    async def _serve(self) -> None:
        """Beat, and take what there is, whenever something is new and at every beat."""
        pause, loop = 0.05, asyncio.get_running_loop()
        tidied = loop.time()
        await self._adopt()
        while True:
            self._news.clear()
            try:
                async with self._queue() as db:
                    roots = [str(w.root) for w in self.sessions.roots.all()]
                    lost = await self.queue.beat(db, roots, self._held)
                    free = self.sessions.settings.limits.runs_of_node - len(self._held)
                    tasks = await self.queue.take(db, roots, free)
                    self._elsewhere = await self.queue.roots_elsewhere(db, self._remembered)
                    if loop.time() > tidied + HOUSEKEEPING:
                        tidied = loop.time()
                        await self.queue.forget_old(db)
                for id in lost:
                    self._let_go(id)
                for task in tasks:
                    self._begin(task)
                pause = 0.05
            except Exception as e:
                self._failed(e)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, 2 * pause)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._beat):
                    await self._news.wait()

    async def _adopt(self) -> None:
        """Runs that are in the log and not in the queue, as after a move from SQLite, get their jobs."""
        while True:
            try:
                going = await self.sessions.log.sessions(statuses=["running", "recovering", "waiting"])
                for session in going:
                    if session.run_id:
                        async with self._queue() as db:
                            await self.queue.give(db, session.id, session.run_id, session.owner, session.root)
                return
            except Exception as e:  # whatever it was: a node that gave up here would never beat
                self._failed(e)
                await asyncio.sleep(LONGEST_PAUSE)

    def _failed(self, e: Exception) -> None:
        if not is_lost(e) and not isinstance(e, asyncpg.PostgresError | ReconveneError):
            _log.exception("the queue of runs failed")
        else:
            _log.warning("the queue of runs does not answer", error=str(e))
        if self._db is not None:
            self._db.terminate()

    def _let_go(self, id: int) -> None:
        """The job is another node's: what it does here is in vain, and the log takes nothing of it any more."""
        task = self._held.pop(id, None)
        if task is not None:
            _log.warning("a run was taken over by another node", session=task.session_id, run=task.run_id)
            attempt = self._attempts.get(task.session_id)
            if attempt is not None and attempt.run_id == task.run_id:
                running = self._tasks[task.session_id]
                running.cancel()
                asyncio.get_running_loop().call_later(ENDS_WITHIN, self._abandon, task.session_id, running)
            self._work_of.pop(id).cancel()

    async def _over(self, session_id: str, running: asyncio.Task[None]) -> None:
        """Until an attempt has ended, or was abandoned. It may be of another time that this node had the run."""
        while not running.done() and self._tasks.get(session_id) is running:
            await asyncio.wait({running}, timeout=ENDS_WITHIN)

    def _begin(self, task: Task) -> None:
        if task.job.id in self._held:
            return
        self.taken += 1
        self._held[task.job.id] = task
        self._work_of[task.job.id] = asyncio.create_task(self._work(task), name=f"work {task.session_id}/{task.run_id}")

    # one run

    async def _work(self, task: Task) -> None:
        session_id = task.session_id
        event = self._events.setdefault(session_id, asyncio.Event())
        first, pause = True, 0.05
        try:
            while True:
                event.clear()
                try:
                    state = await self._state(session_id)
                    if first:
                        self._note_interrupted(task, state)
                        first = False
                    async with self._room_at(state):
                        await self._look(session_id)
                        if (running := self._tasks.get(session_id)) is not None:
                            await self._over(session_id, running)
                    state = await self._state(session_id)
                    async with self._queue() as db:
                        done = await self.queue.finish(db, task, state)
                    if done:
                        return
                except Exception as e:
                    if isinstance(e, ReconveneError) and e.code == "no_such_session":
                        return
                    if not is_lost(e) and not isinstance(e, asyncpg.PostgresError | ReconveneError):
                        _log.exception("a run could not be worked on", session=session_id, run=task.run_id)
                    if self._db is not None and is_lost(e):
                        self._db.terminate()
                # There is more to read, more to do, or a store to wait for.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await event.wait()
                pause = min(STORE_PATIENCE, 2 * pause)
        finally:
            if self._held.get(task.job.id) is task:  # it may be this node's again already
                del self._held[task.job.id], self._work_of[task.job.id]
            if not any(t.session_id == session_id for t in self._held.values()):
                self._events.pop(session_id, None)
            self._news.set()

    async def _state(self, session_id: str) -> SessionState:
        row = await self.log.session(session_id)
        if not isinstance(row, SessionRow):
            raise ReconveneError("no_such_session", "There is no session with this id; it may have expired.")
        state = await self.sessions.state(session_id)
        await self.log.reach(session_id, row.head)
        return state

    def _room_at(self, state: SessionState) -> asyncio.Semaphore | contextlib.nullcontext[None]:
        """Entered while a run of this node uses the provider of the session's model."""
        assert self.around is not None
        limit = self.sessions.settings.limits.runs_of_provider
        if not limit:
            return contextlib.nullcontext()
        name = (state.model or self.around.providers.model).partition(":")[0]
        return self._providers.setdefault(name, asyncio.Semaphore(limit))

    def _note_interrupted(self, task: Task, state: SessionState) -> None:
        """A run that was going on and is given to this node now was interrupted: its node died, or gave it back."""
        run = state.active
        if run is not None and run.id == task.run_id and run.status in ("running", "recovering"):
            self._interrupted.add(task.session_id)

    def _start(self, session_id: str, run: RunState) -> None:
        """Only a run that this node was given."""
        if any(t.session_id == session_id and t.run_id == run.id for t in self._held.values()):
            super()._start(session_id, run)
