"""What every agent is told of the code base, the project and the session, and how its model is asked."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from pydantic_ai import RunContext
from pydantic_ai.agent import AgentRetries
from pydantic_ai.settings import ModelSettings

from reconvene.agents.durable import AgentDeps
from reconvene.agents.notes import rendered
from reconvene.agents.redact import redact
from reconvene.agents.scrub import scrub
from reconvene.workspace import display_path

RETRIES = AgentRetries(tools=3, output=3)
"""So often in a row an unknown tool, unusable arguments or an empty answer go back to the model before the run gives up."""


@functools.cache
def briefing(
    *parts: Callable[[RunContext[AgentDeps]], Awaitable[str]],
) -> Callable[[RunContext[AgentDeps]], Awaitable[str]]:
    """These instructions as one: pydantic-ai looks at the signature of each before every request."""

    async def told(ctx: RunContext[AgentDeps]) -> str:
        texts = [await part(ctx) for part in parts]
        return "\n\n".join(text for text in texts if text)

    return told


async def code_base(ctx: RunContext[AgentDeps]) -> str:
    """Which code base it is, and its map. The map is that of the run's beginning, so that a provider's cache of it holds."""
    return _code_base(ctx.deps.workspace.name, ctx.deps.repo_map)


@functools.lru_cache(maxsize=16)  # a run's are the same before each of its requests
def _code_base(name: str, repo_map: str) -> str:
    name = display_path(name)
    if not repo_map:
        return f"The code base is `{name}`."
    shown = redact(scrub(repo_map)).replace("</repo-map", "</ repo-map").strip("\n")
    return f"The code base is `{name}`. Its most important definitions, file by file:\n<repo-map>\n{shown}\n</repo-map>"


async def project_notes(ctx: RunContext[AgentDeps]) -> str:
    """`AGENTS.md` of the root and of the folders that are worked in, as it is now."""
    return "" if ctx.deps.notes is None else rendered(await ctx.deps.notes.current())


async def known(ctx: RunContext[AgentDeps]) -> str:
    """What the session searched and read before this run; read_file works on all of it without another search."""
    deps = ctx.deps
    if deps.known is None:
        deps.known = scrub(str(deps.context.known()))
    return f"This session has already found or read:\n{deps.known}" if deps.known.strip() else ""


def settings(ctx: RunContext[AgentDeps]) -> ModelSettings:
    """One attempt each, silent for `model_idle` seconds at most: the run does the waiting and asking again, where people see it."""
    return ModelSettings(timeout=ctx.deps.limits.model_idle, max_retries=0)
