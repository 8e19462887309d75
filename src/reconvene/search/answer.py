"""A query to ranked snippets, read from the files as they are now."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from reconvene.errors import ReconveneError
from reconvene.index import paging
from reconvene.index.definitions import SIGNATURE, Definition, last_name
from reconvene.index.literals import required
from reconvene.index.paging import Position
from reconvene.index.query import Query, compiled, of_whole_text, parse, phrase_pattern, required_terms, use_pattern
from reconvene.index.ranking import Signals, by_role, defining, rank, with_any, with_terms
from reconvene.index.root import RootIndex
from reconvene.index.view import View
from reconvene.search.windows import FileWindows, Window, any_of
from reconvene.workspace.names import display_path
from reconvene.workspace.reading import blob_id, decode_text

LINE_CHARS = 300
"""Of a line in a snippet, at most."""
SEEN = "seen in this session"
_WORTH_A_LOOK = 0.25
_SNIPPETS_PER_FILE, _NAMED_PER_FILE = 5, 3
_TOLD = 0.2
"""Share of the most that commit messages say for any file, from which on it is worth a mention."""
_SECOND_CHUNK, _SECOND_SNIPPET = 0.4, 0.85
"""A further chunk of a file is shown when it scores so much of the best one, and each counts so much less than the one before: the place
to change is more often further on in the best file than in the fourth best."""
_GONE = frozenset({"file_not_found", "not_a_regular_file", "is_a_directory", "path_outside_root", "too_large"})


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
    `next`: cursor of the page after this one; None on the last. `moved`: what the pages before showed has changed since, so this is the
    first page of the answer as it is now.
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
    next: str | None = None
    moved: bool = False


async def search(
    index: RootIndex, query: str, *, limit: int = 8, seen: Sequence[str] = (), cursor: str | None = None
) -> SearchResult:
    """The best places for a query, from the index as it is (`RootIndex.refresh` brings it up to date).

    Args:
        query: see `search.query`.
        limit: snippets, 1 to `limits.search_hits`.
        seen: paths that the session knows; they are pointed out, and change neither choice nor order.
        cursor: `next` of the page before, for the same query.

    Raises:
        ReconveneError: `invalid_field`, `pattern_too_big`, `workspace_gone`, `search_failed`.
    """
    parsed = parse(query, index.limits)
    check_limit(limit, index)
    return pointed_out(await page(index, parsed, limit, paging.read(cursor, question(index, parsed))), seen)


def question(index: RootIndex, query: Query) -> tuple[object, ...]:
    """What a cursor is of: the same words in another code base are another question."""
    return ("search", str(index.workspace.root), query.key)


async def page(index: RootIndex, query: Query, limit: int, at: Position) -> SearchResult:
    """As many places as `limit`, from a position on; all pages of one answer together have `limits.search_hits` places at most."""
    most = index.limits.search_hits
    upto = min(at.shown + limit, most)
    found = await answer(index, query, upto + (upto < most))  # one more, to know whether there are more
    places = [(s.path, s.start, s.end, found.fingerprints[s.path]) for s in found.snippets]
    if at.shown and paging.digest_of(places[: at.shown]) != at.digest:
        return replace(await page(index, query, limit, paging.BEGINNING), moved=True)
    shown = found.snippets[at.shown : upto]
    paths = {s.path for s in shown}
    return replace(
        found,
        snippets=shown,
        fingerprints={path: value for path, value in found.fingerprints.items() if path in paths},
        next=paging.written(question(index, query), places[:upto]) if len(places) > upto else None,
    )


async def answer(index: RootIndex, query: Query, limit: int) -> SearchResult:
    for last in (False, False, True):
        result, stale = await asyncio.to_thread(_answer, index, query, limit)
        # A file that changed since it was indexed is indexed again; one that is being written all the time is left out in the end.
        if last or not stale or index.progress is not None:
            break
        await index.refresh(stale)
    return result


def check_limit(limit: int, index: RootIndex) -> None:
    most = index.limits.search_hits
    if not 1 <= limit <= most:
        raise ReconveneError(
            "invalid_field",
            f"A search returns 1 to {most} places; {limit} is not in that range.",
            field="limit",
            limit=most,
        )


def pointed_out(result: SearchResult, seen: Iterable[str]) -> SearchResult:
    """The result with those files marked that the session has seen."""
    known = {display_path(path) for path in seen} | set(seen)
    if not known:
        return result
    snippets = tuple(replace(s, why=(*s.why, SEEN)) if s.path in known else s for s in result.snippets)
    return replace(result, snippets=snippets)


def read_as_indexed(index: RootIndex, path: str, fingerprint: str | None) -> list[str] | None:
    """A file's lines; None when it is not what it was.

    Raises:
        ReconveneError: why it cannot be read.
    """
    try:
        data = index.workspace.read_bytes(path, max_bytes=index.limits.indexed_file)
    except ReconveneError as e:
        if e.code in _GONE:
            return None
        raise
    if blob_id(data) != fingerprint or (text := decode_text(data)) is None:
        return None
    return text.removesuffix("\n").split("\n")


def _read_now(index: RootIndex, path: str) -> tuple[bytes, list[str] | None]:
    """Content's id and lines of a file that the index has not come to yet; no lines when it has none to show.

    Raises:
        ReconveneError: why it cannot be read.
    """
    data = index.workspace.read_bytes(path, max_bytes=index.limits.indexed_file)
    text = decode_text(data) if data.strip() else None
    return bytes.fromhex(blob_id(data)), None if text is None else text.removesuffix("\n").split("\n")


def cut_lines(lines: Sequence[str]) -> str:
    return "\n".join(line if len(line) <= LINE_CHARS else line[:LINE_CHARS] + "…" for line in lines)


def _answer(index: RootIndex, query: Query, limit: int) -> tuple[SearchResult, list[str]]:
    """The result, and the files that were left out because they are not what they were when indexed."""
    deadline = time.monotonic() + index.limits.search_time
    view = index.view
    signals = rank(view, query)
    if not (query.terms or query.symbols):
        signals = replace(signals, score=by_role(view, query))
    candidates = _candidates(view, query, signals)
    top = float(signals.score[candidates].max(initial=0.0))
    total = int((signals.score[candidates] >= _WORTH_A_LOOK * top).sum())
    found: list[tuple[int, Snippet]] = []
    best_scores: list[float] = []
    fingerprints: dict[str, str] = {}
    stale: list[str] = []
    truncated = False
    for number in _in_order(view, signals, candidates, limit if not query.by_lines else None):
        if len(fingerprints) >= limit:
            break
        # No place of a file counts more than the file, and of equals those of the file before come first.
        if len(best_scores) == limit and best_scores[0] >= signals.score[number] and not query.by_lines:
            break
        if time.monotonic() > deadline:
            truncated = True
            break
        path = view.path(number)
        blob = view.blob(path)
        waits = blob is None and view.waits(number)
        if blob is None and not waits:
            continue  # known by its path only: nothing to show
        try:
            if blob is None:
                blob, lines = _read_now(index, path)
            else:
                lines = read_as_indexed(index, path, blob.hex())
        except ReconveneError as e:
            if e.code in ("workspace_gone", "tool_failed"):
                raise
            truncated = True
            continue
        if lines is None:
            if not waits:
                stale.append(path)
            continue
        snippets = _of_file(view, query, signals, number, lines, index.definitions_of(blob, path))
        if snippets:
            found += [(len(fingerprints), snippet) for snippet in snippets]
            fingerprints[display_path(path)] = blob.hex()
            best_scores = heapq.nlargest(limit, [*best_scores, *(snippet.score for snippet in snippets)])[::-1]
    # Of equals, in the order of their files: so the best n are the first n of the best n + 1, and pages fit together.
    found.sort(key=lambda f: (-f[1].score, f[0], f[1].start))
    best = [replace(snippet, score=round(snippet.score, 4)) for _, snippet in found[:limit]]
    shown = {s.path for s in best}
    if query.by_lines:
        total = len(fingerprints)
    result = SearchResult(
        query=query.text,
        snippets=tuple(best),
        total=total,
        truncated=truncated or bool(stale),
        skipped=index.skipped,
        epoch=view.epoch,
        mark=view.mark,
        partial=view.partial,
        fingerprints={path: value for path, value in fingerprints.items() if path in shown},
    )
    return result, stale


def _candidates(view: View, query: Query, signals: Signals) -> NDArray[np.int64]:
    """Files that may be shown, by number."""
    mask = signals.score > 0
    if query.defining:
        mask = defining(view, query.defining)
    elif query.by_lines and not query.terms:
        mask = view.columns.alive
    for phrase in (*query.phrases, *query.using):
        mask = mask & with_terms(view, required_terms(phrase))
    for pattern in query.patterns:
        if needs := required(pattern):
            # Of what was not taken for words (minified code) nothing is known but that it is text.
            mask = mask & (with_any(view, needs) | (view.columns.length == 0))
    numbers = np.flatnonzero(mask)
    if not query.filtered:
        return numbers
    return np.array([n for n in numbers.tolist() if query.wants(view.path(n))], np.int64)


def _in_order(view: View, signals: Signals, candidates: NDArray[np.int64], enough: int | None) -> Iterator[int]:
    """Best first; of equals, by path. `enough`: how many are asked for at a time."""
    scores = signals.score[candidates]
    step = 4 * enough if enough else len(candidates)
    while len(candidates):
        if len(candidates) > step:
            least = np.partition(scores, -step)[-step]
            first = scores >= least
        else:
            first = np.ones(len(candidates), np.bool_)
        yield from sorted(candidates[first].tolist(), key=lambda n: (-signals.score[n], view.path(n)))
        candidates, scores = candidates[~first], scores[~first]


def _of_file(
    view: View, query: Query, signals: Signals, number: int, lines: list[str], definitions: Sequence[Definition]
) -> list[Snippet]:
    path = display_path(view.path(number))
    file = FileWindows(lines, definitions, signals.weights, query.symbols)
    windows = _windows(file, query, signals, view, number, lines, definitions)
    best = max((w.weight for w in windows), default=0.0)
    taken: list[Window] = []
    for window in windows:
        if not any(window.start <= w.end and w.start <= window.end for w in taken):
            taken.append(window)
    if not (query.single or query.defining):
        taken = file.grown(taken)  # what is asked for by its name is shown as it is
    shown: list[Snippet] = []
    for i, window in enumerate(taken):
        share = window.weight / best if best > 0 else 1.0
        score = float(signals.score[number]) * (share * _SECOND_SNIPPET**i if i else 1.0)
        why = _why(file, query, signals, number, window)
        text = cut_lines(lines[window.start - 1 : window.end])
        shown.append(Snippet(path, window.start, window.end, score, window.symbol, text, why))
    return shown


def _windows(
    file: FileWindows,
    query: Query,
    signals: Signals,
    view: View,
    number: int,
    lines: Sequence[str],
    definitions: Sequence[Definition],
) -> list[Window]:
    if query.by_lines:
        phrases = [*map(phrase_pattern, query.phrases)]
        # No phrase and no name goes over the end of a line.
        whole = [*filter(None, map(of_whole_text, query.patterns)), *phrases, *map(use_pattern, query.using)]
        text = "\n".join(lines)
        if not all(p.search(text) for p in whole):
            return []
        patterns = [*phrases, *map(compiled, query.patterns)]
        conditions = [*(any_of([p]) for p in patterns), *(_uses(name, definitions) for name in query.using)]
        if not all(any(map(holds, lines)) for holds in conditions):
            return []
        return file.of_lines(lambda line: any(holds(line) for holds in conditions))
    if (query.single or query.defining) and (named := file.of_names()):
        return named[:_NAMED_PER_FILE]
    first, last = np.searchsorted(signals.chunk_file, [number, number + 1])
    chunk = signals.chunk[first:last]
    order = [int(c) for c in np.argsort(-chunk, kind="stable")[:_SNIPPETS_PER_FILE] if chunk[c] > 0]
    order = [c for c in order if chunk[c] > _SECOND_CHUNK * chunk[order[0]] or c == order[0]]
    if not order and view.waits(number):
        return [file.of_chunk(1, len(lines))]
    if not order:
        return [file.head()]
    starts = [*view.chunk_starts(number), len(lines) + 1]
    windows = [file.of_chunk(starts[c], starts[c + 1] - 1) for c in order]
    scale = chunk[order[0]]
    return [replace(w, weight=float(chunk[c] / scale)) for w, c in zip(windows, order, strict=True)]


def _uses(name: str, definitions: Sequence[Definition]) -> Callable[[str], bool]:
    """Whether a line mentions a name, and is not the one that defines it."""
    pattern = use_pattern(name)
    defined = {d.signature for d in definitions if last_name(d.name) == name}
    return lambda line: pattern.search(line) is not None and line.strip()[:SIGNATURE] not in defined


def _why(file: FileWindows, query: Query, signals: Signals, number: int, window: Window) -> tuple[str, ...]:
    why = []
    if window.symbol and window.symbol.rpartition(".")[2] in query.symbols:
        why.append(f"defines {window.symbol}")
    why += [f'has "{phrase}"' for phrase in query.phrases]
    why += [f"matches {pattern}" for pattern in query.patterns]
    why += [f"uses {name}" for name in query.using]
    if words := file.words(window)[:6]:
        why.append("words: " + ", ".join(words))
    if signals.stem[number] > 0:
        why.append("file name")
    if signals.names[number] > 0:
        why.append("names it defines")
    if signals.folder[number] > 0:
        why.append("folder")
    if signals.history[number] > _TOLD:
        why.append("commits that touched it")
    return tuple(why)
