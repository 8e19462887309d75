"""One command: started at most once, whoever asks and however often, and collected by whoever comes back.

A job is a folder in the data folder, named by the tool call that wanted it. What it is doing is read from the folder and from the
kernel (who holds its lock), never remembered: a server that was killed and started again finds its commands where they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from reconvene.commands.confinement import Kind
from reconvene.errors import ReconveneError

State = Literal["new", "running", "ended", "unknown"]
"""new: nobody has started it. unknown: it was started, and its supervisor is gone without a result (the machine went down)."""
_PIECE = 64 * 1024
_SUPERVISORS = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Of the server's environment, what its supervisor needs to start."""


@dataclass(frozen=True, slots=True)
class Spec:
    """
    argv: the program and its arguments; no shell reads them.
    cwd: real path. env: the whole environment. timeout: seconds. keep: bytes of output kept from its beginning, and as many from its end.
    kind, writable, hidden, protected, network: see `confinement`.
    """

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    timeout: float
    keep: int
    kind: Kind
    writable: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    network: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended.

    exit: its code; None when a signal ended it, it never started, or nobody knows. why: `timeout`, `cancelled`, `lost` (the machine or
    the supervisor went down while it ran) or None. error: why it could not be started. size: bytes of output in all. truncated: a
    part in the middle of the output was not kept.
    """

    exit: int | None
    signal: int | None
    why: str | None
    error: str | None
    seconds: float
    size: int
    truncated: bool
    output: bytes
    """The first bytes, and the last ones when there were more."""


class Job:
    """The job of one tool call. `key` names it for ever: the same key is the same job."""

    def __init__(self, commands: Path, key: str) -> None:
        self.folder = commands / hashlib.sha256(key.encode()).hexdigest()[:32]

    @property
    def temporary(self) -> str:
        """A folder of the command's own, deleted when it ends."""
        return str(self.folder / "tmp")

    def state(self) -> State:
        if (self.folder / "result.json").exists():
            return "ended"
        if self.supervisor() is not None:
            return "running"
        if (self.folder / "result.json").exists():  # it ended between the two looks
            return "ended"
        return "unknown" if (self.folder / "started").exists() else "new"

    def supervisor(self) -> int | None:
        """The pid of the living supervisor: the kernel says who holds the lock."""
        try:
            fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # struct flock of 64-bit Linux: type, whence, start, length, pid
            asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, asked))
        finally:
            os.close(fd)
        return pid if kind != fcntl.F_UNLCK and pid > 0 else None

    def start(self, spec: Spec) -> None:
        """Start it, if nobody ever did. Blocking, some 50 ms.

        Raises:
            ReconveneError: `tool_failed` when no supervisor can be started.
        """
        if self.state() != "new":
            return
        try:
            self.folder.mkdir(0o700, parents=True, exist_ok=True)
            (self.folder / "tmp").mkdir(0o700, exist_ok=True)
            # Of each writer its own: two that start the same job at once must not mix their texts. The content is the same.
            written = self.folder / f"spec.{os.getpid()}.{time.monotonic_ns()}"
            written.write_text(json.dumps(asdict(spec)), encoding="utf-8")
            os.replace(written, self.folder / "spec.json")
            program = [sys.executable, "-I", "-m", "reconvene.commands.supervise", str(self.folder)]
            done = subprocess.run(
                program,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                start_new_session=True,
                timeout=30,
                check=False,
                cwd="/",
                # Not the server's, where the providers' keys are: the supervisor lives as long as the command, as the same user.
                env={name: os.environ[name] for name in _SUPERVISORS if name in os.environ},
            )
        except (OSError, subprocess.SubprocessError) as e:
            raise ReconveneError("tool_failed", f"The command could not be started: {e}.") from e
        if done.returncode != 0 and self.state() == "new":
            why = done.stderr.decode(errors="replace").strip().splitlines()
            raise ReconveneError(
                "tool_failed", f"The command could not be started: {why[-1] if why else 'no reason was given'}."
            )

    def cancel(self) -> None:
        """Ask the supervisor to end it. Nothing happens when it has ended."""
        if (pid := self.supervisor()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def read(self, offset: int) -> bytes:
        """What it wrote from this byte on, as far as that is kept: the first `Spec.keep` bytes in all."""
        try:
            with open(self.folder / "out", "rb") as f:
                f.seek(offset)
                return f.read(_PIECE)
        except FileNotFoundError:
            return b""

    def result(self) -> Result | None:
        """How it ended; None while it has not."""
        state = self.state()
        if state in ("new", "running"):
            return None
        first, last = _read(self.folder / "out"), _read(self.folder / "tail")
        if state == "unknown":
            return Result(None, None, "lost", None, 0.0, len(first), False, first)
        got: dict[str, Any] = json.loads((self.folder / "result.json").read_text(encoding="utf-8"))
        cut = b"\n[... %d bytes left out ...]\n" % (got["bytes"] - len(first) - len(last)) if got["truncated"] else b""
        return Result(
            got.get("exit"), got.get("signal"), got.get("why"), got.get("error"), got["seconds"], got["bytes"], got["truncated"],
            first + cut + last,
        )  # fmt: skip

    async def follow(self, show: Callable[[int, bytes], None] | None = None, *, look: float = 0.05) -> Result:
        """Wait until it ended. `show(offset, bytes)` is given its output as it comes; a new follower sees it from the beginning.

        The wait may be cancelled: the command goes on.

        Raises:
            ReconveneError: `tool_failed` when its folder is removed meanwhile, or it was never started.
        """
        offset = 0
        while True:
            state = await asyncio.to_thread(self.state)
            while show is not None and (piece := await asyncio.to_thread(self.read, offset)):
                show(offset, piece)
                offset += len(piece)
            if state != "running" and (result := await asyncio.to_thread(self.result)) is not None:
                return result
            if state == "new":
                raise self.gone()
            await asyncio.sleep(look)

    def gone(self) -> ReconveneError:
        """Its folder was removed while somebody waited for it."""
        return ReconveneError("tool_failed", "What was known of the command is gone from the data folder.")

    def forget(self) -> None:
        """Remove what is left of it. Only when its result is in the log."""
        shutil.rmtree(self.folder, ignore_errors=True)


def jobs_of(data_dir: Path, owner: str) -> Path:
    """The folder of the jobs of one run; `owner` names the run for ever."""
    return data_dir / "commands" / hashlib.sha256(owner.encode()).hexdigest()[:24]


def end_all(jobs: Path, patience: float = 10.0) -> None:
    """End every command of a run, and wait for it. Blocking."""
    running = [job for job in _in(jobs) if job.state() == "running"]
    for job in running:
        job.cancel()
    deadline = time.monotonic() + patience
    while any(job.state() == "running" for job in running) and time.monotonic() < deadline:
        time.sleep(0.02)


def sweep(data_dir: Path, older_than: float) -> int:
    """Remove the folders of jobs that ended so many seconds ago. How many."""
    removed = 0
    for group in _folders(data_dir / "commands"):
        for job in _in(group):
            with contextlib.suppress(OSError):
                if time.time() - job.folder.stat().st_mtime > older_than and job.state() != "running":
                    job.forget()
                    removed += 1
        with contextlib.suppress(OSError):
            group.rmdir()  # only when nothing is left in it
    return removed


def _in(jobs: Path) -> list[Job]:
    found = []
    for folder in _folders(jobs):
        job = Job(jobs, "")
        job.folder = folder
        found.append(job)
    return found


def _folders(parent: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(parent) if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
