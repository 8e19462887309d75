"""How places of the code base are shown to a model, and how a session remembers that it saw them.

A place has a header line, `## path:start-end symbol`, and under it numbered lines, `12| code`, so that the model can cite what it saw and
nothing in a file can be taken for a header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import JsonValue

from reconvene.agents.durable import AgentDeps
from reconvene.agents.redact import redact
from reconvene.agents.scrub import scrub
from reconvene.search import Snippet

RESULT_CHARS = 16_000
"""Of one tool result, at most (about 4,000 tokens)."""
SNIPPET_LINES = 40
LINE_CHARS = 400


def header(path: str, start: int, end: int, symbol: str | None = None) -> str:
    return f"## {path}:{start}-{end}" + (f" {one_line(symbol)}" if symbol else "")


def numbered(number: int, line: str) -> str:
    line = scrub(line)
    if len(line) > LINE_CHARS:
        line = f"{line[:LINE_CHARS]} … [line cut: it has {len(line):,} characters]"
    return f"{number}| {line}"


def rendered(s: Snippet, most: int = SNIPPET_LINES) -> str:
    """A snippet's header and its first lines, `most` of them."""
    lines = redact(s.text).split("\n")
    shown = [numbered(n, line) for n, line in enumerate(lines[:most], s.start)]
    if len(lines) > most:
        shown.append(f"… to line {s.end}")
    return "\n".join([header(s.path, s.start, s.end, s.symbol), *shown])


def fitting(snippets: Sequence[Snippet]) -> tuple[list[Snippet], bool]:
    """As many of the first as a result has room for, at least one; and whether some were left out."""
    kept: list[Snippet] = []
    room = RESULT_CHARS
    for snippet in snippets:
        room -= len(rendered(snippet)) + 2
        if room < 0 and kept:
            break
        kept.append(snippet)
    return kept, len(kept) < len(snippets)


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
