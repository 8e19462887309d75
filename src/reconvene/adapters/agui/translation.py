"""Events of one run as AG-UI events: a pure function of the log.

An AG-UI run ends where ours waits for a person: with an interrupt for everything that is open. What answers it is another AG-UI run
that goes on with ours. The ids of messages and tool calls are the log's, so a replay gives the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconvene.adapters.growing import Growing, Piece
from reconvene.protocol import sentences

Out = dict[str, Any]
EventJson = Mapping[str, Any]
DECISION = {
    "type": "object",
    "properties": {
        "verdict": {"type": "string", "enum": ["accept", "reject", "feedback"]},
        "hunks": {"type": "array", "items": {"type": "string"}},
        "feedback": {"type": "string"},
    },
    "required": ["verdict"],
}


@dataclass(slots=True)
class Translator:
    """`apply` each public event of the run in order. `finished` once the AG-UI run is over.

    Args:
        thread_id, run_id: as the client calls them.
    """

    thread_id: str
    run_id: str
    finished: bool = False
    _texts: Growing = field(default_factory=Growing)
    _open: dict[str, EventJson] = field(default_factory=dict)
    _error: Mapping[str, Any] | None = None
    _usage: Mapping[str, Any] | None = None
    _began: set[str] = field(default_factory=set)

    def begin(self) -> list[Out]:
        return [{"type": "RUN_STARTED", "threadId": self.thread_id, "runId": self.run_id}]

    def apply(self, event: EventJson) -> list[Out]:
        translate = getattr(self, f"_on_{event['type']}", None)
        if translate is None or self.finished:
            return []
        made: list[Out] = translate(event, event["content"])
        at = int(event["at"] * 1000)
        return [{**one, "timestamp": at} for one in made]

    # -- texts

    def _on_text(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        return self._pieces(self._texts.delta(event), thought=event["type"] == "reasoning" or bool(event["parent_id"]))

    _on_reasoning = _on_text

    def _on_message(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        thought = content.get("kind") == "reasoning" or bool(event["parent_id"])
        return self._pieces(self._texts.finished(event), thought=thought)

    def _on_item_aborted(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        struck = self._texts.struck(event)
        if struck is None:
            return []
        ends = self._pieces([Piece(struck, "", ends=True)], thought=None)
        return [*ends, {"type": "CUSTOM", "name": "reconvene.struck", "value": {"messageId": struck}}]

    def _pieces(self, pieces: list[Piece], *, thought: bool | None) -> list[Out]:
        out: list[Out] = []
        for piece in pieces:
            if thought is None:
                kind = "REASONING_MESSAGE" if f"reasoning:{piece.id}" in self._began else "TEXT_MESSAGE"
            else:
                kind = "REASONING_MESSAGE" if thought else "TEXT_MESSAGE"
            if piece.begins and kind == "REASONING_MESSAGE":
                self._began.add(f"reasoning:{piece.id}")
                out.append({"type": "REASONING_START", "messageId": piece.id})
                out.append({"type": "REASONING_MESSAGE_START", "messageId": piece.id, "role": "reasoning"})
            elif piece.begins:
                out.append({"type": "TEXT_MESSAGE_START", "messageId": piece.id, "role": "assistant"})
            if piece.text:
                out.append({"type": f"{kind}_CONTENT", "messageId": piece.id, "delta": piece.text})
            if piece.ends:
                out.append({"type": f"{kind}_END", "messageId": piece.id})
                if kind == "REASONING_MESSAGE":
                    out.append({"type": "REASONING_END", "messageId": piece.id})
        return out

    # -- what it does

    def _on_tool_call(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        id = content["id"]
        return [
            {"type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": content["name"]},
            {"type": "TOOL_CALL_ARGS", "toolCallId": id, "delta": json.dumps(content["args"], ensure_ascii=False)},
            {"type": "TOOL_CALL_END", "toolCallId": id},
        ]

    def _on_tool_result(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        kept = ("summary", "ok", "truncated", "cache", "places")
        told = json.dumps({k: content[k] for k in kept if content.get(k) is not None}, ensure_ascii=False)
        id = content["id"]
        return [
            {"type": "TOOL_CALL_RESULT", "messageId": f"{id}.result", "toolCallId": id, "content": told, "role": "tool"}
        ]

    def _on_plan(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        return [self._activity("plan", "PLAN", content)]

    def _on_output(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        return [{"type": "CUSTOM", "name": "reconvene.output", "value": dict(content)}]

    def _on_repo_map(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        return [{"type": "CUSTOM", "name": "reconvene.repo_map", "value": dict(content)}]

    def _on_applied(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        return [self._activity(f"{content['diff_id']}.applied", "APPLIED", content)]

    def _activity(self, name: str, kind: str, content: Mapping[str, Any]) -> Out:
        id = f"{self.run_id}.{name}" if name == "plan" else name
        shown = {"type": "ACTIVITY_SNAPSHOT", "messageId": id, "activityType": kind, "content": dict(content)}
        return {**shown, "replace": True}

    def _on_usage(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        self._usage = content
        return []

    def _on_error(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        self._error = content
        return [{"type": "CUSTOM", "name": "reconvene.error", "value": dict(content)}]

    # -- what waits for a person

    def _on_question(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        self._open[content["id"]] = event
        return []

    _on_confirmation = _on_question

    def _on_diff(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        self._open[content["id"]] = event
        shown = {**content, "unified": sentences.unified(content["files"])}
        return [self._activity(content["id"], "DIFF", shown)]

    def _on_answered(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        self._open.pop(content["id"], None)
        return []

    _on_decided = _on_answered

    def _on_run(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        if content["status"] != "waiting":
            return []
        if self._open:
            interrupts = [interrupt(e) for e in self._open.values()]
            return [self.end({"type": "interrupt", "interrupts": interrupts})]
        if self._error is None:
            return []
        self.finished = True  # it waits for something that is no question: a key, a file that can be written
        return [{"type": "RUN_ERROR", "message": self._error["message"], "code": self._error["code"]}]

    def _on_completed(self, event: EventJson, content: Mapping[str, Any]) -> list[Out]:
        if content["outcome"] == "failed":
            self.finished = True
            error = self._error or {"message": content.get("text") or "The run failed.", "code": content.get("reason")}
            return [{"type": "RUN_ERROR", "message": error["message"], "code": error["code"] or "failed"}]
        return [self.end({"type": "cancelled" if content["outcome"] == "cancelled" else "success"})]

    def end(self, outcome: Out) -> Out:
        self.finished = True
        end: Out = {"type": "RUN_FINISHED", "threadId": self.thread_id, "runId": self.run_id, "outcome": outcome}
        if self._usage:
            took, gave = self._usage.get("input_tokens") or 0, self._usage.get("output_tokens") or 0
            end["usage"] = [{"inputTokens": took, "outputTokens": gave, "totalTokens": took + gave}]
        return end


def interrupt(event: EventJson) -> Out:
    """What is open, as AG-UI asks it."""
    content = event["content"]
    if event["type"] == "diff":
        paths = sentences.paths(content["files"])
        made = {"id": content["id"], "reason": "reconvene:diff", "message": f"Accept the change of {paths}?"}
        made["responseSchema"] = DECISION
        return made
    schema = {"type": "boolean"} if event["type"] == "confirmation" else content.get("schema") or {"type": "string"}
    reason = "confirmation" if event["type"] == "confirmation" else "input_required"
    return {"id": content["id"], "reason": reason, "message": content["text"], "responseSchema": schema}


def messages(events: list[EventJson]) -> list[Out]:
    """A session's conversation as AG-UI messages, for a client that connects to a thread it does not know."""
    made: list[Out] = []
    for event in events:
        content = event["content"]
        match event["type"]:
            case "prompt":
                made.append({"id": content["id"], "role": "user", "content": content["text"]})
            case "message" if not event["parent_id"] and content.get("kind") != "reasoning":
                made.append(
                    {"id": f"{event['run_id']}/{event['item_id']}", "role": "assistant", "content": content["text"]}
                )
            case "tool_call":
                call = {"name": content["name"], "arguments": json.dumps(content["args"], ensure_ascii=False)}
                calls = [{"id": content["id"], "type": "function", "function": call}]
                made.append({"id": f"{content['id']}.call", "role": "assistant", "toolCalls": calls})
            case "tool_result":
                id = content["id"]
                made.append({"id": f"{id}.result", "role": "tool", "toolCallId": id, "content": content["summary"]})
    return made
