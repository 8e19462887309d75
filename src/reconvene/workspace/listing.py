"""Which files a code base has: what git tracks or would track; where git cannot tell, what our own walk finds.

Either way only regular files that are there now, without links, without secrets (`secret_files`), without version
control's folders.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from reconvene.config import Limits
from reconvene.workspace.git_files import GitError, GitFiles, GitHangsError, StoppedError, find_repository, git_files
from reconvene.workspace.jail import Jail
from reconvene.workspace.names import NAME_BYTES, PATH_BYTES, encode, is_temporary
from reconvene.workspace.records import Records
from reconvene.workspace.secret_files import is_secret
from reconvene.workspace.walk import Walk, walk_files

GIT_SECONDS = 20.0
"""For all of git's answers together. A pipe planted where git expects a file would keep it waiting for ever."""
GIT_RESTS = 600.0
"""Seconds for which a git that hung is not asked again."""
ASKED_ALONE = 200
"""Paths that git is asked about by their names; of more it is cheaper to list everything."""
SOME_SECONDS = 2.0
NESTED = 1000
"""Repositories inside the code base that are asked one by one."""


class FileStat(NamedTuple):
    """`mtime_ns`, `ctime_ns`: nanoseconds since the epoch; `size`: bytes; `ino`: inode number.

    `ctime_ns` is when the system last changed anything of it; unlike `mtime_ns` no program can set it back.
    """

    mtime_ns: int
    size: int
    ino: int
    ctime_ns: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """`paths`: sorted, relative to the root, "/" between names, surrogate escapes for bytes that are not UTF-8.

    `truncated`: there are more, over `limits.files` or too deep or too slow. `skipped`: folders and files that could
    not be looked at.
    `source`: who told. `note`: a sentence for people when it was not simply git. `stats`: of every path, as found
    while listing.
    """

    paths: list[str]
    truncated: bool
    skipped: int
    source: Literal["git", "walk"]
    note: str | None
    stats: Mapping[str, FileStat] = field(default_factory=dict, repr=False)


class Lister:
    """Lists one root. Thread-safe: calls share nothing but the memory of a git that hung."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._git_rests_until = 0.0

    def list(self, jail: Jail, stop: threading.Event) -> Listing:
        """See `Workspace.listing`."""
        if time.monotonic() < self._git_rests_until:
            return self._walked(jail, stop, "Git did not answer in time lately, so the folder was walked.")
        repository = find_repository(jail.root)
        if repository is None:
            return self._walked(jail, stop, "There is no git repository here, so the folder was walked.")
        found = _Found(jail, self._limits.files, stop)
        try:
            self._ask_git(found, repository, jail, stop)
        except GitError as e:
            if isinstance(e, GitHangsError):
                self._git_rests_until = time.monotonic() + GIT_RESTS
            return self._walked(jail, stop, f"Git could not list the files ({e}), so the folder was walked.")
        if not found.stats:
            return self._walked(jail, stop, "Git lists no file here, so the folder was walked.")
        return found.listing("git", None)

    def list_some(self, jail: Jail, paths: Collection[str], stop: threading.Event) -> Listing | None:
        """See `Workspace.listing_of`."""
        repository = find_repository(jail.root)
        if repository is None or len(paths) > ASKED_ALONE or time.monotonic() < self._git_rests_until:
            return None
        # Git takes the name of a folder for all that is in it.
        there = [path for path in paths if _is_file(os.path.join(jail.root, path))]
        if any(_nested(jail.root, path) for path in there):
            return None
        found = _Found(jail, self._limits.files, stop)
        if there:
            deadline = time.monotonic() + SOME_SECONDS
            try:
                names = git_files(
                    jail.root, *repository, limit=2 * len(there), deadline=deadline, only=there, stop=stop
                )
            except GitError:
                return None
            found.add(names.paths)
        return found.listing("git", None)

    def _ask_git(self, found: _Found, repository: tuple[str, str], jail: Jail, stop: threading.Event) -> None:
        """The root's own repository, then those inside it (submodules, clones): git names such a one by its folder."""
        deadline = time.monotonic() + GIT_SECONDS
        todo = deque([("", *repository)])
        asked = 0
        while todo and not found.full:
            prefix, git_dir, work_tree = todo.popleft()
            asked += 1
            room = self._limits.files - len(found.stats)
            try:
                files: GitFiles | Walk = git_files(
                    os.path.join(jail.root, prefix), git_dir, work_tree, limit=room + 1, deadline=deadline, stop=stop
                )
            except GitHangsError:
                raise
            except GitError:
                if not prefix:
                    raise
                files = walk_files(jail, room, below=prefix, stop=stop)
            found.truncated |= files.truncated
            found.skipped += files.skipped
            inner = isinstance(files, GitFiles) and bool(prefix)
            for folder in found.add(f"{prefix}/{path}" if inner else path for path in files.paths):
                inside = os.path.join(jail.root, folder)
                if asked + len(todo) >= NESTED:
                    found.truncated = True
                elif os.path.lexists(os.path.join(inside, ".git")):
                    todo.append((folder, os.path.join(inside, ".git"), inside))

    def _walked(self, jail: Jail, stop: threading.Event, note: str) -> Listing:
        walk = walk_files(jail, self._limits.files, stop=stop)
        if not walk.paths and walk.ignored:
            walk = walk_files(jail, self._limits.files, ignore=False, stop=stop)
            note += " Its .gitignore leaves nothing, so it was left aside."
        found = _Found(jail, self._limits.files, stop)
        found.add(walk.paths)
        found.truncated |= walk.truncated
        found.skipped += walk.skipped
        if walk.late:
            note += f" It took too long and was stopped after {len(found.stats):,} files."
        return found.listing("walk", note)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def _nested(root: str, path: str) -> bool:
    """Whether a path is in a repository inside the root's, so that the root's own does not know it."""
    folder = path.rpartition("/")[0]
    while folder:
        if os.path.lexists(os.path.join(root, folder, ".git")):
            return True
        folder = folder.rpartition("/")[0]
    return False


class _Found:
    """Collects regular files with what lstat says of them, up to `limit`."""

    def __init__(self, jail: Jail, limit: int, stop: threading.Event) -> None:
        self.stats: dict[str, tuple[Any, ...]] = {}
        """As plain tuples: see `Records`."""
        self.truncated = False
        self.skipped = 0
        self._jail, self._limit, self._stop = jail, limit, stop

    @property
    def full(self) -> bool:
        return len(self.stats) >= self._limit and self.truncated

    def add(self, paths: Iterable[str]) -> list[str]:
        """Look at each path, folder by folder; those that are folders themselves are returned."""
        by_folder: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            folder, _, name = path.rstrip("/").rpartition("/")
            by_folder[folder].append(name)
        folders: list[str] = []
        for folder in sorted(by_folder):
            if self._stop.is_set():
                raise StoppedError
            try:
                fd = self._jail.open_directory(folder)
            except (FileNotFoundError, NotADirectoryError):
                continue  # deleted, though git still tracks what was in it; or a link now
            except OSError:
                self.skipped += 1
                continue
            try:
                self._look(fd, folder, by_folder[folder], folders)
            finally:
                os.close(fd)
            if self.full:
                break
        return folders

    def _look(self, fd: int, folder: str, names: list[str], folders: list[str]) -> None:
        for name in names:
            path = f"{folder}/{name}" if folder else name
            if is_secret(path) or is_temporary(name):
                continue
            try:
                raw = encode(name)
                if len(raw) > NAME_BYTES or len(path) * 4 >= PATH_BYTES <= len(encode(path)):
                    raise OSError
                st = os.stat(raw, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError:
                self.skipped += 1
                continue
            if stat.S_ISDIR(st.st_mode):
                folders.append(path)
            elif stat.S_ISREG(st.st_mode):
                if len(self.stats) >= self._limit and path not in self.stats:
                    self.truncated = True
                    return
                self.stats[path] = st.st_mtime_ns, st.st_size, st.st_ino, st.st_ctime_ns

    def listing(self, source: Literal["git", "walk"], note: str | None) -> Listing:
        paths = sorted(self.stats)
        if self.truncated:
            more = f"There are more files than are looked at; these are {len(paths):,} of them."
            note = f"{note} {more}" if note else more
        return Listing(paths, self.truncated, self.skipped, source, note, Records(FileStat, self.stats))
