"""One life of one run: rebuilt from the journal, driven by pydantic-ai, ended or left resumable."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog
from pydantic_ai.exceptions import RunCancelled
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model

from reconvene.agents import models
from reconvene.agents.compaction import Compaction, context_limit
from reconvene.agents.durable import CannotWrite
from reconvene.agents.foreign_servers import ForeignServers
from reconvene.agents.notes import touched
from reconvene.agents.orchestrator import build
from reconvene.agents.providers import Providers
from reconvene.agents.spending import Spending
from reconvene.agents.token_ratio import FILE, TokenRatios
from reconvene.commands.job import end_all, jobs_of
from reconvene.errors import ReconveneError
from reconvene.index import Indexes
from reconvene.protocol import events as ev
from reconvene.runs.applying import Applying, Writers, whole
from reconvene.runs.daily_cap import CAP, DAILY_CAP, afford, over_cap
from reconvene.runs.deps import deps_of
from reconvene.runs.durability import Durability
from reconvene.runs.fallback import Failing, fails_over, taken_over, takes_over
from reconvene.runs.journal import Journal
from reconvene.runs.taking_back import take_back
from reconvene.runs.told import plan_edits, written_before
from reconvene.runs.tracing import Tracing
from reconvene.sessions.rows import event
from reconvene.sessions.service import RunEnded, Sessions
from reconvene.sessions.state import RunState
from reconvene.workspace import Workspace
from reconvene.workspace.contents import Contents

_log = structlog.get_logger(__name__)
RETRYABLE = frozenset({"provider_unavailable", "provider_rate_limited", "model_misbehaved"})
OF_THE_STORE = frozenset({"fenced", "disk_full", "store_busy", "store_error", "store_lost", "draining"})
"""Errors that say nothing of the run: what could not be written is done again when the store can write."""
MAX_WAIT = 120.0
"""Seconds; a provider that asks for longer is asked again after this."""
LEAST_ROOM = 0.2
"""Of a model's context: when a request that fills no more is still too long, the person is asked."""
PAUSES = frozenset(
    {
        "provider_auth",
        "provider_unavailable",
        "provider_rate_limited",
        "model_misbehaved",
        "budget_exceeded",
        "context_full",
        "workspace_gone",
    }
)
"""Errors after which the run waits for the person instead of ending: they can mend it and go on."""


@dataclass
class Surroundings:
    """What attempts need of the server."""

    sessions: Sessions
    indexes: Indexes
    resolve: Callable[[str], Model] | None = None
    """How a model's name becomes a model; None: `agents.models.resolve`."""
    sleep: Callable[[float], Any] = asyncio.sleep
    tracing: Tracing | None = None
    """None unless somebody wants traces."""
    writers: Writers = field(init=False)
    providers: Providers = field(init=False)
    spending: Spending = field(init=False)
    failing: Failing = field(default_factory=Failing)
    token_ratios: TokenRatios = field(init=False)
    foreign: ForeignServers = field(init=False)

    def __post_init__(self) -> None:
        self.foreign = ForeignServers(self.sessions.settings.data_dir)
        self.providers = Providers.of(self.sessions.settings)
        self.spending = Spending(self.sessions.settings.data_dir)
        self.token_ratios = TokenRatios(self.sessions.settings.data_dir / FILE)
        self.writers = Writers(Contents(self.sessions.settings.data_dir / "contents"))


class Attempt:
    """Call `run` once. `cancel` stops it for the person, `unload` because every branch waits; both leave the log complete."""

    def __init__(
        self, around: Surroundings, session_id: str, run_id: str, reason: str | None, root: str | None = None
    ) -> None:
        self.around, self.sessions = around, around.sessions
        self.session_id, self.run_id, self.reason = session_id, run_id, reason
        self.durability: Durability | None = None
        self.applying: Applying | None = None
        self._work: asyncio.Future[Any] | None = None
        self._stop: str | None = None
        self._journal: Journal
        self._room = 1.0
        """Of the model's context, that a request may fill."""
        self._base: list[ModelMessage] = []
        self._root = root
        """Of the session, which stays the same; None: not looked up yet."""

    # -- what others tell it

    def cancel(self) -> None:
        self._interrupt("cancelled")

    def unload(self) -> None:
        self._interrupt("unloaded")

    def answered(self, question_id: str, answer: Any) -> None:
        if self.durability:
            self.durability.answered(question_id, answer)

    def _interrupt(self, why: str) -> None:
        if self._stop is None or why == "cancelled":
            self._stop = why
            if self._work:
                self._work.cancel()

    # -- its life

    async def run(self) -> None:
        """Until the run ends, waits for a person, or this task is cancelled (the server stops: the run stays resumable)."""
        self._journal = await Journal.load(self.sessions, self.session_id, self.run_id)
        try:
            with contextlib.suppress(RunEnded):  # it was stopped before it began
                await self._live(self._journal)
        finally:
            with contextlib.suppress(ReconveneError):  # a store that refuses has been heard
                self._journal.flush()

    async def _anew(self, journal: Journal) -> Journal:
        """What another attempt goes on from: the log, as after a crash. One that failed may have been stopped in the middle of a write,
        and then the log has what this journal does not know of."""
        journal.flush()
        worked = journal.worked()
        self._journal = await Journal.load(self.sessions, self.session_id, self.run_id)
        self._journal.worked_before = worked
        if self.applying is not None:
            self.applying.journal = self._journal
        return self._journal

    async def _live(self, journal: Journal) -> None:
        run = (await self.sessions.state(self.session_id)).runs[self.run_id]
        limit = self.sessions.settings.limits.attempts_without_progress
        failures, reason = 0, self.reason
        await self._note(journal)  # a crash may have come between a response and its cost
        workspace = await self._workspace()
        if self.sessions.contents is not None:
            await self.sessions.contents.fetch(self.session_id)
        if workspace is not None:
            writer = self.around.writers.of(workspace)
            self.applying = Applying(journal, writer, self.around.sleep)
            with contextlib.suppress(CannotWrite):  # nothing was written, and whoever wanted it tries again
                await self.applying.recover()
        if await self._declined(journal):
            return
        while True:
            if run.cancelled:
                await self._end_commands()
                await self._settle()
                await journal.finish("cancelled", reason=run.cancel_reason, before=journal.struck())
                return
            if journal.without_progress >= limit:
                message = (
                    f"This run was started {journal.without_progress} times without getting any further, so it was ended. "
                    "Send the prompt again to try once more."
                )
                await self._fail(journal, ReconveneError("recovery_exhausted", message))
                return
            steps = journal.steps
            span = self.around.tracing.attempt(journal, reason) if self.around.tracing else None
            await journal.begin(reason, self._budget(journal), span.rows if span else ())
            try:
                with span.going_on() if span else contextlib.nullcontext():
                    text = await self._step(journal, run)
                    if span:
                        span.ended(self._stop or "answered")
            except asyncio.CancelledError:
                journal.flush()
                raise
            except ReconveneError as e:
                if isinstance(e, CannotWrite):
                    journal.strike()
                    await self._pause(journal, e)
                    return
                if e.code in OF_THE_STORE:
                    raise
                journal.strike()
                if e.code == "context_full" and self._room > LEAST_ROOM:
                    self._room /= 2
                    reason = "The conversation is longer than the model takes; its older parts are left out."
                    journal = await self._anew(journal)
                    continue
                failures = 1 if journal.steps > steps else failures + 1
                if e.code in RETRYABLE and failures <= self.sessions.settings.limits.provider_retries:
                    reason = await self._back_off(journal, e, failures)
                    journal = await self._anew(journal)
                    continue
                if fails_over(e) and (other := await self._fallback(journal)) is not None:
                    reason, failures = await takes_over(journal, e, other, self.around.failing), 0
                    journal = await self._anew(journal)
                    continue
                await (self._pause if e.code in PAUSES else self._fail)(journal, e)
                return
            if text is not None:
                await self._settle()
                await journal.finish("success", text=text)
                return
            if not run.cancelled:
                state = await self.sessions.state(self.session_id)
                kinds = {p.kind for p in state.pending.values() if p.run_id == self.run_id}
                asked = "decision" if kinds == {"diff"} else "question"
                waiting = ev.Run(status="waiting", attempt=journal.attempt, reason=asked)
                await journal.write([event(waiting, run_id=self.run_id)], changes={self.run_id: "waiting"})
                return

    async def _step(self, journal: Journal, run: RunState) -> str | None:
        """Drive the agent to its answer. None: it was interrupted by `cancel` or `unload`.

        Raises: ReconveneError for everything that went wrong."""
        if self._stop is not None:
            return None
        self._work = asyncio.create_task(self._drive(journal, run), name=f"{self.session_id}/{self.run_id}")
        try:
            text: str = await self._work
        except asyncio.CancelledError as e:
            if not self._work.done():  # this attempt itself is being cancelled
                self._work.cancel()
                await asyncio.gather(self._work, return_exceptions=True)
                raise
            if self._stop is None:
                raise
            if self._stop == "cancelled":
                await self._keep_partial(journal, e)
            return None
        except ReconveneError:
            raise
        except Exception as e:
            error = models.classify(e)
            if error.code == "internal":
                _log.exception("run failed")
            raise error from e
        finally:
            self._work = None
        return text

    async def _drive(self, journal: Journal, run: RunState) -> str:
        state = await self.sessions.state(self.session_id)
        if run.undo is not None:
            workspace = await self._served()
            assert self.applying is not None
            said = await take_back(journal, state, run.undo, self.applying, await self.around.indexes.get(workspace))
            if not run.prompts:
                return said
        last = journal.messages[-1] if journal.messages else None
        if isinstance(last, ModelResponse) and not last.tool_calls and last.text:
            return last.text  # the crash came between the answer and the end of the run
        turn = state.prompts[run.prompts[0]].turn if run.prompts and run.prompts[0] in state.prompts else {}
        name = str(turn.get("model") or state.model or self.around.providers.model)
        journal.model = taken_over(journal, state) or name
        fresh = journal.model == name and not journal.questions("pause")  # who said retry wants the first one
        failed = self.around.failing.why(name) if fresh else None
        if failed is not None and (other := await self._fallback(journal)) is not None:
            await takes_over(journal, failed, other, None)
            journal.model = other
        name = journal.model
        resolve = self.around.resolve
        # In a thread: the first use of a provider imports its package.
        model = resolve(name) if resolve else await asyncio.to_thread(models.resolve, name, self.around.providers)
        extra = sum(state.settled.get(q, (None,))[0] == "continue" for q in journal.questions("pause"))
        asked = " ".join(state.prompts[p].text for p in run.prompts if p in state.prompts)
        if (base := await self._workspace()) is None:
            raise self._gone()
        deps, spoken = await deps_of(self.around, journal, base, asked, model, self._jobs())
        deps.review = bool(turn.get("review"))
        deps.max_iterations = int(turn.get("max_iterations") or deps.max_iterations)
        self._base = await journal.earlier(spoken)
        if deps.notes is not None:
            branches = (m for steps in journal.branches.values() for step in steps for m in step)
            deps.notes.touch(touched([*self._base, *journal.messages, *branches]))
        self.durability = Durability(
            journal,
            len(self._base),
            estimated=models.is_offline(name),
            steering=lambda: state.steering(self.run_id),
            unload=self.unload,
            applying=self.applying,
            told=lambda: plan_edits(state, journal),
            before=lambda: afford(journal, state, self.around.providers, self.around.spending),
            around=self.around.tracing.capabilities(self.session_id, self.run_id) if self.around.tracing else (),
        )
        deps.durable, deps.listener, deps.extended, deps.worked = (
            self.durability,
            self.durability,
            extra,
            journal.worked,
        )
        journal.context_limit = context_limit(model, deps.limits.context)
        journal.spent = self._note
        agent = build(
            model,
            capabilities=[self.durability, Compaction(share=self._room)],
            commands=deps.leave is not None,
            foreign=deps.foreign,
        )
        prompt = "\n\n".join(
            [*written_before(state, run), *(state.prompts[p].text for p in run.prompts if p in state.prompts)]
        )
        result = await agent.run(
            None if journal.messages else prompt,
            message_history=[*self._base, *journal.messages],
            conversation_id=self.session_id,
            deps=deps,
            usage=journal.usage_copy(),
            usage_limits=models.usage_limits(self.sessions.settings.limits, times=1 + extra),
            capabilities=self.durability.around,
        )
        return str(result.output)

    async def _note(self, journal: Journal) -> None:
        """What the run cost so far counts to its day."""
        if journal.usage.cost:
            name = f"{self.session_id}/{self.run_id}"
            # Stopped in the middle of it, the thread would write all the same, over what the next server has written by then.
            await whole(asyncio.to_thread(self.around.spending.note, name, float(journal.usage.cost)))

    async def _fallback(self, journal: Journal) -> str | None:
        """The model to go on with, when there is another one than that which failed."""
        state = await self.sessions.state(self.session_id)
        other = state.fallback if state.fallback is not None else self.around.providers.fallback
        return other if other and other != journal.model else None

    async def _workspace(self) -> Workspace | None:
        if self._root is None:
            self._root = getattr(await self.sessions.log.session(self.session_id), "root", "")
        return self.sessions.roots.by_root(self._root)

    async def _served(self) -> Workspace:
        workspace = await self._workspace()
        if workspace is None:
            raise self._gone()
        await asyncio.to_thread(workspace.check_alive)
        return workspace

    def _gone(self) -> ReconveneError:
        return ReconveneError(
            "workspace_gone",
            f"The code base of this session ({self._root}) is not being served. Serve it again, then go on.",
        )

    async def _settle(self) -> None:
        if self.applying is not None:
            await self.applying.settle()

    def _jobs(self) -> Path:
        return jobs_of(self.sessions.settings.data_dir, f"{self.session_id}/{self.run_id}")

    async def _end_commands(self) -> None:
        """What this run had started is ended with it."""
        await asyncio.to_thread(end_all, self._jobs())

    # -- how it ends

    async def _declined(self, journal: Journal) -> bool:
        """End the run if the person said so when it was paused, or when it was asked whether to go on after a restart."""
        state = await self.sessions.state(self.session_id)
        for prefix, no in (("pause", "stop"), ("resume", False), (CAP, "stop")):
            asked = journal.questions(prefix)
            if asked and state.settled.get(asked[-1], (None,))[0] == no:
                await journal.finish("cancelled", reason="stopped", before=journal.struck())
                return True
        return False

    async def _fail(self, journal: Journal, e: ReconveneError) -> None:
        await self._end_commands()
        shown = ev.Error(code=e.code, message=e.message, retryable=e.retryable, details=e.details)
        await journal.finish(
            "failed", text=e.message, reason=e.code, before=[*journal.struck(), event(shown, run_id=self.run_id)]
        )

    async def _pause(self, journal: Journal, e: ReconveneError) -> None:
        """Wait for the person, who can mend what is wrong and go on from here."""
        capped = over_cap(e)
        go_on = "continue" if e.code == "budget_exceeded" else "retry"
        prefix = CAP if capped else "pause"
        how = f"{go_on} to let this run go on over it" if capped else f"{go_on} to go on"
        question = ev.Question(
            id=f"{self.run_id}.{prefix}-{len(journal.questions(prefix)) + 1}",
            text=f"{e.message} Answer {how}, or stop.",
            schema={"type": "string", "enum": [go_on, "stop"]},
        )
        error = ev.Error(code=e.code, message=e.message, retryable=True, details=e.details)
        waiting = ev.Run(status="waiting", attempt=journal.attempt, reason=DAILY_CAP if capped else e.code)
        rows = [
            *journal.struck(),
            event(error, run_id=self.run_id),
            *journal.asking(question),
            event(waiting, run_id=self.run_id),
        ]
        await journal.write(rows, changes={self.run_id: "waiting"})

    async def _back_off(self, journal: Journal, e: ReconveneError, failures: int) -> str:
        """Wait before the provider is asked again, as long as it asks for; shown, and cut short by `cancel`. The reason is returned."""
        retry_after = e.details.get("retry_after")
        wait = min(MAX_WAIT, float(retry_after)) if retry_after else random.uniform(0.5, 1.0) * 2**failures
        reason = f"{e.message} Asking again in {wait:.0f} s ({failures} of {self.sessions.settings.limits.provider_retries})."
        shown = ev.Run(status="recovering", attempt=journal.attempt, reason=reason)
        await journal.write([*journal.struck(), event(shown, run_id=self.run_id)], changes={self.run_id: "recovering"})
        if self._stop is None:
            self._work = asyncio.ensure_future(self.around.sleep(wait))
            try:
                await self._work
            except asyncio.CancelledError:
                if self._stop is None:
                    raise
            finally:
                self._work = None
        return reason

    async def _keep_partial(self, journal: Journal, exc: asyncio.CancelledError) -> None:
        """What the model had said when the person stopped it stays, in the log and in the conversation."""
        cancelled = RunCancelled.from_cancellation(exc)
        known = len(self._base) + len(journal.messages)
        new = list(cancelled.all_messages())[known:] if cancelled else []
        if new and not isinstance(new[-1], ModelResponse) and self.durability and self.durability.partial:
            new.append(replace(self.durability.partial, state="interrupted"))
        if new and isinstance(new[-1], ModelResponse) and (new[-1].text or new[-1].tool_calls) and self.durability:
            await journal.record_response(new[:-1], new[-1], [], estimated=self.durability.estimated, interrupted=True)
        elif new and journal.messages:
            await journal.record_tail(new)
        shown = [
            event(ev.Message(text=text, interrupted=True), run_id=self.run_id, item_id=item, key=f"message:{item}")
            for item, text in journal.deltas.texts.items()
        ]
        stopped = [
            event(
                ev.ToolResult(id=item, summary="stopped", ok=False),
                run_id=self.run_id,
                item_id=item,
                key=f"result:{item}",
            )
            for item in journal.open_calls()
        ]
        await journal.write([*shown, *stopped])
        journal.deltas.close(list(journal.deltas.texts))

    def _budget(self, journal: Journal) -> dict[str, Any]:
        limits = self.sessions.settings.limits
        return {
            "attempts_left": max(0, limits.attempts_without_progress - journal.without_progress - 1),
            "requests_left": max(0, limits.model_requests - journal.usage.requests),
        }
