"""`git ls-files`, asked so that nothing in the repository makes it run a program, read other settings, or never end.

A repository's own `.git/config` is hostile input: fsmonitor and hooks name programs to run, and a partial clone
fetches a missing .gitignore from a "remote" whose upload-pack is any command (that one was seen to work with plain
`git ls-files`). So: settings that run programs are overruled on the command line, which outranks every file; no
transport is allowed; the environment is built from nothing; the folders are given, so that neither core.worktree nor a
foreign owner matters. Never `git status` or `git add`: these run filters.
"""

from __future__ import annotations

import functools
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from reconvene.workspace.names import decode

_SETTINGS = (
    "core.fsmonitor=false", "core.untrackedCache=false", "core.hooksPath=/dev/null", "core.excludesFile=/dev/null",
    "core.attributesFile=/dev/null", "core.alternateRefsCommand=false", "core.sshCommand=false", "core.gitProxy=false",
    "core.pager=cat", "core.editor=false", "core.askPass=false", "credential.helper=", "protocol.allow=never",
    "fetch.recurseSubmodules=false", "gc.auto=0", "maintenance.auto=false", "gpg.program=false", "diff.orderFile=/dev/null",
)  # fmt: skip
_GUARDED = (
    "--no-pager", "--no-optional-locks", "--literal-pathspecs",
    *(part for setting in _SETTINGS for part in ("-c", setting)),
)  # fmt: skip
_COMMAND = (*_GUARDED, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
_BYTES = 512 * 1024**2
"""Of names, as many as are taken into memory."""
_UNREADABLE = b"warning: could not open directory"


class GitError(Exception):
    """Git is not there or did not answer; the text says why, for people."""


class StoppedError(Exception):
    """Whoever asked does not want the answer any more."""


class GitHangsError(GitError):
    """It had to be killed; asking again costs as much again."""


@dataclass(slots=True)
class GitFiles:
    """`paths` relative to the folder that was asked; one that ends with "/" is a repository inside. May repeat."""

    paths: list[str] = field(default_factory=list)
    truncated: bool = False
    skipped: int = 0


def find_repository(root: str) -> tuple[str, str] | None:
    """(git folder or file, work tree) of the repository that the root is in, by itself or as one of its folders."""
    folder = root
    while True:
        dot_git = os.path.join(folder, ".git")
        try:
            st = os.lstat(dot_git)
        except OSError:
            pass
        else:
            # Above the root, only what this user or the root's owner made: anybody can put a repository into /tmp.
            if folder == root or st.st_uid in (os.geteuid(), os.stat(root).st_uid):
                return dot_git, folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def git_files(
    folder: str,
    git_dir: str,
    work_tree: str,
    *,
    limit: int,
    deadline: float,
    only: Collection[str] = (),
    stop: threading.Event | None = None,
) -> GitFiles:
    """What git tracks or would track below `folder`, at most `limit` entries, until `deadline` of the monotonic clock.

    Args:
        only: of these paths, by their names (no patterns); all when empty.

    Raises:
        GitError: no git, no repository, a broken one, or no answer in time.
        StoppedError: `stop` was set.
    """
    child = _start((*_COMMAND, "--", *only) if only else _COMMAND, folder, git_dir, work_tree)
    files = GitFiles()
    try:
        with child:
            try:
                output, complaints = _output(child, limit, deadline, files, stop)
            finally:
                end(child)
    except TimeoutError:
        raise GitHangsError("it did not answer in time") from None
    if child.returncode != 0 and not files.truncated:
        raise GitError("it refuses the repository" if b"fatal:" in complaints else f"it failed with {child.returncode}")
    files.skipped = complaints.count(_UNREADABLE)
    entries = output.split(b"\0")[:-1]
    files.paths = [decode(entry) for entry in entries[:limit]]
    return files


def start(arguments: Sequence[str], folder: str, git_dir: str, work_tree: str) -> subprocess.Popen[bytes]:
    """Git with these arguments, guarded as said above; whoever starts it must `end` it.

    Raises:
        GitError: it is not installed or does not start.
    """
    return _start((*_GUARDED, *arguments), folder, git_dir, work_tree)


def end(child: subprocess.Popen[bytes]) -> None:
    """Kill it, unless it ended by itself, with all that it started: it leads a group of its own."""
    if child.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


def _start(arguments: Sequence[str], folder: str, git_dir: str, work_tree: str) -> subprocess.Popen[bytes]:
    program = _program()
    if program is None or program.startswith(work_tree.rstrip("/") + "/"):
        raise GitError("it is not installed")
    try:
        return subprocess.Popen(
            [program, *arguments], cwd=folder, env=_environment(program, git_dir, work_tree),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
    except OSError as e:
        raise GitError(f"it does not start: {e.strerror}") from e


def _output(
    child: subprocess.Popen[bytes], limit: int, deadline: float, files: GitFiles, stop: threading.Event | None
) -> tuple[bytes, bytes]:
    """stdout and stderr. Stops, and sets `truncated`, when there is more than enough."""
    assert child.stdout is not None
    assert child.stderr is not None
    gathered = {child.stdout: bytearray(), child.stderr: bytearray()}
    entries = 0
    with selectors.DefaultSelector() as selector:
        for stream in gathered:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if stop is not None and stop.is_set():
                raise StoppedError
            for key, _ in selector.select(min(left, 0.2)):
                stream = child.stdout if key.fileobj is child.stdout else child.stderr
                chunk = os.read(stream.fileno(), 1 << 16)
                if not chunk:
                    selector.unregister(stream)
                    continue
                kept = gathered[stream]
                if stream is child.stdout:
                    entries += chunk.count(b"\0")
                    kept += chunk
                    if entries > limit or len(kept) > _BYTES:
                        files.truncated = True
                        return bytes(kept), b""
                elif len(kept) < 1 << 20:
                    kept += chunk
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return bytes(gathered[child.stdout]), bytes(gathered[child.stderr])


@functools.cache
def _program() -> str | None:
    """Git's place, by the absolute entries of PATH: a relative one could be a folder of the code base."""
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        program = os.path.join(folder, "git")
        if folder.startswith("/") and os.path.isfile(program) and os.access(program, os.X_OK):
            return program
    return None


def _environment(program: str, git_dir: str, work_tree: str) -> dict[str, str]:
    """From nothing, so that neither keys nor the person's GIT_* settings reach it."""
    return {
        "PATH": f"{os.path.dirname(program)}:/usr/bin:/bin",
        "LC_ALL": "C",
        "GIT_DIR": git_dir,
        "GIT_WORK_TREE": work_tree,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
    }
