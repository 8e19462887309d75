"""Which lines of a file to show for a query: a few dozen that begin and end where the code does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from reconvene.index.definitions import Definition, last_name, qualified
from reconvene.index.query import LinePattern
from reconvene.index.runs import Hits
from reconvene.index.words import WORD
from reconvene.search.extent import Extents
from reconvene.search.texts import Text

LINES = 40
"""Of one snippet, at most; what has fewer is shown with the paragraphs around it."""
_SMALL = 6
"""A definition of fewer lines is shown with what stands around it."""
_NEAR = (0.5, 0.25)
"""What the neighbours of a line add to its weight, and theirs."""
_NAME_BONUS = 1.5
"""What the line of a name that is looked for is worth, in best terms."""


@dataclass(frozen=True, slots=True)
class Window:
    """Lines `start` to `end`, from 1, inclusive. `symbol`: the qualified name of the definition they are of. `weight`: of its best line."""

    start: int
    end: int
    symbol: str | None
    weight: float


class FileWindows:
    """Chooses windows in one file.

    Args:
        weights: how much each term of the query counts in this code base.
        names: exact names that are looked for.
        hits: the query's terms in a word.
    """

    def __init__(
        self,
        text: Text,
        definitions: Sequence[Definition],
        weights: Mapping[int, float],
        names: Sequence[str],
        hits: Hits | None = None,
    ) -> None:
        self._definitions = definitions
        self._weights = weights
        self._hits = Hits(weights) if hits is None else hits
        self._names = frozenset(names)
        self._bonus = _NAME_BONUS * max(weights.values(), default=1.0)
        self._text = text
        self._found: dict[int, list[int]] = {}

    @property
    def _extents(self) -> Extents:
        return self._text.extents(self._definitions)

    @cached_property
    def lines(self) -> list[str]:
        """The whole file."""
        return self._text.lines

    @cached_property
    def _defined(self) -> set[int]:
        return {d.line for d in self._definitions if last_name(d.name) in self._names} if self._names else set()

    def of_names(self) -> list[Window]:
        """The definitions of the names that are looked for, those that hold others first."""
        found = [i for i, d in enumerate(self._definitions) if last_name(d.name) in self._names and d.kind != "impl"]
        found.sort(key=lambda i: (self._definitions[i].indent, self._definitions[i].line))
        return [self._whole(i, self._definitions[i].line, self._bonus) for i in found]

    def of_lines(self, matches: Callable[[str], bool]) -> list[Window]:
        """Around lines that fulfil a condition, the best first, none twice."""
        found = [n for n, line in enumerate(self.lines, 1) if matches(line)][:200]
        found.sort(key=lambda n: (-self._smooth(n), n))
        windows: list[Window] = []
        for n in found:
            if not any(w.start <= n <= w.end for w in windows):
                windows.append(self._around(n, self._smooth(n)))
            if len(windows) == 3:
                break
        return windows

    def head(self) -> Window:
        """The beginning of the file."""
        return Window(*self._trimmed(1, min(len(self.lines), LINES // 2)), None, 0.0)

    def grown(self, windows: Sequence[Window]) -> list[Window]:
        """Each with the paragraphs around it that there is room for and no other has, those that say most of the query first."""
        taken = list(windows)
        for i, window in enumerate(windows):
            taken[i] = self._grown(window, [*taken[:i], *taken[i + 1 :]])
        return taken

    # -- choosing

    def _terms(self, n: int) -> list[int]:
        """The query's terms on a line, each as often as it stands there."""
        if n not in self._found:
            line = self.lines[n - 1] if 1 <= n <= len(self.lines) else ""
            self._found[n] = [t for word in WORD.findall(line) for t in self._hits.of[self._hits[word]]]
        return self._found[n]

    def _line(self, n: int) -> float:
        found = self._terms(n)
        if not found:
            return self._bonus if n in self._defined else 0.0
        return sum(sorted(self._weights[t] for t in set(found))) + (self._bonus if n in self._defined else 0.0)

    def _smooth(self, n: int) -> float:
        return self._line(n) + sum(share * (self._line(n - k) + self._line(n + k)) for k, share in enumerate(_NEAR, 1))

    def _around(self, line: int, weight: float) -> Window:
        around = self._extents.around(line)
        return self._whole(around, line, weight) if around >= 0 else self._cut(line, 1, len(self.lines), None, weight)

    def _whole(self, i: int, line: int, weight: float) -> Window:
        """The definition, or the largest one around it that is short enough, or as much of it as is."""
        first, last = self._extents.of(i)
        symbol = qualified(self._definitions, i)
        if last - first + 1 > LINES:
            return self._cut(line, first, last, symbol, weight)
        parent = self._definitions[i].parent
        while parent >= 0 and self._definitions[parent].kind != "heading":
            outer = self._extents.of(parent)
            if not (outer[0] <= first and last <= outer[1]) or outer[1] - outer[0] + 1 > LINES:
                break
            (first, last), symbol = outer, qualified(self._definitions, parent)
            parent = self._definitions[parent].parent
        if last - first + 1 < _SMALL:
            low, high = self._extents.of(parent) if parent >= 0 else (1, len(self.lines))
            return self._cut(line, low, high, symbol, weight, LINES // 2)
        return Window(*self._trimmed(first, last), symbol, weight)

    def _cut(self, line: int, first: int, last: int, symbol: str | None, weight: float, size: int = LINES) -> Window:
        """At most `size` of the lines first to last, with `line` among them, cut where a paragraph ends if that is near."""
        if line - first < size * 3 // 4:
            start = first
        else:
            reach = range(line - size // 6, max(first, line - size // 2), -1)
            start = next((n for n in reach if not self.lines[n - 2].strip()), line - size // 3)
        end = min(last, start + size - 1)
        if end < last:
            reach = range(end, max(line, end - size // 3), -1)
            end = next((n - 1 for n in reach if not self.lines[n - 1].strip()), end)
        return Window(*self._trimmed(start, max(end, line)), symbol, weight)

    def _grown(self, window: Window, taken: Sequence[Window]) -> Window:
        first, last = window.start, window.end
        floor = max((w.end for w in taken if w.end < first), default=0)
        ceiling = min((w.start for w in taken if w.start > last), default=len(self.lines) + 1)
        while True:
            above, below = self._paragraph_before(first), self._paragraph_after(last)
            wider = [(first, below)] * (last < below < ceiling) + [(above, last)] * (floor < above < first)
            fitting = [(start, end) for start, end in wider if end - start + 1 <= LINES]
            if not fitting:
                return replace(window, start=first, end=last)
            first, last = max(fitting, key=partial(self._worth, (first, last)))

    def _worth(self, now: tuple[int, int], wider: tuple[int, int]) -> float:
        """What the lines that would be new say, on average."""
        added = [*range(wider[0], now[0]), *range(now[1] + 1, wider[1] + 1)]
        return sum(map(self._line, added)) / len(added)

    def _paragraph_before(self, first: int) -> int:
        n = first - 1
        while n >= 1 and not self.lines[n - 1].strip():
            n -= 1
        while n > 1 and self.lines[n - 2].strip():
            n -= 1
        return n if n >= 1 else first

    def _paragraph_after(self, last: int) -> int:
        n, count = last + 1, len(self.lines)
        while n <= count and not self.lines[n - 1].strip():
            n += 1
        while n < count and self.lines[n].strip():
            n += 1
        return n if n <= count else last

    def _trimmed(self, start: int, end: int) -> tuple[int, int]:
        while start < end and not self.lines[start - 1].strip():
            start += 1
        while end > start and not self.lines[end - 1].strip():
            end -= 1
        return start, end


def words_of(runs: Iterable[str], hits: Hits, weights: Mapping[int, float]) -> list[str]:
    """The query's words as they first stand in some runs of word characters, the most telling first."""
    found: dict[int, tuple[float, str]] = {}
    for run in dict.fromkeys(runs):
        for word in WORD.findall(run):
            for t in hits.of[hits[word]]:
                if t not in found:
                    found[t] = (weights[t], word if len(word) <= 40 else word[:39] + "…")
    ordered = [word for _, word in sorted(found.values(), key=lambda f: (-f[0], f[1]))]
    return list({word.lower(): word for word in reversed(ordered)}.values())[::-1]


def any_of(patterns: Sequence[LinePattern]) -> Callable[[str], bool]:
    if len(patterns) == 1:
        search = patterns[0].search
        return lambda line: search(line) is not None
    return lambda line: any(p.search(line) is not None for p in patterns)
