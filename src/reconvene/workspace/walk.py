"""Our own walk over a code base, where git cannot tell: breadth first, honouring .gitignore, never through a link."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass, field

from pathspec import GitIgnoreSpec

from reconvene.errors import ReconveneError
from reconvene.workspace.jail import Jail
from reconvene.workspace.names import PATH_BYTES, decode, encode
from reconvene.workspace.reading import read_whole
from reconvene.workspace.secret_files import VERSION_CONTROL

SECONDS = 60.0
"""A walk (a network disk, say) is stopped after so long, with what it has."""
DEPTH = 128
"""Folders inside folders; deeper there is no code, only an attack."""
_IGNORE_BYTES = 512 * 1024
_IGNORE_LINES = 5000

# Never code of one's own, and often left out of no .gitignore because there is none.
_MADE = frozenset(
    {
        "node_modules",
        "__pycache__",
        ".venv",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".terraform",
    }
)


@dataclass(slots=True)
class Walk:
    """`ignored`: whether any rule left something out. `late`: it was stopped by the clock."""

    paths: list[str] = field(default_factory=list)
    truncated: bool = False
    skipped: int = 0
    ignored: bool = False
    late: bool = False


@dataclass(frozen=True, slots=True)
class _Rules:
    """The .gitignore of the folder `at` ("" or ending with "/") and, behind it, those of the folders above."""

    at: str
    spec: GitIgnoreSpec
    above: _Rules | None

    def ignores(self, path: str) -> bool:
        rules: _Rules | None = self
        while rules is not None:
            # The nearest file that says anything decides; pathspec takes no lone surrogates.
            told = rules.spec.check_file(path[len(rules.at) :].encode("utf-8", "replace").decode()).include
            if told is not None:
                return told
            rules = rules.above
        return False


def walk_files(jail: Jail, limit: int, *, below: str = "", ignore: bool = True, seconds: float | None = None) -> Walk:
    """Files below a folder, at most `limit`, shallow ones first.

    Args:
        ignore: honour .gitignore files.
        seconds: deadline; None is `SECONDS`.
    """
    deadline = time.monotonic() + (SECONDS if seconds is None else seconds)
    walk = Walk()
    todo: deque[tuple[str, int, _Rules | None]] = deque([(below, 0, None)])
    while todo:
        folder, depth, above = todo.popleft()
        if time.monotonic() > deadline:
            walk.truncated = walk.late = True
            break
        at = f"{folder}/" if folder else ""
        try:
            fd = jail.open_directory(folder)
        except OSError:
            walk.skipped += 1
            continue
        try:
            with os.scandir(fd) as entries:
                names = sorted(
                    (e.name, e.is_dir(follow_symlinks=False), e.is_file(follow_symlinks=False)) for e in entries
                )
        except OSError:
            walk.skipped += 1
            continue
        finally:
            os.close(fd)
        rules = above
        if ignore and any(name == ".gitignore" and is_file for name, _, is_file in names):
            rules = _read_rules(jail, at, above)
        for raw, is_dir, is_file in names:
            name = decode(os.fsencode(raw))
            path = at + name
            if is_dir and name not in VERSION_CONTROL:
                if name in _MADE or (rules and rules.ignores(path + "/")):
                    walk.ignored = True
                elif depth + 1 >= DEPTH or len(encode(path)) + 2 >= PATH_BYTES:
                    walk.truncated = True
                    walk.skipped += 1
                else:
                    todo.append((path, depth + 1, rules))
            elif is_file:
                if rules and rules.ignores(path):
                    walk.ignored = True
                elif len(walk.paths) >= limit:
                    walk.truncated = True
                    return walk
                else:
                    walk.paths.append(path)
    return walk


def _read_rules(jail: Jail, at: str, above: _Rules | None) -> _Rules | None:
    try:
        fd, st, _ = jail.open(f"{at}.gitignore")
    except ReconveneError:
        return above
    try:
        text = decode(read_whole(fd, min(st.st_size, _IGNORE_BYTES)))
    finally:
        os.close(fd)
    lines = [
        line.encode("utf-8", "replace").decode() for line in text.removeprefix("\ufeff").split("\n")[:_IGNORE_LINES]
    ]
    try:
        # RE2 matches in linear time: a pattern of a hundred stars costs nothing more.
        return _Rules(at, GitIgnoreSpec.from_lines([line.rstrip("\r") for line in lines], backend="re2"), above)
    except (ValueError, TypeError):
        return above
