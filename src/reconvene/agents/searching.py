"""The tool `search`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_ai import RunContext

from reconvene.agents.durable import AgentDeps, ToolOutcome
from reconvene.agents.excerpt import asked_for, counted, fitting, place, quoted, remember
from reconvene.agents.quoting import keeping
from reconvene.search import LINES, Found, lookup_or_search

MOST_HITS = 20


async def search(
    ctx: RunContext[AgentDeps],
    query: str,
    limit: Annotated[int, Field(ge=1, le=MOST_HITS)] = 8,
    cursor: str | None = None,
) -> ToolOutcome:
    """Find places in the code base, best first.

    Args:
        query: Words and identifiers: what the code is called or is about. `"text in quotes"` must stand on a line as it is.
            `def:Name` finds definitions, `uses:Name` other mentions, `re:pattern` or `re:"a pattern"` lines by RE2 expression;
            `path:src/`, `-path:test`, `path:*.go`, `lang:py` filter.
        limit: The number of places wanted.
        cursor: For the next page: what the page before said, with the same query.
    """
    deps = ctx.deps
    found = await lookup_or_search(deps.context, deps.index, query, limit, tuple(deps.seen), cursor)
    result = found.result
    words = asked_for(query)
    kept = fitting(result.snippets, words, LINES)
    shown, cut = [s for s, _ in kept], len(kept) < len(result.snippets)
    remember(deps, *(s.path for s in shown))
    asked = quoted(query)
    building = " The index is still being built: search again in a moment." if result.partial else ""
    if not shown:
        late = " Not everything could be looked through in time: add words, or a path." if result.truncated else ""
        text = f"Nothing matches {asked}. Try other words: names as code would spell them, or fewer of them.{late}{building}"
        return ToolOutcome(
            text,
            f"{asked}: nothing found",
            truncated=result.truncated,
            cache=found.cache,
            private=_searched(found),
        )
    files = len({s.path for s in shown})
    count = f"{counted(len(shown), 'place')} in {counted(files, 'file')}"
    among = f" in {files} of {result.total} files" if result.total > files else ""
    notes = _notes(found)
    head = f"{counted(len(shown), 'place')} for {asked}{among}, best first.{notes}"
    paths = {s.path for s in shown}
    after = [path for path in dict.fromkeys([*(s.path for s in result.snippets), *result.further]) if path not in paths]
    more = [f"Then come: {', '.join(after)}."] if after else []
    if result.next is not None and not cut:
        more.append(f'More: the same search with cursor="{result.next}".')
    outcome = ToolOutcome(
        "\n\n".join([head, *(text for _, text in kept), *more]),
        f"{asked}: {count}",
        truncated=result.truncated or cut,
        cache=found.cache,
        places=[place(s.path, s.start, s.end, s.symbol) for s in shown],
        private=_searched(found),
    )
    return await keeping(deps, outcome, result.fingerprints)


def _notes(found: Found) -> str:
    result = found.result
    notes = ""
    if result.moved:
        notes += " The code changed since the page before, so this is the first page again."
    if result.skipped:
        notes += f" {counted(result.skipped, 'file')} could not be read and were left out."
    if result.truncated:
        notes += " Not everything could be looked through in time."
    if result.partial:
        notes += " The index is still being built, so some may be missing."
    return notes


def _searched(found: Found) -> tuple[tuple[str, str], ...]:
    """The private row; what was served from the session's context is in the log already."""
    return () if found.cache == "cached" else (("searched", found.entry.to_json()),)
