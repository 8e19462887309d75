"""Files that look like secrets: the person is asked, file by file, before an agent reads one; nothing but their word allows it.

What stands in version control's own folders is not asked about: it is never read or written (`workspace.secret_files`).
"""

from __future__ import annotations

import hashlib
import json

from pydantic import JsonValue
from pydantic_ai import RunContext
from pydantic_ai.messages import ModelResponse

from reconvene.agents.durable import AgentDeps
from reconvene.errors import ReconveneError
from reconvene.workspace import display_path
from reconvene.workspace.secret_files import is_version_control

ALLOWED = "secret_allowed"
"""Private row: `{"path"}`: a file that the person lets agents read for the rest of the session."""
Rows = tuple[tuple[str, str], ...]
_ANSWERS: dict[str, JsonValue] = {"type": "string", "enum": ["once", "session", "no"]}


def named(path: str) -> str:
    """A path as it is allowed: in its display form, without what says nothing."""
    return display_path("/".join(n for n in path.split("/") if n not in ("", ".")))


def key_of(ctx: RunContext[AgentDeps]) -> str:
    """Of this call's question, for ever."""
    responses = sum(isinstance(m, ModelResponse) for m in ctx.messages)
    return f"secret:{responses}:{hashlib.sha256((ctx.tool_call_id or '').encode('utf-8', 'replace')).hexdigest()[:12]}"


async def asked(deps: AgentDeps, key: str, refused: ReconveneError, *, change: bool) -> Rows | None:
    """Whether the person lets agents read a file; None: no. Else the private rows that keep it.

    Args:
        refused: `secret_file`, as the workspace raised it.
        change: it is wanted to change the file, too.

    Raises:
        ReconveneError: `refused` itself where nobody can be asked: in a sub-agent, or for what is never read.
    """
    path, real = str(refused.details.get("path", "")), str(refused.details.get("real", ""))
    if path in deps.secrets:
        return ()
    if not deps.asks or refused.details.get("never") or is_version_control(real):
        raise refused
    where = f" (which leads to {real})" if real and real != path else ""
    what = "read and change" if change else "read"
    answer = await deps.durable.ask(
        key,
        f"Let the agent {what} {path}{where}? By its name it may hold secrets. What stands in it goes to the model's provider and into "
        "this session's log. Answer once, session (this file, without asking again) or no.",
        schema=_ANSWERS,
    )
    if answer == "session":
        deps.secrets.add(path)
        return ((ALLOWED, json.dumps({"path": path})),)
    return () if answer == "once" else None
