"""The one task that writes for a node. It takes what is queued, decides all of it in one transaction, and answers once that is durable.

While a commit is under way the next requests gather, so the busier it is the fewer commits they cost. A connection that is lost, and a
server that restarts or hands over to another, cost time and nothing else: the batch is written over a new connection, and where it is
not known whether the old one committed it, the database is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import structlog

from reconvene.errors import ReconveneError
from reconvene.log.decisions import Live
from reconvene.log.port import Fence, Moved, Row
from reconvene.log.postgres.address import AGAIN, Address, is_lost
from reconvene.log.postgres.alone import Alone
from reconvene.log.postgres.follower import Follower
from reconvene.log.postgres.statements import STATEMENTS
from reconvene.log.postgres.transaction import FencesSeen, Transaction
from reconvene.log.requests import Append, Asked, Claim, Request

_log = structlog.get_logger(__name__)

GATHER = 0.003
"""Seconds between two commits for which nobody waits."""
TRIES = 12
"""Times that a batch which met another node's is decided anew, before each of it is tried alone."""
LONGEST_PAUSE = 1.0
"""Seconds between two tries to reach the database."""

Answers = list[tuple[Asked[Any], Any]]
InCommit = Callable[[asyncpg.Connection, Sequence[tuple[Live, tuple[Row, ...]]]], Awaitable[None]]


class Writer:
    """Owns the writing connection. `submit` on the loop's thread; answers are given there too, after the follower has told what is new."""

    def __init__(
        self,
        address: Address,
        follower: Follower,
        now: Callable[[], float],
        *,
        node: str,
        channel: str,
        batch: int,
    ) -> None:
        self.commits = 0
        self.in_commit: InCommit | None = None
        """Awaited inside each transaction that writes events of `in_commit_types`, before it commits."""
        self.in_commit_types: frozenset[str] = frozenset()
        self.db: asyncpg.Connection | None = None
        self.refusal: ReconveneError | None = None
        """Why nothing is written any more."""
        self._address, self._follower, self._now = address, follower, now
        self._node, self._channel, self._batch = node, channel, batch
        self._fences = FencesSeen()
        self._failed: dict[Fence, ReconveneError] = {}
        self._queue: deque[Asked[Any]] = deque()
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stopping = False
        self._last_commit = 0.0
        self._task = asyncio.create_task(self._run(), name="log writer")

    @property
    def queued(self) -> int:
        return len(self._queue)

    def submit(self, request: Asked[Any]) -> None:
        self._queue.append(request)
        self._work.set()
        if request.future is not None:
            self._hurry.set()

    async def stop(self, patience: float) -> None:
        """Write what is queued, if the database takes it within so many seconds."""
        self._stopping = True
        self._work.set()
        self._hurry.set()
        done, _ = await asyncio.wait({self._task}, timeout=patience)
        if not done:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.db is not None:
            await close(self.db)

    # the task

    async def _run(self) -> None:
        while self._queue or not self._stopping:
            if not self._queue:
                self._work.clear()
                self._hurry.clear()
                await self._work.wait()
                continue
            await self._gather()
            batch = self._take()
            try:
                answers = await self._write(batch)
            except Exception as e:  # whatever happens, everybody who waits gets an answer
                _log.exception("the log's writer failed")
                answers = [(r, self._address.explain(e)) for r in batch]
                await self._drop()
            self._note_failures(answers)
            for request, answer in answers:
                _answer(request, answer)

    async def _gather(self) -> None:
        """When nobody waits for what is queued and the last commit was just now, wait for what comes meanwhile."""
        pause = self._last_commit + GATHER - time.monotonic()
        if pause > 0 and len(self._queue) < self._batch and not self._stopping:
            if any(r.future is not None for r in self._queue):
                return
            self._hurry.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurry.wait()

    def _take(self) -> list[Asked[Any]]:
        """A batch: one request that is a commit of its own, or as many others as come before one."""
        if isinstance(self._queue[0], Alone):
            return [self._queue.popleft()]
        batch: list[Asked[Any]] = []
        while self._queue and len(batch) < self._batch and not isinstance(self._queue[0], Alone):
            batch.append(self._queue.popleft())
        return batch

    async def _write(self, batch: Sequence[Asked[Any]]) -> Answers:
        tries = lost = 0
        while True:
            if self.refusal is not None:
                return [(r, self.refusal) for r in batch]
            try:
                if self.db is None:
                    self.db = await self._connect()
                return await self._transact(self.db, batch)
            except Unknown as e:
                found = await self._find_out(e)
                if found is not None:
                    return found
            except AGAIN as e:
                await self._roll_back()
                tries += 1
                if tries >= TRIES:
                    return await self._each_alone(batch, e)
                await asyncio.sleep(random.random() * 0.005 * tries)
            except Exception as e:
                if not is_lost(e) and not isinstance(e, ReconveneError):
                    await self._roll_back()
                    return await self._each_alone(batch, e)
                await self._drop()
                if isinstance(e, ReconveneError) and e.code != "store_error":
                    return [(r, e) for r in batch]
                lost += 1
                if lost == 1:
                    _log.warning("the database does not answer; it is asked again", error=str(e))
                if self._stopping and lost > 2:
                    return [(r, self._address.explain(e)) for r in batch]
                await asyncio.sleep(min(LONGEST_PAUSE, 0.02 * 2 ** min(lost, 8)) * random.uniform(0.5, 1))

    async def _connect(self) -> asyncpg.Connection:
        """A connection to a database that has what it had.

        Raises:
            ReconveneError: `store_error`; or it has not, and `refusal` is set.
        """
        db = await self._address.connect(locks=True)
        try:
            error = await self._follower.went_back(db)
        except BaseException:
            db.terminate()
            raise
        if error is not None:
            db.terminate()
            raise error
        return db

    async def _each_alone(self, batch: Sequence[Asked[Any]], e: BaseException) -> Answers:
        """One of them may be the cause; the others must not pay for it."""
        if len(batch) == 1:
            _log.warning("a write failed", error=str(e))
            return [(batch[0], self._address.explain(e))]
        return [answer for request in batch for answer in await self._write([request])]

    def _decide(self, tx: Transaction, batch: Sequence[Request[Any]]) -> Answers:
        answers: Answers = []
        for request in batch:
            try:
                self._refuse_after_failure(request)
                answers.append((request, request.apply(tx)))
            except ReconveneError as e:
                answers.append((request, e))
        return answers

    async def _at_once(self, db: asyncpg.Connection, batch: Sequence[Asked[Any]]) -> Answers | None:
        """One round trip, for sessions that this node alone writes, which is what a run is. None: it needs a transaction."""
        appends = [r for r in batch if isinstance(r, Append)]
        if len(appends) < len(batch):
            return None
        tx = Transaction(db, self._now, self._fences, self._node, self._channel)
        if not tx.recall(r.wants() for r in appends):
            return None
        if self.in_commit is not None and any(e.type in self.in_commit_types for r in appends for e in r.events):
            return None
        answers = self._decide(tx, appends)
        if not tx.commits:
            return None
        try:
            await tx.write_at_once()
        except asyncpg.DivisionByZeroError:
            self._fences.forget()
            return None
        except Exception as e:
            if is_lost(e):
                raise Unknown(answers, tx, db.get_server_pid()) from e
            raise
        self.commits += 1
        self._last_commit = time.monotonic()
        self._done(tx)
        return answers

    async def _transact(self, db: asyncpg.Connection, batch: Sequence[Asked[Any]]) -> Answers:
        if (written := await self._at_once(db, batch)) is not None:
            return written
        tx = Transaction(db, self._now, self._fences, self._node, self._channel)
        answers: Answers = []
        await db.execute("begin")
        if isinstance(batch[0], Alone):
            try:
                answers.append((batch[0], await batch[0].run(tx)))
            except ReconveneError as e:
                answers.append((batch[0], e))
        else:
            together = [r for r in batch if isinstance(r, Request)]
            await tx.prefetch((r.wants() for r in together), self._follower.known)
            answers = self._decide(tx, together)
        if not tx.changed:
            await db.execute("rollback")
        else:
            await tx.flush()
            if self.in_commit is not None and tx.commits:
                sessions = tx.known.sessions
                await self.in_commit(db, [(sessions[id], rows) for id, rows in tx.commits])
            await self._commit(db, tx, answers)
        self._done(tx)
        return answers

    async def _commit(self, db: asyncpg.Connection, tx: Transaction, answers: Answers) -> None:
        try:
            await db.execute("commit")
        except Exception as e:
            if is_lost(e):
                raise Unknown(answers, tx, db.get_server_pid()) from e
            raise
        self.commits += 1
        self._last_commit = time.monotonic()

    def _done(self, tx: Transaction) -> None:
        tx.committed()
        for id, rows in tx.missed.items():
            self._follower.deliver(id, rows)
        for id, own in tx.commits:
            self._follower.wrote(id, own)

    # failures

    def _refuse_after_failure(self, request: Asked[Any]) -> None:
        """What follows an `append_soon` that failed must not be written as if nothing were missing before it."""
        if self._failed and isinstance(request, Append) and request.fence in self._failed:
            raise self._failed[request.fence]

    def _note_failures(self, answers: Answers) -> None:
        for request, answer in answers:
            if isinstance(request, Claim) and isinstance(answer, Fence):
                self._failed = {fence: e for fence, e in self._failed.items() if fence.name != answer.name}
            if not isinstance(request, Append) or not isinstance(answer, ReconveneError):
                continue
            if request.future is not None:
                if request.fence is not None:
                    self._failed.pop(request.fence, None)  # told now
            elif request.fence is not None:
                self._failed[request.fence] = answer
            else:
                _log.warning(
                    "an event nobody waited for was not written", session_id=request.session_id, code=answer.code
                )

    async def _find_out(self, unknown: Unknown) -> Answers | None:
        """The connection was lost while it committed. Whether it did is asked over a new one, once the old one can do nothing any more:
        the session's row is locked, for which a commit that is still under way is waited for. None: it did not, so it is done again.
        """
        _log.warning("a commit's outcome is unknown; the database is asked")
        await self._drop()
        pause = 0.02
        while unknown.tx.probe is not None:
            if self.refusal is not None:
                return [(request, self.refusal) for request, _ in unknown.answers]
            try:
                if self.db is None:
                    self.db = await self._connect()
                with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
                    await self.db.execute("select pg_terminate_backend($1)", unknown.pid)
                if await self.db.fetchval(STATEMENTS["is_written"], *unknown.tx.probe):
                    self._done(unknown.tx)
                    self.commits += 1
                    return unknown.answers
                return None
            except Exception as e:
                await self._drop()
                if not is_lost(e) and not isinstance(e, (*AGAIN, ReconveneError)):
                    raise
                if self._stopping and pause >= LONGEST_PAUSE:
                    raise self._address.explain(e) from e
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, 2 * pause)
        return None  # without events: claiming, setting and deleting twice is as good as once

    async def _roll_back(self) -> None:
        self._fences.forget()
        if self.db is not None:
            try:
                await self.db.execute("rollback")
            except Exception:
                await self._drop()

    async def _drop(self) -> None:
        self._fences.forget()
        if self.db is not None:
            self.db.terminate()
            self.db = None


class Unknown(Exception):
    """A commit that may have happened. `pid`: of the server's process that was to do it."""

    def __init__(self, answers: Answers, tx: Transaction, pid: int) -> None:
        super().__init__("the outcome of a commit is unknown")
        self.answers, self.tx, self.pid = answers, tx, pid


async def close(db: asyncpg.Connection) -> None:
    """Close a connection, however well it is."""
    try:
        await db.close(timeout=2.0)
    except Exception:
        db.terminate()


def _answer(request: Asked[Any], answer: Any) -> None:
    future = request.future
    if future is None or future.done():
        return
    if isinstance(answer, Moved):
        future.set_exception(Moved(answer.session_id))
    elif isinstance(answer, ReconveneError):
        # One failure may answer many: each gets its own, as raising one writes its traceback into it.
        future.set_exception(ReconveneError(answer.code, answer.message, **answer.details))
    else:
        future.set_result(answer)
