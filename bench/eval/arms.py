"""The three arms: what a model is given to look with. Each has its tools, and a fixed way to use them when there is no model.

`grep`      grep and read_file alone;
`search`    search besides;
`all`       search, the repo map, where a name is used, and what the session knows already.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Annotated, Any

from pydantic import Field
from pydantic_ai import RunContext

from bench.eval.questions import Question
from reconvene.agents import mapping, reading, searching
from reconvene.agents.durable import AgentDeps, ToolOutcome
from reconvene.agents.excerpt import RESULT_CHARS
from reconvene.errors import ReconveneError
from reconvene.workspace.names import parse_path

MOST_LINES = 100
ARMS = ("grep", "search", "all")
CHARS_PER_TOKEN = 3.5
TOKENS = 4000


async def grep(
    ctx: RunContext[AgentDeps],
    pattern: Annotated[str, Field(min_length=1, max_length=300)],
    path: str = "",
    ignore_case: bool = False,
) -> ToolOutcome:
    """Print the lines that match, as `path:line:text`, in the order of paths.

    Args:
        pattern: A regular expression.
        path: Only files whose path contains this.
        ignore_case: Whether capitals do not count.
    """
    lines = list(_matches(ctx.deps, pattern, path, ignore_case))
    shown, room = [], RESULT_CHARS
    for line in lines[:MOST_LINES]:
        room -= len(line) + 1
        if room < 0:
            break
        shown.append(line)
    left = len(lines) - len(shown)
    more = [f"({left:,} more lines: name a path, or a longer pattern)"] if left else []
    return ToolOutcome("\n".join([*shown, *more]) or "Nothing matches.", f"{len(lines)} lines")


def _matches(deps: AgentDeps, pattern: str, path: str, ignore_case: bool) -> Iterator[str]:
    try:
        wanted = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    except re.error as e:
        raise ReconveneError("invalid_field", f"That is no regular expression: {e}.", path="pattern") from e
    for name in sorted(deps.workspace.listing().paths):
        if path in name:
            text = deps.workspace.read_bytes(name, max_bytes=4_000_000).decode("utf-8", "replace")
            for number, line in enumerate(text.split("\n"), 1):
                if wanted.search(line[:1000]):
                    yield f"{name}:{number}:{line[:300]}"


def tools_of(arm: str) -> list[Callable[..., Awaitable[ToolOutcome]]]:
    """The functions a model of this arm has."""
    functions: dict[str, list[Callable[..., Awaitable[ToolOutcome]]]] = {
        "grep": [grep, reading.read_file],
        "search": [searching.search, grep, reading.read_file],
        "all": [searching.search, mapping.symbol, mapping.repo_map, reading.read_file],
    }
    return functions[arm]


# -- without a model


class Budget:
    """The text that a model would have been given, up to so many characters."""

    def __init__(self, tokens: int = TOKENS) -> None:
        self.room = int(tokens * CHARS_PER_TOKEN)
        self.texts: list[str] = []

    def take(self, text: str) -> None:
        if self.room > 0:
            self.texts.append(text[: self.room])
            self.room -= len(text)

    @property
    def full(self) -> bool:
        return self.room < 200


async def look(arm: str, question: Question, deps: AgentDeps, tokens: int = TOKENS) -> list[str]:
    """What the arm's tools show of a question, used one after the other in the order a careful person would, until the budget is used."""
    budget = Budget(tokens)
    ctx: Any = SimpleNamespace(deps=deps)
    async for outcome in _steps(arm, question, ctx, budget):
        budget.take(str(outcome.value))
        if budget.full:
            break
    return budget.texts


async def _steps(arm: str, question: Question, ctx: Any, budget: Budget) -> Any:
    named = question.kind in ("definition", "callers")
    [*about] = question.about
    if arm == "all":
        if named:
            yield await mapping.symbol(ctx, about[0])
            yield await searching.search(ctx, f"{'uses' if question.kind == 'callers' else 'def'}:{about[0]}")
        else:
            yield await searching.search(ctx, " ".join(about))
            room = max(64, min(1024, int(budget.room / CHARS_PER_TOKEN)))
            yield await mapping.repo_map(ctx, query=" ".join(about), budget=room)
        yield await searching.search(ctx, " ".join(about), limit=20)
    elif arm == "search":
        if named:
            yield await searching.search(ctx, f"{'uses' if question.kind == 'callers' else 'def'}:{about[0]}")
        yield await searching.search(ctx, " ".join(about), limit=20)
    async for outcome in _grepping(question, ctx, named, about):
        yield outcome


async def _grepping(question: Question, ctx: Any, named: bool, about: list[str]) -> Any:
    """With grep alone: a name's definition as languages write them, then every line that has it; of words the rarest first.

    Then the places are read, those of the files first that have most of the words.
    """
    if named:
        if question.kind == "definition":
            words = "def|class|function|interface|struct|enum|void|static|public|const|export"
            yield await grep(ctx, rf"\b({words})\b.*\b{re.escape(about[0])}\b")
        else:
            yield await grep(ctx, rf"\b{re.escape(about[0])}\(")
        patterns = [rf"\b{re.escape(about[0])}\b"]
    else:
        hits = {w: len(list(_matches(ctx.deps, re.escape(w), "", True))) for w in about}
        patterns = [re.escape(w) for w in sorted(about, key=lambda w: (hits[w], w)) if hits[w]]
    for pattern in patterns[:2]:
        yield await grep(ctx, pattern, ignore_case=not named)
    for path, line in _densest(ctx.deps, patterns):
        yield await reading.read_file(ctx, path, start=max(1, line - 20), end=line + 40)


def _densest(deps: AgentDeps, patterns: list[str]) -> list[tuple[str, int]]:
    """Files by how many of the patterns they have, each with the line around which most of them stand."""
    by_file: dict[str, dict[str, list[int]]] = {}
    for pattern in patterns:
        for match in _matches(deps, pattern, "", True):
            path, number, _ = match.split(":", 2)
            by_file.setdefault(path, {}).setdefault(pattern, []).append(int(number))

    def densest(lines: dict[str, list[int]]) -> tuple[int, int]:
        every = sorted((n, p) for p, numbers in lines.items() for n in numbers)
        best = max(every, key=lambda at: (len({p for n, p in every if abs(n - at[0]) <= 30}), -at[0]))
        return len({p for n, p in every if abs(n - best[0]) <= 30}), best[0]

    found = sorted(((*densest(lines), path) for path, lines in by_file.items()), key=lambda f: (-f[0], f[2]))
    return [(path, line) for _, line, path in found]


_HEADER = re.compile(r"^## (.+):(\d+)-(\d+)(?: (.*))?$")
_NUMBERED = re.compile(r"^(\d+)\| ?(.*)$")
_GREPPED = re.compile(r"^([^\s:][^:\n]*):(\d+):(.*)$")
_MAP_PATH = re.compile(r"^(\S.*?)(?: \([a-z, ]+\))?$")
_MAP_LINE = re.compile(r"^  +(\d+) (.*)$")


def evidence(question: Question, texts: list[str]) -> float:
    """The share of the question's places that are shown: the line, and of a caller its name, too, where the line is."""
    lines, heads = _shown(texts)
    found = 0
    for n, (path, line) in enumerate(question.places):
        if (path, line) in lines:
            found += not question.names or _named(question.names[n], path, line, lines, heads)
    return found / len(question.places)


def _named(
    name: str, path: str, line: int, lines: dict[tuple[str, int], str], heads: list[tuple[str, int, int, str]]
) -> bool:
    """Whether a name is shown as what the line stands in: at the head of its place, or in one of the 60 lines above."""
    if any(
        p == path and begin <= line <= end and re.search(rf"\b{re.escape(name)}\b", head)
        for p, begin, end, head in heads
    ):
        return True
    above = (lines.get((path, n), "") for n in range(max(1, line - 60), line + 1))
    return any(re.search(rf"\b{re.escape(name)}\b", text) for text in above)


def _shown(texts: list[str]) -> tuple[dict[tuple[str, int], str], list[tuple[str, int, int, str]]]:
    """Lines that are shown, by path and number; and the headers of places."""
    lines: dict[tuple[str, int], str] = {}
    heads: list[tuple[str, int, int, str]] = []
    for text in texts:
        path = folder = ""
        for row in text.split("\n"):
            if m := _HEADER.match(row):
                path = parse_path(m[1])
                heads.append((path, int(m[2]), int(m[3]), m[4] or ""))
            elif path and (m := _NUMBERED.match(row)):
                lines[path, int(m[1])] = m[2]
            elif not path and (m := _GREPPED.match(row)):
                lines[m[1], int(m[2])] = m[3]
            elif not path and folder and (m := _MAP_LINE.match(row)):
                lines[folder, int(m[1])] = m[2]
            elif not path and (m := _MAP_PATH.match(row)):
                folder = parse_path(m[1])
    return lines, heads
