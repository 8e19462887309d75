"""A query to ranked snippets, read from the files as they are now."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

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
from reconvene.index.runs import Hits
from reconvene.index.view import View
from reconvene.search.density import Density
from reconvene.search.places import FILES, Place, choose
from reconvene.search.texts import KnownTexts
from reconvene.search.windows import LINES, FileWindows, Window, any_of
from reconvene.workspace.names import display_path
from reconvene.workspace.reading import blob_id, decode_text

LINE_CHARS = 300
"""Of a line in a snippet, at most."""
SEEN = "seen in this session"
_WORTH_A_LOOK = 0.25
_NAMED_PER_FILE, _USES_PER_FILE = 3, 2
"""Places of one file that are shown when a name is asked for: where it is defined; where nothing of that name is."""
_TOLD = 0.2
"""Share of the most that commit messages say for any file, from which on it is worth a mention."""
_ALL_CHUNKS, _GOOD_CHUNK = 5, 0.2
"""Of a file with more chunks than that, those are looked at line by line that score so much of the best one: the others have no chance."""
_SECOND_SNIPPET = 0.85
"""Each further place of a file counts so much less than the one before."""
_texts = KnownTexts()
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


def read_as_indexed(index: RootIndex, path: str, fingerprint: str | None) -> Sequence[str] | None:
    """A file's lines, which nobody may change; None when it is not what it was.

    Raises:
        ReconveneError: why it cannot be read.
    """
    try:
        data = index.workspace.read_bytes(path, max_bytes=index.limits.indexed_file)
    except ReconveneError as e:
        if e.code in _GONE:
            return None
        raise
    if fingerprint is None or blob_id(data) != fingerprint:
        return None
    if (known := _texts.get(fingerprint)) is not None:
        return known.lines
    if (text := decode_text(data)) is None:
        return None
    return _texts.of(fingerprint, text.removesuffix("\n").split("\n")).lines


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
    view = index.view
    signals = rank(view, query)
    if not (query.terms or query.symbols):
        signals = replace(signals, score=by_role(view, query))
    candidates = _candidates(view, query, signals)
    top = float(signals.score[candidates].max(initial=0.0))
    total = int((signals.score[candidates] >= _WORTH_A_LOOK * top).sum())
    files = _Files(index, view, time.monotonic() + index.limits.search_time)
    search = _Search(query, signals, view, Hits(signals.weights, {wanted.term: wanted.text for wanted in query.terms}))
    if query.by_lines or query.single or query.defining:
        order = _in_order(view, signals, candidates, limit if not query.by_lines else None)
        found, matching = _matching(search, files.read(order), limit)
        total = matching if query.by_lines else total
    else:
        found = list(islice(_likeliest(search, files.read(_in_order(view, signals, candidates, FILES + limit))), limit))
    best = [replace(snippet, score=round(snippet.score, 4)) for snippet in found]
    shown = {s.path for s in best}
    result = SearchResult(
        query=query.text,
        snippets=tuple(best),
        total=total,
        truncated=files.truncated or bool(files.stale),
        skipped=index.skipped,
        epoch=view.epoch,
        mark=view.mark,
        partial=view.partial,
        fingerprints={path: value for path, value in files.fingerprints.items() if path in shown},
    )
    return result, files.stale


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was read for an answer. `number`: counted through all segments."""

    number: int
    path: str
    blob: bytes
    lines: Sequence[str]
    definitions: Sequence[Definition]


class _Files:
    """Reads files for one answer until its time is over."""

    def __init__(self, index: RootIndex, view: View, deadline: float) -> None:
        self._index = index
        self._view = view
        self._deadline = deadline
        self.stale: list[str] = []
        self.truncated = False
        self.fingerprints: dict[str, str] = {}
        """Of what was read, by its displayed path."""

    def read(self, numbers: Iterable[int]) -> Iterator[_File]:
        """
        Raises:
            ReconveneError: `workspace_gone`, `tool_failed`.
        """
        for number in numbers:
            if time.monotonic() > self._deadline:
                self.truncated = True
                return
            path = self._view.path(number)
            blob = self._view.blob(path)
            waits = blob is None and self._view.waits(number)
            if blob is None and not waits:
                continue  # known by its path only: nothing to show
            lines: Sequence[str] | None
            try:
                if blob is None:
                    blob, lines = _read_now(self._index, path)
                else:
                    lines = read_as_indexed(self._index, path, blob.hex())
            except ReconveneError as e:
                if e.code in ("workspace_gone", "tool_failed"):
                    raise
                self.truncated = True
                continue
            if lines is None:
                if not waits:
                    self.stale.append(path)
                continue
            self.fingerprints[display_path(path)] = blob.hex()
            yield _File(number, path, blob, lines, self._index.definitions_of(blob, path))


@dataclass(frozen=True, slots=True)
class _Search:
    query: Query
    signals: Signals
    view: View
    hits: Hits

    def density(self, file: _File) -> Density:
        text = _texts.of(file.blob.hex(), file.lines)
        weights, names = self.signals.weights, self.query.symbols
        return Density(file.lines, file.definitions, weights, names, self.hits, self._spans(file), text)

    def _spans(self, file: _File) -> list[tuple[int, int]] | None:
        """Lines of the chunks that score well, or at all when they are few; None when none does."""
        first, last = np.searchsorted(self.signals.chunk_file, [file.number, file.number + 1])
        chunk = self.signals.chunk[first:last]
        if not chunk.any():
            return None
        least = max(_GOOD_CHUNK * float(chunk.max()) if len(chunk) > _ALL_CHUNKS else 0.0, 1e-9)
        starts = [*self.view.chunk_starts(file.number), len(file.lines) + 1]
        return [(starts[c], starts[c + 1] - 1) for c in np.flatnonzero(chunk >= least).tolist()]

    def windows(self, file: _File) -> FileWindows:
        return FileWindows(file.lines, file.definitions, self.signals.weights, self.query.symbols, self.hits)

    def score(self, file: _File) -> float:
        return float(self.signals.score[file.number])


def _likeliest(search: _Search, files: Iterator[_File]) -> Iterator[Snippet]:
    """For a question in words: the likeliest places of the best files, then one place of each file that follows."""
    best = list(islice(files, FILES))
    densities = [search.density(file) for file in best]
    places = choose(densities, [search.score(file) for file in best])
    first = {place.file: place.chance for place in reversed(places)}
    so_far: Counter[int] = Counter()
    least = float("inf")
    for place in places:
        file, density = best[place.file], densities[place.file]
        further = so_far[place.file]
        share = place.chance / first[place.file] * _SECOND_SNIPPET**further if further else 1.0
        least = min(least, search.score(file) * share)
        so_far[place.file] += 1
        yield _snippet(search, file, density, place, least)
    others = ((file, density) for i, (file, density) in enumerate(zip(best, densities, strict=True)) if i not in first)
    for file, density in chain(others, ((file, search.density(file)) for file in files)):
        least = min(least, search.score(file))
        for place in choose([density], [1.0], places=1, lines=LINES):
            yield _snippet(search, file, density, place, least)


def _snippet(search: _Search, file: _File, density: Density, place: Place, score: float) -> Snippet:
    window = Window(place.start, place.end, density.symbol(place.start, place.end), place.chance)
    return _shown(search, file, search.windows(file), window, score)


def _shown(search: _Search, file: _File, windows: FileWindows, window: Window, score: float) -> Snippet:
    why = _why(windows, search.query, search.signals, file.number, window)
    text = cut_lines(file.lines[window.start - 1 : window.end])
    return Snippet(display_path(file.path), window.start, window.end, score, window.symbol, text, why)


def _matching(search: _Search, files: Iterable[_File], limit: int) -> tuple[list[Snippet], int]:
    """For a question by names or lines: the best of what fulfils it, and how many files do of those that were read."""
    found: list[tuple[int, Snippet]] = []
    best_scores: list[float] = []
    matching = 0
    for file in files:
        # No place of a file counts more than the file, and of equals those of the file before come first.
        if len(best_scores) == limit and best_scores[0] >= search.score(file) and not search.query.by_lines:
            break
        snippets = _of_file(search, file)
        if snippets:
            found += [(matching, snippet) for snippet in snippets]
            best_scores = heapq.nlargest(limit, [*best_scores, *(snippet.score for snippet in snippets)])[::-1]
            matching += 1
        if matching >= limit:
            break
    # Of equals, in the order of their files: so the best n are the first n of the best n + 1, and pages fit together.
    found.sort(key=lambda f: (-f[1].score, f[0], f[1].start))
    return [snippet for _, snippet in found[:limit]], matching


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


def _of_file(search: _Search, file: _File) -> list[Snippet]:
    windows = search.windows(file)
    found = _windows(search, file, windows)
    best = max((w.weight for w in found), default=0.0)
    taken: list[Window] = []
    for window in found:
        if not any(window.start <= w.end and w.start <= window.end for w in taken):
            taken.append(window)
    if search.query.by_lines:
        taken = windows.grown(taken)  # what is asked for by its name is shown as it is
    shown: list[Snippet] = []
    for i, window in enumerate(taken):
        share = window.weight / best if best > 0 else 1.0
        score = search.score(file) * (share * _SECOND_SNIPPET**i if i else 1.0)
        shown.append(_shown(search, file, windows, window, score))
    return shown


def _windows(search: _Search, file: _File, windows: FileWindows) -> list[Window]:
    query = search.query
    if query.by_lines:
        phrases = [*map(phrase_pattern, query.phrases)]
        # No phrase and no name goes over the end of a line.
        whole = [*filter(None, map(of_whole_text, query.patterns)), *phrases, *map(use_pattern, query.using)]
        text = "\n".join(file.lines)
        if not all(p.search(text) for p in whole):
            return []
        patterns = [*phrases, *map(compiled, query.patterns)]
        conditions = [*(any_of([p]) for p in patterns), *(_uses(name, file.definitions) for name in query.using)]
        if not all(any(map(holds, file.lines)) for holds in conditions):
            return []
        return windows.of_lines(lambda line: any(holds(line) for holds in conditions))
    if named := windows.of_names():
        return named[:_NAMED_PER_FILE]
    density = search.density(file)
    places = choose([density], [1.0], places=_USES_PER_FILE, lines=_USES_PER_FILE * LINES)
    return [Window(p.start, p.end, density.symbol(p.start, p.end), p.chance) for p in places]


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
