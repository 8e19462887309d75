"""Which node works on which run: PgQueuer, one job a run, deduplicated by the run, in the database that holds the log.

A job is put in the queue by the transaction that makes its run able to go on, and taken out by one that sees, with the session's row
locked, that nothing is left to do. A node beats for its jobs; those of a node that is silent are given to another one that has the code
base. What the silent one still wants to write, when it comes back, is refused by the run's fence.
"""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import structlog
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.domain.settings import DBSettings
from pgqueuer.models import Job
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.queries import Queries
from pgqueuer.types import QueueEntrypoint, QueueManagerId

from reconvene.log.decisions import Live
from reconvene.log.port import Row
from reconvene.log.postgres import PostgresLog
from reconvene.sessions.state import CANCEL, SessionState

_log = structlog.get_logger(__name__)
WAKING = frozenset({"run", "answered", "decided", "completed", CANCEL})
"""Rows that can set a run going or stop one."""
_LOCK = 0x52435646
LOG_KEPT = timedelta(days=7)
"""How long PgQueuer's own record of finished jobs is kept."""


@dataclass(frozen=True, slots=True)
class Task:
    """A job of this node."""

    job: Job
    session_id: str
    run_id: str


class RunQueue:
    """The jobs, over one connection that its user gives anew when it is lost.

    Args:
        takeover: seconds of silence after which a node's jobs are given away.
        per_owner: runs of one owner, of one code base, at once on all nodes; 0: no limit.
    """

    def __init__(self, log: PostgresLog, *, takeover: float, per_owner: int) -> None:
        self.log = log
        self.silence = timedelta(seconds=takeover * 0.6)
        self.per_owner = per_owner
        self.me = QueueManagerId(uuid.uuid4())
        self.channel = f"runs_{log.instance}"
        self._settings = DBSettings(channel=self.channel)
        self._shown = f"{socket.gethostname()}:{log.node}"

    def queries(self, db: asyncpg.Connection) -> Queries:
        named: dict[str, Any] = {"settings": self._settings}
        return Queries(
            AsyncpgDriver(db),
            QueryBuilderEnvironment(**named), QueryQueueBuilder(**named), QuerySchedulerBuilder(**named),
        )  # fmt: skip

    async def install(self, db: asyncpg.Connection) -> None:
        """PgQueuer's tables, beside ours; brought up to date when an older PgQueuer made them."""
        queries = self.queries(db)
        await db.execute("select pg_advisory_lock($1)", _LOCK)
        try:
            if not await queries.schema_is_installed():
                await queries.install()
            elif (await queries.plan_upgrade()).statements:
                await queries.upgrade()
        finally:
            await db.execute("select pg_advisory_unlock($1)", _LOCK)

    # giving

    async def in_commit(self, db: asyncpg.Connection, changed: Sequence[tuple[Live, Sequence[Row]]]) -> None:
        """In the transaction that writes these rows: a job for every run that they may set going."""
        wanted = {
            (live.id, row.run_id): (live, row)
            for live, rows in changed
            for row in rows
            if row.type in WAKING and row.run_id
        }
        for (session_id, run_id), (live, row) in wanted.items():
            # Who waits for a person's answer goes first; of new runs, those of who has fewest.
            fresh = row.type == "run"
            await self.give(db, session_id, str(run_id), live.owner, live.root, fair=fresh)

    async def give(
        self, db: asyncpg.Connection, session_id: str, run_id: str, owner: str, root: str, *, fair: bool = True
    ) -> None:
        behind = 0
        if fair:
            behind = await db.fetchval(
                "select count(*) from pgqueuer where split_part(entrypoint, E'\\n', 1) = $1", owner
            )
        await self.queries(db).enqueue(
            entrypoint(owner, root),
            json.dumps([session_id, run_id]).encode(),
            priority=-behind,
            dedupe_key=f"{session_id}/{run_id}",
            on_conflict="skip",
        )

    # taking

    async def beat(self, db: asyncpg.Connection, roots: Sequence[str], held: Mapping[int, Task]) -> set[int]:
        """Say that this node lives, with which code bases and jobs. Returns the jobs that are not its own any more."""
        await db.execute(
            "insert into node (id, name, roots, seen) values ($1, $2, $3, now()) "
            "on conflict (id) do update set roots = excluded.roots, seen = excluded.seen",
            self.log.node, self._shown, list(roots),
        )  # fmt: skip
        await db.execute("delete from node where seen < now() - interval '1 day'")
        if not held:
            return set()
        mine = await db.fetch(
            "update pgqueuer set heartbeat = now() "
            "where id = any($1::bigint[]) and queue_manager_id = $2 and status = 'picked' returning id",
            list(held), self.me,
        )  # fmt: skip
        return set(held) - {row[0] for row in mine}

    async def take(self, db: asyncpg.Connection, roots: Sequence[str], free: int) -> list[Task]:
        """At most so many runs for this node, of the code bases that it has; those of nodes that are silent too."""
        if free <= 0:
            return []
        here = set(roots)
        known = await db.fetch("select distinct entrypoint from pgqueuer where status in ('queued', 'picked')")
        wanted = {
            QueueEntrypoint(name): EntrypointExecutionParameter(concurrency_limit=self.per_owner)
            for (name,) in known
            if name.partition("\n")[2] in here
        }
        if not wanted:
            return []
        jobs = await self.queries(db).dequeue(free, wanted, self.me, None, self.silence)
        return [Task(job, *json.loads(job.payload or b"[]")) for job in jobs]

    async def finish(self, db: asyncpg.Connection, task: Task, state: SessionState) -> bool:
        """Take the job out, if `state` is all there is and this run can do nothing more by it; the next run of the session gets its job.

        False: there is more to do, or more to be read first.
        """
        async with db.transaction():
            found = await db.fetchrow(
                "select stateful, owner, root from session where id = $1 for no key update", task.session_id
            )
            mine = await db.fetchval(
                "select queue_manager_id = $2 and status = 'picked' from pgqueuer where id = $1 for update",
                task.job.id, self.me,
            )  # fmt: skip
            if not mine:
                return True
            if found is not None:
                if found["stateful"] > state.seq:
                    return False
                following = state.runnable()
                if following is not None and following.id == task.run_id:
                    return False
                if following is not None:
                    await self.give(db, task.session_id, following.id, found["owner"], found["root"], fair=False)
            await self.queries(db).log_jobs([(task.job, "successful", None)])
        return True

    async def give_back(self, db: asyncpg.Connection, tasks: Sequence[Task]) -> None:
        """This node ends, or cannot go on: others take over at once."""
        for task in tasks:
            await db.execute(
                "update pgqueuer set status = 'queued', queue_manager_id = null, updated = now() "
                "where id = $1 and queue_manager_id = $2 and status = 'picked'",
                task.job.id, self.me,
            )  # fmt: skip
        if tasks:
            await db.execute("select pg_notify($1, '')", self.channel)

    async def leave(self, db: asyncpg.Connection) -> None:
        await db.execute("delete from node where id = $1", self.log.node)

    async def forget_old(self, db: asyncpg.Connection) -> None:
        await db.execute("delete from pgqueuer_log where created < now() - $1::interval", LOG_KEPT)

    # who has what

    async def roots_elsewhere(self, db: asyncpg.Connection, silence: float) -> dict[str, list[str]]:
        """The code bases of the other nodes that were seen lately, and the names of the nodes that have each."""
        found = await db.fetch(
            "select root, array_agg(name order by name) from node, unnest(roots) root "
            "where seen > now() - $1::interval and id <> $2 group by root order by root",
            timedelta(seconds=silence), self.log.node,
        )  # fmt: skip
        return {root: list(nodes) for root, nodes in found}

    async def listen(self, db: asyncpg.Connection, wake: Callable[[], None]) -> None:
        await db.add_listener(self.channel, lambda *_: wake())


def entrypoint(owner: str, root: str) -> str:
    """The name under which PgQueuer keeps the jobs of an owner in a code base: the label that a node must have, and what a limit counts."""
    return f"{owner}\n{root}"
