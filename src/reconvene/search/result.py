"""What a search answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconvene.workspace.names import display_path

LINE_CHARS = 300
"""Of a line in a snippet, at most."""
SEEN = "seen in this session"
TOGETHER = "changed together with files seen"


@dataclass(frozen=True, slots=True)
class Snippet:
    """Lines `start` to `end` (from 1, inclusive) of a file. `path` is the display form, which `Workspace.read` takes.

    `score`: higher is better, comparable within one answer. `symbol`: the definition it is of, `Session.close`.
    `why`: what it was found for, in a few words each.
    """

    path: str
    start: int
    end: int
    score: float
    symbol: str | None
    text: str
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """
    `total`: files that match, those far below the best one left out; of a search for lines, those that were found so far.
    `truncated`: time ran out, or a file could not be read as it was indexed, so something may be missing.
    `skipped`: files of the code base that cannot be read. `partial`: the index is still being built, and this is from what is there.
    `epoch`, `mark`: of the index that answered. `fingerprints`: of the snippets' files, by path.
    `further`: files that come next, by name alone; of a question in words. `next`: cursor of the page after this one; None on the last.
    `moved`: what the pages before showed has changed since, so this is the first page of the answer as it is now.
    """

    query: str
    snippets: tuple[Snippet, ...]
    total: int
    truncated: bool
    skipped: int
    epoch: int
    mark: str
    partial: bool
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    further: tuple[str, ...] = ()
    next: str | None = None
    moved: bool = False


def pointed_out(result: SearchResult, seen: Iterable[str]) -> SearchResult:
    """The result with those files marked that the session has seen."""
    known = {display_path(path) for path in seen} | set(seen)
    if not known:
        return result
    snippets = tuple(replace(s, why=(*s.why, SEEN)) if s.path in known else s for s in result.snippets)
    return replace(result, snippets=snippets)


def cut_lines(lines: Sequence[str]) -> str:
    return "\n".join(line if len(line) <= LINE_CHARS else line[:LINE_CHARS] + "…" for line in lines)
