"""The index of one root: what is stored is served at once, and brought up to date behind.

Truth is the disk: what a file's size, time and inode say, then its content's hash; only content that was never seen is analysed. Each
commit moves an epoch and records what changed by it. Blocking work runs in one thread of the index's own and in worker processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import apsw

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.index import analysis, stored
from reconvene.index.arrays import EMPTY, Arrays
from reconvene.index.definitions import Definition
from reconvene.index.history import RECIPE as HISTORY_RECIPE
from reconvene.index.history import History
from reconvene.index.history_reader import HistoryReader
from reconvene.index.known_definitions import KnownDefinitions
from reconvene.index.languages.registry import language_of, rules_digest
from reconvene.index.looks import LookAtAll, Refresh
from reconvene.index.memory import give_back
from reconvene.index.order import ReadingOrder, paths_about
from reconvene.index.reader import DENIED, FileReader, Gathered
from reconvene.index.refusals import closed, kept_elsewhere, unusable
from reconvene.index.segment import Segment
from reconvene.index.settled import Settled, alone
from reconvene.index.store import SCHEMA, FileRecord, Store
from reconvene.index.syntax.outline import Syntax
from reconvene.index.syntax.reader import SyntaxReader
from reconvene.index.view import View
from reconvene.index.workers import Workers, WorkersClosed
from reconvene.workspace import Workspace
from reconvene.workspace.git_files import StoppedError
from reconvene.workspace.listing import FileStat, Listing
from reconvene.workspace.names import parse_path
from reconvene.workspace.reading import blob_id, decode_text
from reconvene.workspace.records import Records

T = TypeVar("T")

RACY_NS = 2_000_000_000
"""A file that changed so shortly before it was read may change again with the same time stamp: it is hashed once more (git's rule)."""
HISTORY_SECONDS = 5.0
"""Between two looks at the repository's commits, at least."""
FIRST_BATCH = 25
"""Files of the first commit; each has twice as many as the one before, up to `BATCH_FILES`. So what comes first is found soon."""
RECENT_COMMITS, RECENT_SECONDS = 200, 5.0
"""Commits whose files are read first, and for how long git may look for them."""
SETTLE_SECONDS = 1.0
"""A snapshot that is being written when the index is closed has so long to be done."""
MOST_CHANGES = 1000
"""Files looked through to tell whether a change concerns a search; more than that and it is searched again."""


class RootIndex:
    """One root's index, shared by all sessions. Use `open`; its methods may be called from the event loop, which they never block.

    `builds`: times it was built from nothing in this process. `parsed`: files analysed in this process.
    `view`: the whole index in memory, immutable; take it once for one answer.
    """

    def __init__(
        self, workspace: Workspace, limits: Limits, store: Store, path: Path, workers: Workers, *, own_workers: bool
    ) -> None:
        self.workspace = workspace
        self.limits = limits
        self.builds = 0
        self.parsed = 0
        self.view = View()
        self.progress: tuple[int, int] | None = None
        """(done, of) files while a refresh reads any; None otherwise."""
        self.verified = False
        """Everything was looked at since it was opened; until then answers are from what was stored."""
        self.resting = False
        """Its memory was given back; what is stored is read again when it is next used."""
        self.looked_ms = 0
        """What the last look at everything took, without reading what had changed."""
        self.remark: str | None = None
        """What there is to say of how the files were listed."""
        self._store = store
        self._path = path
        self._workers = workers
        self._own_workers = own_workers
        self._settled = Settled(path, version())
        self.truncated = False
        """The code base has more files than are looked at."""
        self._unlisted = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="index")
        self._reader = FileReader(workspace, limits, workers)
        self._closing = threading.Event()
        self._paused = threading.Event()
        self._order: ReadingOrder | None = None
        self._wants: deque[str] = deque(maxlen=3)
        self._urgent: deque[tuple[tuple[str, ...], Future[Refresh]]] = deque()
        self._look_at_all: LookAtAll | None = None
        self._running: asyncio.Task[Refresh] | None = None
        self._waiting: asyncio.Task[Refresh] | None = None
        self._history_thread = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._history_reader = HistoryReader(workspace, self._closing)
        self._history_task: asyncio.Task[bool] | None = None
        self._history_seen = -HISTORY_SECONDS
        self._settle_thread = ThreadPoolExecutor(1, thread_name_prefix="settling")
        self._settle_no_more = threading.Event()
        self._settling: asyncio.Task[None] | None = None
        self._definitions = KnownDefinitions(lambda key: self._store.definitions(key))
        self._syntax = SyntaxReader(lambda: self._store, self._definitions.of, workers)

    @classmethod
    async def open(
        cls, workspace: Workspace, data_dir: Path, limits: Limits, workers: Workers | None = None
    ) -> RootIndex:
        """The index of a workspace, with what is stored of it; nothing is looked at on disk yet.

        Args:
            workers: shared with other indexes; None for its own.

        Raises:
            ReconveneError: `search_failed` when it can neither be opened nor made.
        """
        return await asyncio.to_thread(cls._open, workspace, data_dir, limits, workers)

    @classmethod
    def _open(cls, workspace: Workspace, data_dir: Path, limits: Limits, workers: Workers | None) -> RootIndex:
        name = hashlib.sha256(str(workspace.root).encode()).hexdigest()[:24]
        path = data_dir / "indexes" / f"{name}.db"
        try:
            index = cls(
                workspace, limits, Store(path, version()), path, workers or Workers(), own_workers=workers is None
            )
            index._with_whole_store(index._load)
            if index._store.meta("paused") == "1":
                index._paused.set()
        except (OSError, apsw.Error) as e:
            raise unusable(workspace, e) from e
        return index

    # -- what is known

    @property
    def epoch(self) -> int:
        return self.view.epoch

    @property
    def files(self) -> int:
        return self.view.files

    @property
    def symbols(self) -> int:
        return self.view.symbols

    @property
    def skipped(self) -> int:
        """Files and folders of the code base that could not be read: denied, or given up."""
        return self.view.unread + self._unlisted

    @property
    def partial(self) -> bool:
        """Not every file is in the index yet."""
        return self.view.partial

    @property
    def paused(self) -> bool:
        """It answers from what it has, and reads only what is asked for by its path."""
        return self._paused.is_set()

    @property
    def shared(self) -> bool:
        """Another process keeps the stored index of this root; what is found here is not kept."""
        return self._store.shared

    def want(self, text: str) -> None:
        """Somebody waits for an answer to this: of the files that are still to be read, those whose paths have its words come next."""
        if self.partial and text not in self._wants:
            self._wants.append(text)
            if (order := self._order) is not None:
                # Not in the event loop, where this is called: a common word is in the paths of half a code base.
                with contextlib.suppress(RuntimeError):  # it is being closed
                    self._settle_thread.submit(self._put_wanted_first, order, text)

    def fingerprint(self, path: str) -> str | None:
        """The blob id of a file's content as indexed; None when it is not, or known by its path only."""
        blob = self.view.blob(path) or self.view.blob(parse_path(path))
        return blob.hex() if blob else None

    def changed_since(self, epoch: int) -> frozenset[str] | None:
        """Paths whose content is not what it was at an epoch; None when that is not known (an epoch of another index, or too long ago)."""
        changes = self._store.changes(epoch)
        return None if changes is None else frozenset(change.path for change in changes)

    def concerned_since(self, epoch: int, terms: Collection[int]) -> frozenset[str] | None:
        """Paths that changed since an epoch and had one of these terms before, or have it now. Blocking.

        None when that is not known, or too much changed to look through.
        """
        return stored.concerned(self._store, epoch, terms, MOST_CHANGES)

    def definitions(self, path: str) -> tuple[Definition, ...]:
        """The definitions of a file as indexed, in the order of their lines. Blocking, and cached."""
        blob = self.view.blob(path)
        return self.definitions_of(blob, path) if blob else ()

    def definitions_of(self, blob: bytes, path: str) -> tuple[Definition, ...]:
        """The definitions in a content that a file of this name had. Blocking, and cached."""
        return self._definitions.of((blob, language_of(path).name))

    async def syntax(self, paths: Collection[str], *, within_ms: float = 1000.0) -> dict[str, Syntax]:
        """The exact structure of files as they are on disk now: where each definition begins and ends, its kind and its signature.

        Files that cannot be read are left out, and so is what is not known in time; that is parsed behind, and known the next time.

        Args:
            paths: as `view` has them, or as they are displayed.
            within_ms: how long to wait for parsers, wall clock.

        Raises:
            ReconveneError: `draining` when the index was closed; `workspace_gone`.
        """
        if self._closing.is_set():
            raise closed()
        begun = await asyncio.to_thread(self._begin_syntax, tuple(paths))
        if not begun:
            return {}
        waiting = {path: asyncio.wrap_future(future) for path, future in begun.items()}
        done, _ = await asyncio.wait(waiting.values(), timeout=within_ms / 1000)
        try:
            return {path: future.result() for path, future in waiting.items() if future in done}
        except (WorkersClosed, asyncio.CancelledError):
            raise closed() from None

    def syntax_of(self, blob: bytes, path: str, data: bytes) -> Syntax:
        """The structure of a content that a file of this name has. Blocking until it is known, which takes a parser's deadline at most
        when none is busy: what is said with it does not depend on how busy the machine is.

        Args:
            data: the content as `decode_text` has it, in UTF-8.

        Raises:
            ReconveneError: `draining` when the index was closed meanwhile.
        """
        try:
            return self._syntax.of((blob, language_of(path).name), data)
        except WorkersClosed:
            raise closed() from None

    def syntax_error(self, path: str, content: bytes) -> int | None:
        """The line at which the grammar of the path's language first finds this content at fault; None: nowhere, or it cannot say.
        A grammar may be behind its language, so that what it finds is a doubt, not a verdict. Blocking.
        """
        language = language_of(path)
        if not language.grammars or len(content) > self.limits.indexed_file:
            return None
        try:
            found = self._workers.faults(content, language.name)
        except (ReconveneError, WorkersClosed):
            return None
        return found.lines if found.symbols else None

    def _begin_syntax(self, paths: Collection[str]) -> dict[str, Future[Syntax]]:
        begun = {}
        for path in paths:
            try:
                data = self.workspace.read_bytes(path, max_bytes=self.limits.indexed_file)
            except ReconveneError as e:
                if e.code == "workspace_gone":
                    raise
                continue
            text = decode_text(data)
            if text is None:
                continue
            key = bytes.fromhex(blob_id(data)), language_of(path).name
            try:
                begun[path] = self._syntax.begin(key, text.encode("utf-8", "replace"))
            except WorkersClosed:
                raise closed() from None
        return begun

    def arrays(self, path: str) -> Arrays:
        """What was found in a file as indexed, nothing for one that is known by its path only. Blocking."""
        blob = self.view.blob(path)
        for _, postings in self._store.postings([(blob, language_of(path).name)] if blob else []):
            return Arrays.unpack(postings)
        return EMPTY

    def note(self, name: str, epoch: int) -> str | None:
        """A text kept with the index, if it was made at this epoch. Blocking."""
        return self._store.note(name, epoch)

    def keep_note(self, name: str, epoch: int, value: str) -> None:
        """Keep a text that holds for this epoch, over restarts. Blocking; a failure to write it is no failure."""
        with contextlib.suppress(apsw.Error):
            self._store.keep_note(name, epoch, value)

    def left_out(self) -> dict[str, str]:
        """Files that are not in the index though they should be, and why (`denied`, `poison: time`, `poison: died`). Blocking."""
        return stored.left_out(self._store)

    # -- keeping it true

    async def refresh(self, only: Collection[str] | None = None) -> Refresh:
        """Look at the disk and take in what changed. Calls that come while one waits to begin share it.

        Args:
            only: just these paths, for a change that is known of.

        Raises:
            ReconveneError: `workspace_gone`; `search_failed` when no worker can be started or the data folder cannot be written;
                `draining` when the index was closed meanwhile.
        """
        if only is not None:
            return await self.refresh_paths(only)
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._next(self._running))
            self._waiting.add_done_callback(_retrieved)
        return await asyncio.shield(self._waiting)

    async def refresh_paths(self, paths: Collection[str]) -> Refresh:
        """Take in just these paths, at once, also while everything is being read or the index is paused: what was written by
        ourselves, or is said to have changed.

        Raises:
            ReconveneError: as `refresh`.
        """
        done: Future[Refresh] = Future()
        asked = tuple(paths), done
        self._urgent.append(asked)
        answer = asyncio.wrap_future(done)
        answer.add_done_callback(_retrieved)
        # A look at everything that is under way takes it in between two files; else this does.
        attending = asyncio.ensure_future(self._in_thread(self._attend))
        attending.add_done_callback(_retrieved)
        both: set[asyncio.Future[Any]] = {answer, attending}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            with contextlib.suppress(ValueError):
                self._urgent.remove(asked)
            await attending
        return await answer

    async def pause(self) -> None:
        """Read nothing more until `resume`, also after a restart. What is under way is ended, what was read is kept."""
        self._paused.set()
        await self._in_thread(self._keep_paused, "1")

    async def resume(self) -> None:
        """Undo `pause`: the next `refresh` goes on where it was."""
        self._paused.clear()
        await self._in_thread(self._keep_paused, "0")

    async def rebuild(self) -> None:
        """Throw away what is stored, and end a pause: the next `refresh` builds it from nothing.

        Raises:
            ReconveneError: `search_failed` when another process keeps this index, or the data folder cannot be written.
        """
        if self.shared:
            raise kept_elsewhere(self.workspace)
        self._paused.set()  # ends a look that is under way
        await self._in_thread(self._start_anew)
        self._paused.clear()

    async def rest(self) -> None:
        """Give back the memory; what is stored is read again when it is next used."""
        await self._in_thread(self._fall_asleep)

    async def wake(self) -> None:
        """Undo `rest`."""
        if self.resting:
            await self._in_thread(lambda: None)

    async def refresh_within(self, seconds: float) -> Refresh | None:
        """`refresh`, waited for so long at most: None when it takes longer, and then it goes on behind.

        Raises:
            ReconveneError: as `refresh`.
        """
        looking = asyncio.ensure_future(self.refresh())
        looking.add_done_callback(_retrieved)
        done, _ = await asyncio.wait({looking}, timeout=seconds)
        return looking.result() if done else None

    async def take_in_history(self) -> bool:
        """Look at the repository's commits, and take in what is new; whether there was anything.

        Each full `refresh` sets this off behind, at most every `HISTORY_SECONDS`; nobody has to wait for it.
        """
        while self._history_task is not None and not self._history_task.done():
            await asyncio.wait({self._history_task})  # it may have looked before the caller's last commit
        return await asyncio.shield(self._start_history())

    def _start_history(self) -> asyncio.Task[bool]:
        self._history_task = asyncio.create_task(self._look_at_history())
        self._history_task.add_done_callback(_retrieved)
        return self._history_task

    async def _look_at_history(self) -> bool:
        loop = asyncio.get_running_loop()
        try:
            if self._closing.is_set():
                return False
            found = await loop.run_in_executor(
                self._history_thread, self._history_reader.read, self._store, self.view.history
            )
            if found is None or self._closing.is_set():
                return False
            # In the index's own thread: only there views are replaced.
            await loop.run_in_executor(self._thread, self._put_history, found)
        except (StoppedError, apsw.Error):
            return False  # a store that fails is noticed, and made anew, by the next look at the files
        finally:
            self._history_seen = time.monotonic()
        return True

    async def _next(self, before: asyncio.Task[Refresh] | None) -> Refresh:
        # A look that began before the caller's last write may have missed it: later callers share the one after.
        if before is not None:
            await asyncio.wait({before})
        await asyncio.sleep(0)
        self._running, self._waiting = self._waiting, None
        found = await self._in_thread(self._look)
        idle = self._history_task is None or self._history_task.done()
        if idle and time.monotonic() - self._history_seen >= HISTORY_SECONDS and not self._closing.is_set():
            self._start_history()
        if not self._closing.is_set() and not self.view.partial:
            first = not self._settled.exists
            self._settle_soon()
            if first and self._settling is not None:
                # What was built is built when the next start has it at once, whatever ends this process.
                await asyncio.wait({self._settling})
        return found

    def _settle_soon(self) -> None:
        """Make a snapshot behind, when one is worth it."""
        idle = self._settling is None or self._settling.done()
        if idle and not self.shared and not self.resting and self._settled.is_due(self.view.known):
            self._settling = asyncio.create_task(self._settle(self._store, [self.view.known]))
            self._settling.add_done_callback(_retrieved)

    async def _settle(self, store: Store, views: list[View]) -> None:
        """
        Args:
            views: the one to be written, which is taken out: what only it holds can go, and not in the event loop, which that would take
                20 ms.
        """
        loop, epoch = asyncio.get_running_loop(), views[0].epoch
        try:
            name = await loop.run_in_executor(
                self._settle_thread, lambda: self._settled.write(views.pop(), self._settle_no_more)
            )
            if self._settle_no_more.is_set():
                self._settled.drop(name)
            else:
                await loop.run_in_executor(self._thread, self._take_settled, store, epoch, name)
                await loop.run_in_executor(self._settle_thread, give_back)
        except (OSError, StoppedError, apsw.Error):
            return  # without one, a restart takes a little longer

    async def close(self) -> None:
        """End the work under way and close the files. Idempotent."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._reader.close()
        self._syntax.close()
        if self._own_workers:
            await end(self._workers)
        self._settle_soon()
        if self._settling is not None:  # what was built so far is served at once the next time
            await asyncio.wait({self._settling}, timeout=SETTLE_SECONDS)
        self._settle_no_more.set()
        if under_way := {task for task in (self._history_task, self._settling) if task is not None}:
            await asyncio.wait(under_way)
        self._settle_thread.shutdown(wait=False)
        self._history_thread.shutdown(wait=False, cancel_futures=True)
        # The thread notices within a file's time; what was committed stays.
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
        while self._urgent:
            self._urgent.popleft()[1].cancel()
        await asyncio.to_thread(self._store.close)

    async def _in_thread(self, work: Callable[..., T], *args: object) -> T:
        if self._closing.is_set():
            raise closed()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, functools.partial(self._with_whole_store, self._awake, work, *args)
            )
        except (WorkersClosed, StoppedError):
            raise closed() from None
        except apsw.Error as e:
            if self._closing.is_set():
                raise closed() from None
            raise unusable(self.workspace, e) from e

    def _with_whole_store(self, work: Callable[..., T], *args: object) -> T:
        """Do it; when the stored index turns out to be damaged, do it again with a new one."""
        try:
            return work(*args)
        except (apsw.CorruptError, apsw.NotADBError, apsw.FormatError):
            self._store.close()
            Store.remove(self._path)
            self._store = Store(self._path, version())
            self._forget()
            self._load()
            return work(*args)

    # -- in the index's thread

    def _awake(self, work: Callable[..., T], *args: object) -> T:
        if self.resting:
            self._load()
            self.resting = False
        return work(*args)

    def _fall_asleep(self) -> None:
        self._forget()
        self.__dict__.pop("_records", None)
        self.view, self.resting = View(), True
        give_back()

    def _start_anew(self) -> None:
        self._store.start_anew(self._path, version())
        self._forget()
        self._load()

    def _forget(self) -> None:
        self.verified = False
        self._definitions.forget()
        self._syntax.forget()
        self._history_reader = HistoryReader(self.workspace, self._closing)
        self._history_seen = -HISTORY_SECONDS

    def _keep_paused(self, value: str) -> None:
        self._store.keep_meta("paused", value)

    def _take_over(self) -> None:
        """Another process kept this index when it was opened; from when that has ended on, this one does."""
        if self._store.shared and Store.is_free(self._path):
            self._store.close()
            self._store = Store(self._path, version())
            self._forget()
            self._load()

    @functools.cached_property
    def _records(self) -> Records[FileRecord]:
        """Every file as it was when last looked at; read when the first look needs it."""
        return self._store.files()

    def _load(self) -> None:
        self.__dict__.pop("_records", None)
        partial = self._store.meta("complete") != "1"
        self.view = View(epoch=self._store.epoch, partial=partial, history=stored.history(self._store))
        settled = self._settled.load(self._store)
        if settled is None or not self._lay_over(*settled):
            self.view = self.view.replace(
                (), stored.documents(self._store, self._records), epoch=self.view.epoch, partial=partial
            )

    def _lay_over(self, segment: Segment, epoch: int) -> bool:
        """Make the view of this segment and what changed since; False when that is not known or too much."""
        changed = self._store.changed_paths(epoch)
        if changed is None or len(changed) > max(MOST_CHANGES, len(segment.paths) // 4):
            return False
        known = {path: record for path in sorted(changed) if (record := self._store.file(path)) is not None}
        documents = [stored.document(self._store, path, record) for path, record in known.items()]
        self.view = alone(segment, self.view).replace(
            changed - known.keys(), documents, epoch=self.view.epoch, partial=self.view.partial
        )
        return True

    def _take_settled(self, store: Store, epoch: int, name: str) -> None:
        """Name the snapshot in the store, and use it in place of what it was made of: mapped, it need not be in memory."""
        if store is not self._store or self.resting:
            self._settled.drop(name)
        elif self._closing.is_set():
            self._settled.name(store, name, epoch)  # for the next start
        elif self.view.waiting:
            self._settled.drop(name)
        elif (segment := self._settled.take(store, name, epoch)) is not None:
            self._lay_over(segment, epoch)

    def _put_history(self, history: History) -> None:
        self.view = replace(self.view, history=history)

    def _look(self) -> Refresh:
        """At everything. It ends early when the index is paused; the next one goes on from there."""
        began = time.monotonic()
        if self._paused.is_set():
            return Refresh(self.view.epoch, frozenset(), 0, 0, True, self.truncated, True)
        self._take_over()
        if not self._records:
            self._reader.warm()
        listing = self.workspace.listing(self._closing)
        if not self._records and listing.paths:
            self.builds += 1
        todo = [path for path in listing.paths if self._must_read(path, listing.stats[path])]
        gone = [path for path in self._records if path not in listing.stats]
        if listing.truncated:
            gone = [path for path in gone if self.workspace.stat(path) is None]
        parsed_before = self.parsed
        self.looked_ms = round((time.monotonic() - began) * 1000)
        under_way = self._look_at_all = LookAtAll(listing.stats)
        self.progress = (0, len(todo)) if todo else None
        try:
            changed = self._read(todo, gone, under_way)
        finally:
            self.progress = self._look_at_all = self._order = None
        paused = self._paused.is_set()
        self._unlisted, self.truncated, self.remark = listing.skipped, listing.truncated, listing.note
        self.verified = not paused and not under_way.missed
        if changed and not paused:
            self._store.tidy()
        ms = round((time.monotonic() - began) * 1000)
        parsed = self.parsed - parsed_before
        return Refresh(self.view.epoch, changed, parsed, ms, not changed, listing.truncated, paused)

    def _read(self, todo: list[str], gone: list[str], under_way: LookAtAll) -> frozenset[str]:
        """Take in the files of a look at everything; returns what changed by it."""
        self._order = order = ReadingOrder(todo, stats=under_way.stats)
        if len(todo) > FIRST_BATCH:
            if self.view.partial:
                self._announce(todo)
                for text in tuple(self._wants):
                    order.first(paths_about(self.view, text))
            with contextlib.suppress(RuntimeError):  # it is being closed
                self._history_thread.submit(self._put_recent_first, order)
        changed: set[str] = set()
        batch, enough = Gathered(), FIRST_BATCH
        try:
            for done, found in enumerate(self._reader.read_all(order, under_way.stats, self._store), 1):
                if found.path not in under_way.overtaken:
                    batch.add(found, self._records.get(found.path))
                self.progress = (done, len(todo))
                if batch.full or len(batch.seen) >= enough or self._urgent or self._paused.is_set():
                    changed |= self._commit(batch, partial=self.view.partial)
                    batch, enough = Gathered(), 2 * enough
                    self._attend()
                if self._paused.is_set():
                    return frozenset(changed)
        except WorkersClosed:
            self._commit(batch, partial=self.view.partial)
            raise
        for path in gone:
            if path in self._records and path not in under_way.overtaken:
                batch.remove(path, self._records[path])
        # A truncated listing leaves files out for good; what it does list is complete.
        return frozenset(changed) | self._commit(batch, partial=False, last=True)

    def _announce(self, todo: list[str]) -> None:
        """What has not been read yet can be found by its path already."""
        self.view = self.view.announce([path for path in todo if path not in self._records])

    def _put_wanted_first(self, order: ReadingOrder, text: str) -> None:
        order.first(paths_about(self.view, text))

    def _put_recent_first(self, order: ReadingOrder) -> None:
        with contextlib.suppress(StoppedError):
            if git := self.workspace.git_history(self._closing):
                order.soon(git.touched(RECENT_COMMITS, RECENT_SECONDS))

    def _attend(self) -> None:
        while self._urgent:
            paths, done = self._urgent.popleft()
            try:
                done.set_result(self._look_at(paths))
            except (apsw.CorruptError, apsw.NotADBError, apsw.FormatError):
                self._urgent.appendleft((paths, done))  # to be done again with a new store
                raise
            except BaseException as e:
                done.set_exception(e)

    def _look_at(self, asked: tuple[str, ...]) -> Refresh:
        """At some paths only. Whether a file that is not known is ignored, git tells; where it cannot, only a whole look does."""
        began, parsed_before = time.monotonic(), self.parsed
        paths = {parse_path(path) for path in asked}
        new = paths - self._records.keys()
        told = self.workspace.listing_of(new, self._closing) if new else _NOTHING_LISTED
        stats = dict(told.stats) if told is not None else {}
        if told is None:
            if self._look_at_all is None:
                return self._look()
            strange = new - self._look_at_all.stats.keys()
            self._look_at_all.missed |= bool(strange)
            paths -= strange
        for path in paths - new if told is not None else paths:
            if (stat := self.workspace.stat(path)) is not None:
                stats[path] = stat
        batch = Gathered()
        todo = sorted(path for path in stats if self._must_read(path, stats[path]))
        for found in self._reader.read_all(todo, stats, self._store):
            batch.add(found, self._records.get(found.path))
        for path in paths - stats.keys():
            if path in self._records:
                batch.remove(path, self._records[path])
        changed = self._commit(batch, partial=self.view.partial)
        if self._look_at_all is not None:
            self._look_at_all.overtaken |= paths
        ms = round((time.monotonic() - began) * 1000)
        return Refresh(
            self.view.epoch, changed, self.parsed - parsed_before, ms, not changed, self.truncated, self.paused
        )

    def _must_read(self, path: str, stat: FileStat) -> bool:
        record = self._records.get(path)
        if record is None or record.state == DENIED:
            return True
        if (record.mtime_ns, record.size, record.ino) != (stat.mtime_ns, stat.size, stat.ino):
            return True
        if record.blob is None:
            return False
        # A time that was set (`touch`, `rsync -t`) says nothing; when something was done to the file, nobody can set.
        done_since = stat.ctime_ns > record.seen_ns - RACY_NS
        return done_since or abs(record.seen_ns - record.mtime_ns) < RACY_NS

    def _commit(self, batch: Gathered, *, partial: bool, last: bool = False) -> frozenset[str]:
        complete = "0" if partial else "1"
        if not batch.seen and not batch.gone and not (last and self.view.partial):
            return frozenset()
        epoch = self._store.commit(batch.batch(), {"complete": complete})
        self.parsed += len(batch.blobs)
        self._records.update(batch.seen)
        for path in batch.gone:
            del self._records[path]
        changed = frozenset(change.path for change in batch.changes) | frozenset(d.path for d in batch.documents)
        if changed or partial != self.view.partial:
            self.view = self.view.replace(batch.gone, batch.documents, epoch=epoch, partial=partial)
        return changed


async def end(workers: Workers) -> None:
    """Close them, which waits until their processes are gone: in a thread of its own, as all others may be waiting for just these."""
    with ThreadPoolExecutor(1, thread_name_prefix="ending") as thread:
        await asyncio.get_running_loop().run_in_executor(thread, workers.close)


@functools.cache
def version() -> str:
    """What an index was made by; one made otherwise is not used."""
    return f"{analysis.VERSION}.{HISTORY_RECIPE}.{rules_digest()}.{zlib.crc32(SCHEMA.encode()):08x}"


_NOTHING_LISTED = Listing([], False, 0, "git", None)


def _retrieved(task: asyncio.Future[Any]) -> None:
    """Whoever waits for it gets its failure; when nobody does any more, that is no news."""
    if not task.cancelled():
        task.exception()
