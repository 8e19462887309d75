"""Events as ACP session updates: a pure function of the log.

A `Translator` remembers what its client has. It is a fold like any other: whoever resumes at a cursor folds the log up to there without
sending anything, and goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconvene.adapters.growing import Growing, Piece
from reconvene.protocol import sentences
from reconvene.sessions.service import title_of

Update = dict[str, Any]
EventJson = Mapping[str, Any]

KINDS = {
    "search": "search",
    "symbol": "search",
    "repo_map": "search",
    "read_file": "read",
    "update_code": "edit",
    "run_command": "execute",
    "create_plan": "think",
    "ask_user": "other",
}
"""ACP's kinds of tool calls, by the names of our tools."""
MOST_LOCATIONS = 50
OUTPUT_KEPT = 8000
"""Characters of a command's output that are shown while it runs: each update replaces the one before."""
_PLAN_STATUS = {"pending": "pending", "active": "in_progress", "done": "completed", "skipped": "completed"}
_HUNK_HEAD = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")


@dataclass(slots=True)
class Ended:
    """How a run ended."""

    outcome: str
    reason: str | None
    usage: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Translator:
    """`apply` each public event in order; it answers with the updates to send.

    Args:
        root: absolute path of the session's code base: ACP's paths are absolute, ours are not.
        said: whether a question is said as text, because this client has no request for it.
    """

    root: str
    said: Callable[[EventJson], bool] = lambda _: False
    ended: dict[str, Ended] = field(default_factory=dict)
    """Of runs that are over."""
    _texts: Growing = field(default_factory=Growing)
    _output: dict[str, str] = field(default_factory=dict)
    _usage: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _diffs: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    _titled: bool = False

    def apply(self, event: EventJson) -> list[Update]:
        translate = getattr(self, f"_on_{event['type']}", None)
        return [] if translate is None else translate(event, event["content"])

    # -- what people and models say

    def _on_prompt(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        said = _chunk("user_message_chunk", content["id"], content["text"])
        if self._titled:
            return [said]
        self._titled = True
        return [said, {"sessionUpdate": "session_info_update", "title": title_of(content["text"])}]

    def _on_text(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        thought = event["type"] == "reasoning" or event["parent_id"]
        return _chunks(self._texts.delta(event), thought=bool(thought))

    _on_reasoning = _on_text

    def _on_message(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        thought = content.get("kind") == "reasoning" or event["parent_id"]
        return _chunks(self._texts.finished(event), thought=bool(thought))

    def _on_item_aborted(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        struck = self._texts.struck(event)
        if struck is None:
            return []
        return [
            _chunk("agent_message_chunk", struck, "\n\n*(This was broken off here; it is written anew below.)*\n\n")
        ]

    def _on_error(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        return [_chunk("agent_message_chunk", f"error:{event['seq']}", f"\n\n**{content['message']}**\n")]

    def _on_question(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        if not self.said(event):
            return []
        asked = f"\n\n{content['text']}\n\n*(Your next message answers this.)*\n"
        return [_chunk("agent_message_chunk", f"question:{content['id']}", asked)]

    # -- tools

    def _on_tool_call(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        call: Update = {
            "sessionUpdate": "tool_call",
            "toolCallId": content["id"],
            "title": sentences.call(content),
            "kind": KINDS.get(content["name"], "other"),
            "status": "in_progress",
            "rawInput": content["args"],
        }
        match content["args"]:
            case {"path": str() as path} if content["name"] == "read_file":
                call["locations"] = [self._location(path.partition(":")[0], content["args"].get("start"))]
        return [call]

    def _on_tool_result(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        output = self._output.pop(content["id"], None)
        done: Update = {
            "sessionUpdate": "tool_call_update",
            "toolCallId": content["id"],
            "status": "completed" if content.get("ok", True) else "failed",
        }
        if content.get("summary"):
            note = f" ({content['cache']})" if content.get("cache") in ("cached", "refreshed") else ""
            written = [_text_content(f"```\n{output}\n```")] if output else []
            done["content"] = [*written, _text_content(content["summary"] + note)]
        if places := content.get("places"):
            done["locations"] = [self._location(p["path"], p.get("start")) for p in places[:MOST_LOCATIONS]]
        return [done]

    def _on_output(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        text = (self._output.get(content["id"], "") + content["text"])[-OUTPUT_KEPT:]
        self._output[content["id"]] = text
        shown = [_text_content(f"```\n{text}\n```")]
        return [{"sessionUpdate": "tool_call_update", "toolCallId": content["id"], "content": shown}]

    # -- changes

    def _on_diff(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        self._diffs[content["id"]] = content["files"]
        return [
            {"sessionUpdate": "tool_call", "status": "pending", **self.file_call(content["id"], n, file)}
            for n, file in enumerate(content["files"])
        ]

    def file_call(self, diff_id: str, number: int, file: Mapping[str, Any]) -> Update:
        """One file of a diff as the tool call that permission is asked for."""
        shown: list[Update] = []
        lines: list[int] = []
        for hunk in file["hunks"]:
            old, new, line = _sides(hunk["unified"])
            lines.append(line)
            text = None if file["op"] == "create" else old
            shown.append({"type": "diff", "path": self._absolute(file["path"]), "oldText": text, "newText": new})
        if file.get("risk"):
            shown.append(_text_content(f"⚠ {file['risk']}"))
        verb = {"edit": "Edit", "create": "Create", "delete": "Delete", "rename": "Rename"}[file["op"]]
        old_path = f"{file['old_path']} → " if file.get("old_path") and file["op"] == "rename" else ""
        return {
            "toolCallId": f"{diff_id}#{number}",
            "title": f"{verb} {old_path}{file['path']}",
            "kind": {"delete": "delete", "rename": "move"}.get(file["op"], "edit"),
            "content": shown,
            "locations": [self._location(file["path"], line) for line in lines[:MOST_LOCATIONS] or [1]],
        }

    def _on_decided(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        updates: list[Update] = []
        chosen = content.get("hunks")
        for n, file in enumerate(self._diffs.get(content["id"], ())):
            own = [h["id"] for h in file["hunks"]]
            taken = content["verdict"] == "accept" and (chosen is None or bool(set(own) & set(chosen)))
            update: Update = {"sessionUpdate": "tool_call_update", "toolCallId": f"{content['id']}#{n}"}
            if taken:
                updates.append({**update, "status": "in_progress"})
                continue
            why = {"feedback": f"Feedback: {content.get('feedback')}", "stale": content.get("feedback")}
            note = why.get(content["verdict"]) or "Rejected"
            updates.append({**update, "status": "failed", "rawOutput": {"verdict": content["verdict"], "note": note}})
        return updates

    def _on_applied(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        files = self._diffs.get(content["diff_id"], ())
        if content.get("undo"):
            paths = ", ".join(f["path"] for f in content["files"])
            return (
                [_chunk("agent_message_chunk", f"undo:{event['seq']}", f"\n\nTaken back: {paths}\n")] if paths else []
            )
        written = {f["path"] for f in content["files"]}
        clashes = {c["path"]: c.get("note") or "it changed meanwhile" for c in content.get("conflicts") or ()}
        updates: list[Update] = []
        for n, file in enumerate(files):
            update: Update = {"sessionUpdate": "tool_call_update", "toolCallId": f"{content['diff_id']}#{n}"}
            if file["path"] in clashes:
                note = f"Not overwritten: {clashes[file['path']]}"
                updates.append({**update, "status": "failed", "rawOutput": {"note": note}})
            elif file["path"] in written or file.get("old_path") in written:
                updates.append({**update, "status": "completed"})
        return updates

    # -- the session's state

    def _on_plan(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        entries = [
            {"content": step["title"], "priority": "medium", "status": _PLAN_STATUS[step.get("status", "pending")]}
            for step in content["steps"]
        ]
        return [{"sessionUpdate": "plan", "entries": entries}]

    def _on_usage(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        self._usage[event["run_id"] or ""] = content
        if not content.get("context_limit"):
            return []
        used: Update = {
            "sessionUpdate": "usage_update",
            "used": content.get("context_used") or 0,
            "size": content["context_limit"],
        }
        if content.get("cost") is not None:
            used["cost"] = {"amount": content["cost"], "currency": "USD"}
        return [used]

    def _on_action(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        match content:
            case {"name": "rename", "args": {"title": title}}:
                self._titled = True
                return [{"sessionUpdate": "session_info_update", "title": title}]
            case {"name": "edit_mode", "args": {"mode": mode}}:
                return [{"sessionUpdate": "current_mode_update", "currentModeId": mode}]
        return []

    def _on_completed(self, event: EventJson, content: Mapping[str, Any]) -> list[Update]:
        run_id = event["run_id"] or ""
        self.ended[run_id] = Ended(content["outcome"], content.get("reason"), self._usage.pop(run_id, None))
        return []

    def _absolute(self, path: str) -> str:
        return f"{self.root.rstrip('/')}/{path}"

    def _location(self, path: str, line: int | None) -> Update:
        place: Update = {"path": self._absolute(path)}
        return place if not line else {**place, "line": line}


def _chunks(pieces: list[Piece], *, thought: bool) -> list[Update]:
    kind = "agent_thought_chunk" if thought else "agent_message_chunk"
    return [_chunk(kind, piece.id, piece.text) for piece in pieces if piece.text]


def _chunk(kind: str, message_id: str, text: str) -> Update:
    return {"sessionUpdate": kind, "messageId": message_id, "content": {"type": "text", "text": text}}


def _text_content(text: str) -> Update:
    return {"type": "content", "content": {"type": "text", "text": text}}


def _sides(unified: str) -> tuple[str, str, int]:
    """The two texts of a hunk with its context, and the first line of the new one."""
    old: list[str] = []
    new: list[str] = []
    line, before = 1, ""
    for row in unified.splitlines(keepends=True):
        if head := _HUNK_HEAD.match(row):
            line = int(head[1]) or 1
        elif row.startswith("\\"):  # the line before it has no newline at its end
            for side in [old] * (before != "+") + [new] * (before != "-"):
                side[-1] = side[-1].removesuffix("\n")
        else:
            before = row[0]
            if before != "+":
                old.append(row[1:])
            if before != "-":
                new.append(row[1:])
    return "".join(old), "".join(new), line
