"""Files to what the index keeps of them: read in the workspace's jail, told apart by their hash, analysed if their content is new."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.index.analysis import Analysis
from reconvene.index.arrays import EMPTY, Arrays
from reconvene.index.languages.registry import language_of
from reconvene.index.roles import LISTED_ONLY, role_of
from reconvene.index.segment import Document
from reconvene.index.store import Batch, BlobKey, Change, FileRecord, Store
from reconvene.index.workers import Workers, WorkersClosed
from reconvene.workspace import Workspace
from reconvene.workspace.listing import FileStat
from reconvene.workspace.reading import binary_kind, blob_id, utf16

BATCH_FILES, BATCH_SECONDS = 200, 1.0
"""Of one commit, and so what a killed server does again at most."""
DATA_BYTES = 128 * 1024
"""Data files (JSON, XML, style sheets) over it are known by their paths only."""
DENIED = "denied"
"""State of a file that the operating system does not let us read; it is tried again each time."""
LOOKS = 2
"""At a time: what is asked for by its path is read while a look at everything, which keeps its threads, waits for just that."""
TOGETHER, AT_MOST = 8, 0.02
"""Files that are handed over at once, and the seconds from which on fewer are. To wake another thread for each costs a fifth of what that
one does."""
_HEAD = 8000


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was looked at. `record`: None when it is not there any more. `analysis`: None when only its path is known.

    `new`: it was analysed now.
    """

    path: str
    language: str
    record: FileRecord | None
    analysis: Analysis | None
    new: bool = False


@dataclass(slots=True)
class Gathered:
    """What one commit will write, and the documents that take the places of the old ones in memory."""

    began: float = field(default_factory=time.monotonic)
    blobs: list[tuple[BlobKey, Analysis]] = field(default_factory=list)
    seen: dict[str, FileRecord] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.seen) >= BATCH_FILES or (bool(self.seen) and time.monotonic() - self.began > BATCH_SECONDS)

    def add(self, found: Found, before: FileRecord | None) -> None:
        record = found.record
        if record is None:
            if before is not None:
                self.remove(found.path, before)
            return
        self.seen[found.path] = record
        if found.new and found.analysis is not None and record.blob is not None:
            self.blobs.append(((record.blob, found.language), found.analysis))
        if before is not None and (before.blob, before.state) == (record.blob, record.state):
            return
        self.documents.append(_document(found, record))
        self.changes.append(Change(found.path, _content(before), _content(record)))

    def remove(self, path: str, before: FileRecord) -> None:
        self.gone.append(path)
        self.changes.append(Change(path, _content(before), None))

    def batch(self) -> Batch:
        return Batch(self.blobs, self.seen, self.gone, self.changes)


class FileReader:
    """Reads files of one workspace, as many at a time as there are workers. For one thread, which may begin a second reading within one."""

    def __init__(self, workspace: Workspace, limits: Limits, workers: Workers) -> None:
        self._workspace = workspace
        self._limits = limits
        self._workers = workers
        self._threads = ThreadPoolExecutor(LOOKS * workers.count, thread_name_prefix="index-reader")
        self._closing = threading.Event()
        self._under_way: list[_Reading] = []

    def read_all(self, paths: Iterable[str], stats: Mapping[str, FileStat], store: Store) -> Iterator[Found]:
        """In the order they are done.

        Raises:
            WorkersClosed: `close` was called here or of the workers.
            ReconveneError: `workspace_gone`, `search_failed` (no worker starts).
        """
        reading = _Reading(paths, 2 * self._workers.count)
        self._under_way.append(reading)
        try:
            for _ in range(self._workers.count):
                self._submit(reading, stats, store)
            left = self._workers.count
            while left:
                some = reading.done.get()
                if self._closing.is_set():
                    raise WorkersClosed
                if some is None:
                    left -= 1
                elif isinstance(some, BaseException):
                    raise some
                else:
                    reading.room.release()
                    yield from some
        finally:
            reading.give_up()
            self._under_way.remove(reading)

    def warm(self) -> None:
        """Start the workers, which takes them a moment, while nothing is asked of them yet."""
        for _ in range(self._workers.count):
            with contextlib.suppress(RuntimeError):  # it is being closed
                self._threads.submit(self._workers.analyse, b"", "other")

    def _submit(self, reading: _Reading, stats: Mapping[str, FileStat], store: Store) -> None:
        try:
            self._threads.submit(self._read_some, reading, stats, store)
        except RuntimeError:  # it was closed
            raise WorkersClosed from None

    def _read_some(self, reading: _Reading, stats: Mapping[str, FileStat], store: Store) -> None:
        """One thread's part of them."""
        some: list[Found] = []
        try:
            while reading.has_room():
                some, ends = [], time.monotonic() + AT_MOST
                while len(some) < TOGETHER and time.monotonic() < ends and (path := reading.next()) is not None:
                    some.append(self._read(path, stats[path], store))
                reading.done.put(some)
        except BaseException as e:
            reading.done.put(some)
            reading.done.put(e)
        finally:
            reading.done.put(None)

    def close(self) -> None:
        """What is under way is given up; nothing is waited for. Idempotent."""
        self._closing.set()
        for reading in tuple(self._under_way):
            reading.give_up()
        # What is queued ends by itself: nobody who waits is told of a future that was cancelled in the queue.
        self._threads.shutdown(wait=False)

    def _read(self, path: str, stat: FileStat, store: Store) -> Found:
        if self._closing.is_set():
            raise WorkersClosed
        now = time.time_ns()
        language = language_of(path).name
        state = self._by_its_path(path, stat)
        data = b""
        if state is None:
            try:
                data = self._workspace.read_bytes(path, max_bytes=self._limits.indexed_file)
            except ReconveneError as e:
                if e.code == "workspace_gone":
                    raise
                if e.code not in ("permission_denied", "tool_failed", "too_large"):
                    return Found(path, language, None, None)  # deleted since it was listed, or no file any more
                state = "big" if e.code == "too_large" else DENIED
        if state is not None:
            return Found(path, language, FileRecord(None, state, stat.mtime_ns, stat.size, stat.ino, now), None)
        blob = bytes.fromhex(blob_id(data))
        record = FileRecord(blob, "read", stat.mtime_ns, stat.size, stat.ino, now)
        if (known := store.analysis((blob, language))) is not None:
            return Found(path, language, record, known)
        return Found(path, language, record, self._analyse(data, language), new=True)

    def _by_its_path(self, path: str, stat: FileStat) -> str | None:
        """Why a file's words are not taken though nobody has read them; None when they may be."""
        if path.rpartition(".")[2].lower() in LISTED_ONLY:
            return "listed"
        too_big = stat.size > self._limits.indexed_file or (stat.size > DATA_BYTES and role_of(path) == "data")
        return "big" if too_big else None

    def _analyse(self, data: bytes, language: str) -> Analysis:
        if binary_kind(data[:_HEAD]) is not None:
            return Analysis("binary", 0, 0)
        if not data.strip():
            return Analysis("indexed", data.count(b"\n"), 0)
        return self._workers.analyse(data, language, utf16(data[:_HEAD]) or "utf-8")


class _Reading:
    """Files that a few threads read for one that takes in what they find, which is never more than `most` times `TOGETHER` files behind.

    A future for each file would cost as much as reading it.
    """

    def __init__(self, paths: Iterable[str], most: int) -> None:
        self.done: SimpleQueue[list[Found] | BaseException | None] = SimpleQueue()
        """None from each thread when it ends."""
        self.room = threading.Semaphore(most)
        self._paths = iter(paths)
        self._lock = threading.Lock()
        self._over = False

    def has_room(self) -> bool:
        """Waits for it; False when there is nothing left to read."""
        self.room.acquire()
        if over := self._over:
            self.room.release()  # for the next thread, which ends as well
        return not over

    def next(self) -> str | None:
        with self._lock:
            path = None if self._over else next(self._paths, None)
        if path is None:
            self._over = True
        return path

    def give_up(self) -> None:
        """Nobody takes in any more: the threads end when they are done with the file they are at."""
        self._over = True
        self.room.release()


def _document(found: Found, record: FileRecord) -> Document:
    a = found.analysis
    if a is None:
        return Document(found.path, None, found.language, record.state, 0, 0, EMPTY)
    return Document(found.path, record.blob, found.language, a.state, a.lines, a.symbols, Arrays.unpack(a.postings))


def _content(record: FileRecord | None) -> bytes | None:
    """As `Change` has it."""
    return None if record is None else record.blob or b""
