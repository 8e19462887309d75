"""The tools `repo_map` and `symbol`: what is where, without reading it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_ai import RunContext

from reconvene.agents.durable import AgentDeps, ToolOutcome
from reconvene.agents.excerpt import counted, header, numbered, one_line, place, quoted, remember, rendered
from reconvene.agents.redact import redact
from reconvene.agents.scrub import scrub
from reconvene.repomap import repo_map as made_map
from reconvene.search.context import PATIENCE
from reconvene.search.symbols import Use, symbol_places

MOST_TOKENS = 4000
DEFINITION_LINES = 16
MOST_FOCUS = 20


async def repo_map(
    ctx: RunContext[AgentDeps],
    query: str | None = None,
    focus: Annotated[list[str], Field(max_length=MOST_FOCUS)] | None = None,
    budget: Annotated[int, Field(ge=64, le=MOST_TOKENS)] = 1024,
    cursor: str | None = None,
) -> ToolOutcome:
    """Show which files and definitions matter, best first, with line numbers for read_file. Wider than search, and without the code.

    Args:
        query: What they should matter for, as for search. Without it: what the rest of the code base uses most.
        focus: Files to begin with, or folders to stay in.
        budget: Its size in tokens.
        cursor: For the next page: what the page before said, with the same query and focus.
    """
    deps = ctx.deps
    await deps.index.refresh_within(PATIENCE)
    made = await made_map(
        deps.index,
        tokens=budget,
        query=query if query and query.strip() else None,
        focus=focus or (),
        seen=tuple(deps.seen) if query else (),
        cursor=cursor,
        chars_per_token=deps.chars_per_token,
    )
    asked = " ".join(filter(None, (quoted(query) if query and query.strip() else "", *map(quoted, focus or ()))))
    if not made.rows:
        text = "Nothing in the code base matches that. Try other words, or repo_map without any."
        return ToolOutcome(text, f"{asked}: nothing found")
    files = len({row.path for row in made.rows})
    notes = ["What the page before showed is not there any more: this is the first page again."] if made.moved else []
    more = [f'More: the same repo_map with cursor="{made.next}".'] if made.next else []
    count = f"{counted(len(made.rows), 'place')} in {files} of {counted(made.files, 'file')}"
    return ToolOutcome(
        "\n\n".join([*notes, redact(scrub(made.text)), *more]),
        f"{asked}: {count}" if asked else count,
        places=[place(r.path, r.line, r.line, redact(r.name), kind=r.kind, why=r.why) for r in made.rows],
    )


async def symbol(ctx: RunContext[AgentDeps], name: Annotated[str, Field(min_length=1, max_length=200)]) -> ToolOutcome:
    """Show where a name is defined and where it is used.

    Args:
        name: As it is written in the code: `Session`, or `Session.close` for one of several.
    """
    deps = ctx.deps
    await deps.index.refresh_within(PATIENCE)
    found = await symbol_places(deps.index, name)
    asked = scrub(found.name)
    if not found.definitions and not found.uses:
        text = f'Nothing is called `{asked}`. Case counts. search("{asked}") finds names that are like it.'
        return ToolOutcome(text, f"{asked}: nothing found", truncated=found.truncated)
    remember(deps, *(d.path for d in found.definitions))
    defined, used = counted(len(found.definitions), "place"), counted(found.files, "file")
    more = " at least" if found.truncated else ""
    head = f"`{asked}` is defined in {defined} and used in{more} {used}."
    parts = [head, *(rendered(d, DEFINITION_LINES) for d in found.definitions)]
    if found.uses:
        parts += ["Used:", *_by_file(found.uses)]
    if found.files > (listed := len({use.path for use in found.uses})):
        parts.append(
            f'{counted(found.files - listed, "file")} more: search("uses:{asked}") goes through them in pages.'
        )
    return ToolOutcome(
        "\n\n".join(parts),
        f"{asked}: {counted(len(found.definitions), 'definition')}, used in {used}",
        truncated=found.truncated,
        places=[
            *(place(d.path, d.start, d.end, d.symbol, why="defines it") for d in found.definitions),
            *(place(u.path, u.line, u.line, u.symbol, why="uses it") for u in found.uses),
        ],
    )


def _by_file(uses: tuple[Use, ...]) -> list[str]:
    by_path: dict[str, list[Use]] = {}
    for use in uses:
        by_path.setdefault(use.path, []).append(use)
    return [
        "\n".join(
            [header(path, some[0].line, some[-1].line), *(_used(u) for u in some)],
        )
        for path, some in by_path.items()
    ]


def _used(use: Use) -> str:
    """The line, and what it stands in: who asks for uses mostly wants to know who they are."""
    inside = f"  (in {one_line(redact(use.symbol))})" if use.symbol else ""
    return f"{numbered(use.line, redact(use.text))}{inside}"
