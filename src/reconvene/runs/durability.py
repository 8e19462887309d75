"""The pydantic-ai capability that makes an agent's run durable: three hooks, and the log is never behind what was acted on.

* a model response is in the log before its tool calls are executed or its text counts as the answer;
* a tool's result is in the log before the model sees it, and a recorded one is returned instead of running the tool again; what a tool
  only looked up is there before anything that the model makes of it (`held`);
* what is streamed goes to the log in pieces, and from there to the page.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog
from pydantic import JsonValue
from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    RetryPromptPart,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolReturnPart,
)  # fmt: skip
from pydantic_core import to_json

from reconvene.agents import models
from reconvene.agents.durable import AgentDeps, Decision, SubAnswer, ToolOutcome
from reconvene.agents.notes import touched
from reconvene.agents.scrub import scrub, scrub_json
from reconvene.agents.tools import LOOKING
from reconvene.errors import ReconveneError
from reconvene.log.port import NewEvent
from reconvene.protocol import events as ev
from reconvene.runs import tracing
from reconvene.runs.applying import Applying
from reconvene.runs.branch import Branch
from reconvene.runs.journal import RETURN, Journal
from reconvene.sessions.rows import event, private
from reconvene.sessions.state import ACCEPTS_EDITS, PromptState
from reconvene.workspace.edits import Transition

_log = structlog.get_logger(__name__)

SUMMARY = 300
"""Characters of a tool's result that people see when the tool has no summary of its own."""
SETTLE = 0.02
"""Seconds after which a run whose every branch waits for a person is unloaded; a branch that starts meanwhile stops it."""

_CALL_ID = re.compile(r"[!-~]{1,200}")


class Durability(AbstractCapability[AgentDeps]):
    """One attempt's hooks. It is also the `Durable` that tools are given.

    `steering`: prompts that people sent into the run so far. `unload`: called when every branch waits for a person. `before`: awaited
    before every model request, also of sub-agents; what it raises ends the attempt. `around`: what sub-agents are given beside.
    """

    def __init__(
        self,
        journal: Journal,
        base: int,
        *,
        estimated: bool,
        steering: Callable[[], list[PromptState]],
        unload: Callable[[], None],
        applying: Applying | None = None,
        told: Callable[[], list[PromptState]] = list,
        before: Callable[[], Awaitable[None]] | None = None,
        around: Sequence[AbstractCapability[Any]] = (),
    ) -> None:
        self.journal, self.around = journal, around
        self.applying, self._told, self._before = applying, told, before
        self.known = base + len(journal.messages)
        """How many of the conversation's messages are in the log."""
        self.estimated, self._steering, self._unload = estimated, steering, unload
        self.partial: ModelResponse | None = None
        """What the model had said of a response that was cut off."""
        self._steered_now: list[str] = []
        self._running = self._waiting = 0
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._settle: asyncio.TimerHandle | None = None

    # -- pydantic-ai's hooks

    async def before_model_request(self, ctx: RunContext[AgentDeps], request_context: Any) -> Any:
        if self._before is not None:
            await self._before()
        await self._report_refused_calls(ctx)
        for prompt in [*self._steering(), *self._told()]:
            if prompt.id not in self.journal.steered and prompt.id not in self._steered_now:
                self._steered_now.append(prompt.id)
                ctx.enqueue(prompt.text)
        return request_context

    async def after_model_request(
        self, ctx: RunContext[AgentDeps], *, request_context: Any, response: ModelResponse
    ) -> ModelResponse:
        response = _scrubbed(response, self.journal.steps)
        new = list(ctx.messages[self.known :])
        await self.journal.record_response(new, response, self._steered_now, estimated=self.estimated)
        self.known += len(new) + 1
        self._steered_now = []
        return response

    async def wrap_tool_execute(
        self, ctx: RunContext[AgentDeps], *, call: ToolCallPart, tool_def: Any, args: Any, handler: Any
    ) -> Any:
        key = self._key(call.tool_call_id)
        if (known := self.journal.results.get(key)) is not None:
            tracing.told(None)
            if "retry" in known:
                raise ModelRetry(known["retry"])
            if ctx.deps.notes is not None:
                returned = ModelRequest([ToolReturnPart(call.tool_name, known["value"], call.tool_call_id)])
                ctx.deps.notes.touch(touched([returned]))
            return known["value"]
        began, notes, found = time.monotonic(), ctx.deps.notes, None
        before = notes.begin() if notes is not None else 0
        self._running += 1
        self._keep()
        try:
            returned = await handler(args)
            found = returned.notes if isinstance(returned, ToolOutcome) else None
        except ModelRetry as e:
            await self._record(
                key, call, ToolOutcome(value=None, summary=e.message[:SUMMARY], ok=False), began, {"retry": e.message}
            )
            raise
        finally:
            self._running -= 1
            if notes is not None:
                notes.end(before, found)
            self._unload_if_waiting()
        outcome = (
            returned
            if isinstance(returned, ToolOutcome)
            else ToolOutcome(value=returned, summary=str(returned)[:SUMMARY])
        )
        return await self._record(key, call, outcome, began, None)

    # -- Durable, for tools

    @property
    def session_id(self) -> str:
        return self.journal.session_id

    @property
    def run_id(self) -> str:
        return self.journal.run_id

    async def once(self, key: str, fn: Callable[[], Any]) -> JsonValue:
        if key not in self.journal.once:
            await self.journal.record_once(key, await fn())
        value: JsonValue = self.journal.once[key]
        return value

    async def ask(
        self, key: str, text: str, *, schema: dict[str, JsonValue] | None = None, kind: type[ev.Question] = ev.Question
    ) -> JsonValue:
        question = kind(id=f"{self.run_id}.{key}", text=scrub(text), schema=schema)
        answer: JsonValue = await self._settled_by_person(question.id, lambda: self.journal.asking(question))
        return answer

    async def decide(self, diff: ev.Diff, *, parent: str, contents: Sequence[str] = ()) -> Decision:
        state = await self.journal.sessions.state(self.session_id)

        def asking() -> list[NewEvent]:
            rows = self.journal.proposing(diff, parent, contents)
            new = f"asked:{diff.id}" not in self.journal.keys  # what was shown to a person is a person's to decide
            if new and state.edit_mode == "accept" and not diff.risky:
                decided = ev.Decided(id=diff.id, verdict="accept", by=ACCEPTS_EDITS)
                rows.append(event(decided, run_id=self.run_id, key=f"settled:{diff.id}"))
            return rows

        content = await self._settled_by_person(diff.id, asking)
        hunks = content.get("hunks")
        return Decision(
            content["verdict"], None if hunks is None else tuple(hunks), content.get("feedback"), content.get("by")
        )

    async def write(self, diff: ev.Diff, transitions: Sequence[Transition], *, parent: str) -> dict[str, Any]:
        assert self.applying is not None
        return await self.applying.apply(diff.id, transitions, parent=parent)

    async def show(self, key: str, contents: Sequence[ev.Content], *, parent: str) -> None:
        rows = [
            event(
                content,
                run_id=self.run_id,
                item_id=content.id if isinstance(content, ev.ToolCall | ev.ToolResult) else f"{key}.{n}",
                parent_id=parent,
                key=f"shown:{key}.{n}",
            )
            for n, content in enumerate(contents)
        ]
        await self.journal.write(rows)

    def item(self, tool_call_id: str) -> str:
        return self._item_of(tool_call_id) or f"{self.run_id}.{self._key(tool_call_id)}"

    async def sub_run(
        self,
        ctx: RunContext[AgentDeps],
        scope: str,
        agent: Agent[AgentDeps, str],
        prompt: Callable[[], Awaitable[str]],
        *,
        history: Sequence[ModelMessage] = (),
        quiet: bool = False,
        parent: str | None = None,
    ) -> SubAnswer:
        parent = parent or self.item(ctx.tool_call_id or "")
        branch = Branch(self.journal, scope, parent=parent, quiet=quiet)
        last = branch.messages[-1] if branch.messages else None
        if isinstance(last, ModelResponse) and not last.tool_calls and last.text:
            return SubAnswer(last.text, tuple(branch.messages))  # it was answered before a crash
        durability = Durability(
            branch,
            len(history),
            estimated=self.estimated,
            steering=list,
            unload=lambda: None,
            before=self._before,
            around=self.around,
        )
        try:
            result = await agent.run(
                None if branch.messages else await prompt(),
                message_history=[*history, *branch.messages],
                conversation_id=f"{self.session_id}/{scope}",
                deps=replace(ctx.deps, durable=durability, listener=durability, asks=False),
                usage=ctx.usage,
                usage_limits=ctx.usage_limits,
                capabilities=[*self.around, durability],
            )
        except (ReconveneError, AgentRunError):
            raise
        except Exception as e:  # a provider's transport: not the tool's fault, and to be asked again as the run does
            error = models.classify(e)
            if error.code == "internal":
                _log.exception("a sub-agent broke", scope=scope)
            raise error from e
        finally:
            branch.broken_off()
        return SubAnswer(str(result.output), tuple(branch.messages))

    async def _settled_by_person(self, id: str, asking: Callable[[], list[NewEvent]]) -> Any:
        """What a person answered or decided. Asked once; the run is unloaded when every branch of it waits."""
        state = await self.journal.sessions.state(self.session_id)
        if id in state.settled:
            return state.settled[id][0]
        if id in state.closed:
            raise ReconveneError("question_expired", "The question was closed without an answer.")
        future = self._answers.setdefault(id, asyncio.get_running_loop().create_future())
        await self.journal.write(asking())
        if id in state.settled:  # answered while the question was being written
            return state.settled[id][0]
        self._waiting += 1
        self._unload_if_waiting()
        try:
            return await future
        finally:
            self._waiting -= 1

    def answered(self, question_id: str, answer: Any) -> None:
        """An answer or a decision was committed."""
        future = self._answers.get(question_id)
        if future and not future.done():
            future.set_result(answer)

    # -- inside

    def _key(self, tool_call_id: str) -> str:
        """Call ids are the provider's and may repeat in another step; ours do not."""
        step = f"{self.journal.steps - 1}:{tool_call_id}"
        return step if self.journal.parent is None else f"{self.journal.scope}.{step}"

    def _keep(self) -> None:
        if self._settle:
            self._settle.cancel()
            self._settle = None

    def _unload_if_waiting(self) -> None:
        self._keep()
        if self._waiting and self._waiting >= self._running:
            self._settle = asyncio.get_running_loop().call_later(SETTLE, self._settled)

    def _settled(self) -> None:
        pending = [f for f in self._answers.values() if not f.done()]
        if self._waiting and self._waiting >= self._running and len(pending) >= self._waiting:
            self._unload()

    def _item_of(self, tool_call_id: str) -> str | None:
        for message in reversed(self.journal.messages):
            if isinstance(message, ModelResponse):
                for index, part in enumerate(message.parts):
                    if isinstance(part, ToolCallPart) and part.tool_call_id == tool_call_id:
                        return self.journal.item_id(index, self.journal.steps - 1)
                return None
        return None

    async def _record(
        self, key: str, call: ToolCallPart, outcome: ToolOutcome, began: float, retry: dict[str, str] | None
    ) -> Any:
        tracing.told(outcome)
        item_id = self._item_of(call.tool_call_id) or f"{self.run_id}.{key}"
        value = retry or {"value": _jsonable(outcome.value)}
        shown = ev.ToolResult(
            id=item_id, summary=scrub(outcome.summary), ok=outcome.ok, truncated=outcome.truncated, cache=outcome.cache,
            ms=round((time.monotonic() - began) * 1000), places=outcome.places,
        )  # fmt: skip
        rows: list[NewEvent] = [event(content, run_id=self.run_id, parent_id=item_id) for content in outcome.events]
        rows += [NewEvent(type, text, self.run_id, public=False) for type, text in outcome.private]
        rows.append(
            event(shown, run_id=self.run_id, item_id=item_id, parent_id=self.journal.parent, key=f"result:{item_id}")
        )
        rows.append(
            private(
                RETURN, {"key": key, **value}, run_id=self.run_id, key=f"return:{self.run_id}.{key}", stateful=False
            )
        )
        looked = retry is None and call.tool_name in LOOKING
        await (self.journal.hold(rows) if looked else self.journal.write(rows))
        self.journal.results[key] = {"key": key, **value}
        return value.get("value")

    async def _report_refused_calls(self, ctx: RunContext[AgentDeps]) -> None:
        """Calls that never reached a tool (unknown, invalid arguments, over a limit) get their result shown too."""
        rows = []
        for message in ctx.messages[self.known :]:
            for part in message.parts:
                if (
                    isinstance(part, RetryPromptPart | ToolReturnPart)
                    and part.tool_call_id
                    and (item_id := self._item_of(part.tool_call_id))
                    and f"result:{item_id}" not in self.journal.keys
                ):
                    text = part.model_response() if isinstance(part, RetryPromptPart) else str(part.content)
                    shown = ev.ToolResult(id=item_id, summary=scrub(text)[:SUMMARY], ok=False)
                    rows.append(
                        event(
                            shown,
                            run_id=self.run_id,
                            item_id=item_id,
                            parent_id=self.journal.parent,
                            key=f"result:{item_id}",
                        )
                    )
        await self.journal.write(rows)

    # -- Listener, of the model

    def piece(self, e: ModelResponseStreamEvent) -> None:
        if self.journal.quiet and isinstance(getattr(e, "part", getattr(e, "delta", None)), TextPart | TextPartDelta):
            return
        if isinstance(e, PartStartEvent) and isinstance(e.part, TextPart | ThinkingPart):
            kind = ev.Text if isinstance(e.part, TextPart) else ev.Reasoning
            self.journal.deltas.add(kind, self.journal.item_id(e.index), e.part.content)
        elif (
            isinstance(e, PartDeltaEvent)
            and isinstance(e.delta, TextPartDelta | ThinkingPartDelta)
            and e.delta.content_delta
        ):
            kind = ev.Text if isinstance(e.delta, TextPartDelta) else ev.Reasoning
            self.journal.deltas.add(kind, self.journal.item_id(e.index), e.delta.content_delta)

    def broken_off(self, said: ModelResponse) -> None:
        self.partial = said


def _jsonable(value: Any) -> Any:
    return scrub_json(json.loads(to_json(value, fallback=str, inf_nan_mode="null")))


def _scrubbed(response: ModelResponse, step: int) -> ModelResponse:
    """The response as JSON can hold it, every call with an id of its own; parts that are fine stay the same objects."""
    parts: list[Any] = []
    ids: set[str] = set()
    for index, part in enumerate(response.parts):
        if isinstance(part, TextPart | ThinkingPart) and scrub(part.content) != part.content:
            part = replace(part, content=scrub(part.content))
        elif isinstance(part, ToolCallPart):
            part = _sound_call(part, ids, f"call_{step}_{index}")
            ids.add(part.tool_call_id)
        parts.append(part)
    if all(a is b for a, b in zip(parts, response.parts, strict=True)):
        return response
    return replace(response, parts=parts)


def _sound_call(call: ToolCallPart, taken: set[str], own_id: str) -> ToolCallPart:
    """Ids tell a response's calls apart: one that comes twice, or is no id, is replaced, for the provider as for us."""
    better: dict[str, Any] = {}
    args = scrub(call.args) if isinstance(call.args, str) else scrub_json(call.args)
    if args != call.args:
        better["args"] = args
    if scrub(call.tool_name) != call.tool_name:
        better["tool_name"] = scrub(call.tool_name)
    if call.tool_call_id in taken or not _CALL_ID.fullmatch(call.tool_call_id):
        better["tool_call_id"] = own_id
    return replace(call, **better) if better else call
