"""What the agents of a run work with: the code base, its index and map, and what the session's log and the data folder say of all this."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic_ai.models import Model

from reconvene.agents.durable import AgentDeps
from reconvene.agents.foreign import RULE as FOREIGN_RULE
from reconvene.agents.foreign import Foreign
from reconvene.agents.foreign_settings import ForeignServer
from reconvene.agents.run_command import RULE, Leave, hidden
from reconvene.agents.secret_leave import ALLOWED
from reconvene.agents.token_ratio import named
from reconvene.errors import ReconveneError
from reconvene.index import RootIndex
from reconvene.log.port import Row
from reconvene.protocol import events as ev
from reconvene.runs.journal import MODEL, Journal
from reconvene.runs.overview import OVERVIEW, overview_of
from reconvene.runs.told import NOTES, notes_of
from reconvene.search.context import SearchContext
from reconvene.sessions.rows import event
from reconvene.workspace import Workspace
from reconvene.workspace.permissions import Permission, Permissions

if TYPE_CHECKING:
    from reconvene.runs.attempt import Surroundings

_log = structlog.get_logger(__name__)
SEARCHED = "searched"
"""Private row: an entry of the session's search context."""
INDEX_PATIENCE = 0.25
"""Seconds a prompt waits for the index to be brought up to date; after that it goes on with what is there."""


async def deps_of(
    around: Surroundings, journal: Journal, workspace: Workspace, asked: str, model: Model, jobs: Path
) -> tuple[AgentDeps, list[Row]]:
    """What the agents are given, and the session's rows of type `MODEL`. `asked`: the prompts. `jobs`: where this run's commands are.

    The disk is asked once and the log once: each question costs a thread's turn.

    Raises:
        ReconveneError: `workspace_gone`; `data_dir_unusable` when it cannot be known what is allowed; what the store raises.
    """
    allowed, servers, secret = await asyncio.to_thread(_ground, around, workspace)
    index = await around.indexes.get(workspace)
    index.want(asked)
    await _look(journal, index)
    per_token = around.token_ratios.of(named(model))
    known: dict[str, list[Row]] = {kind: [] for kind in (MODEL, OVERVIEW, SEARCHED, ALLOWED, NOTES, FOREIGN_RULE, RULE)}
    for row in await journal.sessions.log.read(journal.session_id, 0, types=known):
        known[row.type].append(row)
    overview = await overview_of(journal, known[OVERVIEW], index, per_token)
    context = SearchContext.fold(r.content for r in known[SEARCHED])
    limits = journal.sessions.settings.limits
    leave = foreign = None
    if secret is not None:
        longest, keep, rules = limits.command_time, limits.command_output, _rules(known[RULE], "command")
        leave = Leave(jobs, allowed.network, secret, longest=longest, keep=keep, rules=rules)
    if tools := await around.foreign.tools(servers):
        foreign = Foreign(around.foreign, tools, _rules(known[FOREIGN_RULE], "name"))
    deps = AgentDeps(
        durable=None, workspace=workspace, index=index, context=context, limits=limits,  # type: ignore[arg-type]
        seen=list(context.paths()), notes=notes_of(journal, known[NOTES], workspace), repo_map=overview,
        chars_per_token=per_token, token_ratios=around.token_ratios, contents=around.writers.contents, leave=leave, foreign=foreign,
        secrets={json.loads(row.content)["path"] for row in known[ALLOWED]},
    )  # fmt: skip
    return deps, known[MODEL]


def _ground(
    around: Surroundings, workspace: Workspace
) -> tuple[Permission, dict[str, ForeignServer], tuple[str, ...] | None]:
    """What the disk says: the code base is there, what is allowed in it, the MCP servers that the person configured, and what commands
    must not see (None: none are run). Blocking."""
    workspace.check_alive()
    data_dir = around.sessions.settings.data_dir
    allowed = Permissions(data_dir).of(str(workspace.root))
    return allowed, around.foreign.configured(), hidden(data_dir, os.environ) if allowed.commands else None


async def _look(journal: Journal, index: RootIndex) -> None:
    """Bring the index up to date. When that cannot be done the run goes on with what is known, and says so once."""
    try:
        await index.refresh_within(INDEX_PATIENCE)
    except ReconveneError as e:
        if e.code != "search_failed":
            raise
        _log.warning("a run goes on without looking at its code base", run=journal.run_id, message=e.message)
        shown = ev.Error(code=e.code, message=e.message, retryable=e.retryable, details=e.details)
        await journal.write([event(shown, run_id=journal.run_id, key=f"unread:{journal.run_id}")])


def _rules(rows: Sequence[Row], name: str) -> dict[str, str]:
    """What the person said of each command, or tool of an MCP server, earlier in this session."""
    return {rule[name]: rule["rule"] for rule in (json.loads(row.content) for row in rows)}
