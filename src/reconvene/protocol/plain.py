"""What a plain client sees of a log, and what it means by what it sends.

A plain client knows no ids and no cursors. It gets `session, log, plan, diff, question, confirmation, usage, completed, error`, one
event a frame, and is asked one thing at a time. `log`, `diff`, `question` and `confirmation` have a text as content; `plan`, `usage`,
`completed` and `error` the event's own content.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import JsonValue

from reconvene.errors import ReconveneError
from reconvene.protocol import sentences
from reconvene.protocol.events import EventRow
from reconvene.protocol.frames import PlainFrame
from reconvene.protocol.strict_json import FrameRefused, load_json

PlainJson = dict[str, Any]
"""`{"type", "content", "seq", "run_id"}`"""

_LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "prompt": sentences.prompt,
    "run": sentences.run,
    "repo_map": sentences.repo_map,
    "message": sentences.message,
    "applied": sentences.applied,
    "action": sentences.action,
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A question, a confirmation or a diff that nobody has settled."""

    id: str
    kind: Literal["question", "confirmation", "diff"]
    seq: int
    run_id: str | None
    content: dict[str, Any] = field(repr=False)

    @property
    def key(self) -> tuple[bool, str]:
        """Diffs and questions have ids of their own."""
        return self.kind == "diff", self.id

    def label(self) -> str:
        return sentences.paths(self.content["files"]) if self.kind == "diff" else sentences.quoted(self.content["text"])

    def frame(self, type: str, content: str) -> PlainJson:
        return {"type": type, "content": content, "seq": self.seq, "run_id": self.run_id}

    def frames(self) -> list[PlainJson]:
        """How it is asked."""
        if self.kind == "diff":
            return [self.frame("diff", sentences.unified(self.content["files"])), self.asked()]
        return [self.asked()]

    def asked(self) -> PlainJson:
        if self.kind == "diff":
            risk = "This can change what runs on this machine. " if self.content.get("risky") else ""
            return self.frame("confirmation", f"{risk}Apply this to {self.label()}? (y, n, or f for feedback)")
        text = self.content["text"]
        if self.kind == "question" and (choices := (self.content.get("schema") or {}).get("enum")):
            text += f" ({', '.join(map(str, choices))})"
        return self.frame(self.kind, text)


class PlainProjection:
    """The frames of one plain connection, from the events of its session in order.

    Feed it every row that is to be shown and send what it returns. Whenever the client has all there is (after the replay,
    and after each live batch), send what `show` returns too: questions are only asked then, so that a replay does not ask
    what was settled long ago. Rows from before that are still pending are fed first, and what they return thrown away.
    """

    def __init__(self) -> None:
        self._pending: dict[tuple[bool, str], Waiting] = {}
        self._shown: Waiting | None = None
        self._wants_feedback = False
        self._calls: dict[tuple[str | None, str], dict[str, Any]] = {}
        self._said: dict[str | None, str] = {}
        """The last text of each run: its answer is sent once, whether as message or only with `completed`."""

    def feed(self, row: EventRow) -> list[PlainJson]:
        """The frames for one row; none for deltas, private rows and types that are not known."""
        if not row.public or row.type in ("text", "reasoning", "item_aborted"):
            return []
        content: dict[str, Any] = json.loads(row.content)
        match row.type:
            case "plan" | "usage" | "error":
                return [_frame(row, row.type, content)]
            case "completed":
                return self._completed(row, content)
            case "tool_call":
                self._calls[row.run_id, content["id"]] = content
                return []
            case "tool_result":
                return [_log(row, sentences.tool(self._calls.pop((row.run_id, content["id"]), None), content))]
            case "question" | "confirmation" | "diff":
                waiting = Waiting(content["id"], row.type, row.seq, row.run_id, content)
                self._pending[waiting.key] = waiting
                return []
            case "answered":
                asked = self._settle((False, content["id"]))
                return [_log(row, sentences.answered(asked.content["text"] if asked else None, content))]
            case "decided":
                asked = self._settle((True, content["id"]))
                files = asked.content["files"] if asked else []
                hunks = sum(len(file["hunks"]) for file in files) if asked else None
                return [_log(row, sentences.decided(sentences.paths(files), hunks, content))]
            case "message" if not content["text"].strip():
                return []
            case kind if kind in _LINES:
                if kind == "message" and row.parent_id is None and content.get("kind", "text") == "text":
                    self._said[row.run_id] = content["text"]
                return [_log(row, _LINES[kind](content))]
        return []

    def show(self) -> list[PlainJson]:
        """What is asked now: the oldest pending thing, if it is not the one that was asked already."""
        if self._shown is not None or not self._pending:
            return []
        self._shown = next(iter(self._pending.values()))
        return self._shown.frames()

    def asked_now(self) -> Waiting | None:
        return self._shown

    def _settle(self, key: tuple[bool, str]) -> Waiting | None:
        if self._shown is not None and self._shown.key == key:
            self._shown, self._wants_feedback = None, False
        return self._pending.pop(key, None)

    def _completed(self, row: EventRow, content: dict[str, Any]) -> list[PlainJson]:
        frames = []
        for waiting in [w for w in self._pending.values() if w.run_id == row.run_id]:
            self._settle(waiting.key)
            label = "diff" if waiting.kind == "diff" else "question"
            frames.append(_log(row, sentences.closed(label, waiting.label())))
        for call in [key for key in self._calls if key[0] == row.run_id]:
            del self._calls[call]
        said, text = self._said.pop(row.run_id, ""), content.get("text", "")
        if content["outcome"] == "success" and text.strip() and text.strip() != said.strip():
            frames.append(_log(row, text))
        return [*frames, _frame(row, "completed", content)]

    def ask_feedback(self) -> list[PlainJson]:
        assert self._shown is not None
        self._wants_feedback = True
        return [self._shown.frame("question", f"What should be different in {self._shown.label()}?")]

    @property
    def wants_feedback(self) -> bool:
        return self._wants_feedback


@dataclass(frozen=True, slots=True)
class NewPrompt:
    """Run this."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerTo:
    """Settle this question or confirmation."""

    question_id: str
    value: JsonValue


@dataclass(frozen=True, slots=True)
class DecideOn:
    """Settle this diff."""

    diff_id: str
    verdict: Literal["accept", "reject", "feedback"]
    feedback: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Nothing is settled; send these frames."""

    frames: list[PlainJson]


Meaning = NewPrompt | AnswerTo | DecideOn | Ask

_WORDS = {"y": "accept", "yes": "accept", "n": "reject", "no": "reject", "f": "feedback", "feedback": "feedback"}


def interpret(frame: PlainFrame, projection: PlainProjection) -> Meaning:
    """What a plain client means: an answer belongs to what it was asked last.

    Raises:
        ReconveneError: `no_such_question`, if nothing of the frame's type is being asked. It is never taken for an answer to
            something else: another tab may have settled what the person had in view.
    """
    if frame.type == "default":
        return NewPrompt(frame.content)
    asked = projection.asked_now()
    if asked is None:
        raise ReconveneError("no_such_question", "Nothing is being asked now. Send a prompt as type default.")
    if frame.type == "confirmation":
        if asked.kind == "question":
            raise ReconveneError(
                "no_such_question", "No confirmation is open, but a question: answer with type question."
            )
        return _verdict(frame.content, asked, projection)
    text = frame.content.strip()
    if asked.kind == "question":
        return AnswerTo(asked.id, _typed(frame.content, asked.content.get("schema"))) if text else Ask(asked.frames())
    if projection.wants_feedback:
        return DecideOn(asked.id, "feedback", frame.content) if text else Ask(projection.ask_feedback())
    raise ReconveneError(
        "no_such_question", "No question is open, but a confirmation: answer y or n with type confirmation."
    )


def _verdict(text: str, asked: Waiting, projection: PlainProjection) -> Meaning:
    match _WORDS.get(text.strip().lower()):
        case "accept" if asked.kind == "diff":
            return DecideOn(asked.id, "accept")
        case "reject" if asked.kind == "diff":
            return DecideOn(asked.id, "reject")
        case "feedback" if asked.kind == "diff":
            return Ask(projection.ask_feedback())
        case "accept" | "reject" as verdict:
            return AnswerTo(asked.id, verdict == "accept")
    return Ask([asked.asked()])


def _typed(text: str, schema: dict[str, Any] | None) -> JsonValue:
    """The text as the schema's type, as far as it reads as one; whether it fits is not decided here."""
    match (schema or {}).get("type"):
        case "boolean":
            return {"accept": True, "reject": False}.get(_WORDS.get(text.strip().lower(), ""), text)
        case "integer" | "number" | "object" | "array":
            try:
                value: Any = load_json(text)
            except FrameRefused:
                return text
            return text if value is None or isinstance(value, str | bool) else value
    return text


def _frame(row: EventRow, type: str, content: object) -> PlainJson:
    return {"type": type, "content": content, "seq": row.seq, "run_id": row.run_id}


def _log(row: EventRow, text: str) -> PlainJson:
    return _frame(row, "log", text)
