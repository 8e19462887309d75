"""The repo map: made once for all sessions of a root, kept while the index stays as it is.

In rank order, two definitions a file, with line numbers that `read_file` takes: on 150 commits, that showed .83 of the files to be
edited within 1,024 tokens, four definitions a file .76.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from reconvene.errors import ReconveneError
from reconvene.index.definitions import Definition, qualified
from reconvene.index.query import Query, parse
from reconvene.index.ranking import rank
from reconvene.index.root import RootIndex
from reconvene.index.view import View
from reconvene.repomap.importance import definition_importance, file_importance, matching
from reconvene.repomap.likeness import like
from reconvene.repomap.overview import headline, tree
from reconvene.workspace.names import display_path, parse_path

RECIPE = 1
"""Raise it when the same index would give another overview, so that none made before is used."""
MOST_TOKENS = 32_000
CHARS_PER_TOKEN = 4
PER_FILE = 2
_SEEN, _SEEN_KEPT = 0.3, 10
_KEPT = 64
_LINE = 110
_HEAD_SHARE = 0.3
"""Of an overview's room, at most, for folders."""


@dataclass(frozen=True, slots=True)
class MapRow:
    """One definition, or (`kind` "file") a file without any. `path` in its display form; `line` from 1."""

    path: str
    line: int
    name: str
    kind: str
    score: float
    why: str


@dataclass(frozen=True, slots=True)
class RepoMap:
    """`text` for a model, `rows` the same for a page. `files`, `symbols`: of the whole index. `tokens`: of the text, four characters each.

    `fingerprint`: of the text. `built_ms`: what it cost now; 0 when it was `reused`.
    """

    text: str
    rows: tuple[MapRow, ...]
    files: int
    symbols: int
    tokens: int
    fingerprint: str
    built_ms: int
    reused: bool


Key = tuple[tuple[int, bool, str], int, object, tuple[str, ...], tuple[str, ...]]
_maps: WeakKeyDictionary[RootIndex, OrderedDict[Key, asyncio.Task[RepoMap]]] = WeakKeyDictionary()


async def repo_map(
    index: RootIndex,
    *,
    tokens: int = 1024,
    query: str | None = None,
    focus: Sequence[str] = (),
    seen: Sequence[str] = (),
) -> RepoMap:
    """The map of a code base, from the index as it is.

    Args:
        tokens: the text's budget, up to 32,000; four characters each.
        query: words the files are ranked by; None for an overview.
        focus: files to begin with, folders to stay in, or further words.
        seen: paths the session knows; files like the last ten of them rank higher.

    Raises:
        ReconveneError: `invalid_field` (budget, query), `pattern_too_big`.
    """
    if not 64 <= tokens <= MOST_TOKENS:
        raise ReconveneError(
            "invalid_field", f"A map has 64 to {MOST_TOKENS:,} tokens; {tokens} is not in that range.", field="tokens"
        )
    view = index.view
    files, folders, words = _sorted_focus(view, focus)
    text = " ".join([query or "", *words]).strip()
    parsed = parse(text, index.limits) if text else None
    wanted = _Wanted(
        tokens, parsed, tuple(files), tuple(folders), tuple(dict.fromkeys(map(parse_path, seen)))[-_SEEN_KEPT:]
    )
    key: Key = (
        (view.epoch, view.partial, view.history.mark),
        tokens,
        parsed.key if parsed else None,
        (*wanted.files, "", *wanted.folders),
        wanted.seen,
    )
    kept = _maps.setdefault(index, OrderedDict())
    building = kept.get(key)
    if building is not None and not (building.done() and (building.cancelled() or building.exception())):
        kept.move_to_end(key)
        made = await asyncio.shield(building)
        return replace(made, built_ms=0, reused=True)
    kept[key] = building = asyncio.create_task(asyncio.to_thread(_made, index, view, wanted))
    while len(kept) > _KEPT:
        kept.popitem(last=False)
    return await asyncio.shield(building)


@dataclass(frozen=True, slots=True)
class _Wanted:
    tokens: int
    query: Query | None
    files: tuple[str, ...]
    folders: tuple[str, ...]
    seen: tuple[str, ...]

    @property
    def plain(self) -> bool:
        return self.query is None and not (self.files or self.folders or self.seen)


def _made(index: RootIndex, view: View, wanted: _Wanted) -> RepoMap:
    began = time.monotonic()
    name = f"overview {RECIPE} {wanted.tokens}"
    if wanted.plain and (kept := index.note(name, view.epoch)) is not None:
        value = json.loads(kept)
        return RepoMap(**value | {"rows": tuple(MapRow(**row) for row in value["rows"])}, built_ms=0, reused=True)
    text, rows = (
        _overview(index, view, wanted) if wanted.query is None else _for_query(index, view, wanted, wanted.query)
    )
    made = RepoMap(
        text=text,
        rows=tuple(rows),
        files=view.files,
        symbols=view.symbols,
        tokens=-(-len(text) // CHARS_PER_TOKEN),
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
        built_ms=max(1, round((time.monotonic() - began) * 1000)),
        reused=False,
    )
    if wanted.plain and not view.partial:
        value = asdict(made)
        del value["built_ms"], value["reused"]
        index.keep_note(name, view.epoch, json.dumps(value))
    return made


def _overview(index: RootIndex, view: View, wanted: _Wanted) -> tuple[str, list[MapRow]]:
    scores = file_importance(view)
    reasons = _favour(index, view, wanted, scores)
    room = wanted.tokens * CHARS_PER_TOKEN
    paths = sorted(p for p in view.paths() if not wanted.folders or p.startswith(wanted.folders))
    head = "\n".join(
        [headline(paths, partial=view.partial, truncated=index.truncated), *tree(paths, int(room * _HEAD_SHARE))]
    )
    body, rows = _rows(
        index, view, wanted, scores, room - len(head) - 2, lambda d: definition_importance(d, view.usage), reasons
    )
    return f"{head}\n\n{body}" if body else head, rows


def _for_query(index: RootIndex, view: View, wanted: _Wanted, query: Query) -> tuple[str, list[MapRow]]:
    signals = rank(view, query)
    scores = signals.score.copy()
    reasons = _favour(index, view, wanted, scores)
    if query.filtered:
        for n in np.flatnonzero(scores > 0).tolist():
            if not query.wants(view.path(n)):
                scores[n] = 0

    def order(definition: Definition) -> float:
        exact = 2.0 * (definition.name in query.symbols)
        # Of those that match alike, what holds others before what it holds, top before bottom.
        return matching(definition, signals.weights) + exact + 0.01 * (definition.parent < 0) - 1e-6 * definition.line

    return _rows(index, view, wanted, scores, wanted.tokens * CHARS_PER_TOKEN, order, reasons)


def _favour(index: RootIndex, view: View, wanted: _Wanted, scores: NDArray[np.float64]) -> dict[int, str]:
    """Change the scores for what is seen and in focus: files like these rise, those in focus come first, folders leave out the rest.

    Returns why, by file.
    """
    reasons: dict[int, str] = {}
    if wanted.folders:
        for number in np.flatnonzero(scores > 0).tolist():
            if not view.path(number).startswith(wanted.folders):
                scores[number] = 0
    top = float(scores.max(initial=0.0)) or 1.0
    if around := (*wanted.seen, *wanted.files):
        alike = rank(view, like(index, view, around)).score
        if alike.max(initial=0.0) > 0:
            share = _SEEN
            if wanted.query is None:  # nothing else is asked for than what is like these
                scores *= _SEEN
                share = 1.0
            scores += share * top * alike / alike.max()
            reasons |= dict.fromkeys(np.flatnonzero(alike > 0.3 * alike.max()).tolist(), "like files of this session")
    for place, path in enumerate(wanted.files):
        if at := view.find(path):
            number = view.offsets[at[0]] + at[1]
            scores[number] = top * (3 - place * 1e-3)
            reasons[number] = "in focus"
    return reasons


def _rows(
    index: RootIndex,
    view: View,
    wanted: _Wanted,
    scores: NDArray[np.float64],
    room: int,
    order: Callable[[Definition], float],
    reasons: dict[int, str],
) -> tuple[str, list[MapRow]]:
    """Files in the order of their scores, each with its best definitions, until the room is used."""
    lines: list[str] = []
    rows: list[MapRow] = []
    top = float(scores.max(initial=0.0)) or 1.0
    for number in _best_first(view, scores, most=max(8, room // 20)):
        path = view.path(number)
        if room < 40:
            break
        name = display_path(path)
        definitions = index.definitions(path)
        best = sorted(
            (i for i, d in enumerate(definitions) if d.kind != "impl"), key=lambda i: (-order(definitions[i]), i)
        )[:PER_FILE]
        entry = [f"{name}:", *(_line(definitions[i]) for i in best)] if best else [name]
        cost = sum(len(line) + 1 for line in entry)
        if cost > room:
            continue
        room -= cost
        lines += entry
        score = round(float(scores[number]) / top, 4)
        why = reasons.get(number, "matches the words" if wanted.query else "used by many")
        rows += [
            MapRow(name, definitions[i].line, qualified(definitions, i), definitions[i].kind, score, why) for i in best
        ] or [MapRow(name, 1, name.rpartition("/")[2], "file", score, why)]
    return "\n".join(lines), rows


def _line(definition: Definition) -> str:
    return f"  {definition.line} {definition.signature[:_LINE].rstrip(' {:')}"


def _best_first(view: View, scores: NDArray[np.float64], most: int) -> Iterable[int]:
    positive = np.flatnonzero(scores > 0)
    if len(positive) > most:
        least = np.partition(scores[positive], -most)[-most]
        positive = positive[scores[positive] >= least]
    return sorted(positive.tolist(), key=lambda n: (-scores[n], view.path(n)))


def _sorted_focus(view: View, focus: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Which of them are files, which folders (with their "/"), and which are words."""
    files: list[str] = []
    folders: list[str] = []
    words: list[str] = []
    for text in dict.fromkeys(focus):
        path = parse_path(text.strip()).removeprefix("./").rstrip("/")
        if not path:
            continue
        if view.find(path) is not None:
            files.append(path)
        elif view.has_folder(path):
            folders.append(f"{path}/")
        else:
            words.append(text)
    return files, folders, words
