"""A query to ranked snippets, read from the files as they are now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from reconvene.errors import ReconveneError
from reconvene.index import paging
from reconvene.index.literals import required
from reconvene.index.paging import Position
from reconvene.index.query import Query, parse, required_terms
from reconvene.index.ranking import Signals, by_role, defining, rank, with_any, with_terms
from reconvene.index.root import RootIndex
from reconvene.index.runs import Hits
from reconvene.index.view import View
from reconvene.search.files import Files
from reconvene.search.filtered import NO, UNKNOWN, YES, left_in
from reconvene.search.likeliest import has_a_place, likeliest
from reconvene.search.looking import Search
from reconvene.search.matching import matching, worth_lines
from reconvene.search.places import FILES
from reconvene.search.result import SearchResult, Snippet, pointed_out
from reconvene.workspace.names import display_path

NAMED = 10
"""Files that an answer speaks of, those of its places and those named after them: what is to be changed is among so many in .93."""
LATELY = 8
"""Files that the session saw last, which move the order: about as many as one answer shows."""
_WORTH_A_LOOK = 0.25
_FIRST_STEP = 64
"""Files that are put in order to find the first that the filters leave in."""


async def search(
    index: RootIndex, query: str, *, limit: int = 8, seen: Sequence[str] = (), cursor: str | None = None
) -> SearchResult:
    """The best places for a query, from the index as it is (`RootIndex.refresh` brings it up to date).

    Args:
        query: see `search.query`.
        limit: snippets, 1 to `limits.search_hits`.
        seen: paths that the session knows, the last it came to at the end. They are pointed out, and what was changed together with the
            last `LATELY` comes sooner.
        cursor: `next` of the page before, for the same query and what was seen then.

    Raises:
        ReconveneError: `invalid_field`, `pattern_too_big`, `workspace_gone`, `search_failed`.
    """
    parsed = parse(query, index.limits)
    check_limit(limit, index)
    at = paging.read(cursor, question(index, parsed))
    return pointed_out(await page(index, parsed, limit, at, tuple(seen)[-LATELY:]), seen)


def question(index: RootIndex, query: Query) -> tuple[object, ...]:
    """What a cursor is of: the same words in another code base are another question."""
    return ("search", str(index.workspace.root), query.key)


async def page(index: RootIndex, query: Query, limit: int, at: Position, seen: Sequence[str]) -> SearchResult:
    """As many places as `limit`, from a position on; all pages of one answer together have `limits.search_hits` places at most."""
    most = index.limits.search_hits
    upto = min(at.shown + limit, most)
    found, more = await answer(index, query, upto, seen, ahead=upto < most)
    places = [(s.path, s.start, s.end, found.fingerprints[s.path]) for s in found.snippets]
    if at.shown and paging.digest_of(places[: at.shown]) != at.digest:
        return replace(await page(index, query, limit, paging.BEGINNING, seen), moved=True)
    shown = found.snippets[at.shown : upto]
    paths = {s.path for s in shown}
    return replace(
        found,
        snippets=shown,
        fingerprints={path: value for path, value in found.fingerprints.items() if path in paths},
        next=paging.written(question(index, query), places) if more else None,
    )


async def answer(
    index: RootIndex, query: Query, limit: int, seen: Sequence[str] = (), *, ahead: bool = False
) -> tuple[SearchResult, bool]:
    """The best places, and, with `ahead`, whether there are more than so many."""
    for last in (False, False, True):
        result, more, stale = await asyncio.to_thread(_answer, index, query, limit, seen, ahead)
        # A file that changed since it was indexed is indexed again; one that is being written all the time is left out in the end.
        if last or not stale or index.progress is not None:
            break
        await index.refresh(stale)
    return result, more


def check_limit(limit: int, index: RootIndex) -> None:
    most = index.limits.search_hits
    if not 1 <= limit <= most:
        raise ReconveneError(
            "invalid_field",
            f"A search returns 1 to {most} places; {limit} is not in that range.",
            field="limit",
            limit=most,
        )


def _answer(
    index: RootIndex, query: Query, limit: int, seen: Sequence[str], ahead: bool
) -> tuple[SearchResult, bool, list[str]]:
    """The result, whether there is more, and the files that were left out because they are not what they were when indexed."""
    view = index.view
    signals = rank(view, query, seen)
    if not (query.terms or query.symbols):
        signals = replace(signals, score=by_role(view, query))
    files = Files(index, view, time.monotonic() + index.limits.search_time)
    search = Search(query, signals, view, Hits(signals.weights, query.texts))
    candidates = _Candidates(view, query, signals)
    further: tuple[str, ...] = ()
    if query.by_lines or query.single or query.defining:
        order = candidates.in_order(4 * (limit + ahead) if not query.by_lines else None)
        found, total = matching(search, files.read(order, worth_lines(query)), limit + ahead)
        found, more = found[:limit], len(found) > limit
        if not query.by_lines:
            total = candidates.worth_a_look
    else:
        order = candidates.in_order(4 * (FILES + limit + ahead))
        found, told = likeliest(search, files.read(order), limit)
        total = candidates.worth_a_look
        following = list(islice(order, NAMED))
        further = _further(found, (*files.fingerprints, *map(display_path, map(view.path, following))))
        more = _goes_on(view, files, following, order) if told is None else told
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
        further=further,
    )
    return result, more and ahead, files.stale


def _further(found: Iterable[Snippet], paths: Iterable[str]) -> tuple[str, ...]:
    """The first of some files that have none of these places, as many as make up the number."""
    shown = {s.path for s in found}
    return tuple(islice((path for path in paths if path not in shown), max(NAMED - len(shown), 0)))


def _goes_on(view: View, files: Files, following: Sequence[int], order: Iterator[int]) -> bool:
    """Whether one of the files that follow has a place. One that has words has, as far as the index knows, and need not be read."""
    if np.count_nonzero(view.columns.length[np.array(following, np.int64)]):
        return True
    return any(map(has_a_place, files.read(chain(following, order))))


class _Candidates:
    """The files that may be shown. Whether the query's filters leave a file in is asked of no more files than need be."""

    def __init__(self, view: View, query: Query, signals: Signals) -> None:
        self._view, self._query = view, query
        self._numbers = _unfiltered(view, query, signals)
        self._score = signals.score
        self._scores = signals.score[self._numbers]
        self._wanted = left_in(view, query)

    @property
    def worth_a_look(self) -> int:
        """How many do not score far below the best one."""
        if not self._query.filtered:
            top = float(self._scores.max(initial=0.0))
            return int(np.count_nonzero(self._scores >= _WORTH_A_LOOK * top))
        best = next(self.in_order(_FIRST_STEP), None)
        if best is None:
            return 0
        return len(self._left(self._numbers[self._scores >= _WORTH_A_LOOK * float(self._score[best])]))

    def in_order(self, step: int | None) -> Iterator[int]:
        """Best first; of equals, by path. `step`: how many are put in order at first, then more at a time; None: all."""
        numbers, scores = self._numbers, self._scores
        while len(numbers):
            first = np.ones(len(numbers), np.bool_)
            if step is not None and len(numbers) > step:
                first = scores >= np.partition(scores, -step)[-step]
            these = self._left(numbers[first])
            ordered = sorted(
                zip((-self._score[these]).tolist(), map(self._view.path, these.tolist()), these.tolist(), strict=True)
            )
            yield from (n for _, _, n in ordered)
            numbers, scores = numbers[~first], scores[~first]
            step = None if step is None else 4 * step

    def _left(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some files that the query's filters leave in."""
        if not self._query.filtered:
            return numbers
        known = np.frombuffer(self._wanted, np.uint8)
        unknown = numbers[known[numbers] == UNKNOWN]
        if len(unknown):
            wanted = self._query.wanted_of([self._view.path(n) for n in unknown.tolist()])
            told = np.full(len(unknown), NO, np.uint8)
            told[wanted] = YES
            known[unknown] = told  # at once: others look at it meanwhile
        left: NDArray[np.int64] = numbers[known[numbers] == YES]
        return left


def _unfiltered(view: View, query: Query, signals: Signals) -> NDArray[np.int64]:
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
    return np.flatnonzero(mask)
