"""The worker processes, from the server's side: a few, started when first needed, each given one file at a time and a deadline.

Never forked from this process, which has threads: a new program is started, with nothing inherited but its two pipes.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import reconvene
from reconvene.errors import ReconveneError
from reconvene.index.analysis import Analysis
from reconvene.index.worker import ANSWER, FAULTS, READY, REQUEST, SYNTAX, WORDS, text

COUNT = min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
SECONDS = 5.0
"""Processor time for one file. Not wall-clock time: on a busy machine, where workers come last, a good file would be marked for good."""
PATIENCE = 4.0
"""A file's wall-clock time, in its processor time: whatever sleeps or is starved is ended then."""
REST_SECONDS = 600.0
"""A process that was not needed for so long is ended; it starts again in a quarter of a second."""
_START_SECONDS = 30.0
"""Processor time for a process to be ready; `PATIENCE` times that on the clock."""
_PIECE = 1 << 16
"""Bytes; what a pipe holds."""
POISON = "poison"
_COMMAND = (sys.executable, "-P", "-m", "reconvene.index.worker")
# What a worker gets of the environment: nothing that holds a key, and no current directory whose files could be imported.
_KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "LANG", "LC_ALL", "TMPDIR")


class WorkersClosed(Exception):
    """The workers were closed while the caller waited; nothing is known of the file."""


class Workers:
    """Analyses files in other processes. Blocking and thread-safe; `count` calls at a time make progress.

    Args:
        count: processes at most.
        seconds: processor time for one file; `PATIENCE` times that is its wall-clock time.
        rest: seconds after which a process that nobody needed is ended.
        command: the program to start; a test gives another.
    """

    def __init__(
        self,
        count: int = COUNT,
        *,
        seconds: float = SECONDS,
        rest: float = REST_SECONDS,
        command: tuple[str, ...] = _COMMAND,
    ) -> None:
        self.count = count
        self._rest = rest
        self._resting: threading.Timer | None = None
        self._timing = threading.Lock()
        self._seconds = seconds
        self._command = command
        self._closed = threading.Event()
        self._all = [_Worker() for _ in range(count)]
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for worker in self._all:
            self._idle.put(worker)

    def analyse(self, data: bytes, language: str, codec: str = "utf-8") -> Analysis:
        """The analysis of a file's content; of one that a worker does not survive, an empty one with state `poison: <reason>`.

        A worker that merely died is given the same file once more: something else may have killed it.

        Raises:
            WorkersClosed: `close` was called.
            ReconveneError: `search_failed` when a worker cannot be started.
        """
        return self._asked(WORDS, data, language, codec)

    def structure(self, data: bytes, language: str, codec: str = "utf-8") -> Analysis:
        """What the language's grammar says of a content (see `syntax.parsing.outline`), in the same way."""
        return self._asked(SYNTAX, data, language, codec)

    def faults(self, data: bytes, language: str) -> Analysis:
        """Where a language's grammar finds a UTF-8 text at fault (see `syntax.faults`), in the same way."""
        return self._asked(FAULTS, data, language, "utf-8")

    def _asked(self, task: bytes, data: bytes, language: str, codec: str) -> Analysis:
        worker = self._take()
        try:
            for last in (False, True):
                try:
                    worker.start(self._command, self._closed)
                    return worker.ask(task, data, language, codec, self._seconds)
                except TimeoutError:
                    reason = "time"
                except (OSError, EOFError):
                    reason = "died"
                worker.end()
                self._check()
                if last or reason == "time":
                    return Analysis(f"{POISON}: {reason}", 0, 0)
            raise AssertionError("unreachable")
        finally:
            worker.used = time.monotonic()
            self._idle.put(worker)
            if self._closed.is_set():
                self._end_idle()
            else:
                self._rest_later(self._rest)

    def close(self) -> None:
        """End all processes at once. Idempotent; calls under way raise WorkersClosed."""
        self._closed.set()
        for worker in self._all:
            worker.kill()
        with self._timing:
            resting = self._resting
        if resting is not None:
            resting.cancel()
            resting.join()  # it may have idle ones in its hands
        self._end_idle()

    def pids(self) -> list[int]:
        """Of the processes that there are, until they are gone and waited for."""
        return [process.pid for worker in self._all if (process := worker.process) is not None]

    def _take(self) -> _Worker:
        while True:
            self._check()
            with contextlib.suppress(queue.Empty):
                return self._idle.get(timeout=0.2)

    def _check(self) -> None:
        if self._closed.is_set():
            raise WorkersClosed

    def _rest_later(self, seconds: float) -> None:
        with self._timing:
            if self._resting is None and not self._closed.is_set():
                self._resting = threading.Timer(seconds, self._end_unused)
                self._resting.daemon = True
                self._resting.start()

    def _end_unused(self) -> None:
        idle: list[_Worker] = []
        with contextlib.suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        for worker in idle:
            if time.monotonic() - worker.used >= self._rest:
                worker.end()
        for worker in reversed(idle):  # the one used last is taken first again
            self._idle.put(worker)
        with self._timing:
            self._resting = None
        if self._closed.is_set():
            self._end_idle()
        elif awake := [worker.used for worker in self._all if worker.process is not None]:
            self._rest_later(max(min(awake) + self._rest - time.monotonic(), 0.05))

    def _end_idle(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().end()


class _Worker:
    """One process and its pipes. All but `kill` belong to whoever took it from the idle ones."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.used = 0.0
        """When it last answered."""

    def start(self, command: tuple[str, ...], closed: threading.Event) -> None:
        """
        Raises:
            WorkersClosed: `closed` is set: nobody else may know of this process to kill it.
            ReconveneError: `search_failed`.
        """
        if self.process is not None:
            return
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | {
            "PYTHONPATH": str(Path(reconvene.__file__).parents[1])
        }
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=environment,
                bufsize=0,
            )
            if closed.is_set():
                raise EOFError
            for pipe in self._pipes():
                os.set_blocking(pipe, False)
            deadline = _Deadline(PATIENCE * _START_SECONDS, _START_SECONDS, self.process.pid)
            if _read(self._pipes()[1], bytearray(), len(READY), deadline) != READY:
                raise EOFError
        except (OSError, EOFError) as e:
            self.end()
            if closed.is_set():
                raise WorkersClosed from None
            sentence = (
                f"The process that reads code for the index does not start ({shlex.join(command)}). "
                "Reinstall Reconvene, or run that command to see why."
            )
            raise ReconveneError("search_failed", sentence) from e

    def ask(self, task: bytes, data: bytes, language: str, codec: str, seconds: float) -> Analysis:
        writing, reading = self._pipes()
        assert self.process is not None
        deadline = _Deadline(PATIENCE * seconds, seconds, self.process.pid)
        _write(writing, REQUEST.pack(len(data), task, codec.encode(), language.encode()) + data, deadline)
        answer = _read(reading, bytearray(), ANSWER.size, deadline)
        state, lines, symbols, definitions, postings = ANSWER.unpack_from(answer)
        middle = ANSWER.size + definitions
        rest = memoryview(_read(reading, answer, middle + postings, deadline))
        return Analysis(text(state), lines, symbols, bytes(rest[ANSWER.size : middle]), bytes(rest[middle:]))

    def kill(self) -> None:
        if (process := self.process) is not None:
            process.kill()

    def end(self) -> None:
        process = self.process
        if process is None:
            return
        process.kill()
        process.wait()
        self.process = None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _pipes(self) -> tuple[int, int]:
        assert self.process is not None and self.process.stdin is not None and self.process.stdout is not None
        return self.process.stdin.fileno(), self.process.stdout.fileno()


class _Deadline:
    """`seconds` from now on, and `processor` seconds of a process, whichever is over first.

    Where the system does not tell what another process used, it is taken to have had the processor all the time.
    """

    def __init__(self, seconds: float, processor: float | None = None, pid: int = 0) -> None:
        self._ends = time.monotonic() + seconds
        self._pid = pid
        self._processor = None if processor is None else self._used() + processor

    def left(self) -> float:
        """Seconds until it may be over; it need not be then."""
        left = self._ends - time.monotonic()
        return left if self._processor is None else min(left, self._processor - self._used())

    def _used(self) -> float:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # it is dead, and about to be found so
                return time.clock_gettime(~self._pid << 3 | 2)  # clock_getcpuclockid(3), which Python does not have
        return time.monotonic()


def _write(pipe: int, data: bytes, deadline: _Deadline) -> None:
    view = memoryview(data)
    while True:
        with contextlib.suppress(BlockingIOError):
            view = view[os.write(pipe, view) :]
        if not view:
            return
        _wait(pipe, select.POLLOUT, deadline)


def _read(pipe: int, found: bytearray, size: int, deadline: _Deadline) -> bytearray:
    """All that is there, until what was found before and now is of this size: nothing comes after an answer until it is asked for."""
    while len(found) < size:
        _wait(pipe, select.POLLIN, deadline)
        piece = os.read(pipe, _PIECE)
        if not piece:
            raise EOFError
        found += piece
    return found


def _wait(pipe: int, event: int, deadline: _Deadline) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    while not poll.poll(max(0.02, deadline.left()) * 1000):
        if deadline.left() <= 0:
            raise TimeoutError
