"""From the path a model or a person wrote to a file of the code base: citations, bare names and endings are understood."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconvene.errors import ReconveneError
from reconvene.workspace import display_path

if TYPE_CHECKING:
    from reconvene.workspace import Workspace

_LINES = re.compile(r"(.+?)(?::|#L)(\d+)(?:[-–](?:L)?(\d+))?:?")
MOST_NAMED = 8
"""Candidates an error lists."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is there: `path` in its display form, the lines its citation named, and what was written when it was shorter."""

    path: str
    start: int | None = None
    end: int | None = None
    written: str | None = None


def locate(workspace: Workspace, written: str, seen: Sequence[str]) -> Wanted:
    """The file that `written` names: a path, a path as cited (`a.py:12-30`), or an ending of exactly one path (`hub.py`).

    Endings are looked up among the paths the session has `seen` first, then in the whole listing. Blocking.

    Raises:
        ReconveneError: `file_not_found`, naming what it may have been; `path_outside_root` and the like from the jail.
    """
    text = written.strip().strip("`\"'").strip()
    root = f"{workspace.root}/"
    if text.startswith(root):
        text = text[len(root) :]
    if workspace.stat(text) is not None:
        return Wanted(_plain(text))
    if m := _LINES.fullmatch(text):
        wanted = locate(workspace, m[1], seen)
        start, end = int(m[2]), int(m[3] or m[2])
        if 1 <= start <= end:
            # A citation of one line asks for what is around it.
            return Wanted(wanted.path, start, end if m[3] else None, wanted.written)
        return wanted
    tail = text.lstrip("./")
    shown = [display_path(p) for p in workspace.listing().paths]
    for known in (seen, shown):
        found = _ending(known, tail)
        if len(found) == 1 and workspace.stat(found[0]) is not None:
            return Wanted(found[0], written=text)
        if len(found) > 1:
            raise ReconveneError(
                "file_not_found", f"{len(found)} files end with {_name(tail)}: {_some(found)}. Name one whole."
            )
    if text.startswith(("/", "../")) or "\0" in text:
        workspace.read(text)  # the jail has the sentence for it
    raise ReconveneError("file_not_found", _missing(workspace, tail, shown), path=_name(tail))


def _plain(path: str) -> str:
    return "/".join(n for n in path.split("/") if n not in ("", "."))


def _ending(paths: Iterable[str], tail: str) -> list[str]:
    return sorted({p for p in paths if p == tail or p.endswith(f"/{tail}")}) if tail else []


def _missing(workspace: Workspace, tail: str, shown: Sequence[str]) -> str:
    folder = tail.rstrip("/") + "/"
    if inside := sorted(p for p in shown if p.startswith(folder)):
        return f"{_name(tail)} is a folder with {len(inside):,} files: {_some(inside)}. Name a file."
    base = tail.rsplit("/", 1)[-1].lower()
    by_name: dict[str, list[str]] = {}
    for path in shown:
        by_name.setdefault(path.rsplit("/", 1)[-1].lower(), []).append(path)
    near = [p for name in difflib.get_close_matches(base, by_name, n=3, cutoff=0.7) for p in by_name[name]]
    hint = f" Did you mean {_some(near)}?" if near else " Search for what it should hold."
    return f"There is no file {_name(tail)} in the code base.{hint}"


def _name(path: str) -> str:
    shown = display_path(path)
    return shown if len(shown) <= 200 else f"{shown[:120]}…{shown[-60:]}"


def _some(paths: Sequence[str]) -> str:
    more = len(paths) - MOST_NAMED
    return ", ".join(paths[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
