"""The orchestrator's tools. What the model reads here is part of its prompt: every docstring is short and says what is not obvious.

A tool returns a `ToolOutcome`, or raises a ReconveneError that `Guarded` (guard.py) turns into one. It writes nothing itself.
Text for the model has a header line for every place, `## path:start-end symbol`, and under it numbered lines, `12| code`, so that
it can cite what it saw and nothing in a file can be taken for a header.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, JsonValue
from pydantic_ai import FunctionToolset, RunContext
from pydantic_ai.messages import ModelResponse

from reconvene.agents.durable import AgentDeps, ToolOutcome
from reconvene.agents.paths import locate
from reconvene.agents.redact import redact
from reconvene.agents.scrub import scrub, scrub_json
from reconvene.errors import ReconveneError
from reconvene.protocol.events import Plan, PlanStep
from reconvene.search import Found, Snippet, lookup_or_search

RESULT_CHARS = 16_000
"""Of one tool result, at most (about 4,000 tokens)."""
PAGE_LINES = 300
SNIPPET_LINES = 40
LINE_CHARS = 400
MOST_HITS = 20
MOST_STEPS = 20
MOST_OPTIONS = 10


async def search(
    ctx: RunContext[AgentDeps], query: str, limit: Annotated[int, Field(ge=1, le=MOST_HITS)] = 8
) -> ToolOutcome:
    """Find places in the code base, best first.

    Args:
        query: Words and identifiers: what the code is called or is about. `"text in quotes"` must stand on a line as it is.
            `def:Name` finds definitions, `uses:Name` other mentions, `re:pattern` or `re:"a pattern"` lines by RE2 expression;
            `path:src/`, `-path:test`, `lang:py` filter.
        limit: The number of places wanted.
    """
    deps = ctx.deps
    found = await lookup_or_search(deps.context, deps.index, query, limit, tuple(deps.seen))
    result = found.result
    shown, cut = _fit(result.snippets)
    places = [_place(s.path, s.start, s.end, s.symbol) for s in shown]
    remember(deps, *(s.path for s in shown))
    asked = scrub(" ".join(query.split()))
    asked = asked if len(asked) <= 80 else f"{asked[:79]}…"
    if not shown:
        building = " The index is still being built: search again in a moment." if result.partial else ""
        text = (
            f'Nothing matches "{asked}". Try other words: names as code would spell them, or fewer of them.{building}'
        )
        return ToolOutcome(text, f'"{asked}": nothing found', cache=found.cache, private=_searched(found))
    files = len({s.path for s in shown})
    count = f"{len(shown)} {_plural(len(shown), 'place')} in {files} {_plural(files, 'file')}"
    among = f" in {files} of {result.total} files" if result.total > files else ""
    skipped = f" {result.skipped} files could not be read and were left out." if result.skipped else ""
    building = " The index is still being built, so some may be missing." if result.partial else ""
    head = f'{len(shown)} {_plural(len(shown), "place")} for "{asked}"{among}, best first.{skipped}{building}'
    return ToolOutcome(
        "\n\n".join([head, *(_rendered(s) for s in shown)]),
        f'"{asked}": {count}',
        truncated=result.truncated or cut,
        cache=found.cache,
        places=places,
        private=_searched(found),
    )


async def read_file(
    ctx: RunContext[AgentDeps],
    path: str,
    start: Annotated[int, Field(ge=1)] = 1,
    end: Annotated[int | None, Field(ge=1)] = None,
) -> ToolOutcome:
    """Read lines of a file, numbered. Long files come in pages; the last line says how to go on.

    Args:
        path: From the code base's root, as search prints it. A bare file name does when only one file has it.
        start: First line, from 1.
        end: Last line, inclusive.
    """
    deps = ctx.deps
    wanted = await asyncio.to_thread(locate, deps.workspace, path, tuple(deps.seen))
    if start == 1 and end is None and wanted.start is not None:
        start, end = max(1, wanted.start - (0 if wanted.end else 10)), wanted.end or wanted.start + 40
    if end is not None and end < start:
        raise ReconveneError(
            "invalid_field", f"Lines {start} to {end} are no range: lines count from 1, and start comes first."
        )
    last = min(end or start + PAGE_LINES - 1, start + PAGE_LINES - 1)
    got = await asyncio.to_thread(deps.workspace.read, wanted.path, start=start, end=last, max_bytes=RESULT_CHARS * 4)
    lines: list[str] = []
    room = RESULT_CHARS
    for number, line in enumerate(redact(got.text).split("\n") if got.end >= got.start else [], got.start):
        numbered = _numbered(number, line)
        room -= len(numbered) + 1
        if room < 0 and lines:
            break
        lines.append(numbered)
    upto = got.start + len(lines) - 1
    following = upto + 1 if upto < got.end else got.next_start
    total = f"{got.total_lines:,} lines" if got.total_lines is not None else f"{got.size:,} bytes"
    head = f"## {got.path}:{got.start}-{upto}" if lines else f"{got.path} is empty."
    told = [f"({scrub(wanted.written)} is {got.path})"] if wanted.written else []
    more = following is not None and (end is None or upto < end)
    tail = [f'(of {total}; go on with read_file("{got.path}", start={following}))'] if more else [f"(of {total})"]
    remember(deps, got.path)
    whole = got.start == 1 and following is None
    where = f"{got.path}, {total}" if whole else f"{got.path}:{got.start}-{upto} of {total}"
    return ToolOutcome(
        "\n".join([*told, head, *lines, *(tail if lines and not whole else [])]),
        f"{scrub(wanted.written)} → {where}" if wanted.written else where,
        truncated=more or got.truncated,
        places=[_place(got.path, got.start, max(upto, got.start), None)],
    )


async def ask_user(
    ctx: RunContext[AgentDeps],
    question: Annotated[str, Field(min_length=1, max_length=4000)],
    options: Annotated[list[str], Field(min_length=1, max_length=MOST_OPTIONS)] | None = None,
) -> ToolOutcome:
    """Ask the person who gave you the task, and wait. Only for what the code cannot tell you.

    Args:
        question: One question, with what they need to know to answer it.
        options: The possible answers, when there are few.
    """
    schema: dict[str, JsonValue] | None = None
    if options:
        schema = {"type": "string", "enum": list(dict.fromkeys(scrub(o) for o in options))}
    answer = await ctx.deps.durable.ask(_key(ctx), scrub(question), schema=schema)
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    shown = text if len(text) <= 80 else f"{text[:79]}…"
    return ToolOutcome(scrub_json(answer), f"answered: {shown}")


async def create_plan(
    ctx: RunContext[AgentDeps],
    title: Annotated[str, Field(min_length=1, max_length=200)],
    steps: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=300)]], Field(min_length=1, max_length=MOST_STEPS)
    ],
    done: Annotated[int, Field(ge=0)] = 0,
) -> ToolOutcome:
    """Show the person a plan, for work of three or more steps. Call it again with a higher `done` as you go on.

    Args:
        title: What the plan is for.
        steps: In order, a short sentence each.
        done: How many of them, from the first, are finished.
    """
    done = min(done, len(steps))
    shown = [
        PlanStep(title=scrub(step), status="done" if i < done else "active" if i == done else "pending")
        for i, step in enumerate(steps)
    ]
    plan = Plan(title=scrub(title), steps=shown)
    told = "The plan is on the page."
    told += " All steps are done." if done == len(steps) else f" Next: {plan.steps[done].title}"
    summary = f"{plan.title}: {done} of {len(steps)} {_plural(len(steps), 'step')} done"
    return ToolOutcome(
        told, summary if done else f"{plan.title}: {len(steps)} {_plural(len(steps), 'step')}", events=(plan,)
    )


def toolset() -> FunctionToolset[AgentDeps]:
    """The tools that look, ask and plan, as pydantic-ai takes them."""
    return FunctionToolset(
        [search, read_file, ask_user, create_plan], docstring_format="google", require_parameter_descriptions=True
    )


def remember(deps: AgentDeps, *paths: str) -> None:
    """Paths the session saw, oldest first and each once: `read_file` finds them again by an ending."""
    for path in paths:
        if path in deps.seen:
            deps.seen.remove(path)
        deps.seen.append(path)


def _key(ctx: RunContext[AgentDeps]) -> str:
    """Of this call's question, for ever. A provider's call ids may repeat in another step, and may be anything."""
    call_id = ctx.tool_call_id or ""
    if not re.fullmatch(r"[\w.-]{1,80}", call_id):
        call_id = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"ask:{sum(isinstance(m, ModelResponse) for m in ctx.messages)}:{call_id}"


def _fit(snippets: Sequence[Snippet]) -> tuple[list[Snippet], bool]:
    """As many of the best as the result has room for, at least one."""
    kept: list[Snippet] = []
    room = RESULT_CHARS
    for snippet in snippets:
        room -= len(_rendered(snippet)) + 2
        if room < 0 and kept:
            break
        kept.append(snippet)
    return kept, len(kept) < len(snippets)


def _rendered(s: Snippet) -> str:
    lines = redact(s.text).split("\n")
    numbered = [_numbered(n, line) for n, line in enumerate(lines[:SNIPPET_LINES], s.start)]
    if len(lines) > SNIPPET_LINES:
        numbered.append(f"… to line {s.end}")
    return "\n".join([f"## {s.path}:{s.start}-{s.end}" + (f" {one_line(s.symbol)}" if s.symbol else ""), *numbered])


def _numbered(number: int, line: str) -> str:
    line = scrub(line)
    if len(line) > LINE_CHARS:
        line = f"{line[:LINE_CHARS]} … [line cut: it has {len(line):,} characters]"
    return f"{number}| {line}"


def _place(path: str, start: int, end: int, symbol: str | None) -> dict[str, JsonValue]:
    return {"path": path, "start": start, "end": end, "symbol": one_line(symbol) if symbol else None}


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", scrub(text)).strip()


def _searched(found: Found) -> tuple[tuple[str, str], ...]:
    """The private row; what was served from the session's context is in the log already."""
    return () if found.cache == "cached" else (("searched", found.entry.to_json()),)


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"
