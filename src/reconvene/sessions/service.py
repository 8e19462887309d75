"""What can be done with sessions: submit, answer, decide, cancel, act, fork, delete.

Every change is one append: the events and the client's command id in one transaction. Two commands of one session never overlap (a
lock per session), and what the store refuses was not done. State in memory is only ever the fold of what was committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.log.feed import Feed
from reconvene.log.port import Command, Log, NewEvent, NewSession, Row, SessionRow, SharedLog
from reconvene.log.uptime import Uptime
from reconvene.protocol import events as ev
from reconvene.protocol.cursor import Cursor
from reconvene.protocol.folding import fold
from reconvene.sessions.again import again_when_moved
from reconvene.sessions.answers import checked
from reconvene.sessions.attach import new_epoch, new_session_id
from reconvene.sessions.beginning import beginning
from reconvene.sessions.beginning import title_of as title_of
from reconvene.sessions.decisions import changed_files, decision, stale_diff
from reconvene.sessions.memory import apply
from reconvene.sessions.rows import Receipt, Who, event, private
from reconvene.sessions.run_side import RunEnded as RunEnded
from reconvene.sessions.run_side import RunSide
from reconvene.sessions.state import CANCEL, Pending, RunStatus, SessionState
from reconvene.workspace.roots import Roots


@dataclass(frozen=True, slots=True)
class SnapshotData:
    """The folded events (JSON texts) of the prefix that `cursor` names."""

    cursor: Cursor
    events: list[str]


@dataclass(frozen=True, slots=True)
class _Change:
    """One command at work: the session as it is, and the receipt when the command was taken before."""

    session: SessionRow
    state: SessionState
    known: Receipt | None


Events = list[NewEvent]


class Sessions(RunSide):
    """The sessions of one server. See the module; `listeners` hear of every commit, in order, after the state was folded."""

    def __init__(self, log: Log, feed: Feed, roots: Roots, settings: Settings, uptime: Uptime) -> None:
        super().__init__(log, roots, settings, uptime)
        self.feed = feed
        self.listeners: list[Callable[[str, tuple[Row, ...]], None]] = []
        self.on_gone: list[Callable[[str, str], None]] = []
        """Called with (session_id, reason) when a session was deleted."""
        log.on_commit = self._committed
        if log.shared:
            shared = cast(SharedLog, log)
            shared.wanted = lambda session_id: session_id in self.memory or feed.watchers(session_id) > 0
            shared.on_gone = self.forget

    # -- state in memory

    def _committed(self, session_id: str, rows: tuple[Row, ...]) -> None:
        self.memory.committed(session_id, rows)
        self.feed.publish(session_id, rows)
        for listener in self.listeners:
            listener(session_id, rows)

    def connected(self, session_id: str, *, plain: bool = False) -> contextlib.AbstractContextManager[None]:
        """While it lasts, the session is connected: it is neither unloaded nor swept."""
        return self.memory.connected(session_id, plain=plain)

    # -- reading

    async def list(self, owner: str, *, archived: bool | None = None) -> list[SessionRow]:
        """Sessions in which something happened, newest first."""
        return [s for s in await self.log.sessions(owner=owner, archived=archived) if s.head]

    async def snapshot(self, session_id: str) -> SnapshotData:
        found = await self.log.session(session_id)
        if not isinstance(found, SessionRow):
            raise ReconveneError("no_such_session", "There is no session with this id; it may have expired.")
        rows = await self.log.read(session_id, 0, upto=found.head, public=True)
        return SnapshotData(found.cursor, await asyncio.to_thread(fold, rows))

    # -- commands

    @again_when_moved
    async def submit(
        self,
        who: Who,
        session_id: str,
        *,
        id: str | None,
        text: str,
        delivery: Literal["queue", "steer"] = "queue",
        turn: Mapping[str, Any] | None = None,
        body: str | None = None,
        plain_key: str | None = None,
    ) -> Receipt:
        """Take a prompt: it starts a run, waits in the queue, or (`steer`) joins the run that is going on."""
        if not text.strip():
            raise ReconveneError("empty_prompt", "The prompt is empty. Write what you want to know or have done.")
        id = id or uuid.uuid4().hex
        turn = dict(turn or {})
        command = Command(who.owner, id, body or _digest("default", text, delivery, turn))
        async with self._changing(who, session_id, command) as change:
            if change.known:
                return change.known
            session, state = change.session, change.state
            self._check_served(session)
            active = state.active
            steer = delivery == "steer" and active is not None and not active.cancelled
            run_id = active.id if steer and active else state.next_run_id()
            prompt = ev.Prompt(
                id=id, text=text, delivery="steer" if steer else "queue", by=who.name, config=turn or None
            )
            new = [event(prompt, run_id=run_id, item_id=f"{run_id}.p{state.seq + 1}")]
            changes: dict[str, RunStatus] = {}
            if not steer:
                new += beginning(state, run_id, [id], plain=plain_key)
                changes[run_id] = "queued"
            update: dict[str, Any] = {}
            if not session.title:
                update["title"] = title_of(text)
            if session.archived:
                new.append(event(ev.Action(name="archive", args={"archived": False}, by=who.name)))
                update["archived"] = False
            return await self._append(session_id, state, new, command, changes, update, run_id)

    @again_when_moved
    async def answer(
        self, who: Who, session_id: str, *, id: str | None, reply_to: str, value: Any, body: str | None = None
    ) -> Receipt:
        """Answer a question or confirmation; the first valid answer wins.

        Raises: no_such_question, already_answered, question_closed, invalid_field (the answer does not fit the schema).
        """
        command = Command(who.owner, id or uuid.uuid4().hex, body or _digest("answer", reply_to, value))
        async with self._changing(who, session_id, command) as change:
            if change.known:
                return change.known
            state = change.state
            pending = state.pending.get(reply_to)
            if pending is None or pending.kind == "diff":
                if reply_to in state.settled:
                    by = state.settled[reply_to][1]
                    raise ReconveneError(
                        "already_answered", f"This question was answered before, by {by or 'another client'}.", by=by
                    )
                if reply_to in state.closed:
                    raise ReconveneError(
                        "question_closed",
                        "This question is closed: it expired or its run ended. Send a new prompt to go on.",
                    )
                raise ReconveneError("no_such_question", "No open question of this session has this id.")
            if (run := state.runs.get(pending.run_id or "")) is not None and run.cancelled:
                raise ReconveneError(
                    "question_closed", "The run that asked is being stopped. Send a new prompt to go on."
                )
            answered = ev.Answered(id=reply_to, answer=checked(pending.kind, pending.schema, value), by=who.name)
            new = [event(answered, run_id=pending.run_id, key=f"settled:{reply_to}")]
            return await self._append(session_id, state, new, command, {}, {}, pending.run_id)

    @again_when_moved
    async def decide(
        self,
        who: Who,
        session_id: str,
        *,
        id: str | None,
        reply_to: str,
        verdict: Literal["accept", "reject", "feedback"],
        hunks: Sequence[str] | None = None,
        feedback: str | None = None,
        body: str | None = None,
    ) -> Receipt:
        """Decide on a diff; the first valid decision wins.

        Raises: no_such_diff, already_decided, question_closed, invalid_field (a hunk it does not have, feedback without text),
        stale_diff (a file that was to be written has changed: a new diff is on its way).
        """
        command = Command(
            who.owner, id or uuid.uuid4().hex, body or _digest("decision", reply_to, verdict, hunks, feedback)
        )
        async with self._changing(who, session_id, command) as change:
            if change.known:
                return change.known
            state = change.state
            pending = state.pending.get(reply_to)
            if pending is None or pending.kind != "diff":
                if reply_to in state.settled:
                    decided_before, by = state.settled[reply_to]
                    if isinstance(decided_before, dict) and decided_before.get("verdict") == "stale":
                        raise stale_diff(())
                    raise ReconveneError(
                        "already_decided", f"This diff was decided before, by {by or 'another client'}.", by=by
                    )
                if reply_to in state.closed:
                    raise ReconveneError(
                        "question_closed", "This diff is closed: its run ended. Send a new prompt to go on."
                    )
                raise ReconveneError("no_such_diff", "No open diff of this session has this id.")
            decided = decision(pending, verdict, hunks, feedback, who.name)
            changed = await self._changed_under(change.session, pending, decided)
            if changed:
                told = f"{', '.join(changed)} changed after this was proposed."
                stale = ev.Decided(id=reply_to, verdict="stale", feedback=told)
                row = event(stale, run_id=pending.run_id, key=f"settled:{reply_to}")
                await self.log.append(session_id, [row])
                raise stale_diff(changed)
            new = [event(decided, run_id=pending.run_id, key=f"settled:{reply_to}")]
            return await self._append(session_id, state, new, command, {}, {}, pending.run_id)

    def _check_served(self, session: SessionRow) -> None:
        if self.roots.by_root(session.root) is None and self.elsewhere(session.root) is None:
            raise ReconveneError(
                "root_not_served",
                f"The code base of this session ({session.root}) is not being served. Serve it, then send the prompt again.",
            )

    async def _changed_under(self, session: SessionRow, pending: Pending, decided: ev.Decided) -> Sequence[str]:
        """The files that an accept would write and that are not what the diff was made from."""
        workspace = self.roots.by_root(session.root)
        if decided.verdict != "accept" or workspace is None:
            return []
        return await asyncio.to_thread(changed_files, workspace, pending, decided.hunks)

    @again_when_moved
    async def cancel(
        self, who: Who, session_id: str, *, id: str | None, run_id: str | None = None, body: str | None = None
    ) -> Receipt:
        """Stop a run (None: the current one, else the first of the queue). Nothing to stop: `noop`."""
        command = Command(who.owner, id or uuid.uuid4().hex, body or _digest("cancel", run_id))
        async with self._changing(who, session_id, command) as change:
            if change.known:
                return change.known
            state = change.state
            if run_id is not None and run_id not in state.runs:
                raise ReconveneError("no_such_run", f"The session has no run {run_id}.")
            run = state.runs[run_id] if run_id else state.active or next(iter(state.queue), None)
            if run is None or run.status == "completed" or run.cancelled:
                # Kept all the same: sent again because its answer was lost, it must not stop a run that began since.
                await self.log.append(session_id, (), command=command)
                return Receipt("noop", None, run.id if run else None, session_id)
            if run.status == "queued":
                return await self._append(
                    session_id,
                    state,
                    self.ending(run.id, "cancelled", reason="stopped"),
                    command,
                    {run.id: "completed"},
                    {},
                    run.id,
                )
            # the run's own owner ends it, so that what it was doing is written down first
            new = [private(CANCEL, {"run_id": run.id, "by": who.name}, run_id=run.id)]
            return await self._append(session_id, state, new, command, {}, {}, run.id)

    @again_when_moved
    async def act(
        self, who: Who, session_id: str, *, id: str | None, name: str, args: Mapping[str, Any], body: str | None = None
    ) -> Receipt:
        """Everything else a person can do. Raises: unknown_action, invalid_field, and what the action itself raises."""
        from reconvene.sessions.actions import prepare

        command = Command(who.owner, id or uuid.uuid4().hex, body or _digest("action", name, dict(args)))
        limit = self.settings.limits.prompt
        if isinstance(text := args.get("text"), str) and len(text.encode("utf-8", "replace")) > limit:
            raise ReconveneError("too_large", f"A prompt has at most {limit:,} bytes. Shorten it.", limit=limit)
        if name == "fork":
            forked = await self.fork(who, session_id, upto=_upto(args), id=command.id, body=command.body)
            return Receipt("accepted", forked.head, None, forked.id)
        async with self._changing(who, session_id, command) as change:
            if change.known:
                return change.known
            state = change.state
            prepared = prepare(state, name, dict(args), who.name)
            new = [event(prepared.action)]
            update = dict(prepared.update)
            changes: dict[str, RunStatus] = {}
            if prepared.ends_run:
                new += self.ending(prepared.ends_run, "cancelled", reason="removed")
                changes[prepared.ends_run] = "completed"
            if prepared.plan is not None:
                going = state.active or next(iter(state.queue), None)
                new.append(event(prepared.plan, run_id=going.id if going else None))
            run_id = prepared.ends_run
            if (begins := prepared.begins) is not None:
                # Taking back is a run too: it waits its turn, and a crash in the middle of it is recovered like any other's.
                run_id, prompts = state.next_run_id(), begins.prompts
                if begins.prompts or begins.text:
                    self._check_served(change.session)
                if begins.text is not None:
                    prompts = (command.id,)
                    prompt = ev.Prompt(id=command.id, text=begins.text, by=who.name, config=begins.turn or None)
                    new.append(event(prompt, run_id=run_id, item_id=f"{run_id}.p{state.seq + 1}"))
                new += beginning(state, run_id, prompts, undo=begins.undo, reason=name)
                changes[run_id] = "queued"
                if change.session.archived:
                    new.append(event(ev.Action(name="archive", args={"archived": False}, by=who.name)))
                    update["archived"] = False
            return await self._append(session_id, state, new, command, changes, update, run_id)

    async def fork(
        self, who: Who, session_id: str, *, upto: int | None = None, id: str | None = None, body: str | None = None
    ) -> SessionRow:
        """A new session that begins with a copy of this one's log up to a seq; runs that were open there are ended in the copy."""
        command = Command(who.owner, id or uuid.uuid4().hex, body or _digest("fork", session_id, upto))
        if known := await self._known(command):
            return await self.get(who.owner, known.session_id)
        source = await self.get(who.owner, session_id)
        upto = source.head if upto is None else upto
        if not 0 < upto <= source.head:
            raise ReconveneError(
                "invalid_field", f"upto must be a seq between 1 and {source.head}.", path="content.args.upto"
            )
        state = SessionState()
        apply(state, await self.log.read(session_id, 0, upto=upto, stateful=True))
        new = [event(ev.Action(name="forked", args={"from": session_id, "upto": upto}, by=who.name))]
        for run in [r for r in state.runs.values() if r.status != "completed"]:
            new += self.ending(run.id, "cancelled", reason="forked")
        target = NewSession(new_session_id(), who.owner, source.root, new_epoch(), source.meta)
        update = {
            "title": f"{source.title} (fork)"[:200],
            "status": "idle",
            "last_active": self.uptime.now(),
            "active_at": time.time(),
        }
        done = await self.log.fork(session_id, upto, target, new, command=command, update=update)
        return await self.get(who.owner, done.session_id)

    async def delete(self, who: Who, session_id: str, *, patience: float = 10.0) -> None:
        """Delete a session; a run that is going on is stopped first. Raises: no_such_session, store_busy (the run does not stop)."""
        await self.get(who.owner, session_id)
        state = await self.state(session_id)
        changed = asyncio.Event()
        listener = lambda i, _rows: changed.set() if i == session_id else None  # noqa: E731
        self.listeners.append(listener)
        try:
            async with asyncio.timeout(patience):
                while _busy(state):
                    changed.clear()
                    if (run := state.active or next(iter(state.queue), None)) and not run.cancelled:
                        await self.cancel(who, session_id, id=None, run_id=run.id)
                    if _busy(state):
                        await changed.wait()
        except TimeoutError as e:
            raise ReconveneError("store_busy", "The session's run does not stop. Try again in a moment.") from e
        finally:
            self.listeners.remove(listener)
        if await self.log.delete(session_id, reason="deleted", at=self.uptime.now()):
            self.forget(session_id, "deleted")

    @again_when_moved
    async def expire_questions(self, session_id: str) -> int:
        """Stop the run whose question nobody answered in time; its own owner ends it. Returns how many were stopped."""
        async with self.memory.alone(session_id) as state:
            now = self.uptime.now()
            late = {p.run_id for p in state.pending.values() if p.run_id and p.expires is not None and p.expires < now}
            late = {run_id for run_id in late if not state.runs[run_id].cancelled}
            rows = [
                private(CANCEL, {"run_id": run_id, "by": None, "reason": "question_expired"}, run_id=run_id)
                for run_id in sorted(late)
            ]
            if rows:
                await self.log.append(session_id, rows, seen=self.seen(state))
            return len(rows)

    def forget(self, session_id: str, reason: str) -> None:
        """Drop what is in memory of a session that is gone, and tell its connections."""
        self.memory.forget(session_id)
        for tell in self.on_gone:
            tell(session_id, reason)

    # -- the machinery of one command

    @contextlib.asynccontextmanager
    async def _changing(self, who: Who, session_id: str, command: Command) -> AsyncIterator[_Change]:
        """The session and its state, while every other command of the session waits.

        A known command is found first: it must not be judged by a state that has moved on.
        """
        await self.get(who.owner, session_id)
        async with self.memory.alone(session_id) as state:
            session = await self.get(who.owner, session_id)
            await self.memory.catch_up(session_id, session.head)
            yield _Change(session, state, await self._known(command))

    async def _known(self, command: Command) -> Receipt | None:
        known = await self.log.command(command.owner, command.id)
        if known is None:
            return None
        session_id, seq, run_id, body = known
        if body != command.body:
            raise ReconveneError(
                "id_conflict", "This id was used before with another content. Make a new id for every message."
            )
        return Receipt("duplicate", seq, run_id, session_id)

    async def _append(
        self,
        session_id: str,
        state: SessionState,
        events: Sequence[NewEvent],
        command: Command,
        changes: Mapping[str, RunStatus],
        update: Mapping[str, Any],
        run_id: str | None,
    ) -> Receipt:
        moved: dict[str, Any] = {"last_active": self.uptime.now(), "active_at": time.time(), **update}
        if changes:
            moved["status"], moved["run_id"] = state.status_with(dict(changes))
        done = await self.log.append(session_id, events, command=command, update=moved, seen=self.seen(state))
        if done.status == "duplicate":
            settling = next((e for e in events if e.key and e.key.startswith("settled:")), None)
            if settling and not await self.log.command(command.owner, command.id):
                code = "already_answered" if settling.type == "answered" else "already_decided"
                raise ReconveneError(code, "Another one came first.")
            return Receipt("duplicate", done.first, done.run_id, done.session_id)
        return Receipt("accepted", done.first, run_id, session_id)


def _busy(state: SessionState) -> bool:
    return state.status != "idle"


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _upto(args: Mapping[str, Any]) -> int | None:
    upto = args.get("upto")
    if upto is not None and (not isinstance(upto, int) or isinstance(upto, bool)):
        raise ReconveneError("invalid_field", "content.args.upto must be a seq.", path="content.args.upto")
    return upto
