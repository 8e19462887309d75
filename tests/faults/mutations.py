"""Defences, broken on purpose inside a forked server: the crash test has to notice each of them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any


def none() -> None:
    """The product as it is."""


def send_before_commit() -> None:
    """What was appended is sent and acknowledged a moment before it is on disk."""
    from reconvene.log.writer import Writer

    commit = Writer._commit

    def early(self: Writer, db: Any, tx: Any, answers: list[Any]) -> None:
        self._post(self._deliver, list(answers), list(tx.commits))
        time.sleep(0.01)
        commit(self, db, tx, answers)
        answers.clear()
        tx.commits.clear()

    Writer._commit = early  # type: ignore[method-assign]


def subscribe_after_replay() -> None:
    """A connection hears of new events only a moment after it has read the old ones."""
    from reconvene.log.feed import Feed

    watch = Feed.watch

    def late(self: Feed, session_id: str, wake: Callable[[], None]) -> Any:
        deaf = True

        def heard() -> None:
            if not deaf:
                wake()

        def listen() -> None:
            nonlocal deaf
            deaf = False

        watched = watch(self, session_id, heard)
        asyncio.get_running_loop().call_later(1.5, listen)
        return watched

    Feed.watch = late  # type: ignore[method-assign]


def no_idempotency_key() -> None:
    """A command that is sent again is a new command."""
    from reconvene.log.sqlite import SqliteLog
    from reconvene.sessions.service import Sessions

    append = SqliteLog.append

    async def known(self: Any, command: Any) -> None:
        return None

    async def forgetful(self: Any, session_id: str, events: Any, *, command: Any = None, **rest: Any) -> Any:
        return await append(self, session_id, events, **rest)

    Sessions._known = known  # type: ignore[method-assign,assignment]
    SqliteLog.append = forgetful  # type: ignore[method-assign]


def forgetful_sub_agents() -> None:
    """What a coder or reviewer was answered is not looked up again."""
    from reconvene.runs.branch import Branch

    begin = Branch.__init__

    def forget(self: Branch, trunk: Any, scope: str, **more: Any) -> None:
        trunk.branches.pop(scope, None)
        begin(self, trunk, scope, **more)

    Branch.__init__ = forget  # type: ignore[method-assign]


def writes_without_a_journal() -> None:
    """What was begun to be written is neither looked up nor brought to its end."""
    from reconvene.runs.applying import Applying

    async def nothing(self: Applying) -> None:
        return None

    Applying.recover = nothing  # type: ignore[method-assign]
    Applying._last = lambda self, diff_id: None  # type: ignore[method-assign,assignment]


def no_recovery() -> None:
    """What a death interrupted is not looked for at the start."""
    from reconvene.runs.supervisor import Supervisor

    async def start(self: Supervisor) -> None:
        self._started = True

    Supervisor.start = start  # type: ignore[method-assign]


def forgetful_tools() -> None:
    """What a tool had given the model is not looked up after a death."""
    from reconvene.runs.journal import Journal

    load = Journal.load.__func__  # type: ignore[attr-defined]

    async def forget(cls: type[Journal], *args: Any) -> Journal:
        journal: Journal = await load(cls, *args)
        journal.results.clear()
        return journal

    Journal.load = classmethod(forget)  # type: ignore[assignment]


def an_index_of_the_dead_is_useless() -> None:
    """What a dead server kept of the index cannot be brought up to date by the next one."""
    from reconvene.errors import ReconveneError
    from reconvene.index.root import RootIndex

    refresh = RootIndex.refresh

    async def only_new(self: RootIndex, only: Any = None) -> Any:
        if vars(self).setdefault("_files_at_first", self.view.files):
            raise ReconveneError("search_failed", "The index was made by somebody else.")
        return await refresh(self, only)

    RootIndex.refresh = only_new  # type: ignore[method-assign]


def an_index_that_failed_is_kept() -> None:
    """An index that once could not be brought up to date says so ever after."""
    from reconvene.index.root import RootIndex

    refresh = RootIndex.refresh

    async def once(self: RootIndex, only: Any = None) -> Any:
        if failure := vars(self).get("_failure"):
            raise failure
        try:
            return await refresh(self, only)
        except Exception as e:
            vars(self)["_failure"] = e
            raise

    RootIndex.refresh = once  # type: ignore[method-assign]


def believes_a_failed_commit() -> None:
    """A commit that failed is answered as if it had been made."""
    from reconvene.log.writer import Writer

    def reconcile(self: Writer, batch: Any, unknown: Any) -> Any:
        return unknown.answers, unknown.tx.commits

    Writer._reconcile = reconcile  # type: ignore[method-assign]


def untyped_failures() -> None:
    """What the disk says comes out as it is."""
    from reconvene.log import writer

    def plain(error: Any, *_: Any) -> Any:
        return error

    writer.explain = plain  # type: ignore[assignment]


def names_are_not_synced() -> None:
    """The outcome of a change is written down before the folders of its files are durable."""
    from reconvene.workspace.edits.folders import Folders

    Folders.sync = lambda self, folders: None  # type: ignore[method-assign]


def contents_are_not_synced() -> None:
    """A file takes its place before its content is durable."""
    from reconvene.workspace.edits.disk import Disk

    sync = Disk.sync

    def only_folders(self: Disk, fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            sync(self, fd)

    Disk.sync = only_folders  # type: ignore[method-assign]


OF_CHANGES: dict[str, Callable[[], None]] = {f.__name__: f for f in (forgetful_sub_agents, writes_without_a_journal)}
"""Only a change of files can notice these."""
OF_DEATHS: dict[str, Callable[[], None]] = {
    f.__name__: f for f in (no_recovery, forgetful_tools, an_index_of_the_dead_is_useless)
}
"""Only deaths that are many enough notice these."""
OF_FAULTS: dict[str, Callable[[], None]] = {
    f.__name__: f for f in (believes_a_failed_commit, untyped_failures, an_index_that_failed_is_kept)
}
"""Only a disk that fails can notice these."""
OF_POWER: dict[str, Callable[[], None]] = {f.__name__: f for f in (names_are_not_synced, contents_are_not_synced)}
"""Only a power cut can notice these."""
MUTATIONS: dict[str, Callable[[], None]] = {
    f.__name__: f for f in (none, send_before_commit, subscribe_after_replay, no_idempotency_key)
}
