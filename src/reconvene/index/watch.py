"""Hints from the operating system that files changed. A hint is never the truth: it only says where to look before the next sweep.

Only chosen folders are watched, each by itself: those that hold listed files, their parents, and new ones until it is known what they
hold. So a `node_modules` costs nothing. What is written into a new folder before it is watched makes no event: after each registration
everything is looked at again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from reconvene.workspace.secret_files import VERSION_CONTROL

MOST_FOLDERS = 10_000
"""With more, nothing is watched; the system's own limit (inotify's max_user_watches) is shared with the person's other programs."""
DEBOUNCE_MS, STEP_MS = 400, 100
"""Events are gathered until none comes for a step, and at most for so long. A step is also how often the thread wakes."""
TIMEOUT_MS = 5000
FAILURES, FAILURES_WITHIN, RESTS = 3, 60.0, 600.0
"""A watcher that breaks so often in so many seconds is left alone for so many."""
MOST_NEW = 256
_GIT_NAMES = frozenset({"HEAD", "index"})
_MADE = VERSION_CONTROL | {"node_modules", "__pycache__", ".venv", ".tox", ".nox", ".mypy_cache", ".pytest_cache"}
_REMOTE = frozenset((
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "vboxsf", "virtiofs", "drvfs",
    "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hint:
    """`paths`, relative to the root, may have changed; with `everything`, anything may have."""

    paths: frozenset[str]
    everything: bool = False

    def __or__(self, other: Hint) -> Hint:
        return Hint(self.paths | other.paths, self.everything or other.everything)


@dataclass(frozen=True, slots=True)
class Watching:
    """`mode`: whether there are `events`, or only `sweeps`, and `why`, a sentence. `folders`: watched now."""

    mode: Literal["events", "sweeps"]
    folders: int = 0
    why: str | None = None


class Source(Protocol):
    """What tells of events: `watchfiles`' core, or a test's."""

    def watch(
        self, debounce_ms: int, step_ms: int, timeout_ms: int, stop_event: _Stop | None
    ) -> set[tuple[int, str]] | str: ...

    def close(self) -> None: ...


class _Stop(Protocol):
    def is_set(self) -> bool: ...


ADDED = 1
"""As `watchfiles.Change.added`."""


def system_source(folders: list[str]) -> Source:
    """
    Raises:
        OSError: no more watches, no more descriptors, a folder is gone or not readable.
        RuntimeError: the system has no such thing, or it broke.
    """
    from watchfiles._rust_notify import RustNotify

    # Its own polling would be a second sweep, and ignoring refusals would ignore a full watch table as well.
    made: Source = RustNotify(folders, False, False, 0, False, False)
    return made


class Watcher:
    """Watches some folders of one root in a thread of its own. `watch` says which; `hint` is called in that thread.

    Args:
        git_dir: the repository's folder, if it is one: a new HEAD or index is a hint, too.
        source: makes what tells of events in folders given by their full paths.
    """

    def __init__(
        self,
        root: Path,
        hint: Callable[[Hint], None],
        *,
        git_dir: str | None = None,
        source: Callable[[list[str]], Source] = system_source,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = Watching("sweeps", why="Nothing is watched yet.")
        self._root = os.fspath(root)
        self._hint = hint
        self._git_dir = git_dir if git_dir is not None and os.path.isdir(git_dir) else None
        self._make = source
        self._clock = clock
        self._listed: frozenset[str] = frozenset()
        self._new: dict[str, None] = {}
        self._wanted: frozenset[str] | None = None
        self._have: frozenset[str] | None = None
        self._source: Source | None = None
        self._failures: list[float] = []
        self._rests_until = 0.0
        self._closing = False
        self._told = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def watch(self, paths: Iterable[str]) -> None:
        """Watch the folders of these files. Returns at once."""
        listed = folders_of(paths)
        with self._lock:
            # A new folder whose files are not listed is ignored; an empty one may yet get some that are.
            keep = [f for f in self._new if f not in listed and not _has_files(os.path.join(self._root, f))]
            self._listed, self._new = listed, dict.fromkeys(keep)
            self._want(listed | self._new.keys())
        self._told.set()

    def _want(self, folders: frozenset[str]) -> None:
        # A source that is called back drops the events it has gathered, so it is not for the same folders.
        if folders != self._wanted:
            self._wanted = folders

    def close(self, seconds: float = 2.0) -> None:
        """End the thread. Idempotent."""
        self._closing = True
        self._told.set()
        self._thread.join(seconds)

    def is_set(self) -> bool:
        """For the source: whether to return to us."""
        return self._closing or self._wanted is not self._have

    # -- in its thread

    def _run(self) -> None:
        try:
            while not self._closing:
                if self._wanted is not self._have or (self._source is None and self._clock() >= self._rests_until > 0):
                    self._register()
                elif self._source is None:
                    self._told.wait(5.0)
                    self._told.clear()
                else:
                    self._listen(self._source)
        finally:
            self._end_source()

    def _register(self) -> None:
        wanted = self._wanted
        if wanted is None:
            return
        before, self._have = self._have, wanted
        if self._clock() < self._rests_until:
            return
        if before == wanted and self._source is not None:
            # The same folders again: what is registered goes on, but it was called back.
            self._hint(Hint(frozenset(), everything=True))
            return
        self._end_source()
        why = unwatchable(self._root, len(wanted))
        if why is not None:
            self.state = Watching("sweeps", why=why)
            return
        try:
            self._source = self._make(self._places(wanted))
        except (OSError, RuntimeError, ValueError) as e:
            self._broke(e)
            return
        self._rests_until = 0.0
        self.state = Watching("events", len(wanted))
        # What was written into new folders before they were watched, and what happened while none were, made no event.
        self._hint(Hint(frozenset(), everything=True))

    def _places(self, folders: Collection[str]) -> list[str]:
        """Full paths; without what has gone, and what the system could not be asked about."""
        places = [os.path.join(self._root, folder) if folder else self._root for folder in sorted(folders)]
        if self._git_dir is not None:
            places.append(self._git_dir)
        return [p for p in places if _is_text(p) and os.path.isdir(p) and os.access(p, os.R_OK)]

    def _listen(self, source: Source) -> None:
        try:
            events = source.watch(DEBOUNCE_MS, STEP_MS, TIMEOUT_MS, self)
        except (OSError, RuntimeError) as e:  # a name that is not UTF-8 ends it for good
            self._end_source()
            self._have = None
            self._broke(e)
            self._hint(Hint(frozenset(), everything=True))
            return
        if isinstance(events, str):
            return
        hint = self._meant(events)
        if hint.paths or hint.everything:
            self._hint(hint)

    def _meant(self, events: Collection[tuple[int, str]]) -> Hint:
        paths: set[str] = set()
        everything = False
        fresh: list[str] = []
        for kind, place in events:
            if self._git_dir is not None and os.path.dirname(place) == self._git_dir:
                everything |= os.path.basename(place) in _GIT_NAMES
                continue
            if not place.startswith(f"{self._root}/"):
                continue
            path = place[len(self._root) + 1 :]
            name = path.rpartition("/")[2]
            if name in _MADE:
                continue
            if kind == ADDED and os.path.isdir(place) and not os.path.islink(place):
                fresh.append(path)
            elif name == ".gitignore" or path in self._listed or path in self._new:
                everything = True
            else:
                paths.add(path)
        if fresh:
            self._add(fresh)
        return Hint(frozenset(paths), everything)

    def _add(self, folders: list[str]) -> None:
        """New folders, with those that were made in them before they could be watched."""
        with self._lock:
            for folder in folders:
                for inside in _tree(self._root, folder):
                    if len(self._new) < MOST_NEW:
                        self._new[inside] = None
            self._want(self._listed | self._new.keys())

    def _broke(self, e: Exception) -> None:
        now = self._clock()
        self._failures = [at for at in self._failures if now - at < FAILURES_WITHIN] + [now]
        full = isinstance(e, OSError) and not isinstance(e, (FileNotFoundError, PermissionError))
        if full or "os error 24" in str(e) or len(self._failures) >= FAILURES:
            self._rests_until = now + RESTS
        else:
            self._rests_until = now + 1.0
        self.state = Watching("sweeps", why=f"The system's watching of files failed: {_sentence(e)}")

    def _end_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()


def folders_of(paths: Iterable[str]) -> frozenset[str]:
    """The folders that hold these files, directly or deeper; "" is the root."""
    folders = {""}
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return frozenset(folders)


def unwatchable(root: str, folders: int) -> str | None:
    """Why it makes no sense to watch so many folders there; None when it does."""
    most = min(MOST_FOLDERS, _system_limit() // 2)
    if folders > most:
        return f"It has {folders:,} folders; {most:,} are watched at most."
    if (kind := remote_kind(root)) is not None:
        return f"It is on {kind}, where changes made elsewhere are not told of."
    return None


def remote_kind(path: str, mounts: str = "/proc/self/mountinfo") -> str | None:
    """The file system's type when it is one of another machine; None when it is not, or cannot be told."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    best, kind = -1, None
    for line in lines:
        head, _, tail = line.partition(" - ")
        fields = head.split()
        if len(fields) < 5 or not tail:
            continue
        at = fields[4].replace("\\040", " ").rstrip("/")
        if (path == at or path.startswith(f"{at}/")) and len(at) >= best:
            best, kind = len(at), tail.split()[0]
    return kind if kind in _REMOTE else None


def _system_limit() -> int:
    try:
        return int(Path("/proc/sys/fs/inotify/max_user_watches").read_text("ascii"))
    except (OSError, ValueError):
        return 2 * MOST_FOLDERS


def _has_files(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(e.is_file(follow_symlinks=False) for e in entries)
    except OSError:
        return True


def _tree(root: str, folder: str) -> Iterable[str]:
    """A folder and those in it."""
    todo = [folder]
    for _ in range(MOST_NEW):
        if not todo:
            return
        at = todo.pop()
        yield at
        try:
            with os.scandir(os.path.join(root, at)) as entries:
                todo += [f"{at}/{e.name}" for e in entries if e.name not in _MADE and e.is_dir(follow_symlinks=False)]
        except OSError:
            continue


def _is_text(place: str) -> bool:
    try:
        place.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sentence(e: Exception) -> str:
    text = str(e).partition(" about ")[0].rstrip(". ")
    return f"{text or type(e).__name__}."
