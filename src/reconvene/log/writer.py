"""The one thread that writes. It takes what is queued, decides all of it in one transaction, pays for one fsync, and answers.

While a commit waits for the disk the next requests gather, so the busier it is the fewer fsyncs each costs. What nobody waits for
(`append_soon`) also gathers for a few milliseconds after a commit; the first one that somebody waits for takes it along at once.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import structlog

from reconvene.errors import ReconveneError
from reconvene.log.database import OUT_OF_SPACE, Identity, abandon, explain, open_writer
from reconvene.log.decisions import Known
from reconvene.log.port import Fence, Row
from reconvene.log.queries import STATEMENTS
from reconvene.log.requests import Append, Claim, Request
from reconvene.log.transaction import Transaction

_log = structlog.get_logger(__name__)

Commits = list[tuple[str, tuple[Row, ...]]]
Answers = list[tuple[Request[Any], Any]]
"""What each request is answered: a value, or the exception."""
GATHER = 0.003
"""Seconds between two commits for which nobody waits: on a fast disk a hundred answers that are streamed would else be thousands of
commits a second, and each costs over half a millisecond of CPU."""
IDLE = 4.0
"""Times the CPU of the last commit: where a commit costs more than elsewhere, those that nobody waits for come less often, so that
they take a fifth of a core at most. Else the loop, which shares the interpreter's lock with them, falls behind with sending."""
MOST_GATHER = 0.005
"""Seconds."""
CHECKPOINT_PAGES = 4000
"""Of 4 KiB, in the WAL: a checkpoint holds the writer up for some milliseconds, so it comes too seldom to be
seen in a 99th percentile. Reading so many back after a crash takes 12 ms."""


class Writer:
    """Owns the writing connection. `submit` from any thread; `deliver(answers, commits)` and `on_lost` are called on the event loop's."""

    def __init__(
        self,
        path: Path,
        db: apsw.Connection,
        deliver: Callable[[Answers, Commits], None],
        on_lost: Callable[[ReconveneError], None],
        now: Callable[[], float],
        *,
        batch: int,
        synchronous: str,
        busy_ms: int,
        checkpoint_pages: int = CHECKPOINT_PAGES,
        gather: float = GATHER,
    ) -> None:
        self.path = path
        self.db: apsw.Connection | None = None
        self.batch = batch
        self.commits = 0
        """Transactions that were committed, each one fsync."""
        self.lost: ReconveneError | None = None
        """Set for good when the file is not ours any more: nothing is written after that."""
        self.identity = (Identity.of(path), Identity.of(f"{path}-wal"))
        self._deliver = deliver
        self._on_lost = on_lost
        self._now = now
        self._synchronous = synchronous
        self._busy_ms = busy_ms
        self._checkpoint_pages = checkpoint_pages
        self.wal_pages = 0
        """In the -wal file, at least, since its last checkpoint."""
        self.checkpoints = 0
        """Begun and ended ones: odd while the file is being written, so that nobody judges its size then."""
        self._known = Known()
        self._failed: dict[Fence, ReconveneError] = {}
        self._losing = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Request[Any] | None] = queue.SimpleQueue()
        self._gather = gather
        self._gathering = False
        self._hurry = threading.Event()
        self._last_commit = 0.0
        self._last_cost = 0.0
        """Seconds of CPU."""
        self._thread = threading.Thread(target=self._run, name="reconvene-log", daemon=True)
        self._use(db)
        self._thread.start()

    @property
    def queued(self) -> int:
        return self._queue.qsize()

    def submit(self, request: Request[Any]) -> None:
        self._queue.put(request)
        if self._gathering and request.future is not None:
            self._hurry.set()

    def stop(self) -> None:
        """Answer what is queued, then end. Blocks."""
        self._queue.put(None)
        self._hurry.set()
        self._thread.join()

    # the thread

    def _run(self) -> None:
        going = True
        while going:
            taken = self._take()
            going = None not in taken
            if batch := [r for r in taken if r is not None]:
                try:
                    answers, commits = self._write(batch)
                except BaseException as e:  # whatever happens, everybody who waits gets an answer
                    _log.exception("the log's writer failed")
                    answers, commits = [(r, explain(e, self.path)) for r in batch], []
                    self._roll_back()
                self._post(self._deliver, answers, commits)
            self._checkpoint_when_quiet()
        self._close()

    def _take(self) -> list[Request[Any] | None]:
        """What is queued, at least one. When nobody waits for any of it and the last commit was just now, what comes meanwhile too."""
        taken = [self._queue.get()]
        self._drain(taken)
        gather = max(self._gather, min(IDLE * self._last_cost, MOST_GATHER))
        pause = self._last_commit + gather - time.monotonic()
        if pause > 0 and len(taken) < self.batch and not any(map(_urgent, taken)):
            # First the flag, then another look: whoever hurries is seen here, or sees the flag.
            self._gathering = True
            self._drain(taken)
            if not any(map(_urgent, taken)):
                self._hurry.wait(pause)
                self._drain(taken)
            self._gathering = False
            self._hurry.clear()
        return taken

    def _drain(self, taken: list[Request[Any] | None]) -> None:
        while len(taken) < self.batch and taken[-1] is not None:
            try:
                taken.append(self._queue.get_nowait())
            except queue.Empty:
                break

    def _post(self, callback: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # the loop is gone, and with it everybody who waited
            _log.warning("the event loop ended before the log's writer")

    def _write(self, batch: Sequence[Request[Any]]) -> tuple[Answers, Commits]:
        """One commit, or whatever is left of it when something fails. Everyone in the batch is in the answers."""
        try:
            if self.lost:
                raise self.lost
            if self.db is None:
                self._reopen()
            answers, commits = self._transact(batch)
        except ReconveneError as e:
            answers, commits = [(r, e) for r in batch], []
        except Unknown as e:
            answers, commits = self._reconcile(batch, e)
        except apsw.BusyError as e:
            self._roll_back()
            answers, commits = [(r, explain(e, self.path)) for r in batch], []
        except Exception as e:
            error = explain(e, self.path, self.db)
            self._roll_back()
            if isinstance(e, apsw.IOError) and error.code != "disk_full":
                self._drop_connection()  # what it has in memory is no longer to be trusted
            if len(batch) > 1:
                # One of them may be the cause; the others must not pay for it.
                each = [self._write([r]) for r in batch]
                return [a for answers, _ in each for a in answers], [c for _, commits in each for c in commits]
            _log.warning("a write failed", code=error.code, error=str(e))
            answers, commits = [(batch[0], error)], []
        self._note_failures(answers)
        return answers, commits

    def _transact(self, batch: Sequence[Request[Any]]) -> tuple[Answers, Commits]:
        db = self.db
        assert db is not None
        self._known.trim()
        began = time.thread_time()
        db.execute(STATEMENTS["begin"])
        tx = Transaction(db, self._known, self._now)
        tx.prefetch([r.wants() for r in batch if not r.knows(self._known)])
        answers: Answers = []
        for request in batch:
            try:
                self._refuse_after_failure(request)
                answers.append((request, request.apply(tx)))
            except ReconveneError as e:
                answers.append((request, e))
        tx.flush()
        self._commit(db, tx, answers)
        self._last_cost = time.thread_time() - began
        return answers, tx.commits

    def _commit(self, db: apsw.Connection, tx: Transaction, answers: Answers) -> None:
        try:
            db.execute(STATEMENTS["commit"])
        except apsw.IOError as e:
            # A write for which there was no room left no commit record; after any other failure there may be one on the disk.
            if db.system_errno in OUT_OF_SPACE and getattr(e, "extendedresult", 0) != apsw.SQLITE_IOERR_FSYNC:
                raise
            raise Unknown(explain(e, self.path, db), answers, tx) from e
        if tx.changed:
            self.commits += 1
            self._last_commit = time.monotonic()
            self.refuse_if_lost()

    # failures

    def _refuse_after_failure(self, request: Request[Any]) -> None:
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

    def _reconcile(self, batch: Sequence[Request[Any]], unknown: Unknown) -> tuple[Answers, Commits]:
        """A commit failed, and nobody knows whether it is on the disk. Open the file anew and look.

        The checkpoint writes everything that counts as committed once more and syncs it: pages whose first sync failed are "clean" to the
        kernel though never written (Rebello et al., ATC 2020). It also empties the WAL, so that a commit record which is not counted
        now cannot come back after a crash. Only if all of that succeeds is the outcome known; else it is told as unknown, and whoever
        repeats the request with its id or key does it at most once.
        """
        _log.error("a commit failed; opening the database anew", error=str(unknown.error))
        self._known.forget()
        self._drop_connection()
        try:
            self._reopen()
            assert self.db is not None
            if (probe := unknown.tx.probe) and self.db.execute(STATEMENTS["event_at"], probe).fetchall():
                self.commits += 1
                return unknown.answers, unknown.tx.commits
            # It is not there. Requests without events may be done twice: claiming, setting and deleting twice is as good as once.
            return self._transact(batch)
        except ReconveneError as e:
            error = e
        except Unknown as e:
            error = e.error
            self._drop_connection()
        except Exception as e:
            error = explain(e, self.path, self.db)
            self._roll_back()
            self._drop_connection()
        if error.code == "store_error":
            message = f"{error.message} Whether this was written is unknown; repeat it with the same id."
            error = ReconveneError(error.code, message, **error.details)
        return [(r, error) for r in batch], []

    def _reopen(self) -> None:
        self.refuse_if_lost()
        db = open_writer(self.path, synchronous=self._synchronous, busy_ms=self._busy_ms)
        self.wal_pages = 0  # what is there, and this empties it
        try:
            with self._checkpointing():
                db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as e:
            error = explain(e, self.path, db)
            abandon(db)
            raise error from e
        self._use(db)

    def _roll_back(self) -> None:
        self._known.forget()
        try:
            if self.db is not None and self.db.in_transaction:
                self.db.execute(STATEMENTS["rollback"])
        except apsw.Error:
            self._drop_connection()

    def _drop_connection(self) -> None:
        self._known.forget()
        if self.db is not None:
            abandon(self.db)
            self.db = None

    def refuse_if_lost(self) -> None:
        """Raise `store_lost` if the paths lead to other files than those that are open, now or ever since.

        Asked after every commit, before it is answered: what is written to an unlinked file is gone with the process.
        """
        if self.lost is None and (Identity.of(self.path), Identity.of(f"{self.path}-wal")) != self.identity:
            self.lose("deleted or replaced")
        if self.lost is not None:
            raise self.lost

    def lose(self, how: str) -> None:
        """Write nothing any more. From any thread; the first finding counts."""
        with self._losing:
            if self.lost is not None:
                return
            self.lost = ReconveneError(
                "store_lost",
                f"The database {self.path} (or its -wal file) was {how} while the server ran. Nothing is written any more. "
                f"Stop the server, put the file back or restore a backup, and start again.",
                path=str(self.path),
            )
        _log.critical("the database is lost", path=str(self.path), how=how)
        self._post(self._on_lost, self.lost)

    # the write-ahead log

    def _use(self, db: apsw.Connection) -> None:
        def grown(_db: apsw.Connection, _schema: str, pages: int) -> int:
            self.wal_pages = pages
            return apsw.SQLITE_OK

        db.set_wal_hook(grown)
        self.db = db

    def _checkpoint_when_quiet(self) -> None:
        """Move the WAL into the file: between bursts if there is a chance, as it takes some milliseconds."""
        if self.wal_pages < self._checkpoint_pages or self.db is None or self.lost:
            return
        if self.wal_pages < 2 * self._checkpoint_pages and not self._queue.empty():
            return
        try:
            with self._checkpointing():
                self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.wal_pages = 0
        except apsw.Error as e:
            _log.warning("the database could not be checkpointed; it will be tried again", error=str(e))

    @contextmanager
    def _checkpointing(self) -> Iterator[None]:
        self.checkpoints += 1
        try:
            yield
        finally:
            self.checkpoints += 1

    def _close(self) -> None:
        if self.db is None or self.lost:
            self._drop_connection()
            return
        try:
            self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self.db.close()
            self.db = None
        except apsw.Error as e:
            _log.warning("the last checkpoint failed; the next start will make up for it", error=str(e))
            self._drop_connection()


def _urgent(request: Request[Any] | None) -> bool:
    """Whether somebody waits for it; None is the end."""
    return request is None or request.future is not None


class Unknown(Exception):
    """A commit that failed and may have happened all the same."""

    def __init__(self, error: ReconveneError, answers: Answers, tx: Transaction) -> None:
        super().__init__(error.message)
        self.error = error
        self.answers = answers
        self.tx = tx
