"""MCP's Tasks: a long `ask` becomes a task that the client polls, and that outlives the client, its connection and our server.

A task is a run of ours, seen through the extension's words; nothing is kept for it. A question of our agent is a form that the client
is asked to show; what only a person may decide is a link to our page, where the client's model cannot.

Source: https://modelcontextprotocol.io/seps/2663-tasks-extension
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, CallToolRequestParams, CallToolResult
from mcp_types import ElicitationCapability, RequestParams
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from reconvene.adapters.forms import filled, form_of
from reconvene.adapters.mcp.asking import Asked, Asking, answerable
from reconvene.errors import ReconveneError
from reconvene.server.services import Services
from reconvene.sessions.rows import Who
from reconvene.sessions.state import Pending, RunState

NAME = "io.modelcontextprotocol/tasks"
SOON = 2.0
"""Seconds after which an `ask` of a client that takes tasks becomes one."""
POLL_MS = 1000
_VERSIONS = frozenset(MODERN_PROTOCOL_VERSIONS)
"""Before them tasks were another thing, which the library does not serve."""
_Context = ServerRequestContext[Any, Any]


def takes_tasks(ctx: _Context) -> bool:
    """Whether this request's client takes tasks, and shows the forms that one may need."""
    capabilities = ctx.session.client_capabilities
    declared = (capabilities.extensions or {}) if capabilities else {}
    return ctx.protocol_version in _VERSIONS and NAME in declared and _shows(ctx) != (False, False)


def _shows(ctx: _Context) -> tuple[bool, bool]:
    """Whether the client shows forms, and opens links."""
    capabilities = ctx.session.client_capabilities
    shown: ElicitationCapability | None = capabilities.elicitation if capabilities else None
    if shown is None:
        return False, False
    return shown.form is not None or shown.url is None, shown.url is not None


def keep(ctx: _Context, asked: Asked) -> None:
    """What the tool `ask` answers, for `Tasks`, which sees only what the library made of it."""
    request: Any = ctx.request
    request.state.asked = asked


class _TaskParams(RequestParams):
    task_id: str = Field(alias="taskId", max_length=256)


class _UpdateParams(_TaskParams):
    input_responses: dict[str, dict[str, Any]] = Field(alias="inputResponses", max_length=64)


class Tasks(Extension):
    identifier = NAME

    def __init__(self, services: Services, asking: Asking) -> None:
        self._services, self._asking = services, asking

    def methods(self) -> Sequence[MethodBinding]:
        return (
            MethodBinding("tasks/get", _TaskParams, self._get, _VERSIONS),
            MethodBinding("tasks/update", _UpdateParams, self._update, _VERSIONS),
            MethodBinding("tasks/cancel", _TaskParams, self._cancel, _VERSIONS),
        )

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: _Context, call_next: CallNext
    ) -> HandlerResult:
        result = await call_next(ctx)
        request: Any = ctx.request
        asked: Asked | None = getattr(request.state, "asked", None)
        if params.name != "ask" or not isinstance(result, CallToolResult) or asked is None or not takes_tasks(ctx):
            return result
        if asked.status not in ("working", "needs_answer", "needs_person"):
            return result
        state = await self._services.sessions.state(asked.session_id)
        task = await self._task(ctx, asked.session_id, state.runs[asked._run_id])
        task.pop("inputRequests", None)
        # By now it may have ended: a task begins with what is not yet over, and its first poll says the rest.
        status = task["status"] if task["status"] == "input_required" else "working"
        return {**{k: v for k, v in task.items() if k != "result"}, "status": status, "resultType": "task"}

    async def _get(self, ctx: _Context, params: _TaskParams) -> HandlerResult:
        session_id, run = await self._known(ctx, params.task_id)
        return await self._task(ctx, session_id, run)

    async def _update(self, ctx: _Context, params: _UpdateParams) -> HandlerResult:
        session_id, run = await self._known(ctx, params.task_id)
        state = await self._services.sessions.state(session_id)
        for key, response in params.input_responses.items():
            pending = state.pending.get(key)
            form = form_of(pending) if pending is not None and _asked_of_client(pending, run) else None
            if pending is None or form is None:
                continue  # answered already, never asked, or not to be answered here
            answers, value = filled(form, response)
            if answers:
                await self._answer(ctx, session_id, pending, value)
        return {}

    async def _answer(self, ctx: _Context, session_id: str, pending: Pending, value: Any) -> None:
        try:
            await self._services.sessions.answer(
                _who(ctx), session_id, id=f"mcp.{session_id}.{pending.id}", reply_to=pending.id, value=value
            )
        except ReconveneError as error:
            if error.code in ("already_answered", "question_closed", "no_such_question"):
                return  # somebody else was first
            self._services.metrics.bad_inputs[error.code] += 1
            raise MCPError(INVALID_PARAMS, f"{error.message} ({error.code})") from error

    async def _cancel(self, ctx: _Context, params: _TaskParams) -> HandlerResult:
        session_id, run = await self._known(ctx, params.task_id)
        await self._services.sessions.cancel(_who(ctx), session_id, id=None, run_id=run.id)
        return {}

    async def _known(self, ctx: _Context, task_id: str) -> tuple[str, RunState]:
        """The run that a task is. Nobody else's can be told from one that there never was."""
        require_client_extension(ctx, NAME)
        session_id, _, run_id = task_id.rpartition(".")
        try:
            await self._services.sessions.get(_who(ctx).owner, session_id)
            state = await self._services.sessions.state(session_id)
            return session_id, state.runs[run_id]
        except (ReconveneError, KeyError) as error:
            if isinstance(error, ReconveneError) and error.code != "no_such_session":
                raise MCPError(-32603, error.message) from error
            self._services.metrics.bad_inputs["no_such_run"] += 1
            raise MCPError(INVALID_PARAMS, "There is no such task, or it was deleted.") from error

    async def _task(self, ctx: _Context, session_id: str, run: RunState) -> dict[str, Any]:
        sessions = self._services.sessions
        session = await sessions.get(_who(ctx).owner, session_id)
        began = await sessions.log.read(session_id, run.first_seq - 1, upto=run.first_seq)
        asked = await self._asking.told(session_id, run.id)
        task: dict[str, Any] = {
            "taskId": f"{session_id}.{run.id}",
            "status": "working",
            "createdAt": _iso(began[0].at if began else session.created_at),
            "lastUpdatedAt": _iso(session.active_at),
            "ttlMs": None,
            "pollIntervalMs": POLL_MS,
        }
        if asked.status in ("needs_answer", "needs_person"):
            state = await sessions.state(session_id)
            open_ = [p for p in state.pending.values() if p.run_id == run.id]
            requests = {p.id: r for p in open_ if (r := self._request(ctx, p, asked)) is not None}
            if requests:
                task |= {"status": "input_required", "inputRequests": requests}
            task["statusMessage"] = asked.question or f"{asked.note} {asked.page}"
        elif asked.status == "cancelled":
            task["status"] = "cancelled"
        elif asked.status != "working":
            task |= {"status": "completed", "result": _result(asked)}
        return task

    def _request(self, ctx: _Context, pending: Pending, asked: Asked) -> dict[str, Any] | None:
        forms, links = _shows(ctx)
        if answerable(pending) and forms and (form := form_of(pending)) is not None:
            params = {"mode": "form", "message": pending.text, "requestedSchema": form}
        elif links:
            message = asked.note or "A person has to decide."
            params = {"mode": "url", "message": message, "url": asked.page, "elicitationId": pending.id}
        else:
            return None
        return {"method": "elicitation/create", "params": params}


def _asked_of_client(pending: Pending, run: RunState) -> bool:
    return pending.run_id == run.id and answerable(pending)


def _who(ctx: _Context) -> Who:
    request: Any = ctx.request
    return Who(request.scope["state"]["principal"].owner, "mcp")


def _result(asked: Asked) -> dict[str, Any]:
    """What the call itself would have answered; of this era, so it names its own type."""
    text = asked.model_dump_json(indent=2)
    return {
        "resultType": "complete",
        "content": [{"type": "text", "text": text}],
        "structuredContent": asked.model_dump(mode="json"),
        "isError": False,
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
