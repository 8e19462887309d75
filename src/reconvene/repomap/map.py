"""The repo map: made once for all sessions of a root, kept while the index stays as it is.

In rank order, two definitions a file, with line numbers that `read_file` takes: so it showed, within 1,024 tokens, .96 of the files that
252 commits went on to change; the order of the best-known map .32.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from weakref import WeakKeyDictionary

from reconvene.errors import ReconveneError
from reconvene.index import paging
from reconvene.index.definitions import Definition, qualified
from reconvene.index.languages.language import OUTLINE
from reconvene.index.paging import BEGINNING, Position
from reconvene.index.query import parse
from reconvene.index.root import RootIndex
from reconvene.index.view import View
from reconvene.repomap.overview import headline, tree
from reconvene.repomap.places import Ranked, Wanted, best_first, ranked, sorted_focus
from reconvene.workspace.names import display_path, parse_path

RECIPE = 2
"""Raise it when the same index would give another overview, so that none made before is used."""
MOST_TOKENS = 32_000
CHARS_PER_TOKEN = 4.0
PER_FILE = 2
MOST_FILES = 2000
"""Of all pages of a map."""
_SEEN_KEPT = 10
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
    """`text` for a model, `rows` the same for a page. `files`, `symbols`: of the whole index. `tokens`: of the text, estimated.

    `fingerprint`: of the text. `built_ms`: what it cost now; 0 when it was `reused`. `next`: cursor of the page after this one; None on
    the last. `moved`: what the pages before showed is not what they would show now, so this is the first page of the map as it is now.
    """

    text: str
    rows: tuple[MapRow, ...]
    files: int
    symbols: int
    tokens: int
    fingerprint: str
    built_ms: int
    reused: bool
    next: str | None = None
    moved: bool = False


Key = tuple[tuple[int, bool, str], int, Position, tuple[object, ...]]
_maps: WeakKeyDictionary[RootIndex, OrderedDict[Key, asyncio.Task[RepoMap]]] = WeakKeyDictionary()


async def repo_map(
    index: RootIndex,
    *,
    tokens: int = 1024,
    query: str | None = None,
    focus: Sequence[str] = (),
    seen: Sequence[str] = (),
    cursor: str | None = None,
    chars_per_token: float = CHARS_PER_TOKEN,
) -> RepoMap:
    """The map of a code base, from the index as it is.

    Args:
        tokens: the text's budget, up to 32,000.
        query: words the files are ranked by; None for an overview.
        focus: files to begin with, folders to stay in, or further words.
        seen: paths the session knows; files like the last ten of them rank higher.
        cursor: `next` of the page before, for the same question.
        chars_per_token: how many characters a token has, for whoever reads the text.

    Raises:
        ReconveneError: `invalid_field` (budget, query, cursor), `pattern_too_big`.
    """
    if not 64 <= tokens <= MOST_TOKENS:
        raise ReconveneError(
            "invalid_field", f"A map has 64 to {MOST_TOKENS:,} tokens; {tokens} is not in that range.", field="tokens"
        )
    view = index.view
    # Whether something is a folder is told by looking through all paths: not in the event loop.
    files, folders, words = await asyncio.to_thread(sorted_focus, view, focus) if focus else ([], [], [])
    text = " ".join([query or "", *words]).strip()
    parsed = parse(text, index.limits) if text else None
    known = tuple(dict.fromkeys(map(parse_path, seen)))[-_SEEN_KEPT:]
    wanted = Wanted(parsed, tuple(files), tuple(folders), known)
    question = ("map", str(index.workspace.root), parsed.key if parsed else None, wanted.files, wanted.folders)
    at = paging.read(cursor, question)
    made = await _shared(index, view, wanted, int(tokens * chars_per_token), at, question)
    if made.moved:
        first = await _shared(index, view, wanted, int(tokens * chars_per_token), BEGINNING, question)
        made = replace(first, moved=True)
    return replace(made, tokens=-int(-len(made.text) // chars_per_token))


async def _shared(
    index: RootIndex, view: View, wanted: Wanted, room: int, at: Position, question: tuple[object, ...]
) -> RepoMap:
    """Made once, whoever asks."""
    key: Key = ((view.epoch, view.partial, view.history.mark), room, at, (*question, wanted.seen))
    kept = _maps.setdefault(index, OrderedDict())
    building = kept.get(key)
    if building is not None and not (building.done() and (building.cancelled() or building.exception())):
        kept.move_to_end(key)
        return replace(await asyncio.shield(building), built_ms=0, reused=True)
    kept[key] = building = asyncio.create_task(asyncio.to_thread(_made, index, view, wanted, room, at, question))
    while len(kept) > _KEPT:
        kept.popitem(last=False)
    return await asyncio.shield(building)


def _made(
    index: RootIndex, view: View, wanted: Wanted, room: int, at: Position, question: tuple[object, ...]
) -> RepoMap:
    began = time.monotonic()
    plain = wanted.plain and at == BEGINNING
    name = f"overview {RECIPE} {room}"
    if plain and (kept := index.note(name, view.epoch)) is not None:
        value = json.loads(kept)
        return RepoMap(**value | {"rows": tuple(MapRow(**row) for row in value["rows"])}, built_ms=0, reused=True)
    order = ranked(index, view, wanted)
    numbers = best_first(view, order.scores, most=min(at.shown + max(8, room // 20), MOST_FILES) + 1)
    shown = [_identity(view, n) for n in numbers]
    moved = at.shown > 0 and paging.digest_of(shown[: at.shown]) != at.digest
    head = _head(index, view, wanted, room) if wanted.query is None and not at.shown else ""
    taken, lines, rows = _filled(
        index, view, order, numbers[at.shown : MOST_FILES], room - len(head), plain=wanted.plain
    )
    text = head + "\n".join(lines) if lines else head.rstrip("\n")
    upto = at.shown + taken
    made = RepoMap(
        text=text,
        rows=tuple(rows),
        files=view.files,
        symbols=view.symbols,
        tokens=0,
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
        built_ms=max(1, round((time.monotonic() - began) * 1000)),
        reused=False,
        next=paging.written(question, shown[:upto]) if taken and upto < min(len(numbers), MOST_FILES) else None,
        moved=moved,
    )
    if plain and not view.partial:
        value = asdict(made)
        del value["built_ms"], value["reused"]
        index.keep_note(name, view.epoch, json.dumps(value))
    return made


def _identity(view: View, number: int) -> tuple[str, str]:
    path = view.path(number)
    return path, (view.blob(path) or b"").hex()


def _head(index: RootIndex, view: View, wanted: Wanted, room: int) -> str:
    paths = sorted(p for p in view.paths() if not wanted.folders or p.startswith(wanted.folders))
    first = headline(paths, partial=view.partial, truncated=index.truncated)
    return "\n".join([first, *tree(paths, int(room * _HEAD_SHARE))]) + "\n\n"


def _filled(
    index: RootIndex, view: View, order: Ranked, numbers: Iterable[int], room: int, *, plain: bool
) -> tuple[int, list[str], list[MapRow]]:
    """Files in this order, each with its best definitions, until the room is used: how many, their lines, their rows.

    `plain`: all for the same reason, which then is not said.
    """
    lines: list[str] = []
    rows: list[MapRow] = []
    taken = 0
    top = float(order.scores.max(initial=0.0)) or 1.0
    for number in numbers:
        path = view.path(number)
        name = display_path(path)
        definitions = index.definitions(path)
        named = (i for i, d in enumerate(definitions) if d.kind != "impl" and d.kind not in OUTLINE)
        best = sorted(named, key=lambda i: (-order.worth(definitions[i]), i))[:PER_FILE]
        why = order.why(number)
        entry = [name if plain else f"{name} ({why})", *(_line(definitions[i]) for i in best)]
        while not taken and sum(map(len, entry)) + len(entry) > room and best:
            entry.pop()
            best.pop()
        room -= sum(map(len, entry)) + len(entry)
        if room < 0:
            break
        taken += 1
        lines += entry
        score = round(float(order.scores[number]) / top, 4)
        rows += [
            MapRow(name, definitions[i].line, qualified(definitions, i), definitions[i].kind, score, why) for i in best
        ] or [MapRow(name, 1, name.rpartition("/")[2], "file", score, why)]
    return taken, lines, rows


def _line(definition: Definition) -> str:
    return f"  {definition.line} {definition.signature[:_LINE].rstrip(' {:')}"
