"""How places of the code base are shown to a model, and how a session remembers that it saw them.

A place has a header line, `## path:start-end symbol`, and under it numbered lines, `12| code`, so that the model can cite what it saw and
nothing in a file can be taken for a header.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pydantic import JsonValue

from reconvene.agents.durable import AgentDeps
from reconvene.agents.redact import redact
from reconvene.agents.scrub import scrub
from reconvene.index.words import WORD, parts, stem
from reconvene.search import Snippet

RESULT_CHARS = 16_000
"""Of one tool result, at most (about 4,000 tokens)."""
SNIPPET_LINES = 40
LINE_CHARS = 400
HEAD_LINES = 3
"""Of a snippet that is not shown whole: what it is."""
_OPERATOR = re.compile(r"(?<![\w])-?(?:re|def|uses|path|lang):")


def header(path: str, start: int, end: int, symbol: str | None = None) -> str:
    return f"## {path}:{start}-{end}" + (f" {one_line(symbol)}" if symbol else "")


def numbered(number: int, line: str) -> str:
    line = scrub(line)
    if len(line) > LINE_CHARS:
        line = f"{line[:LINE_CHARS]} … [line cut: it has {len(line):,} characters]"
    return f"{number}| {line}"


def rendered(s: Snippet, most: int = SNIPPET_LINES, words: frozenset[str] = frozenset()) -> str:
    """A snippet's header and `most` of its lines: its first, or, of a long one, its head and the part that has most of what was asked for.

    Args:
        words: stems, as `asked_for` has them.
    """
    lines = redact(s.text).split("\n")
    shown = [numbered(n, line) for n, line in enumerate(lines, s.start)]
    if len(lines) > most:
        begin = _densest(lines, most - HEAD_LINES, words)
        if begin <= HEAD_LINES:
            shown = [*shown[:most], f"… to line {s.end}"]
        else:
            end = begin + most - HEAD_LINES
            tail = [f"… to line {s.end}"] if end < len(lines) else []
            shown = [*shown[:HEAD_LINES], "…", *shown[begin:end], *tail]
    return "\n".join([header(s.path, s.start, s.end, s.symbol), *shown])


def asked_for(query: str) -> frozenset[str]:
    """The stems of a query's words, without its operators."""
    return _stems(_OPERATOR.sub(" ", query))


def _stems(text: str) -> frozenset[str]:
    return frozenset(stem(p) for word in WORD.findall(text) for p in parts(word) if len(p) > 1)


def _densest(lines: Sequence[str], size: int, words: frozenset[str]) -> int:
    """Where the part of `size` lines begins that has most of the words, and most often; the first of several."""
    if not words:
        return 0
    found = [_stems(line) & words for line in lines]
    counts: Counter[str] = Counter()
    best, last, often = (0, 0), 0, 0
    for at, now in enumerate(found):
        counts.update(now)
        often += len(now)
        if at >= size:
            gone = found[at - size]
            counts.subtract(gone)
            often -= len(gone)
        if (has := (sum(n > 0 for n in counts.values()), often)) > best:
            best, last = has, at
    first = next((i for i in range(max(0, last - size + 1), last) if found[i]), last)
    # What matches stands in the middle of what is shown.
    return min(max(0, first - (size - (last - first + 1)) // 2), len(lines) - size)


def fitting(
    snippets: Sequence[Snippet], words: frozenset[str] = frozenset(), most: int = SNIPPET_LINES
) -> list[tuple[Snippet, str]]:
    """As many of the first as a result has room for, at least one, each with what is shown of it: `most` lines, or fewer of one that there
    is no room for."""
    kept: list[tuple[Snippet, str]] = []
    room = RESULT_CHARS
    for snippet in snippets:
        text = rendered(snippet, most, words)
        if len(text) + 2 > room:
            text = rendered(snippet, SNIPPET_LINES, words)
        room -= len(text) + 2
        if room < 0 and kept:
            break
        kept.append((snippet, text))
    return kept


def place(path: str, start: int, end: int, symbol: str | None, **more: JsonValue) -> dict[str, JsonValue]:
    """For the page: what was found or read."""
    return {"path": path, "start": start, "end": end, "symbol": one_line(symbol) if symbol else None, **more}


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", scrub(text)).strip()


def quoted(text: str) -> str:
    """What was asked for, short enough for a line."""
    asked = scrub(" ".join(text.split()))
    return f'"{asked if len(asked) <= 80 else f"{asked[:79]}…"}"'


def counted(count: int, noun: str) -> str:
    """
    >>> counted(1, "place"), counted(1200, "file")
    ('1 place', '1,200 files')
    """
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def remember(deps: AgentDeps, *paths: str) -> None:
    """Paths the session saw, oldest first and each once: `read_file` finds them again by an ending."""
    for path in paths:
        if path in deps.seen:
            deps.seen.remove(path)
        deps.seen.append(path)
