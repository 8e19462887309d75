"""Completing the names of files, folders and definitions while they are typed.

All names of a code base lie in a few texts, each as written and folded, at the same offsets: looking through them is `str.find`, which
takes about a millisecond for each million characters. What changed since is replaced file by file.
"""

from __future__ import annotations

import asyncio
import heapq
import re
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal
from weakref import WeakKeyDictionary

from reconvene.errors import ReconveneError
from reconvene.index.definitions import Definition
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
_WEIGHED = 800
"""Places of one kind that are weighed for one answer."""
_AT_ONCE = 0.02
"""Seconds that an answer gathers names that are not known yet."""
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
    """Best first. `partial`: not every name is known yet; `gather` makes it so. `epoch`: of the index."""

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
    await asyncio.to_thread(_names_of(index).catch_up, None)


def _names_of(index: RootIndex) -> CodeNames:
    return _known.setdefault(index, CodeNames(index))


@dataclass(frozen=True, slots=True)
class _Text:
    """Entries, each after a "\\x02". Both have the same offsets."""

    written: str = ""
    folded: str = ""

    @classmethod
    def of(cls, entries: Iterable[str]) -> _Text:
        written = "".join(entries)
        folded = written.lower()
        if len(folded) != len(written):  # a letter whose small form has more than one character
            folded = "".join(low if len(low := c.lower()) == 1 else c for c in written)
        return cls(written, folded)

    def entry(self, at: int) -> str:
        begin = self.written.rfind("\x02", 0, at + 1) + 1
        end = self.written.find("\x02", begin)
        return self.written[begin : end if end >= 0 else len(self.written)]


@dataclass(slots=True)
class _Known:
    """What was gathered at an epoch. `pieces`: of each file, its definitions as entries; `todo`: files still to be gathered."""

    epoch: int
    weights: dict[str, float]
    files: _Text
    folders: _Text
    pieces: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    count: int = 0
    todo: list[str] = field(default_factory=list)
    symbols: _Text | None = None
    """Of `pieces`; None when they have changed since."""


class CodeNames:
    """The names of one index. For any thread."""

    def __init__(self, index: RootIndex) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def catch_up(self, within: float | None) -> _Known:
        """Bring what is known to the index's epoch. Blocking; for at most so many seconds."""
        end = None if within is None else time.monotonic() + within
        with self._lock:
            known = self._current(self._index.view)
            turn = time.monotonic() + _TURN
            while known.todo and known.count < MOST_SYMBOLS:
                path = known.todo.pop()
                self._take(known, path)
                now = time.monotonic()
                if end is not None and now > end:
                    break
                if now > turn:
                    time.sleep(0)
                    turn = now + _TURN
            if known.count >= MOST_SYMBOLS:
                known.todo.clear()
            if known.symbols is None:
                known.symbols = _Text.of(known.pieces.values())
            return known

    def complete(self, typed: str, limit: int) -> Completions:
        """Blocking. See the function."""
        known = self.catch_up(_AT_ONCE)
        if not (wanted := typed.strip()):
            best = sorted(known.weights, key=lambda p: (-known.weights[p], p))[:limit]
            items = [Completion("file", display_path(p)) for p in best]
        else:
            items = _best(known, wanted, limit)
        return Completions(tuple(items), bool(known.todo), known.epoch)

    def _current(self, view: View) -> _Known:
        known = self._known
        if known is not None and known.epoch == view.epoch:
            return known
        changed = self._index.changed_since(known.epoch) if known is not None else None
        if known is None or changed is None or len(changed) > _A_FEW:
            made = _anew(view)
            if known is None or changed is None:
                made.todo = sorted(made.weights, key=lambda p: (made.weights[p], p))  # taken from its end
                self._known = made
                return made
        else:
            made = _but_for(known, view, changed)
        made.pieces, made.numbers, made.paths, made.count = known.pieces, known.numbers, known.paths, known.count
        for path in changed:
            if (piece := made.pieces.pop(path, None)) is not None:
                made.count -= piece.count("\x02")
        made.symbols = None if changed else known.symbols
        made.todo = [p for p in known.todo if p in made.weights and p not in changed]
        made.todo += [p for p in changed if p in made.weights]
        self._known = made
        return made

    def _take(self, known: _Known, path: str) -> None:
        number = known.numbers.get(path)
        if number is None:
            number = known.numbers[path] = len(known.paths)
            known.paths.append(path)
        entries = [
            _entry(d, number) for d in self._index.definitions(path) if d.kind not in OUTLINE and d.kind != "impl"
        ]
        if entries:
            known.pieces[path] = "".join(entries)
            known.count += len(entries)
            known.symbols = None


def _anew(view: View) -> _Known:
    scores = file_importance(view)
    top = float(scores.max(initial=0.0)) or 1.0
    weights = {p: 0.0 for p in view.paths() if _can_be_known(p)}
    for number in scores.nonzero()[0].tolist():
        if (path := view.path(number)) in weights:
            weights[path] = float(scores[number]) / top
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
    return "\x02" not in path and "\x03" not in path


def _texts(paths: Iterable[str]) -> tuple[_Text, _Text]:
    """Of files and of folders."""
    folders: set[str] = set()
    for path in paths:
        at = path.rfind("/")
        while at > 0 and (folder := path[:at]) not in folders:
            folders.add(folder)
            at = path.rfind("/", 0, at)
    return _Text.of(f"\x02{p}" for p in paths), _Text.of(f"\x02{f}/" for f in sorted(folders))


def _entry(definition: Definition, number: int) -> str:
    """A name, and after it what is never looked for."""
    name = definition.name.replace("\x02", "").replace("\x03", "")
    return f"\x02{name}\x03{_kind_number(definition.kind)}\x03{definition.line}\x03{number}"


_kinds: list[str] = []


@lru_cache(maxsize=256)
def _kind_number(kind: str) -> int:
    _kinds.append(kind)
    return len(_kinds) - 1


def _best(known: _Known, typed: str, limit: int) -> list[Completion]:
    found: list[tuple[float, str, _Kind]] = []
    wanted = typed.lower()
    for cost, path in _paths(known.files, wanted):
        found.append((cost - known.weights[path], path, "file"))
    for cost, path in _paths(known.folders, wanted):
        found.append((cost + 0.5, path, "folder"))
    if "/" not in wanted and known.symbols is not None:
        for cost, entry in _symbols(known.symbols, wanted):
            name, kind, _, number = entry.split("\x03")
            weight = known.weights.get(known.paths[int(number)])
            if weight is not None:
                cost -= name == typed  # written with the same large letters, it is meant
                found.append((cost + _KIND_COSTS.get(_kinds[int(kind)], 0.6) - weight / 2, entry, "symbol"))
    if len(found) < min(limit, _FEW) and len(wanted) > 1:
        have = {entry for _, entry, _ in found}
        for path in _alike(known.files, wanted):
            if path not in have:
                found.append((_LIKE + len(path) / 100 - known.weights[path], path, "file"))
    return [_completion(known, kind, entry) for _, entry, kind in heapq.nsmallest(limit, found)]


def _completion(known: _Known, kind: _Kind, entry: str) -> Completion:
    if kind != "symbol":
        return Completion(kind, display_path(entry))
    name, number, line, path = entry.split("\x03")
    return Completion("symbol", display_path(known.paths[int(path)]), name, int(line), _kinds[int(number)])


def _occurrences(folded: str, wanted: str) -> Iterator[int]:
    """Where names begin with it, then where else it is; each at most so many."""
    for needle, skip in ((f"\x02{wanted}", 1), (wanted, 0)):
        at = folded.find(needle)
        for _ in range(_WEIGHED):
            if at < 0:
                break
            yield at + skip
            at = folded.find(needle, at + 1)


def _paths(text: _Text, wanted: str) -> Iterator[tuple[float, str]]:
    """Paths that have it, with what each costs: 0 when its last part is it, 1 when that begins with it, 2 when a word of that does, 3 when
    another part does, 4 when it is anywhere."""
    seen: dict[int, float] = {}
    for needle in (f"/{wanted}", f"\x02{wanted}", wanted):
        at = text.folded.find(needle)
        for _ in range(_WEIGHED):
            if at < 0:
                break
            begin = text.folded.rfind("\x02", 0, at + 1) + 1
            end = text.folded.find("\x02", begin)
            end = len(text.folded) if end < 0 else end
            start = at if needle is wanted else at + 1
            cost = _path_cost(text, begin, end, start, wanted)
            seen[begin] = min(seen.get(begin, cost), cost)
            at = text.folded.find(needle, at + 1)
    for begin, cost in seen.items():
        path = text.entry(begin)
        yield cost + len(path) / 400, path


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


def _symbols(text: _Text, wanted: str) -> Iterator[tuple[float, str]]:
    seen: set[int] = set()
    for at in _occurrences(text.folded, wanted):
        begin = text.folded.rfind("\x02", 0, at + 1) + 1
        if begin in seen or text.folded.find("\x03", begin, at + 1) >= 0:  # in what is after the name
            continue
        seen.add(begin)
        entry = text.entry(begin)
        name = entry.partition("\x03")[0]
        cost = 2.0 if _begins_word(text.written, at) else 4.0
        if at == begin:
            cost = 0.0 if len(name) == len(wanted) else 1.0
        yield cost + len(name) / 60 + name.startswith("_") * 0.5, entry


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
        yield text.entry(match.start() + 1)
