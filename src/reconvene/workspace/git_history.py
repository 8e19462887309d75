"""What git's history tells: the last commits, the files each touched, and what people wrote of it. Asked as guarded as `git_files`."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from reconvene.workspace.git_files import GitError, GitHangsError, StoppedError, end, start
from reconvene.workspace.names import decode

SECONDS = 20.0
"""For one of git's answers."""
_AT_A_TIME = 200
"""Commits asked for with one command."""
_BYTES = 8 * 1024**2
"""Of an answer. Of a commit that alone has more, such as an import of a whole tree, nothing is told."""
_LOG = (
    "log", "--no-walk=unsorted", "--format=%x00%H %ct %P%x00%B%x00", "-z", "--name-status", "-M100%", "--encoding=UTF-8",
    "--no-show-signature", "--no-notes", "--no-decorate", "--no-mailmap", "--no-ext-diff", "--no-textconv", "--no-color",
    "--ignore-submodules=all", "--relative",
)  # fmt: skip
_TOUCHED = (
    "log", "--no-merges", "--min-parents=1", "--format=", "-z", "--name-only", "--no-renames", "--diff-filter=d", "--relative",
    "--no-show-signature", "--no-notes", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all",
)  # fmt: skip
_HEAD = re.compile(rb"([0-9a-f]{40,64}) (-?\d{0,20}) ([0-9a-f ]*)")
_STATUS = re.compile(rb"\n?([A-Z])\d*")


@dataclass(frozen=True, slots=True)
class Commit:
    """`at`: seconds since 1970, as its author's clock had it. `paths`: files it touched, by the names they had after it, relative to the
    folder asked about. `renames`: (before, after) of those whose content stayed the same. `first`: it has no parent here (the
    beginning, or as far as a shallow clone reaches), so it "touches" all files there are.
    """

    id: bytes
    at: int
    message: str
    paths: tuple[str, ...]
    renames: tuple[tuple[str, str], ...]
    first: bool


class GitHistory:
    """The commits that led to what is checked out.

    Args:
        folder: whose files count; the repository's work tree or a folder in it.
        stop: set by another thread to end what is under way, which then raises `StoppedError`.
    """

    def __init__(self, folder: str, git_dir: str, work_tree: str, stop: threading.Event) -> None:
        self._where = (folder, git_dir, work_tree)
        self._stop = stop

    def head(self) -> str:
        """
        Raises:
            GitError: there is no commit, or git does not answer.
        """
        return self._ask(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])[0].decode("ascii", "replace").strip()

    def ids(self, head: str, most: int) -> list[bytes]:
        """Of the last commits but merges, newest first.

        Raises:
            GitError: git does not answer.
        """
        answer, _ = self._ask(["rev-list", "--no-merges", f"--max-count={most}", head, "--"])
        return [bytes.fromhex(line.decode("ascii")) for line in answer.split()]

    def touched(self, most: int, seconds: float) -> list[str]:
        """The files that the last commits touched, those of the newest first, each once; nothing when git takes longer than that.

        Raises:
            StoppedError: it was told to stop.
        """
        try:
            answer, _ = self._ask([*_TOUCHED, f"--max-count={most}", "--"], seconds)
        except GitError:
            return []
        return list(dict.fromkeys(decode(name) for name in answer.split(b"\0") if name))

    def commits(self, ids: Sequence[bytes]) -> Iterator[Commit]:
        """These commits, in this order, asked for some at a time.

        Raises:
            GitError: git does not answer.
        """
        todo = iter(ids)
        while some := list(islice(todo, _AT_A_TIME)):
            yield from self._told(some)

    def _told(self, ids: Sequence[bytes]) -> Iterator[Commit]:
        answer, whole = self._ask([*_LOG, *(i.hex() for i in ids), "--"])
        if whole:
            yield from _parsed(answer)
        elif len(ids) > 1:
            yield from self._told(ids[: len(ids) // 2])
            yield from self._told(ids[len(ids) // 2 :])
        else:
            yield Commit(ids[0], 0, "", (), (), first=True)

    def _ask(self, arguments: Sequence[str], seconds: float = SECONDS) -> tuple[bytes, bool]:
        """What it says, and whether that is all."""
        deadline = time.monotonic() + seconds
        child = start(arguments, *self._where)
        with child:
            try:
                return self._output(child, deadline)
            finally:
                end(child)

    def _output(self, child: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bool]:
        assert child.stdout is not None
        assert child.stderr is not None
        said = bytearray()
        with selectors.DefaultSelector() as selector:
            for stream in (child.stdout, child.stderr):
                selector.register(stream, selectors.EVENT_READ)
            while selector.get_map():
                if self._stop.is_set():
                    raise StoppedError
                if time.monotonic() > deadline:
                    raise GitHangsError("it did not answer in time")
                for key, _ in selector.select(min(0.2, max(0.0, deadline - time.monotonic()))):
                    stream = child.stdout if key.fileobj is child.stdout else child.stderr
                    piece = os.read(stream.fileno(), 1 << 16)
                    if not piece:
                        selector.unregister(stream)
                    elif stream is child.stdout:
                        said += piece
                        if len(said) > _BYTES:
                            return b"", False
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise GitHangsError("it did not answer in time") from None
        if child.returncode != 0:
            raise GitError(f"it failed with {child.returncode}")
        return bytes(said), True


def _parsed(answer: bytes) -> Iterator[Commit]:
    # No text of git's can hold a NUL, so a message or a name cannot pass for anything else. Between them stand empty pieces.
    pieces = answer.split(b"\0")
    i = 0
    while i < len(pieces):
        head = _HEAD.fullmatch(pieces[i])
        if head is None:
            i += 1
            continue
        message = pieces[i + 1].decode("utf-8", "replace")
        i += 2
        paths: list[str] = []
        renames: list[tuple[str, str]] = []
        while i < len(pieces) and not _HEAD.fullmatch(pieces[i]):
            status = _STATUS.fullmatch(pieces[i])
            i += 1
            if status is None:
                continue
            old = decode(pieces[i])
            if status[1] in (b"R", b"C"):
                i += 1
                if status[1] == b"R":
                    renames.append((old, decode(pieces[i])))
            paths.append(decode(pieces[i]))
            i += 1
        yield Commit(
            bytes.fromhex(head[1].decode()), int(head[2] or 0), message, tuple(paths), tuple(renames), first=not head[3].strip()
        )  # fmt: skip
