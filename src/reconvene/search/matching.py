"""The answer to a question by names or lines: what fulfils it, the best first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from reconvene.index.definitions import SIGNATURE, Definition, last_name
from reconvene.index.query import Query, compiled, of_whole_text, phrase_pattern, use_pattern
from reconvene.search.files import File
from reconvene.search.looking import SECOND_SNIPPET, Search, shown
from reconvene.search.places import choose
from reconvene.search.result import Snippet
from reconvene.search.windows import LINES, FileWindows, Window, any_of

_NAMED_PER_FILE, _USES_PER_FILE = 3, 2
"""Places of one file that are shown when a name is asked for: where it is defined; where nothing of that name is."""


def worth_lines(query: Query) -> Callable[[str], bool] | None:
    """Whether a text may have lines that the query asks for; None when it asks for none. It costs less than its lines."""
    if not query.by_lines:
        return None
    # No phrase and no name goes over the end of a line.
    phrases = [phrase_pattern(phrase) for phrase in query.phrases]
    names = [use_pattern(name) for name in query.using]
    whole = [*filter(None, map(of_whole_text, query.patterns)), *phrases, *names]
    words = [word.lower() for phrase in query.phrases if phrase.isascii() for word in phrase.split()]

    def worth(text: str) -> bool:
        # A pattern that does not begin with what it looks for goes through a text a hundred times as slowly as that is found.
        if not all(name in text for name in query.using):
            return False
        if words and text.isascii():
            lower = text.lower()
            if not all(word in lower for word in words):
                return False
        return all(p.search(text) for p in whole)

    return worth


def matching(search: Search, files: Iterable[File], limit: int) -> tuple[list[Snippet], int]:
    """For a question by names or lines: the best of what fulfils it, and how many files do of those that were read."""
    found: list[_Found] = []
    best_scores: list[float] = []
    files_matching = 0
    for file in files:
        # No place of a file counts more than the file, and of equals those of the file before come first.
        if len(best_scores) == limit and best_scores[0] >= search.score(file) and not search.query.by_lines:
            break
        windows = search.windows(file)
        if places := _of_file(search, file, windows):
            found += [_Found(score, files_matching, file, window) for score, window in places]
            best_scores = heapq.nlargest(limit, [*best_scores, *(score for score, _ in places)])[::-1]
            files_matching += 1
        if files_matching >= limit:
            break
    # Of equals, in the order of their files: so the best n are the first n of the best n + 1, and pages fit together.
    found.sort(key=lambda f: (-f.score, f.nth, f.window.start))
    return [shown(search, f.file, f.window, f.score) for f in found[:limit]], files_matching


class _Found(NamedTuple):
    """A place, of which more is made only when it is one of those that are shown. `nth`: of the files with such places, which it is in."""

    score: float
    nth: int
    file: File
    window: Window


def _of_file(search: Search, file: File, windows: FileWindows) -> list[tuple[float, Window]]:
    """The places of a file that fulfil it, and their scores."""
    found = _windows(search, file, windows)
    best = max((w.weight for w in found), default=0.0)
    taken: list[Window] = []
    for window in found:
        if not any(window.start <= w.end and w.start <= window.end for w in taken):
            taken.append(window)
    if search.query.by_lines:
        taken = windows.grown(taken)  # what is asked for by its name is shown as it is
    places: list[tuple[float, Window]] = []
    for i, window in enumerate(taken):
        share = window.weight / best if best > 0 else 1.0
        places.append((search.score(file) * (share * SECOND_SNIPPET**i if i else 1.0), window))
    return places


def _windows(search: Search, file: File, windows: FileWindows) -> list[Window]:
    query = search.query
    if query.by_lines:
        patterns = [*map(phrase_pattern, query.phrases), *map(compiled, query.patterns)]
        conditions = [*(any_of([p]) for p in patterns), *(_uses(name, file.definitions) for name in query.using)]
        if not all(any(map(holds, windows.lines)) for holds in conditions):
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
