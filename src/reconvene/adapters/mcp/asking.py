"""`ask` for agents of others: a durable session behind one tool.

A caller that dies picks the answer up with the session's id. The caller may answer a question that our agent asks back; it may not
decide on changes or commands: that is a person's to do, on the page, in an editor or in a terminal.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Literal

from pydantic import BaseModel, Field, PrivateAttr

from reconvene.adapters.following import chunks
from reconvene.adapters.mcp.looking import indexing_of
from reconvene.errors import ReconveneError
from reconvene.log.port import Row
from reconvene.protocol import sentences
from reconvene.server.services import Services
from reconvene.sessions.rows import Who
from reconvene.sessions.state import Pending, SessionState

MOST_ANSWER = 16_000
"""Characters of an answer that are returned at once."""
_SHOWN = ("tool_call", "tool_result", "plan")


class Asked(BaseModel):
    """What has become of a question. With status `working` or `needs_…`, call `ask` again with the session_id alone."""

    session_id: str = Field(
        description="Give it to `ask` to go on: to wait on, to answer, or to ask something else there."
    )
    status: Literal["done", "failed", "cancelled", "working", "needs_answer", "needs_person"]
    answer: str | None = Field(None, description="Markdown, with citations as `path:line`.")
    question: str | None = Field(None, description="What our agent asks back; reply with `answer`.")
    choices: list[str] | None = None
    note: str | None = Field(None, description="What to do next.")
    page: str = Field(description="Where a person sees the session.")
    _run_id: str = PrivateAttr("")
    """Of the session's runs, the one that was asked."""


class Asking:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def ask(
        self,
        owner: str,
        *,
        question: str | None,
        session_id: str | None,
        answer: str | None,
        root: str | None,
        wait: float,
        id: str | None,
        progress: Callable[[int, str], Awaitable[None]],
    ) -> Asked:
        """Args:
            id: names the call for ever, so that sending it again does it once.
            wait: seconds.
            progress: told of what happens, with a number that grows.

        Raises:
            ReconveneError: what the session refuses; `empty_prompt` without anything to do.
        """
        sessions, who = self._services.sessions, Who(owner, "mcp")
        if session_id is None:
            if question is None:
                raise ReconveneError("empty_prompt", "Give a question, or the session_id of an earlier one.")
            attachment = await sessions.attach(who, session_id=None, root=await self._root(root), prompt_id=id)
            session_id = attachment.session.id
        if question is not None and answer is not None:
            raise ReconveneError("invalid_field", "Give a question or an answer, not both.")
        if answer is not None:
            run_id = await self._answer(who, session_id, answer, id)
        elif question is not None:
            run_id = (await sessions.submit(who, session_id, id=id, text=question)).run_id
        else:
            await sessions.get(owner, session_id)
            state = await sessions.state(session_id)
            run_id = state.active.id if state.active else (state.order[-1] if state.order else None)
        if run_id is None:
            raise ReconveneError("no_such_run", "Nothing was asked in this session yet.")
        try:
            async with asyncio.timeout(wait):
                await self._follow(session_id, run_id, progress)
        except TimeoutError:
            pass
        return await self.told(session_id, run_id)

    async def _root(self, root: str | None) -> str | None:
        return None if root is None else str((await indexing_of(self._services)).served(root).root)

    async def _answer(self, who: Who, session_id: str, answer: str, id: str | None) -> str | None:
        sessions = self._services.sessions
        await sessions.get(who.owner, session_id)
        if id is not None and (known := await sessions.log.command(who.owner, id)):
            return known[2]
        state = await sessions.state(session_id)
        question = next((p for p in state.pending.values() if answerable(p)), None)
        if question is None:
            raise ReconveneError("no_such_question", "Nothing that you can answer is open in this session.")
        await sessions.answer(who, session_id, id=id, reply_to=question.id, value=answer)
        return question.run_id

    async def _follow(self, session_id: str, run_id: str, progress: Callable[[int, str], Awaitable[None]]) -> None:
        """Until the run has ended or waits for somebody."""
        state = await self._services.sessions.state(session_id)
        start = state.runs[run_id].first_seq - 1
        if _over(state, run_id):
            return
        told: dict[str, sentences.Content] = {}
        async for chunk in chunks(self._services, session_id, start):
            if chunk is None:
                continue
            for row in chunk.rows:
                if row.run_id == run_id and row.type in _SHOWN:
                    await progress(row.seq, _sentence(row, told))
            if _over(await self._services.sessions.state(session_id), run_id):
                return

    async def told(self, session_id: str, run_id: str) -> Asked:
        """What has become of a run that there is."""
        sessions = self._services.sessions
        state = await sessions.state(session_id)
        made = Asked(session_id=session_id, status="working", page=f"{self._services.addresses.url}/s/{session_id}")
        made._run_id = run_id
        run = state.runs[run_id]
        if run.status == "completed":
            return await self._ended(made, state, run_id)
        if _over(state, run_id):
            waiting = next(p for p in state.pending.values() if p.run_id == run_id)
            if answerable(waiting):
                made.status, made.question = "needs_answer", waiting.text
                made.choices = [str(c) for c in (waiting.schema or {}).get("enum") or ()] or None
                made.note = "Call ask with this session_id and your answer."
            else:
                what = "a change to these files" if waiting.kind == "diff" else "this"
                files = ", ".join(file["path"] for file in waiting.files)
                made.status = "needs_person"
                on = f"{what}: {files or waiting.text}"
                made.note = f"A person has to decide on {on}. Tell them; then call ask with this session_id."
            return made
        made.note = "It goes on. Call ask with this session_id, and nothing else, to wait for the answer."
        return made

    async def _ended(self, made: Asked, state: SessionState, run_id: str) -> Asked:
        rows = await self._services.sessions.log.read(
            made.session_id, state.runs[run_id].first_seq - 1, public=True, types=("completed", "error", "message")
        )
        of_run = [row for row in rows if row.run_id == run_id and row.parent_id is None]
        completed = json.loads(next(row for row in of_run if row.type == "completed").content)
        said = [json.loads(row.content) for row in of_run if row.type == "message"]
        text = completed["text"] or next((m["text"] for m in reversed(said) if m.get("kind") != "reasoning"), "")
        made.status = "done" if completed["outcome"] == "success" else completed["outcome"]
        if len(text) > MOST_ANSWER:
            where = f"the resource reconvene://sessions/{made.session_id} has all"
            made.note = f"Cut after {MOST_ANSWER:,} of {len(text):,} characters; {where}."
            text = text[:MOST_ANSWER]
        made.answer = text or None
        errors = [json.loads(row.content)["message"] for row in of_run if row.type == "error"]
        if made.status == "failed" and errors:
            made.note = errors[-1]
        return made


def answerable(pending: Pending) -> bool:
    """Whether the calling agent may answer it: what our agent asks about the task; not what it wants to be allowed."""
    return pending.kind == "question" and f"{pending.run_id}.ask:" == pending.id[: len(f"{pending.run_id}.ask:")]


def _over(state: SessionState, run_id: str) -> bool:
    """Whether the run has ended, or nothing goes on in it until somebody answers."""
    run = state.runs.get(run_id)
    return run is None or run.status == "completed" or any(p.run_id == run_id for p in state.pending.values())


def _sentence(row: Row, calls: dict[str, sentences.Content]) -> str:
    content = json.loads(row.content)
    if row.type == "tool_call":
        calls[content["id"]] = content
        return sentences.call(content)
    if row.type == "tool_result":
        return sentences.tool(calls.get(content["id"]), content)
    done = sum(step.get("status") == "done" for step in content["steps"])
    return f"plan: {done} of {len(content['steps'])} steps done"
