"""The agent that an editor sees: ACP's methods, each carried out on the sessions as any client's commands are."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import Any

from acp import RequestError
from acp import schema as acp

from reconvene.adapters.acp.attached import CURSOR, Attached
from reconvene.adapters.acp.prompting import as_text
from reconvene.adapters.acp.translation import Ended, Update
from reconvene.errors import ReconveneError
from reconvene.log.port import SessionRow
from reconvene.server.events_http import find_place
from reconvene.server.services import Services
from reconvene.sessions.rows import Who

PAGE = 50
ID = "_reconvene/id"
"""In `_meta` of a prompt or fork: its id for ever, so that sending it again after a lost answer does it once."""
CLIENT = "_reconvene/client"
"""In `_meta` of `initialize`: what the ids of this client's prompts begin with."""
REPLAY_FROM = "_reconvene/replayFrom"
"""In `_meta` of `session/resume`: send what came after this cursor."""
ALL = "_reconvene/all"
"""In `_meta` of `session/resume`: true when a `session/load` that broke off is gone on with, so that its own prompts come too."""
_MODES = [
    acp.SessionMode(id="ask", name="Ask", description="You decide on every change."),
    acp.SessionMode(
        id="accept", name="Accept edits", description="Changes are written at once, except those that can run code."
    ),
]


class Agent:
    """One editor's connection. `close` it at the end; runs go on."""

    def __init__(self, services: Services, owner: str, connection_id: str) -> None:
        self.connection: Any = None
        """The library's connection, set once both exist."""
        self._services = services
        self._owner = owner
        self._who = Who(owner, "editor")
        self._own = connection_id
        self._forms = False
        self._attached: dict[str, Attached] = {}
        self._prompting: dict[str, list[str]] = {}
        """By session, the runs whose prompts this client waits for."""

    async def close(self) -> None:
        for attached in list(self._attached.values()):
            await attached.close()
        self._attached.clear()

    # -- the connection

    async def initialize(
        self,
        protocol_version: int,
        client_capabilities: acp.ClientCapabilities | None = None,
        client_info: acp.Implementation | None = None,
        **meta: Any,
    ) -> acp.InitializeResponse:
        if client_info is not None:
            self._who = Who(self._owner, (client_info.title or client_info.name)[:64])
        elicitation = client_capabilities.elicitation if client_capabilities else None
        self._forms = elicitation is not None and elicitation.form is not None
        if isinstance(token := meta.get(CLIENT), str) and 8 <= len(token) <= 64:
            self._own = token
        return acp.InitializeResponse(
            protocol_version=1,
            agent_info=acp.Implementation(name="reconvene", title="Reconvene", version=self._services.version),
            agent_capabilities=acp.AgentCapabilities(
                load_session=True,
                prompt_capabilities=acp.PromptCapabilities(embedded_context=True),
                session_capabilities=acp.SessionCapabilities(
                    list=acp.SessionListCapabilities(),
                    resume=acp.SessionResumeCapabilities(),
                    close=acp.SessionCloseCapabilities(),
                    delete=acp.SessionDeleteCapabilities(),
                    fork=acp.SessionForkCapabilities(),
                ),
                field_meta={"_reconvene": {"replayFrom": True, "decide": True, "action": True}},
            ),
            auth_methods=[],
        )

    async def authenticate(self, method_id: str, **meta: Any) -> None:
        """Whoever reaches this has shown a credential already."""

    # -- sessions

    async def new_session(self, cwd: str, **_: Any) -> acp.NewSessionResponse:
        root = self._root(cwd)
        attachment = await self._services.sessions.attach(self._who, session_id=None, root=root)
        session = attachment.session
        await self._attach(session, session.head)
        modes = await self._modes(session.id)
        return acp.NewSessionResponse(session_id=session.id, modes=modes, field_meta=_at(session))

    async def load_session(self, cwd: str, session_id: str, **_: Any) -> acp.LoadSessionResponse:
        """Everything is sent as updates before this answers; what comes later follows."""
        session = await self._get(session_id)
        attached = await self._attach(session, 0, all_upto=session.head)
        await attached.caught_up(session.head)
        return acp.LoadSessionResponse(modes=await self._modes(session.id), field_meta=_at(session))

    async def resume_session(self, session_id: str, cwd: str, **meta: Any) -> acp.ResumeSessionResponse:
        session = await self._get(session_id)
        place, reason = session.head, None
        if (wanted := meta.get(REPLAY_FROM)) is not None:
            if not isinstance(wanted, str):
                raise ReconveneError("invalid_field", f"_meta[{REPLAY_FROM!r}] must be a cursor.", path=REPLAY_FROM)
            found = await find_place(self._services, session, wanted)
            place, reason = (0 if found.stale else found.cursor.seq), found.stale
        loading = session.head if meta.get(ALL) is True or reason is not None else 0
        attached = await self._attach(session, place, all_upto=loading)
        await attached.caught_up(session.head)
        told = {
            **_at(session),
            "_reconvene/replayed": reason or ("part" if wanted is not None else "none"),
        }
        return acp.ResumeSessionResponse(modes=await self._modes(session.id), field_meta=told)

    async def fork_session(self, session_id: str, cwd: str, **meta: Any) -> acp.ForkSessionResponse:
        id = meta.get(ID)
        forked = await self._services.sessions.fork(self._who, session_id, id=id if isinstance(id, str) else None)
        await self._attach(forked, forked.head)
        modes = await self._modes(forked.id)
        return acp.ForkSessionResponse(session_id=forked.id, modes=modes, field_meta=_at(forked))

    async def list_sessions(
        self, cwd: str | None = None, cursor: str | None = None, **_: Any
    ) -> acp.ListSessionsResponse:
        rows = await self._services.sessions.list(self._owner, archived=False)
        if cwd is not None:
            real = await asyncio.to_thread(os.path.realpath, cwd)
            rows = [row for row in rows if row.root in (cwd, real)]
        start = 0
        if cursor is not None:
            # Newest first: the list moves while it is paged. A page begins after the session that ended the last one.
            ids = [row.id for row in rows]
            if cursor not in ids:
                raise ReconveneError("invalid_field", "This cursor is of another list. Begin again.", path="cursor")
            start = ids.index(cursor) + 1
        shown = rows[start : start + PAGE]
        more = shown[-1].id if start + PAGE < len(rows) else None
        return acp.ListSessionsResponse(sessions=[_info(row) for row in shown], next_cursor=more)

    async def close_session(self, session_id: str, **_: Any) -> None:
        """Stop following it and stop what this client began; it stays resumable."""
        await self.cancel(session_id)
        if (attached := self._attached.pop(session_id, None)) is not None:
            await attached.close()

    async def delete_session(self, session_id: str, **_: Any) -> None:
        if (attached := self._attached.pop(session_id, None)) is not None:
            await attached.close()
        await self._services.sessions.delete(self._who, session_id)

    async def set_session_mode(self, mode_id: str, session_id: str, **_: Any) -> None:
        await self._services.sessions.act(self._who, session_id, id=None, name="edit_mode", args={"mode": mode_id})

    # -- turns

    async def prompt(
        self, session_id: str, prompt: list[Any], message_id: str | None = None, **meta: Any
    ) -> acp.PromptResponse:
        """Answers when the run has ended and its last update was sent, or when it waits for what this client cannot be asked."""
        sessions, limits = self._services.sessions, self._services.settings.limits
        session = await self._get(session_id)
        attached = self._attached.get(session_id) or await self._attach(session, session.head)
        text = as_text(prompt, session.root)
        if len(text.encode()) > limits.prompt:
            raise ReconveneError("too_large", f"A prompt has at most {limits.prompt:,} bytes.", limit=limits.prompt)
        given = meta.get(ID)
        id = given if isinstance(given, str) and given.startswith(self._own) else f"{self._own}.{os.urandom(8).hex()}"
        known = await sessions.log.command(self._owner, id)
        question = None if known else await attached.open_text_question()
        if known:  # sent again: its answer was lost
            run_id = known[2] or ""
        elif question is not None:
            await sessions.answer(self._who, session_id, id=id, reply_to=question.id, value=text.strip())
            run_id = question.run_id or ""
        else:
            receipt = await sessions.submit(self._who, session_id, id=id, text=text)
            run_id = receipt.run_id or ""
        runs = self._prompting.setdefault(session_id, [])
        runs.append(run_id)
        try:
            ended = await attached.ended(run_id)
        finally:
            runs.remove(run_id)
        return _response(ended, run_id)

    async def cancel(self, session_id: str, **_: Any) -> None:
        for run_id in reversed(self._prompting.get(session_id, [])):  # what waits in the queue must not begin first
            await self._services.sessions.cancel(self._who, session_id, id=None, run_id=run_id)

    # -- what ACP has no words for

    async def ext_method(self, name: str, params: dict[str, Any]) -> dict[str, Any]:
        """`_reconvene/decide` (parts of a diff, feedback) and `_reconvene/action` (everything else a person can do)."""
        sessions = self._services.sessions
        session_id = str(params.get("sessionId"))
        if name == "reconvene/decide":
            verdict = params.get("verdict")
            if verdict not in ("accept", "reject", "feedback"):
                raise ReconveneError("invalid_field", "verdict is accept, reject or feedback.", path="verdict")
            receipt = await sessions.decide(
                self._who,
                session_id,
                id=params.get("id"),
                reply_to=str(params.get("diffId")),
                verdict=verdict,
                hunks=params.get("hunks"),
                feedback=params.get("feedback"),
            )
        elif name == "reconvene/action":
            args = params.get("args") or {}
            receipt = await sessions.act(
                self._who, session_id, id=params.get("id"), name=str(params.get("name")), args=args
            )
        else:
            raise RequestError.method_not_found(f"_{name}")
        return {"status": receipt.status, "seq": receipt.seq, "runId": receipt.run_id, "sessionId": receipt.session_id}

    # -- inside

    async def _get(self, session_id: str) -> SessionRow:
        return await self._services.sessions.get(self._owner, session_id)

    def _root(self, cwd: str) -> str:
        workspace = self._services.sessions.roots.find(cwd) or self._services.sessions.roots.by_root(
            os.path.realpath(cwd)
        )
        if workspace is None:
            raise ReconveneError(
                "root_not_served",
                "This folder is not being served. Serve it with `reconvene serve`, or let the editor start `reconvene acp`.",
            )
        return str(workspace.root)

    async def _attach(self, session: SessionRow, after: int, *, all_upto: int = 0) -> Attached:
        if (before := self._attached.pop(session.id, None)) is not None:
            await before.close()
        attached = Attached(
            self._services,
            self._who,
            session,
            notify=self._notify,
            request=self._request,
            own=lambda id: id.startswith(self._own),
            forms=self._forms,
        )
        self._attached[session.id] = attached
        for tell in self._services.connections.on_open:
            tell(session.root)
        await attached.begin(after, all_upto=all_upto)
        return attached

    async def _notify(self, method: str, params: Update) -> None:
        await self.connection.send_notification(method, params)

    async def _request(self, method: str, params: Update) -> Any:
        return await self.connection.send_request(method, params)

    async def _modes(self, session_id: str) -> acp.SessionModeState:
        state = await self._services.sessions.state(session_id)
        return acp.SessionModeState(current_mode_id=state.edit_mode, available_modes=_MODES)


def _at(session: SessionRow) -> dict[str, str]:
    return {CURSOR: str(session.cursor)}


def _info(row: SessionRow) -> acp.SessionInfo:
    at = datetime.fromtimestamp(row.active_at, UTC).isoformat(timespec="seconds")
    return acp.SessionInfo(session_id=row.id, cwd=row.root, title=row.title, updated_at=at)


def _response(ended: Ended | None, run_id: str) -> acp.PromptResponse:
    told: dict[str, Any] = {"_reconvene/runId": run_id}
    if ended is None:
        return acp.PromptResponse(stop_reason="end_turn", field_meta={**told, "_reconvene/outcome": "waiting"})
    told["_reconvene/outcome"] = ended.outcome
    usage = None
    if ended.usage:
        took, gave = ended.usage.get("input_tokens") or 0, ended.usage.get("output_tokens") or 0
        usage = acp.Usage(input_tokens=took, output_tokens=gave, total_tokens=took + gave)
    if ended.outcome == "cancelled":
        return acp.PromptResponse(stop_reason="cancelled", usage=usage, field_meta=told)
    spent = ended.outcome == "failed" and ended.reason == "budget_exceeded"
    return acp.PromptResponse(stop_reason="max_turn_requests" if spent else "end_turn", usage=usage, field_meta=told)
