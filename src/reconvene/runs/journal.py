"""What the log knows of one run, and the only way a run writes.

The journal is the run's memory: model responses and tool results are in it before they are used, so a run is rebuilt from it after
any crash and goes on where it was.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelRequest, ModelResponse, repair_messages
from pydantic_ai.usage import RunUsage

from reconvene.log.port import Fence, NewEvent, Row
from reconvene.protocol import events as ev
from reconvene.runs.deltas import Deltas
from reconvene.runs.held import Held
from reconvene.sessions.kept import HELD, KEPT, OUTCOME, PLAN, needed
from reconvene.sessions.rows import event, private
from reconvene.sessions.service import Sessions
from reconvene.sessions.state import DUE, RunStatus

MODEL = "model"
"""Private row: `{"step", "steered", "messages"}`: one model response with the request before it."""
RETURN = "tool_return"
"""Private row: `{"key", "value"}` or `{"key", "retry"}`: what a tool call gave the model."""
BRANCH = "sub_model"
"""Private row: `{"scope", "step", "messages"}`: one model response of a sub-agent."""
SETTLED = "apply_settled"
"""Private row: `{"diff_id", "n"}`: what a program wrote meanwhile was looked for once more."""
ONCE = "once"
"""Private row: `{"key", "value"}` of an effect that is not repeated."""
TRACE = "trace"
"""Private row: `{"traceparent"}`: where the attempt that begins here is in OpenTelemetry."""

_KEYED = [t for t in ev.CONTENTS if t not in ("text", "reasoning")] + [
    MODEL, BRANCH, RETURN, ONCE, PLAN, OUTCOME, SETTLED, TRACE,
]  # fmt: skip
_PROGRESS = frozenset({MODEL, BRANCH, RETURN, ONCE, OUTCOME, "answered", "decided"})
HISTORY_BYTES = 400_000
"""Earlier turns over this size are not sent to the model again, oldest first; the log keeps them all."""


class Journal:
    """The journal of one attempt. `load` makes it and takes over the run: an earlier owner's writes are refused from then on."""

    parent: str | None = None
    """The item that everything shown here belongs to."""
    quiet = False
    """Whether what the model says is kept from people: it is no prose."""

    def __init__(self, sessions: Sessions, session_id: str, run_id: str, fence: Fence) -> None:
        self.sessions, self.session_id, self.run_id, self.fence = sessions, session_id, run_id, fence
        self.scope = run_id
        """Of its item ids and keys."""
        self.branches: dict[str, list[list[ModelMessage]]] = {}
        """Of every sub-agent, by its scope, what it was told and said so far, step by step."""
        self.told: set[str] = set()
        """What earlier runs of the session told the model, beside prompts."""
        self.context_used: int | None = None
        self.context_limit: int | None = None
        """Tokens that the run's model takes."""
        self.model: str | None = None
        """The name of the model that is asked."""
        self.spent: Callable[[Journal], Awaitable[None]] | None = None
        """Told after every response that is in the log."""
        self.worked_before = 0.0
        self._loaded = time.monotonic()
        self.writes: dict[str, list[dict[str, Any]]] = {}
        """Of every diff: its plans, oldest first, each with its `outcome` and `settled` once they are known."""
        self.messages: list[ModelMessage] = []
        self.steps = 0
        """Model responses so far."""
        self.attempt = 0
        self.without_progress = 0
        """Attempts since the run last got further."""
        self.results: dict[str, dict[str, Any]] = {}
        self.once: dict[str, Any] = {}
        self.keys: set[str] = set()
        self.steered: set[str] = set()
        self.usage = RunUsage()
        self.open_items: dict[str, int] = {}
        """Items with deltas and no message: item id → attempt."""
        self.traced: str | None = None
        """Where the last attempt is in OpenTelemetry."""
        self.held = Held(self._append_soon)
        self.deltas = Deltas(run_id, 0, self._soon)

    @classmethod
    async def load(cls, sessions: Sessions, session_id: str, run_id: str) -> Journal:
        journal = cls(sessions, session_id, run_id, await sessions.log.claim(f"{session_id}/{run_id}"))
        rows = await sessions.log.read(session_id, 0, run_id=run_id, types=_KEYED)
        running = recovering = last_model = 0
        for row in rows:
            if row.key:
                journal.keys.add(row.key)
            if row.type in _PROGRESS:
                running = recovering = 0
            if row.type not in (MODEL, BRANCH, RETURN, ONCE, PLAN, OUTCOME, SETTLED, TRACE, "run"):
                continue
            content = json.loads(row.content)
            match row.type:
                case "run":
                    journal.attempt = max(journal.attempt, content.get("attempt") or 0)
                    orderly = content["status"] == "recovering" and content.get("reason") not in (None, "restart")
                    running += (content["status"] == "running") - orderly  # a provider failed, which is no crash
                    recovering += content["status"] == "recovering" and not orderly
                case "model":
                    last_model = row.seq
                    journal.worked_before = max(journal.worked_before, content.get("worked", 0.0))
                    messages = ModelMessagesTypeAdapter.validate_python(content["messages"])
                    journal.messages += messages
                    journal.steered.update(content["steered"])
                    for message in messages:
                        if isinstance(message, ModelResponse):
                            journal.steps += 1
                            journal.count(message)
                case "sub_model":
                    messages = ModelMessagesTypeAdapter.validate_python(content["messages"])
                    journal.branches.setdefault(content["scope"], []).append(messages)
                    for message in messages:
                        if isinstance(message, ModelResponse):
                            journal.count(message)
                case "tool_return":
                    journal.results[content["key"]] = content
                case "apply_plan":
                    journal.writes.setdefault(content["diff_id"], []).append(content)
                case "apply_outcome":
                    journal.writes[content["diff_id"]][content["n"] - 1].update(content)
                case "apply_settled":
                    journal.writes[content["diff_id"]][content["n"] - 1]["settled"] = True
                case "once":
                    journal.once[content["key"]] = content["value"]
                case "trace":
                    journal.traced = content["traceparent"]
        journal.without_progress = max(running, recovering)
        if not journal.attempt:
            return journal  # nothing was streamed yet
        for row in await sessions.log.read(
            session_id, last_model, run_id=run_id, types=("text", "reasoning", "message", "item_aborted")
        ):
            if row.item_id is None:
                continue
            if row.type in ("text", "reasoning"):
                journal.open_items[row.item_id] = json.loads(row.content)["attempt"]
            else:
                journal.open_items.pop(row.item_id, None)
        return journal

    async def earlier(self, rows: Sequence[Row] | None = None) -> list[ModelMessage]:
        """The conversation before this run, as a model can take it. `rows`: the session's of type `MODEL`; None: read them."""
        if rows is None:
            rows = await self.sessions.log.read(self.session_id, 0, types=(MODEL,))
        state = await self.sessions.state(self.session_id)
        rewinds, replaced = state.rewinds, state.replaced
        runs: dict[str, list[str]] = {}
        for row in rows:
            self.told.update(json.loads(row.content)["steered"])
            if any(upto < row.seq < seq for upto, seq in rewinds):
                continue
            if row.run_id is not None and row.run_id != self.run_id and row.run_id not in replaced:
                runs.setdefault(row.run_id, []).append(row.content)
        kept: list[list[str]] = []
        room = HISTORY_BYTES
        for contents in reversed(runs.values()):
            room -= sum(map(len, contents))
            if room < 0 and kept:
                break
            kept.insert(0, contents)
        messages = [
            m
            for contents in kept
            for c in contents
            for m in ModelMessagesTypeAdapter.validate_python(json.loads(c)["messages"])
        ]
        return repair_messages(messages)

    # -- writing

    async def write(self, events: Sequence[NewEvent], *, changes: dict[str, RunStatus] | None = None) -> None:
        """Append what is not there yet, after what is held; returns when it is on disk."""
        fresh = [e for e in events if e.key is None or e.key not in self.keys]
        if self.sessions.contents is not None and (names := needed(e for e in fresh if e.type in KEPT)):
            await self.sessions.contents.publish(names)  # whoever goes on with this run may be another node
        if fresh or changes or self.held.answer:
            rows = [*self.held.take(), *self.deltas.take(), *fresh]
            done = await self.sessions.append_run(self.session_id, rows, fence=self.fence, changes=changes)
            if done.status == "duplicate":
                # A write that was stopped halfway had come to the log: nothing of this one has.
                log = await self.sessions.log.read(self.session_id, 0, run_id=self.run_id, types=_KEYED)
                there = {row.key for row in log if row.key}
                rows = [e for e in rows if e.key not in there]
                await self.sessions.append_run(self.session_id, rows, fence=self.fence, changes=changes)
            self.held.answer = False
            self._has(fresh)
        else:
            self.deltas.flush()

    async def hold(self, events: Sequence[NewEvent], *, answer: bool = False) -> None:
        """Append what is not there yet with the next rows that are written, or in a moment: nobody has to wait for it (see `held`).

        `answer`: it is the model's, at the end of the run.
        """
        fresh = [e for e in events if e.key is None or e.key not in self.keys]
        if self.sessions.contents is not None and any(e.type in KEPT for e in fresh):
            await self.write(fresh)  # what they name has to be there before them
        else:
            self.held.add([*self.deltas.take(), *fresh], answer=answer)
            self._has(fresh)

    def flush(self) -> None:
        """Hand what is held, and what was streamed, to the log. Raises what the log refuses at once."""
        if rows := [*self.held.take(), *self.deltas.take()]:
            self._append_soon(rows)

    def _has(self, events: Sequence[NewEvent]) -> None:
        self.keys.update(e.key for e in events if e.key)
        if any(e.type in _PROGRESS for e in events):
            self.without_progress = 0

    def _soon(self, events: list[NewEvent]) -> None:
        self._append_soon([*self.held.take(), *events])

    def _append_soon(self, events: list[NewEvent]) -> None:
        self.sessions.log.append_soon(self.session_id, events, fence=self.fence)

    async def begin(self, reason: str | None, budget: dict[str, Any], also: Sequence[NewEvent] = ()) -> None:
        """A new attempt: strikes what the one before it left unfinished. `also` is written with it."""
        self.attempt += 1
        self.without_progress += 1
        self.deltas = Deltas(self.run_id, self.attempt, self._soon)
        status = ev.Run(status="running", attempt=self.attempt, reason=reason, budget=budget)
        await self.write([*self.struck(), event(status, run_id=self.run_id), *also], changes={self.run_id: "running"})

    def struck(self) -> list[NewEvent]:
        """The events that strike what no message will ever replace."""
        struck = [
            event(ev.ItemAborted(attempt=attempt), run_id=self.run_id, item_id=item)
            for item, attempt in self.open_items.items()
        ]
        self.open_items.clear()
        return struck

    def asking(self, question: ev.Question) -> list[NewEvent]:
        """A question with its deadline, which counts uptime."""
        limit = self.sessions.settings.limits.question_time
        question = question.model_copy(update={"expires_at": round(time.time() + limit)})
        due = {"id": question.id, "up": self.sessions.uptime.now() + limit}
        return [
            event(question, run_id=self.run_id, item_id=question.id, key=f"asked:{question.id}"),
            private(DUE, due, run_id=self.run_id, key=f"due:{question.id}"),
        ]

    def proposing(self, diff: ev.Diff, parent: str, contents: Sequence[str]) -> list[NewEvent]:
        """A diff with its deadline, and the contents that it needs for as long as the session is kept."""
        due = {"id": diff.id, "up": self.sessions.uptime.now() + self.sessions.settings.limits.question_time}
        return [
            event(diff, run_id=self.run_id, item_id=diff.id, parent_id=parent, key=f"asked:{diff.id}"),
            private(DUE, due, run_id=self.run_id, key=f"due:{diff.id}"),
            private(HELD, {"contents": list(contents)}, run_id=self.run_id, key=f"held:{diff.id}", stateful=False),
        ]

    def questions(self, prefix: str) -> list[str]:
        """The ids of the questions `{run}.{prefix}-1`, -2, … that were asked so far, oldest first."""
        count = sum(key.startswith(f"asked:{self.run_id}.{prefix}-") for key in self.keys)
        return [f"{self.run_id}.{prefix}-{n}" for n in range(1, count + 1)]

    def strike(self) -> None:
        """What is shown of the current step will be written anew: the next `begin` strikes it."""
        self.flush()
        for item_id in list(self.deltas.texts):
            self.open_items[item_id] = self.attempt
        self.deltas.close(list(self.deltas.texts))

    def item_id(self, index: int, step: int | None = None) -> str:
        return f"{self.scope}.{self.steps if step is None else step}.{index}"

    def worked(self) -> float:
        """Seconds that the run took so far, those that it waited for a person left out; what no response was recorded after is lost."""
        return self.worked_before + time.monotonic() - self._loaded

    def count(self, response: ModelResponse) -> None:
        """A response counts to what the run has used, whichever of its agents got it."""
        self.usage.incr(response.usage)
        self.usage.requests += 1
        self.usage.tool_calls += len(response.tool_calls)

    async def record_response(
        self,
        new: list[ModelMessage],
        response: ModelResponse,
        steered: Sequence[str],
        *,
        estimated: bool,
        interrupted: bool = False,
    ) -> None:
        """The model's response, with everything it shows, in one commit: from here on it is never asked again. It is on the disk when
        this returns if it has tool calls; the run's answer is there before the run has ended, or is asked for once more."""
        shown: list[NewEvent] = []
        items: list[str] = []
        for index, part in enumerate(response.parts):
            item_id = self.item_id(index)
            if part.part_kind in ("text", "thinking"):
                items.append(item_id)
                if self.quiet and part.part_kind == "text":
                    continue
                if text := part.content:
                    kind = "text" if part.part_kind == "text" else "reasoning"
                    shown.append(
                        event(
                            ev.Message(text=text, kind=kind, interrupted=interrupted),
                            run_id=self.run_id,
                            item_id=item_id,
                            parent_id=self.parent,
                            key=f"message:{item_id}",
                        )
                    )
            elif part.part_kind == "tool-call":
                shown.append(
                    event(
                        ev.ToolCall(id=item_id, name=part.tool_name, args=_arguments(part)),
                        run_id=self.run_id,
                        item_id=item_id,
                        parent_id=self.parent,
                        key=f"call:{item_id}",
                    )
                )
        struck = [i for i in self.deltas.texts if i not in items]
        shown += [event(ev.ItemAborted(attempt=self.attempt), run_id=self.run_id, item_id=i) for i in struck]
        self.count(response)
        shown.append(event(self.usage_content(response, estimated), run_id=self.run_id))
        shown.append(self.kept([*new, response], steered))
        if self.parent is None and not response.tool_calls and not interrupted:
            await self.hold(shown, answer=True)
        else:
            await self.write(shown)
        self.deltas.close([*items, *struck])
        self.messages += [*new, response]
        self.steered.update(steered)
        self.steps += 1
        if self.spent is not None:
            await self.spent(self)

    def kept(self, messages: Sequence[ModelMessage], steered: Sequence[str] = ()) -> NewEvent:
        """The private row of a response with the request before it."""
        text = ModelMessagesTypeAdapter.dump_json([without_instructions(m) for m in messages]).decode()
        steered_ids, worked = json.dumps(list(steered)), round(self.worked(), 3)
        body = f'{{"step":{self.steps},"steered":{steered_ids},"worked":{worked},"messages":{text}}}'
        return NewEvent(MODEL, body, self.run_id, key=f"model:{self.run_id}.{self.steps}", public=False)

    async def record_tail(self, new: list[ModelMessage]) -> None:
        """Messages after the last response of a run that was stopped, so that the next prompt knows what its tools found."""
        messages = ModelMessagesTypeAdapter.dump_json([without_instructions(m) for m in new]).decode()
        body = f'{{"step":{self.steps},"steered":[],"messages":{messages}}}'
        await self.write([NewEvent(MODEL, body, self.run_id, key=f"tail:{self.run_id}", public=False)])
        self.messages += new

    def open_calls(self) -> list[str]:
        """Item ids of the last response's tool calls that have no result."""
        last = next((m for m in reversed(self.messages) if isinstance(m, ModelResponse)), None)
        if last is None:
            return []
        items = [self.item_id(i, self.steps - 1) for i, p in enumerate(last.parts) if p.part_kind == "tool-call"]
        return [i for i in items if f"call:{i}" in self.keys and f"result:{i}" not in self.keys]

    def usage_copy(self) -> RunUsage:
        """What was used so far, for a new attempt to count on from."""
        return copy.copy(self.usage)

    def usage_content(self, response: ModelResponse, estimated: bool) -> ev.Usage:
        self.context_used = response.usage.input_tokens + response.usage.output_tokens or None
        return ev.Usage(
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
            cache_read_tokens=self.usage.cache_read_tokens,
            requests=self.usage.requests,
            tool_calls=self.usage.tool_calls,
            cost=float(self.usage.cost) if self.usage.cost is not None else None,
            context_used=self.context_used,
            context_limit=self.context_limit,
            estimated=estimated,
            model=self.model,
            step=ev.StepUsage(
                input_tokens=response.usage.input_tokens,
                output_tokens=response.usage.output_tokens,
                cost=float(response.usage.cost) if response.usage.cost is not None else None,
            ),
        )

    async def finish(
        self, outcome: Any, *, text: str = "", reason: str | None = None, before: Sequence[NewEvent] = ()
    ) -> None:
        """End the run. Prompts that were steered into it too late become a run of their own."""
        self.flush()
        await self.sessions.finish_run(
            self.session_id,
            self.run_id,
            outcome,
            text=text,
            reason=reason,
            before=before,
            consumed=self.steered,
            fence=self.fence,
        )

    async def record_once(self, key: str, value: Any) -> None:
        await self.write(
            [
                private(
                    ONCE,
                    {"key": key, "value": value},
                    run_id=self.run_id,
                    key=f"once:{self.run_id}:{key}",
                    stateful=False,
                )
            ]
        )
        self.once[key] = value


def _arguments(part: Any) -> Any:
    try:
        return part.args_as_dict()
    except Exception:  # what the model wrote is no JSON object; people see it as it is
        return str(part.args)


def without_instructions(message: ModelMessage) -> ModelMessage:
    """Instructions are made anew for every request; stored, they would be most of the log."""
    if isinstance(message, ModelRequest) and message.instructions:
        from dataclasses import replace

        return replace(message, instructions=None)
    return message
