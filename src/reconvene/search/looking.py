"""What all kinds of answers do with a file: where its words stand, what is shown of it, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconvene.index.query import Query
from reconvene.index.ranking import Signals
from reconvene.index.runs import Hits
from reconvene.index.view import View
from reconvene.search.density import Density
from reconvene.search.files import File
from reconvene.search.result import TOGETHER, Snippet
from reconvene.search.texts import cut_text
from reconvene.search.windows import FileWindows, Window, words_of
from reconvene.workspace.names import display_path

SECOND_SNIPPET = 0.85
"""Each further place of a file counts so much less than the one before."""
_WORDS = 6
"""Of the query that a place is said to have, at most."""
_TOLD = 0.2
"""Share of the most that commit messages say for any file, from which on it is worth a mention."""
GOOD_CHUNK, BEST_CHUNK = 0.45, 0.7
"""Chunks of a file are looked at line by line that score so much of the best one: where several places of a file may be shown, and where
but one is. The others hold it too seldom to be worth it: of 825 commits none is lost by it, and half of the lines need not be read."""


@dataclass(frozen=True, slots=True)
class Search:
    query: Query
    signals: Signals
    view: View
    hits: Hits

    def density(self, file: File, share: float = GOOD_CHUNK) -> Density:
        """Of its chunks that score at least such a share of the best one."""
        weights, names = self.signals.weights, self.query.symbols
        return Density(file.text, file.definitions, weights, names, self.hits, self._spans(file, share))

    def _spans(self, file: File, share: float) -> list[tuple[int, int]] | None:
        """Lines of the chunks that score well; None when none scores."""
        chunk = self.signals.chunk[self.view.chunks(file.number)]
        best = float(chunk.max(initial=0.0))
        if not best:
            return None
        starts = [*self.view.chunk_starts(file.number), file.text.count + 1]
        return [(starts[c], starts[c + 1] - 1) for c in (chunk >= share * best).nonzero()[0].tolist()]

    def windows(self, file: File) -> FileWindows:
        weights, names = self.signals.weights, self.query.symbols
        return FileWindows(file.text, file.definitions, weights, names, self.hits)

    def score(self, file: File) -> float:
        return float(self.signals.score[file.number])


def shown(search: Search, file: File, window: Window, score: float, telling: Iterable[str] | None = None) -> Snippet:
    """
    Args:
        telling: runs of word characters of the window, in their order, among which each term of the query that stands in it is; None when
            nobody knows.
    """
    runs = file.text.runs.with_any(search.hits, [(window.start, window.end)]) if telling is None else telling
    words = words_of(runs, search.hits, search.signals.weights)
    why = why_shown(words, search.query, search.signals, file.number, window)
    text = cut_text(file.text, window.start, window.end)
    return Snippet(display_path(file.path), window.start, window.end, score, window.symbol, text, why)


def why_shown(words: Sequence[str], query: Query, signals: Signals, number: int, window: Window) -> tuple[str, ...]:
    why = []
    if window.symbol and window.symbol.rpartition(".")[2] in query.symbols:
        why.append(f"defines {window.symbol}")
    why += [f'has "{phrase}"' for phrase in query.phrases]
    why += [f"matches {pattern}" for pattern in query.patterns]
    why += [f"uses {name}" for name in query.using]
    if words:
        why.append("words: " + ", ".join(words[:_WORDS]))
    if signals.stem[number] > 0:
        why.append("file name")
    if signals.names[number] > 0:
        why.append("names it defines")
    if signals.folder[number] > 0:
        why.append("folder")
    if signals.history[number] > _TOLD:
        why.append("commits that touched it")
    if signals.tested[number] > 0:
        why.append("what its test says")
    if signals.together[number] > _TOLD:
        why.append(TOGETHER)
    return tuple(why)
