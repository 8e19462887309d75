"""The supervisor: one small process for each command, outside the server, so that a restart of the server ends nothing.

`python -I -m reconvene.commands.supervise FOLDER`, where FOLDER holds `spec.json` (see `job.Spec`). It leaves there:

* `lock`: held (POSIX record lock) as long as it lives, so that its pid can be asked of the kernel and never be another's;
* `started`: on disk before the command is, so that nobody ever starts it a second time;
* `out`: what the command wrote, standard output and errors as they came, up to `keep` bytes; of the rest the last ones, in `tail`;
* `result.json`: how it ended, written whole or not at all.

SIGTERM cancels: the command, its group and everything it started get SIGTERM, and SIGKILL `GRACE` seconds later.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

from reconvene.commands.confinement import Confinement, confine, die_with_parent, wrapped

GRACE = 3.0
_PIECE = 65536
_PR_SET_CHILD_SUBREAPER = 36


def main(folder: str) -> int:
    """0 when the command was started (the supervisor goes on in the background), 1 when another one has it or had it."""
    os.chdir(folder)
    os.umask(0o077)
    told, tell = os.pipe()
    if os.fork() > 0:
        os.close(tell)
        began = os.read(told, 1)  # nothing comes when it could not begin
        os._exit(0 if began else 1)
    os.close(told)
    os.setsid()
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return 1
    if os.path.exists("started"):
        return 1
    with open("spec.json", encoding="utf-8") as f:
        spec = json.load(f)
    write("started", json.dumps({"at": time.time(), "kind": spec["kind"]}))
    os.write(tell, b"1")
    os.close(tell)
    for name in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), name)
    write("result.json", json.dumps(run(spec)))
    shutil.rmtree("tmp", ignore_errors=True)
    return 0


def write(name: str, text: str) -> None:
    """A file that is there whole, or not at all, also after a power cut."""
    with open(name + ".new", "w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.rename(name + ".new", name)
    here = os.open(".", os.O_RDONLY)
    os.fsync(here)
    os.close(here)


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Run the command to its end. The result, as it goes into `result.json`."""
    cancelled = Flag()
    signal.signal(signal.SIGTERM, cancelled.set)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with contextlib.suppress(
        OSError, AttributeError
    ):  # Linux: what the command leaves behind becomes ours, and is ended
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.monotonic()
    try:
        command = start(spec)
    except (OSError, subprocess.SubprocessError, ValueError) as e:
        return {"error": str(e) or type(e).__name__, "seconds": 0.0, "bytes": 0, "truncated": False}
    kept = Kept(spec["keep"])
    why = kept.follow(command, began + spec["timeout"], cancelled)
    ended = end_all(command) if why else command.returncode
    kept.drain(command)
    end_all(command)
    code = command.poll() if ended is None else ended
    return {
        "exit": code if code is not None and code >= 0 else None,
        "signal": -code if code is not None and code < 0 else None,
        "why": why,
        "seconds": round(time.monotonic() - began, 3),
        "bytes": kept.total,
        "truncated": kept.close(),
    }


class Flag:
    """Set by a signal."""

    def __init__(self) -> None:
        self.on = False

    def set(self, _number: int, _frame: FrameType | None) -> None:
        self.on = True


def start(spec: dict[str, Any]) -> subprocess.Popen[bytes]:
    conf = Confinement(
        tuple(spec["writable"]), tuple(spec["hidden"]), tuple(spec["protected"]), network=spec["network"]
    )
    argv, cwd = spec["argv"], spec["cwd"]
    os.makedirs("tmp", 0o700, exist_ok=True)
    kind = spec["kind"]
    first: Callable[[], None] = die_with_parent
    if kind == "bubblewrap":
        argv = wrapped(argv, cwd, conf)
    elif kind == "landlock":

        def first() -> None:
            die_with_parent()
            confine(conf)

    return subprocess.Popen(
        argv, cwd=cwd, env=spec["env"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True, preexec_fn=first, close_fds=True,
    )  # fmt: skip


class Kept:
    """The output: the first `keep` bytes in `out` as they come, of the rest the last ones."""

    def __init__(self, keep: int) -> None:
        self.total = 0
        self._keep = keep
        self._out = os.open("out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._last: deque[bytes] = deque()
        self._last_bytes = 0

    def take(self, piece: bytes) -> None:
        room = max(0, self._keep - self.total)
        self.total += len(piece)
        if room:
            with contextlib.suppress(OSError):  # a full disk must not stop the command; the count says what is missing
                os.write(self._out, piece[:room])
        if rest := piece[room:]:
            self._last.append(rest)
            self._last_bytes += len(rest)
            while self._last_bytes - len(self._last[0]) >= self._keep:
                self._last_bytes -= len(self._last.popleft())

    def follow(self, command: subprocess.Popen[bytes], deadline: float, cancelled: Flag) -> str | None:
        """Until the command ended. None, or why it has to be ended: `timeout`, `cancelled`."""
        assert command.stdout is not None
        os.set_blocking(command.stdout.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(command.stdout, selectors.EVENT_READ)
            while command.poll() is None:
                if cancelled.on:
                    return "cancelled"
                left = deadline - time.monotonic()
                if left <= 0:
                    return "timeout"
                if selector.select(min(left, 0.1)) and not self._read(command):
                    selector.unregister(command.stdout)  # it closed its output and goes on
                    while command.poll() is None and not cancelled.on and time.monotonic() < deadline:
                        time.sleep(0.02)
        return None

    def drain(self, command: subprocess.Popen[bytes]) -> None:
        """What is in the pipe still; a child that holds it open is not waited for."""
        while self._read(command):
            pass

    def _read(self, command: subprocess.Popen[bytes]) -> bool:
        assert command.stdout is not None
        try:
            piece = os.read(command.stdout.fileno(), _PIECE)
        except BlockingIOError:
            return False
        self.take(piece)
        return bool(piece)

    def close(self) -> bool:
        """Whether something of the middle is missing."""
        last = b"".join(self._last)[-self._keep :]
        if last:
            with contextlib.suppress(OSError), open("tail", "wb") as f:
                f.write(last)
        os.close(self._out)
        return self.total > self._keep + len(last)


def end_all(command: subprocess.Popen[bytes]) -> int | None:
    """End the command's group and everything that it started and left behind. Its code."""
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        deadline = time.monotonic() + patience
        while True:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(command.pid, number)
            left = children()
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            reap(command)
            if command.poll() is not None and not children():
                return command.returncode
            if time.monotonic() >= deadline:
                break
            time.sleep(0.02)
    return command.poll()


def children() -> list[int]:
    """The processes right below this one: those that the command left behind have become ours."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as f:
            return [int(pid) for pid in f.read().split()]
    except OSError:
        return []


def reap(command: subprocess.Popen[bytes]) -> None:
    """Collect what has ended; the command itself is left to `poll`."""
    for pid in children():
        if pid != command.pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
