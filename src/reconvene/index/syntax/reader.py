"""Contents to their structure, from the server's side: remembered, kept with the index, or asked of a worker."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version

import apsw
import xxhash

from reconvene.errors import ReconveneError
from reconvene.index.analysis import Analysis
from reconvene.index.definitions import Definition, unpack
from reconvene.index.languages.registry import LANGUAGES
from reconvene.index.store import BlobKey, Store
from reconvene.index.syntax.outline import EXACT, Quoted, Syntax
from reconvene.index.workers import Workers, WorkersClosed

VERSION = 1
"""Raise it when the same content and grammar would be read otherwise than before."""
KEPT = 64
"""Structures in memory: all that an answer or two show. The next is read from the index, which takes a tenth of a millisecond."""
NO_GRAMMAR, UNREAD = "no grammar", "unread"


class SyntaxReader:
    """The structures of one index's contents. Thread-safe; each content is parsed once, whoever asks.

    Args:
        store: gives the index's store of the moment, which is made anew when it is damaged.
        guessed: the linear tier's definitions of a content, for those that have no better.
        workers: parse, in their processes.
    """

    def __init__(
        self, store: Callable[[], Store], guessed: Callable[[BlobKey], tuple[Definition, ...]], workers: Workers
    ) -> None:
        self._store = store
        self._guessed = guessed
        self._workers = workers
        self._lock = threading.Lock()
        self._kept: OrderedDict[BlobKey, Syntax] = OrderedDict()
        self._under_way: dict[BlobKey, Future[Syntax]] = {}
        self._threads = ThreadPoolExecutor(workers.count, thread_name_prefix="syntax")
        self.parsed = 0
        """Contents that were parsed in this process."""

    def known(self, key: BlobKey) -> Syntax | None:
        """What is known already, in memory or in the index; nothing is parsed."""
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return kept
        if not LANGUAGES[key[1]].grammars:
            return Syntax(key[0].hex(), NO_GRAMMAR, self._guessed(key), Quoted())
        with contextlib.suppress(apsw.Error):
            if (stored := self._store().structure(key, mark(key[1]))) is not None:
                return self._remembered(key, self._made(key, stored))
        return None

    def begin(self, key: BlobKey, data: bytes) -> Future[Syntax]:
        """The structure of a content, once it is known. What is not waited for is done all the same, and known the next time.

        Args:
            data: the content as `reading.decode_text` has it, in UTF-8; whether its last line ends is all the same.

        Raises:
            WorkersClosed: the reader was closed.
        """
        if (known := self.known(key)) is not None:
            done: Future[Syntax] = Future()
            done.set_result(known)
            return done
        with self._lock:
            future = self._under_way.get(key)
            if future is None:  # at worst, one that was finished just now is parsed again
                try:
                    future = self._under_way[key] = self._threads.submit(
                        self._parsed, key, data.removesuffix(b"\n") + b"\n"
                    )
                except RuntimeError:
                    raise WorkersClosed from None
                future.add_done_callback(lambda _: self._under_way.pop(key, None))
        return future

    def of(self, key: BlobKey, data: bytes) -> Syntax:
        """The structure of a content; waited for, a parser's deadline at most when none is busy. Blocking.

        Raises:
            WorkersClosed: the reader was closed.
        """
        try:
            return self.begin(key, data).result()
        except CancelledError:
            raise WorkersClosed from None

    def forget(self) -> None:
        """Drop what is in memory: the index it was kept with is gone."""
        with self._lock:
            self._kept.clear()

    def close(self) -> None:
        """What waits is given up, what is under way ends with the workers. Idempotent."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _parsed(self, key: BlobKey, data: bytes) -> Syntax:
        language = key[1]
        try:
            found = self._workers.structure(data, language)
        except ReconveneError:
            # No worker starts: nothing is known of the file, and what the linear tier says is better than no answer.
            return Syntax(key[0].hex(), UNREAD, self._guessed(key), Quoted())
        self.parsed += 1
        with contextlib.suppress(apsw.Error):
            self._store().keep_structure(key, mark(language), found)
        return self._remembered(key, self._made(key, found))

    def _made(self, key: BlobKey, found: Analysis) -> Syntax:
        exact = found.state == EXACT
        definitions = unpack(found.definitions) if exact else self._guessed(key)
        return Syntax(key[0].hex(), found.state, definitions, Quoted.unpack(found.postings))

    def _remembered(self, key: BlobKey, syntax: Syntax) -> Syntax:
        with self._lock:
            self._kept[key] = syntax
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return syntax


@functools.cache
def mark(language: str) -> str:
    """What a structure was made by: this code's version, the grammars' and what is asked of them. One made otherwise is made again."""
    known = LANGUAGES[language]
    made_by = [(_version(g.module), g.function, g.definitions, g.quoted, sorted(g.wraps)) for g in known.grammars]
    text = repr((VERSION, _version("tree_sitter"), known.embedded, known.most, made_by))
    return xxhash.xxh3_64_hexdigest(text.encode())


def _version(module: str) -> str:
    try:
        return version(module.replace("_", "-"))
    except PackageNotFoundError:
        return ""
