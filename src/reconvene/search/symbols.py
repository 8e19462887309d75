"""Where a name is defined, and where it is used."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconvene.errors import ReconveneError
from reconvene.index.definitions import Definition, last_name, qualified
from reconvene.index.languages.language import HOLDERS
from reconvene.index.query import parse, required_terms, use_pattern
from reconvene.index.ranking import defining, rank, with_terms
from reconvene.index.root import RootIndex
from reconvene.index.syntax.outline import Quoted
from reconvene.index.view import View
from reconvene.search.extent import Extents
from reconvene.search.files import read_as_indexed
from reconvene.search.result import Snippet, cut_lines
from reconvene.search.source import Source
from reconvene.search.texts import cut_text
from reconvene.workspace.names import display_path

MOST_DEFINITIONS, MOST_USES, USES_PER_FILE = 8, 40, 5
MOST_PARSED = 40
"""Files whose structure is asked for in one answer: at most so many new ones are waited for, some milliseconds each."""
_SEPARATORS = re.compile(r"::|\.|->|#")
_NAME = re.compile(r"[^\W\d][\w$]*(?:(?:::|\.|->|#)[\w$]+)*")


@dataclass(frozen=True, slots=True)
class Use:
    """A line that mentions the name. `symbol`: the definition it stands in."""

    path: str
    line: int
    text: str
    symbol: str | None


@dataclass(frozen=True, slots=True)
class SymbolPlaces:
    """`definitions`: what holds others first, then in the order of `uses`. `uses`: by how much each file has to do with the name.

    `files`: that mention it other than to define it, of those looked through. `truncated`: not all that may were.
    """

    name: str
    definitions: tuple[Snippet, ...]
    uses: tuple[Use, ...]
    files: int
    truncated: bool


async def symbol_places(index: RootIndex, name: str) -> SymbolPlaces:
    """Definitions and uses of a name, from the files as they are now.

    Args:
        name: exactly as it is written; `Session.close` and `Session::close` leave out what is not in a `Session`.

    Raises:
        ReconveneError: `invalid_field` (no name), `workspace_gone`, `search_failed`.
    """
    name = name.strip().removesuffix("()")
    if len(name) > 200 or not _NAME.fullmatch(name):
        raise ReconveneError(
            "invalid_field", "A symbol is one name, like `Session` or `Session.close`; search finds more.", field="name"
        )
    return await asyncio.to_thread(_places, index, name)


def _places(index: RootIndex, name: str) -> SymbolPlaces:
    view, deadline = index.view, time.monotonic() + index.limits.search_time
    last = _SEPARATORS.split(name)[-1]
    definitions: list[tuple[bool, Snippet]] = []
    uses: list[Use] = []
    files = parsed = 0
    truncated = False
    pattern = use_pattern(last)
    for number in _candidates(index, view, last):
        if time.monotonic() > deadline:
            truncated = True
            break
        path = view.path(number)
        if (blob := view.blob(path)) is None:
            continue
        try:
            text = read_as_indexed(index, path, blob.hex())
        except ReconveneError as e:
            if e.code in ("workspace_gone", "tool_failed"):
                raise
            text = None
        if text is None:
            truncated = True
            continue
        lines = text.lines
        mentioned = [n for n, line in enumerate(lines, 1) if pattern.search(line)]
        if not mentioned:
            continue
        known, quoted = index.definitions_of(blob, path), Quoted()
        if parsed < MOST_PARSED and (len(uses) < MOST_USES or len(definitions) < MOST_DEFINITIONS):
            parsed += 1  # of what may be shown, it is known exactly
            structure = index.syntax_of(blob, path, text.data)
            known, quoted = structure.definitions, structure.quoted
        shown = display_path(path)
        extents = Extents(text, known)
        here = [i for i, d in enumerate(known) if d.kind != "impl" and last_name(d.name) == last]
        definitions += [
            (known[i].kind not in HOLDERS, _snippet(shown, text, known, extents, i))
            for i in here
            if _within(qualified(known, i), name)
        ]
        defined = {known[i].line for i in here}
        found = [n for n in mentioned if n not in defined]
        files += bool(found)
        # Code first; what comments and strings say of it as far as there is room.
        found.sort(key=lambda n: not _in_code(quoted, pattern, lines[n - 1], n))
        for n in sorted(found[: min(USES_PER_FILE, MOST_USES - len(uses))]):
            around = extents.around(n)
            use = cut_lines([lines[n - 1].strip()])
            uses.append(Use(shown, n, use, qualified(known, around) if around >= 0 else None))
    definitions.sort(key=lambda d: d[0])
    return SymbolPlaces(name, tuple(d for _, d in definitions[:MOST_DEFINITIONS]), tuple(uses), files, truncated)


def _in_code(quoted: Quoted, pattern: re.Pattern[str], line: str, number: int) -> bool:
    columns = (len(line[: m.start()].encode("utf-8", "replace")) for m in pattern.finditer(line))
    return any(not quoted.holds(number, column) for column in columns)


def _candidates(index: RootIndex, view: View, last: str) -> Iterator[int]:
    """Files that define or may mention the name, those that have most to do with it first."""
    scores = rank(view, parse(f"def:{last} {last}", index.limits)).score
    mask: NDArray[np.bool_] = with_terms(view, required_terms(last)) | defining(view, (last,))
    yield from sorted(np.flatnonzero(mask).tolist(), key=lambda n: (-scores[n], view.path(n)))


def _within(full: str, name: str) -> bool:
    wanted = _SEPARATORS.split(name)
    return _SEPARATORS.split(full)[-len(wanted) :] == wanted


def _snippet(path: str, text: Source, definitions: tuple[Definition, ...], extents: Extents, i: int) -> Snippet:
    first, end = extents.of(i)
    shown = cut_text(text, first, end)
    return Snippet(path, first, end, 1.0, qualified(definitions, i), shown, ("defines it",))
