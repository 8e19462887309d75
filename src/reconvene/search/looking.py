"""What all kinds of answers do with a file: where its words stand, what is shown of it, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconvene.index.query import Query
from reconvene.index.ranking import Signals
from reconvene.index.runs import Hits
from reconvene.index.view import View
from reconvene.search.density import Density
from reconvene.search.files import File
from reconvene.search.result import TOGETHER, Snippet
from reconvene.search.texts import cut_text
from reconvene.search.windows import FileWindows, Window
from reconvene.workspace.names import display_path

SECOND_SNIPPET = 0.85
"""Each further place of a file counts so much less than the one before."""
_TOLD = 0.2
"""Share of the most that commit messages say for any file, from which on it is worth a mention."""
_ALL_CHUNKS, _GOOD_CHUNK = 5, 0.2
"""Of a file with more chunks than that, those are looked at line by line that score so much of the best one: the others have no chance."""


@dataclass(frozen=True, slots=True)
class Search:
    query: Query
    signals: Signals
    view: View
    hits: Hits

    def density(self, file: File) -> Density:
        weights, names = self.signals.weights, self.query.symbols
        return Density(file.text, file.definitions, weights, names, self.hits, self._spans(file))

    def _spans(self, file: File) -> list[tuple[int, int]] | None:
        """Lines of the chunks that score well, or at all when they are few; None when none does."""
        chunk = self.signals.chunk[self.view.chunks(file.number)]
        best = float(chunk.max(initial=0.0))
        if not best:
            return None
        least = max(_GOOD_CHUNK * best if len(chunk) > _ALL_CHUNKS else 0.0, 1e-9)
        starts = [*self.view.chunk_starts(file.number), file.text.count + 1]
        return [(starts[c], starts[c + 1] - 1) for c in (chunk >= least).nonzero()[0].tolist()]

    def windows(self, file: File) -> FileWindows:
        weights, names = self.signals.weights, self.query.symbols
        return FileWindows(file.text, file.definitions, weights, names, self.hits)

    def score(self, file: File) -> float:
        return float(self.signals.score[file.number])


def shown(
    search: Search,
    file: File,
    windows: FileWindows,
    window: Window,
    score: float,
    telling: Sequence[tuple[int, int]] | None = None,
) -> Snippet:
    """
    Args:
        telling: see `FileWindows.words`.
    """
    why = why_shown(windows, search.query, search.signals, file.number, window, telling)
    text = cut_text(file.text, window.start, window.end)
    return Snippet(display_path(file.path), window.start, window.end, score, window.symbol, text, why)


def why_shown(
    file: FileWindows,
    query: Query,
    signals: Signals,
    number: int,
    window: Window,
    telling: Sequence[tuple[int, int]] | None = None,
) -> tuple[str, ...]:
    why = []
    if window.symbol and window.symbol.rpartition(".")[2] in query.symbols:
        why.append(f"defines {window.symbol}")
    why += [f'has "{phrase}"' for phrase in query.phrases]
    why += [f"matches {pattern}" for pattern in query.patterns]
    why += [f"uses {name}" for name in query.using]
    if words := file.words(window, telling)[:6]:
        why.append("words: " + ", ".join(words))
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
