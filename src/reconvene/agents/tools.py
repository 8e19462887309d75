"""The orchestrator's tools. What the model reads of them is part of its prompt: every docstring is short and says what is not obvious.

A tool returns a `ToolOutcome`, or raises a ReconveneError that `Guarded` (guard.py) turns into one. It writes nothing itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, JsonValue
from pydantic_ai import RunContext
from pydantic_ai.messages import ModelResponse

from reconvene.agents.durable import AgentDeps, ToolOutcome
from reconvene.agents.excerpt import counted
from reconvene.agents.mapping import repo_map, symbol
from reconvene.agents.reading import read_file
from reconvene.agents.scrub import scrub, scrub_json
from reconvene.agents.searching import search
from reconvene.protocol.events import Plan, PlanStep

__all__ = ["ask_user", "create_plan", "read_file", "repo_map", "search", "symbol"]

LOOKING = frozenset({"search", "read_file", "repo_map", "symbol"})
"""Tools that only look: done once more, they change nothing and cost nothing but time."""
MOST_STEPS = 20
MOST_OPTIONS = 10


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
    summary = f"{plan.title}: {done} of {counted(len(steps), 'step')} done"
    return ToolOutcome(told, summary if done else f"{plan.title}: {counted(len(steps), 'step')}", events=(plan,))


LOOKING_AND_ASKING: tuple[Callable[..., Any], ...] = (search, read_file, repo_map, symbol, ask_user, create_plan)
"""The tools that look, ask and plan."""


def _key(ctx: RunContext[AgentDeps]) -> str:
    """Of this call's question, for ever. A provider's call ids may repeat in another step, and may be anything."""
    call_id = ctx.tool_call_id or ""
    if not re.fullmatch(r"[\w.-]{1,80}", call_id):
        call_id = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"ask:{sum(isinstance(m, ModelResponse) for m in ctx.messages)}:{call_id}"
