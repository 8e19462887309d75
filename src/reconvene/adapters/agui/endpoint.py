"""`/agui`: an AG-UI run is a POST that answers with server-sent events; the run itself is ours and does not need the request.

A request that broke off is sent again, with `Last-Event-ID` to go on after what came, or without to get all of it again, with the same
ids. Of a client's `messages` only the last one of the user is taken: what was said before is in the log.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import structlog
from ag_ui.core import RunAgentInput
from pydantic import ValidationError

from reconvene.adapters.agui.translation import Out, Translator, messages
from reconvene.adapters.following import chunks
from reconvene.errors import ReconveneError
from reconvene.log.port import SessionRow
from reconvene.protocol.cursor import Cursor
from reconvene.protocol.strict_json import load_json
from reconvene.server.asgi import Receive, Scope, Send, header
from reconvene.server.events_http import find_place
from reconvene.server.services import Services
from reconvene.sessions.rows import Who

_NAME = re.compile(r"[\w.:-]{1,128}")
_log = structlog.get_logger("reconvene.agui")


@dataclass(frozen=True, slots=True)
class _Run:
    """What a request leads to: our run, and the seq after which its AG-UI run begins. `whole`: the thread is shown first."""

    session: SessionRow
    run_id: str | None
    start: int
    whole: bool = False


class AguiEndpoint:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            raise ReconveneError("method_not_allowed", "/agui takes a run's input as POST.", allow="POST")
        wanted = self._input(await _body(receive))
        who = Who(scope["state"]["principal"].owner, "ag-ui")
        run = await self._begin(who, wanted)
        last = header(scope, b"last-event-id")
        services = self._services
        after = run.start
        if last:
            place = await find_place(services, run.session, last.decode("latin-1"))
            after = run.start if place.stale else max(run.start, place.cursor.seq)
        services.capacity.enter(who.owner)
        try:
            await self._stream(run, wanted, after, receive, send)
        finally:
            services.capacity.leave(who.owner)

    def _input(self, body: bytes) -> RunAgentInput:
        value = load_json(body, self._services.settings.limits.json_depth)
        try:
            wanted = RunAgentInput.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(str(p) for p in first["loc"])
            raise ReconveneError("invalid_field", f"{path}: {first['msg']}.", path=path) from None
        for name, id in (("threadId", wanted.thread_id), ("runId", wanted.run_id)):
            if not _NAME.fullmatch(id):
                raise ReconveneError("invalid_field", f"{name} has 1 to 128 letters, digits, . : _ or -.", path=name)
        return wanted

    # -- in

    async def _begin(self, who: Who, wanted: RunAgentInput) -> _Run:
        sessions = self._services.sessions
        session = await self._session(who, wanted)
        id = f"agui.{wanted.run_id}"
        if known := await sessions.log.command(who.owner, id):
            return await self._known(who, known, wanted)
        state = await sessions.state(session.id)
        open_ = [p for p in state.pending.values() if p.kind != "diff" or p.files]
        if wanted.resume:
            return await self._resume(who, session, wanted, id)
        prompt = _prompt(wanted)
        if prompt is None:
            run = state.active
            return _Run(
                session, run.id if run else None, session.head if run is None else run.first_seq - 1, whole=True
            )
        if open_:
            ids = ", ".join(p.id for p in open_)
            raise ReconveneError("invalid_field", f"`resume` must answer what is open first: {ids}.", path="resume")
        limit = self._services.settings.limits.prompt
        if len(prompt.encode()) > limit:
            raise ReconveneError("too_large", f"A prompt has at most {limit:,} bytes.", limit=limit)
        receipt = await sessions.submit(who, session.id, id=id, text=prompt)
        return _Run(session, receipt.run_id, (receipt.seq or 1) - 1)

    async def _known(self, who: Who, known: tuple[str, int | None, str | None, str], wanted: RunAgentInput) -> _Run:
        """The same request again: the same run from the same place."""
        session = await self._services.sessions.get(who.owner, known[0])
        return _Run(session, known[2], (known[1] or 1) - 1)

    async def _session(self, who: Who, wanted: RunAgentInput) -> SessionRow:
        """The thread's session. Front ends make thread ids themselves; a session's id is always ours, so the two are kept side by side."""
        sessions = self._services.sessions
        thread = wanted.thread_id
        if thread.startswith("s_") and (found := (await sessions.find(who.owner, thread))[0]):
            return found
        name = f"agui:{who.owner}:{thread}"
        known = await sessions.log.get(name)
        if known is not None and (found := (await sessions.find(who.owner, known))[0]):
            return found
        root = (wanted.forwarded_props or {}).get("root") if isinstance(wanted.forwarded_props, dict) else None
        attachment = await sessions.attach(who, session_id=None, root=root if isinstance(root, str) else None)
        await sessions.log.put(name, attachment.session.id)
        return attachment.session

    async def _resume(self, who: Who, session: SessionRow, wanted: RunAgentInput, id: str) -> _Run:
        """Answers what was open. The last one has the run's id, so that a repetition of the request is known by it."""
        sessions = self._services.sessions
        entries = list(wanted.resume or ())
        open_ = {p.id for p in (await sessions.state(session.id)).pending.values()}
        if missing := sorted(open_ - {e.interrupt_id for e in entries}):
            raise ReconveneError(
                "invalid_field", f"`resume` must answer all that is open: {missing[0]}.", path="resume"
            )
        run: _Run | None = None
        for n, entry in enumerate(entries):
            own = id if n == len(entries) - 1 else f"{id}.{n}"
            pending = (await sessions.state(session.id)).pending.get(entry.interrupt_id)
            cancelled = entry.status == "cancelled"
            if pending is not None and pending.kind != "diff" and cancelled:
                receipt = await sessions.cancel(who, session.id, id=own, run_id=pending.run_id)
            elif pending is not None and pending.kind == "diff":
                verdict, hunks, feedback = _decision({"verdict": "reject"} if cancelled else entry.payload)
                receipt = await sessions.decide(
                    who, session.id, id=own, reply_to=pending.id, verdict=verdict, hunks=hunks, feedback=feedback
                )
            else:
                receipt = await sessions.answer(
                    who, session.id, id=own, reply_to=entry.interrupt_id, value=_answer(entry.payload)
                )
            if run is None:
                run = _Run(session, receipt.run_id, (receipt.seq or 1) - 1)
        assert run is not None
        return run

    # -- out

    async def _stream(self, run: _Run, wanted: RunAgentInput, after: int, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        writing = asyncio.create_task(self._write(run, wanted, after, send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        finally:
            for task in (writing, leaving):
                task.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)
        if not leaving.done() or leaving.cancelled():
            await send({"type": "http.response.body", "body": b""})

    async def _write(self, run: _Run, wanted: RunAgentInput, after: int, send: Send) -> None:
        try:
            async for block in self._blocks(run, wanted, after):
                await send({"type": "http.response.body", "body": block, "more_body": True})
        except ReconveneError as error:
            _log.info("an AG-UI stream ended", session_id=run.session.id, code=error.code)

    async def _blocks(self, run: _Run, wanted: RunAgentInput, after: int) -> AsyncIterator[bytes]:
        session = run.session
        translator = Translator(wanted.thread_id, wanted.run_id)
        if after > run.start:
            for event in await self._events(session, run.start, after):
                if event["run_id"] == run.run_id:
                    translator.apply(event)
        else:
            first: list[Out] = [{**translator.begin()[0], "metadata": {"sessionId": session.id}}]
            if run.whole:
                first.append(
                    {"type": "MESSAGES_SNAPSHOT", "messages": messages(await self._events(session, 0, run.start))}
                )
            yield _block(first)
        if run.run_id is None:
            yield _block([translator.end({"type": "success"})])
            return
        if translator.finished:
            return
        async for chunk in chunks(self._services, session.id, after, beat=self._services.settings.limits.heartbeat):
            if chunk is None:
                yield b": still here\n\n"
                continue
            made: list[Out] = []
            for row in chunk.rows:
                if row.run_id == run.run_id:
                    made += translator.apply(json.loads(row.wire()))
            if made:
                # A chunk's deltas may be folded into its messages: only its end is a place to go on from.
                yield _block(made, str(Cursor(session.epoch, chunk.upto, chunk.upto_tag)))
            if translator.finished:
                return

    async def _events(self, session: SessionRow, after: int, upto: int) -> list[Any]:
        if upto <= after:
            return []
        rows = await self._services.sessions.log.read(session.id, after, upto=upto, public=True)
        return [json.loads(row.wire()) for row in rows]


def _block(events: list[Out], cursor: str | None = None) -> bytes:
    if cursor is not None:
        events[-1] = {**events[-1], "metadata": {**events[-1].get("metadata", {}), "cursor": cursor}}
    lines = [f"data: {json.dumps(event, ensure_ascii=False, separators=(',', ':'))}\n\n" for event in events]
    if cursor is not None:
        lines[-1] = f"id: {cursor}\n{lines[-1]}"
    return "".join(lines).encode()


def _prompt(wanted: RunAgentInput) -> str | None:
    """The last message, if it is the user's: nothing else of a client's history is taken."""
    if not wanted.messages or wanted.messages[-1].role != "user":
        return None
    content: Any = wanted.messages[-1].content
    if isinstance(content, str):
        text = content
    elif all(part.type == "text" for part in content):
        text = "\n\n".join(part.text for part in content)
    else:
        raise ReconveneError(
            "invalid_field", "A prompt is text; pictures and sound cannot be read here.", path="messages"
        )
    if "\0" in text:
        raise ReconveneError("invalid_field", r"A prompt must not contain \u0000.", path="messages")
    return text


def _answer(payload: Any) -> Any:
    """A plain value, or one wrapped as forms do it."""
    if isinstance(payload, dict) and set(payload) in ({"answer"}, {"value"}, {"approved"}):
        return next(iter(payload.values()))
    return payload


def _decision(payload: Any) -> tuple[Any, list[str] | None, str | None]:
    payload = payload if isinstance(payload, dict) else {"approved": payload}
    verdict = payload.get("verdict")
    if verdict is None and isinstance(approved := payload.get("approved"), bool):
        verdict = "accept" if approved else "reject"
    hunks, feedback = payload.get("hunks"), payload.get("feedback")
    fits = verdict in ("accept", "reject", "feedback") and (
        hunks is None or (isinstance(hunks, list) and all(isinstance(h, str) for h in hunks))
    )
    if not fits or not isinstance(feedback, str | None):
        raise ReconveneError(
            "invalid_field",
            "The payload must be {verdict: accept, reject or feedback, hunks, feedback}.",
            path="resume",
        )
    return verdict, hunks, feedback


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ReconveneError("invalid_message", "The request broke off.")
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
