"""Our own walk over a code base, where git cannot tell: breadth first, honouring .gitignore, never through a link."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from reconvene.errors import ReconveneError
from reconvene.workspace.git_files import StoppedError
from reconvene.workspace.ignore_rules import FILE_BYTES, IgnoreRules
from reconvene.workspace.jail import Jail
from reconvene.workspace.names import PATH_BYTES, decode, encode
from reconvene.workspace.reading import read_whole
from reconvene.workspace.secret_files import VERSION_CONTROL, is_secret

SECONDS = 60.0
"""A walk (a network disk, say) is stopped after so long, with what it has."""
DEPTH = 128
"""Folders inside folders; deeper there is no code, only an attack."""

# Never code of one's own, and often left out of no .gitignore because there is none.
_MADE = frozenset((
    "node_modules", "__pycache__", ".venv", ".tox", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".terraform",
))  # fmt: skip


@dataclass(slots=True)
class Walk:
    """`ignored`: whether any rule left something out. `late`: it was stopped by the clock."""

    paths: list[str] = field(default_factory=list)
    truncated: bool = False
    skipped: int = 0
    ignored: bool = False
    late: bool = False


def walk_files(
    jail: Jail, limit: int, *, below: str = "", ignore: bool = True, stop: threading.Event | None = None
) -> Walk:
    """Files below a folder but secrets, at most `limit`, shallow ones first; `ignore`: honour .gitignore files.

    Raises:
        StoppedError: `stop` was set.
    """
    deadline = time.monotonic() + SECONDS
    walk = Walk()
    todo: deque[tuple[str, int, IgnoreRules | None]] = deque([(below, 0, None)])
    while todo:
        folder, depth, above = todo.popleft()
        if stop is not None and stop.is_set():
            raise StoppedError
        if time.monotonic() > deadline:
            walk.truncated = walk.late = True
            break
        at = f"{folder}/" if folder else ""
        try:
            names = _entries(jail, folder, 2 * limit + 1000)
        except OSError:
            walk.skipped += 1
            continue
        rules = above
        if ignore and any(name == ".gitignore" and is_file for name, _, is_file in names):
            rules = _read_rules(jail, at, above)
        for name, is_dir, is_file in names:
            path = at + name
            if is_dir and name not in VERSION_CONTROL:
                if name in _MADE or (rules and rules.ignores(path, folder=True)):
                    walk.ignored = True
                elif depth + 1 >= DEPTH or len(encode(path)) + 2 >= PATH_BYTES:
                    walk.truncated = True
                    walk.skipped += 1
                else:
                    todo.append((path, depth + 1, rules))
            elif is_file and not is_secret(path):
                if rules and rules.ignores(path):
                    walk.ignored = True
                elif len(walk.paths) >= limit:
                    walk.truncated = True
                    return walk
                else:
                    walk.paths.append(path)
    return walk


def _entries(jail: Jail, folder: str, at_most: int) -> list[tuple[str, bool, bool]]:
    """(name, whether it is a folder, whether it is a regular file), sorted; a link is neither."""
    fd = jail.open_directory(folder)
    try:
        with os.scandir(fd) as entries:
            return sorted(
                (decode(os.fsencode(e.name)), e.is_dir(follow_symlinks=False), e.is_file(follow_symlinks=False))
                for e in itertools.islice(entries, at_most)
            )
    finally:
        os.close(fd)


def _read_rules(jail: Jail, at: str, above: IgnoreRules | None) -> IgnoreRules | None:
    try:
        fd, st, _ = jail.open(f"{at}.gitignore")
    except ReconveneError:
        return above
    try:
        text = read_whole(fd, min(st.st_size, FILE_BYTES))
    finally:
        os.close(fd)
    return IgnoreRules.parse(at, text, above)
