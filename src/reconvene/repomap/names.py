"""Completing the names of files, folders and definitions while they are typed.

All names of a code base lie in a few texts, each as written and folded, at the same offsets: looking through them is `str.find`, which
takes about a millisecond for each million characters. They lie in the order in which their files matter, so that of what is in very many
places the first ones are the best. What changed since is replaced file by file.
"""

from __future__ import annotations

import asyncio
import heapq
import re
import threading
import time
from bisect import bisect_right
from collections.abc import Collection, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, islice
from typing import Literal
from weakref import WeakKeyDictionary

from reconvene.errors import ReconveneError
from reconvene.index.languages.language import OUTLINE
from reconvene.index.root import RootIndex
from reconvene.index.view import View
from reconvene.repomap.importance import file_importance
from reconvene.workspace.names import display_path

MOST = 50
"""Names in one answer."""
MOST_TYPED = 100
"""Characters that are looked for."""
MOST_SYMBOLS = 200_000
"""Of a larger code base the definitions of the files that matter most are known."""
_WEIGHED = 150
"""Places of one kind that are weighed for one answer."""
_AT_ONCE = 0.02
"""Seconds that an answer gathers names that are not known yet."""
_SLICE = 0.03
"""Seconds for which names are gathered at a time, and nobody is answered."""
_BREATH = 0.001
"""Seconds between two slices, in which whoever waits gets the lock."""
_TURN = 0.005
"""Seconds of gathering, after which other threads get a turn."""
_A_FEW = 200
"""Files; when more have changed, how much each file matters is counted again."""
_FEW = 4
"""Names; when fewer have the text as it is, those are looked for that have its letters."""
_KIND_COSTS = {
    "class": 0.0,
    "interface": 0.0,
    "struct": 0.0,
    "enum": 0.1,
    "type": 0.1,
    "function": 0.2,
    "method": 0.35,
    "macro": 0.4,
}
_Kind = Literal["file", "folder", "symbol"]
_LIKE = 6
"""What a name costs that has the letters in their order, but others between."""


@dataclass(frozen=True, slots=True)
class Completion:
    """`path` in its display form (a folder's ends in "/"). `name`, `line`, `symbol_kind`: of a symbol, what and where it is."""

    kind: _Kind
    path: str
    name: str = ""
    line: int = 1
    symbol_kind: str = ""


@dataclass(frozen=True, slots=True)
class Completions:
    """Best first. `partial`: not every name is known yet; `gather` makes it so, once all files were read. `epoch`: of the index."""

    items: tuple[Completion, ...]
    partial: bool
    epoch: int


_known: WeakKeyDictionary[RootIndex, CodeNames] = WeakKeyDictionary()


async def complete(index: RootIndex, typed: str, limit: int = 12) -> Completions:
    """What the typed text may become: names that begin with it, then those with a word that does, that have it, that have its letters.

    Args:
        typed: part of a name or a path; with a "/" only files and folders are meant. Nothing: the files that matter most.
        limit: 1 to 50.

    Raises:
        ReconveneError: `invalid_field` (limit, more than 100 characters).
    """
    if not 1 <= limit <= MOST:
        raise ReconveneError("invalid_field", f"limit must be 1 to {MOST}.", field="limit")
    if len(typed) > MOST_TYPED:
        raise ReconveneError("invalid_field", f"A name has at most {MOST_TYPED} characters here.", field="q")
    return await asyncio.to_thread(_names_of(index).complete, typed, limit)


async def gather(index: RootIndex) -> None:
    """Get to know every name: what `complete` does not wait for."""
    await asyncio.to_thread(_names_of(index).catch_up)


def _names_of(index: RootIndex) -> CodeNames:
    return _known.setdefault(index, CodeNames(index))


@dataclass(frozen=True, slots=True)
class _Text:
    """Entries, each between two "\\x02". Both have the same offsets."""

    written: str = ""
    folded: str = ""

    @classmethod
    def of(cls, entries: Iterable[str]) -> _Text:
        written = "".join(entries) + "\x02"
        folded = written.lower()
        if len(folded) != len(written):  # a letter whose small form has more than one character
            folded = "".join(low if len(low := c.lower()) == 1 else c for c in written)
        return cls(written, folded)

    def bounds(self, at: int) -> tuple[int, int]:
        """Of the entry that has this place."""
        begin = self.folded.rfind("\x02", 0, at + 1) + 1
        return begin, self.folded.find("\x02", begin)


@dataclass(frozen=True, slots=True)
class _Piece:
    """The definitions of a file: their names as entries, and of each its kind and its line."""

    names: str
    places: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class _Symbols:
    """The names of all pieces in one text. `starts`: where in it each of them begins."""

    text: _Text
    starts: list[int]
    paths: list[str]
    pieces: list[_Piece]

    @classmethod
    def of(cls, pieces: dict[str, _Piece]) -> _Symbols:
        there = {path: piece for path, piece in pieces.items() if piece.names}
        starts = list(accumulate((len(piece.names) for piece in there.values()), initial=0))
        return cls(_Text.of(piece.names for piece in there.values()), starts, list(there), list(there.values()))

    def at(self, begin: int) -> tuple[str, str, int]:
        """The file, kind and line of the entry that begins there."""
        n = bisect_right(self.starts, begin) - 1
        piece = self.pieces[n]
        kind, line = piece.places[piece.names.count("\x02", 0, begin - self.starts[n]) - 1]
        return self.paths[n], kind, line


@dataclass(slots=True)
class _Known:
    """What was gathered at an epoch. `weights`: how much each file matters, those that matter most first; `pieces`: in that order, empty
    where nothing is known (any more); `todo`: files still to be gathered."""

    epoch: int
    weights: dict[str, float]
    files: _Text
    folders: _Text
    pieces: dict[str, _Piece] = field(default_factory=dict)
    count: int = 0
    todo: list[str] = field(default_factory=list)
    symbols: _Symbols | None = None
    """Of `pieces`; None when they have changed since."""


class CodeNames:
    """The names of one index. For any thread."""

    def __init__(self, index: RootIndex) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def catch_up(self) -> None:
        """Bring what is known to the index's epoch. Blocking; who completes meanwhile waits for a slice of it at most."""
        more = True
        while more:
            with self._lock:
                more = bool(self._taken(_SLICE).todo)
            time.sleep(_BREATH)

    def complete(self, typed: str, limit: int) -> Completions:
        """Blocking. See the function."""
        with self._lock:
            known = self._taken(_AT_ONCE)
            symbols = known.symbols = known.symbols or _Symbols.of(known.pieces)
            partial = bool(known.todo) or self._index.partial
        if not (wanted := typed.strip()):
            items = [Completion("file", display_path(p)) for p in islice(known.weights, limit)]
        else:
            items = _best(known, symbols, wanted, limit) if "\x02" not in wanted else []
        return Completions(tuple(items), partial, known.epoch)

    def _taken(self, within: float) -> _Known:
        """What is known, and more of it for so many seconds."""
        known = self._current(self._index.view)
        end = time.monotonic() + within
        turn = time.monotonic() + _TURN
        while known.todo and known.count < MOST_SYMBOLS:
            self._take(known, known.todo.pop())
            now = time.monotonic()
            if now > end:
                break
            if now > turn:
                time.sleep(0)
                turn = now + _TURN
        if known.count >= MOST_SYMBOLS:
            known.todo.clear()
        return known

    def _current(self, view: View) -> _Known:
        known = self._known
        if known is not None and known.epoch == view.epoch:
            return known
        changed = self._index.changed_since(known.epoch) if known is not None else None
        if known is None or changed is None or len(changed) > _A_FEW:
            made = _anew(view)
            if known is None or changed is None:
                made.todo = list(reversed(made.weights))  # taken from its end
                self._known = made
                return made
        else:
            made = _but_for(known, view, changed)
        made.pieces, made.count = known.pieces, known.count
        for path in changed:
            if (piece := made.pieces.get(path)) is not None:
                made.count -= len(piece.places)
                made.pieces[path] = _NOTHING  # its place in the order stays
        made.symbols = None if changed else known.symbols
        made.todo = [p for p in known.todo if p in made.weights and p not in changed]
        made.todo += [p for p in changed if p in made.weights]
        self._known = made
        return made

    def _take(self, known: _Known, path: str) -> None:
        found = [d for d in self._index.definitions(path) if d.kind not in OUTLINE and d.kind != "impl"]
        if found:
            names = "".join("\x02" + d.name.replace("\x02", "") for d in found)
            known.pieces[path] = _Piece(names, tuple((d.kind, d.line) for d in found))
            known.count += len(found)
            known.symbols = None


_NOTHING = _Piece("", ())


def _anew(view: View) -> _Known:
    scores = file_importance(view)
    top = float(scores.max(initial=0.0)) or 1.0
    weights = {p: 0.0 for p in view.paths() if _can_be_known(p)}
    for number in scores.nonzero()[0].tolist():
        if (path := view.path(number)) in weights:
            weights[path] = float(scores[number]) / top
    weights = dict(sorted(weights.items(), key=lambda known: (-known[1], known[0])))
    return _Known(view.epoch, weights, *_texts(weights))


def _but_for(known: _Known, view: View, changed: Collection[str]) -> _Known:
    """The same with a few files changed: how much each file matters, which takes longest, is left as it was."""
    there = {p for p in changed if view.find(p) is not None and _can_be_known(p)}
    new, gone = there - known.weights.keys(), (set(changed) - there) & known.weights.keys()
    if not new and not gone:
        return _Known(view.epoch, known.weights, known.files, known.folders)
    weights = {p: w for p, w in known.weights.items() if p not in gone} | dict.fromkeys(new, 0.0)
    return _Known(view.epoch, weights, *_texts(weights))


def _can_be_known(path: str) -> bool:
    return "\x02" not in path


def _texts(paths: Iterable[str]) -> tuple[_Text, _Text]:
    """Of files and of folders."""
    folders: dict[str, None] = {}
    for path in paths:
        at = path.rfind("/")
        while at > 0 and (folder := path[:at]) not in folders:
            folders[folder] = None
            at = path.rfind("/", 0, at)
    return _Text.of(f"\x02{p}" for p in paths), _Text.of(f"\x02{f}/" for f in folders)


_Found = tuple[float, str, _Kind, str, int, str]
"""What a name costs, the name, and of a symbol its file, line and kind."""


def _best(known: _Known, symbols: _Symbols, typed: str, limit: int) -> list[Completion]:
    found: list[_Found] = []
    wanted = typed.lower()
    for cost, path in _paths(known.files, wanted):
        found.append((cost - known.weights[path], path, "file", "", 0, ""))
    for cost, path in _paths(known.folders, wanted):
        found.append((cost + 0.5, path, "folder", "", 0, ""))
    if "/" not in wanted:
        for cost, name, begin in _names(symbols.text, wanted):
            path, kind, line = symbols.at(begin)
            if (weight := known.weights.get(path)) is not None:
                cost -= name == typed  # written with the same large letters, it is meant
                found.append((cost + _KIND_COSTS.get(kind, 0.6) - weight / 2, name, "symbol", path, line, kind))
    if len(found) < min(limit, _FEW) and len(wanted) > 1:
        have = {name for _, name, *_ in found}
        for path in _alike(known.files, wanted):
            if path not in have:
                found.append((_LIKE + len(path) / 100 - known.weights[path], path, "file", "", 0, ""))
    return [_completion(entry) for entry in heapq.nsmallest(limit, found)]


def _completion(found: _Found) -> Completion:
    _, name, kind, path, line, symbol_kind = found
    if kind != "symbol":
        return Completion(kind, display_path(name))
    return Completion(kind, display_path(path), name, line, symbol_kind)


def _places(folded: str, wanted: str, *narrower: tuple[str, ...]) -> Iterator[int]:
    """Where it is; the first of very many places, and then those where it is in particular. `narrower`: texts that have it behind their
    first character, each in no other places than the one before it."""
    if (yield from _first_places(folded, wanted)):
        return
    for needles in narrower:
        for needle in needles:
            if (yield from _first_places(folded, needle, skip=1)):
                break


def _first_places(folded: str, needle: str, skip: int = 0) -> Generator[int, None, bool]:
    """Returns whether these were all."""
    at = folded.find(needle)
    for _ in range(_WEIGHED):
        if at < 0:
            return True
        yield at + skip
        at = folded.find(needle, at + 1)
    return False


def _paths(text: _Text, wanted: str) -> Iterator[tuple[float, str]]:
    """Paths that have it, with what each costs: 0 when its last part is it, 1 when that begins with it, 2 when a word of that does, 3 when
    another part does, 4 when it is anywhere."""
    seen: dict[int, tuple[float, int]] = {}
    for at in _places(text.folded, wanted, (f"/{wanted}", f"/{wanted}."), (f"\x02{wanted}",)):
        begin, end = text.bounds(at)
        cost = _path_cost(text, begin, end, at, wanted)
        if begin not in seen or cost < seen[begin][0]:
            seen[begin] = cost, end
    for begin, (cost, end) in seen.items():
        yield cost + (end - begin) / 400, text.written[begin:end]


def _path_cost(text: _Text, begin: int, end: int, start: int, wanted: str) -> float:
    last = text.folded.rfind("/", begin, end - 1) + 1 or begin
    last = max(last, begin)
    if start < last and "/" in wanted and start + wanted.rfind("/") + 1 >= last:
        return 1.0 if start == begin or text.folded[start - 1] == "/" else 2.0
    if start < last:
        return 3.0 if start == begin or text.folded[start - 1] == "/" else 4.0
    name = text.folded[last:end].rstrip("/")
    if start == last:
        return 0.0 if wanted in (name, name.partition(".")[0]) else 1.0
    return 2.0 if _begins_word(text.written, start) else 4.0


def _names(text: _Text, wanted: str) -> Iterator[tuple[float, str, int]]:
    """Names that have it, with what each costs (as for paths) and where it is."""
    seen: set[int] = set()
    for at in _places(text.folded, wanted, (f"\x02{wanted}", f"\x02{wanted}\x02")):
        begin, end = text.bounds(at)
        if begin in seen:
            continue
        seen.add(begin)
        name = text.written[begin:end]
        cost = 2.0 if _begins_word(text.written, at) else 4.0
        if at == begin:
            cost = 0.0 if len(name) == len(wanted) else 1.0
        yield cost + len(name) / 60 + name.startswith("_") * 0.5, name, begin


def _begins_word(written: str, at: int) -> bool:
    before, here = written[at - 1], written[at]
    return not before.isalnum() or (here.isupper() and not before.isupper())


def _alike(text: _Text, wanted: str) -> Iterator[str]:
    """Paths that have these letters in this order."""
    # Every step leaves one way on: no path is gone through more than once.
    pattern = "\x02" + "".join(f"[^\x02{re.escape(c)}]*{re.escape(c)}" for c in wanted[:24])
    for n, match in enumerate(re.finditer(pattern, text.folded)):
        if n >= _WEIGHED // 4:
            return
        begin, end = text.bounds(match.start() + 1)
        yield text.written[begin:end]
