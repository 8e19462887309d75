"""What a page shows of a session, folded from its events: the reference that every other reducer mirrors.

The rules are written out in `docs/explanation/reducer.md`; the page's reducer follows the same text, and the recorded
conversations of `tests/conformance` hold both to it. A view is JSON all through, so that two can be compared anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Item = dict[str, Any]
EventJson = Mapping[str, Any]


@dataclass(slots=True)
class View:
    """`items` by key in the order they are shown; `runs` by id, in no order."""

    title: str | None = None
    plan: dict[str, Any] | None = None
    """The last plan of the session, with its `run_id`."""
    items: dict[str, Item] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def pending(self) -> list[Item]:
        """What waits for a person, oldest first: not settled, and its run not over."""
        return [
            item
            for item in self.items.values()
            if item["type"] in ("question", "confirmation", "diff")
            and item["settled"] is None
            and (self.runs.get(item["run_id"] or "") or {}).get("outcome") is None
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "plan": self.plan,
            "items": list(self.items.values()),
            "runs": self.runs,
            "pending": [item["key"] for item in self.pending()],
        }

    def apply(self, event: EventJson) -> None:
        """Fold one more event, the next one by seq. Types that are not known change nothing."""
        kind, content = event["type"], event["content"]
        match kind:
            case "text" | "reasoning":
                self._delta(event, kind, content)
            case "message":
                self._put(_text_key(event), "text", event, _message(content))
            case "item_aborted":
                item = self.items.get(_text_key(event))
                if item and not item["final"] and item["attempt"] <= content["attempt"]:
                    del self.items[item["key"]]
            case "prompt":
                made = {k: content.get(k) for k in ("id", "text", "by")}
                delivery = content.get("delivery", "queue")
                self._put(f"prompt:{content['id']}", kind, event, {**made, "delivery": delivery, "removed": False})
            case "tool_call":
                made = {k: content.get(k) for k in ("id", "name", "args")}
                self._put(_tool_key(event), "tool", event, {**made, "result": None})
            case "tool_result":
                if item := self.items.get(_tool_key(event)):
                    item["result"] = content
            case "output":
                if item := self.items.get(_tool_key(event)):
                    item["output"] = item.get("output", "") + content["text"]
            case "question" | "confirmation":
                made = {k: content.get(k) for k in ("id", "text", "schema", "expires_at")}
                self._put(f"question:{content['id']}", kind, event, {**made, "settled": None})
            case "diff":
                made = {"id": content["id"], "files": content["files"], "risky": content.get("risky", False)}
                blank: Item = {"settled": None, "applied": None, "conflicts": [], "undone": False}
                self._put(f"diff:{content['id']}", kind, event, {**made, **blank})
            case "answered":
                self._settle(f"question:{content['id']}", content)
            case "decided":
                self._settle(f"diff:{content['id']}", content)
            case "applied":
                if item := self.items.get(f"diff:{content['diff_id']}"):
                    conflicts = content.get("conflicts", [])
                    if not content.get("undo"):
                        item["applied"], item["conflicts"] = content["files"], conflicts
                    elif not conflicts:
                        item["undone"] = True
            case "repo_map" | "error":
                self._put(f"event:{event['seq']}", kind, event, {"content": content})
            case "plan":
                if event["run_id"] is not None:  # a person edited it while nothing ran
                    self._run(event)["plan"] = content
                self.plan = {**content, "run_id": event["run_id"]}
            case "run":
                self._run(event).update(
                    {k: content.get(k) for k in ("status", "attempt", "reason", "budget", "position")}
                )
            case "usage":
                self._run(event)["usage"] = content
            case "completed":
                ended = {"outcome": content["outcome"], "text": content.get("text", ""), "ended": content.get("reason")}
                self._run(event).update(ended)
            case "action":
                self._action(content)

    def _delta(self, event: EventJson, kind: str, content: Mapping[str, Any]) -> None:
        key = _text_key(event)
        item = self.items.get(key)
        if item and (item["final"] or content["attempt"] < item["attempt"]):
            return
        if item and content["attempt"] > item["attempt"]:
            del self.items[key]
            item = None
        if item is None:
            made = {"text": "", "attempt": content["attempt"], "final": False, "interrupted": False}
            item = self._put(key, "text", event, made)
        item["kind"] = kind
        item["text"] += content["text"]

    def _put(self, key: str, kind: str, event: EventJson, made: Item) -> Item:
        """Make an item, or make it anew in its old place."""
        known = {k: event.get(k) for k in ("seq", "at", "run_id", "parent_id")}
        item = self.items[key] = {"key": key, "type": kind, **known, **made}
        return item

    def _settle(self, key: str, content: Mapping[str, Any]) -> None:
        item = self.items.get(key)
        if item and item["settled"] is None:
            item["settled"] = content

    def _run(self, event: EventJson) -> dict[str, Any]:
        blank = {"status": None, "attempt": 0, "reason": None, "budget": None, "position": None}
        ended = {"outcome": None, "text": "", "ended": None}
        return self.runs.setdefault(event["run_id"] or "", {**blank, **ended, "plan": None, "usage": None})

    def _action(self, content: Mapping[str, Any]) -> None:
        args = content.get("args", {})
        prompt = self.items.get(f"prompt:{args.get('id')}")
        match content["name"]:
            case "rename":
                self.title = args.get("title")
            case "edit_prompt" if prompt:
                prompt["text"] = args.get("text", prompt["text"])
            case "remove_prompt" if prompt:
                prompt["removed"] = True


def reduce(events: Iterable[EventJson], view: View | None = None) -> View:
    """The view of these events (on top of `view`, which is changed).

    >>> prompt = {"type": "prompt", "seq": 1, "run_id": "r1", "at": 0.0, "content": {"id": "p1", "text": "Why?"}}
    >>> [item["text"] for item in reduce([prompt]).items.values()]
    ['Why?']
    """
    view = View() if view is None else view
    for event in events:
        view.apply(event)
    return view


def _message(content: Mapping[str, Any]) -> Item:
    # A finished text has no attempt: it no longer matters, and a folded log does not have it.
    return {
        "text": content["text"],
        "attempt": None,
        "final": True,
        "interrupted": content.get("interrupted", False),
        "kind": content.get("kind", "text"),
    }


def _text_key(event: EventJson) -> str:
    return f"text:{event.get('run_id') or ''}/{event.get('item_id') or ''}"


def _tool_key(event: EventJson) -> str:
    return f"tool:{event.get('run_id') or ''}/{event['content']['id']}"
