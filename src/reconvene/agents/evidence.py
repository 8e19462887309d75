"""What a message history says has been asked, found and read: the offline model's only memory.

It reads the text that the tools wrote (see tools.py): `## path:start-end symbol`, then numbered lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolReturnPart, UserPromptPart

_HEADER = re.compile(r"## (.+):(\d+)-(\d+)(?: (\S.*))?")
_NUMBERED = re.compile(r"(\d+)\| ?(.*)")


@dataclass(frozen=True)
class Place:
    """Lines `start` to `end` of a file, as far as they were shown: `lines` by number."""

    path: str
    start: int
    end: int
    symbol: str | None
    lines: dict[int, str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines.values())

    def overlaps(self, other: Place) -> bool:
        return self.path == other.path and self.start <= other.end and other.start <= self.end


@dataclass
class Call:
    """A tool call of the model and what came of it. Neither is `found` nor `said` while it is not answered."""

    tool: str
    args: dict[str, Any]
    found: list[Place] | None = None
    """Of search and read_file."""
    said: str | None = None
    """Of ask_user: the person's answer."""
    failure: str | None = None
    """Of a tool that could not do its work: why."""


@dataclass
class Turn:
    """What came of one prompt so far, calls in the order in which the model made them, whenever they were answered."""

    question: str
    calls: list[Call] = field(default_factory=list)

    @property
    def asked(self) -> str:
        """The prompt, or what the person answered when it was asked what it means."""
        return next((c.said for c in reversed(self.calls) if c.said), self.question)

    @property
    def searches(self) -> list[tuple[str, list[Place]]]:
        """Query and places."""
        return [
            (str(c.args.get("query", "")), c.found) for c in self.calls if c.tool == "search" and c.found is not None
        ]

    @property
    def reads(self) -> list[Place]:
        return [place for c in self.calls if c.tool == "read_file" for place in c.found or ()]

    @property
    def failures(self) -> list[str]:
        return [c.failure for c in self.calls if c.failure]

    @property
    def places(self) -> list[Place]:
        return [*self.reads, *(p for _, found in self.searches for p in found)]

    def called(self, tool: str) -> int:
        return sum(c.tool == tool for c in self.calls)


def turns(messages: Sequence[ModelMessage]) -> list[Turn]:
    """The conversation, prompt by prompt; the last one is the one to answer."""
    told: list[Turn] = []
    # A provider's call ids may repeat in another response: the last one counts.
    open_calls: dict[str, Call] = {}
    for message in messages:
        if isinstance(message, ModelResponse):
            for part in message.tool_calls:
                call = open_calls[part.tool_call_id] = Call(part.tool_name, part.args_as_dict())
                if told:
                    told[-1].calls.append(call)
        elif isinstance(message, ModelRequest):
            for result in message.parts:
                if isinstance(result, ToolReturnPart) and (answered := open_calls.get(result.tool_call_id)):
                    _answer(answered, result)
            if prompts := [_prompt(p) for p in message.parts if isinstance(p, UserPromptPart)]:
                told.append(Turn("\n\n".join(prompts)))
    return told or [Turn("")]


def places(text: str) -> Iterator[Place]:
    """The places in a tool's text.

    >>> [(p.path, p.start, p.symbol, p.lines) for p in places("1 place\\n\\n## a b.py:3-4 Hub.go\\n3| def go():\\n4| ")]
    [('a b.py', 3, 'Hub.go', {3: 'def go():', 4: ''})]
    """
    current: Place | None = None
    for line in text.split("\n"):
        if header := _HEADER.fullmatch(line):
            if current:
                yield current
            current = Place(header[1], int(header[2]), int(header[3]), header[4], {})
        elif current and (numbered := _NUMBERED.fullmatch(line)):
            current.lines[int(numbered[1])] = numbered[2]
    if current:
        yield current


def _answer(call: Call, part: ToolReturnPart) -> None:
    content = part.content
    if isinstance(content, dict) and isinstance(error := content.get("error"), dict):
        call.failure = str(error.get("message", ""))
    elif part.outcome != "success" or not isinstance(content, str):
        call.failure = f"{call.tool} had no result."
    elif call.tool == "ask_user":
        call.said = content
    elif call.tool in ("search", "read_file"):
        call.found = list(places(content))


def _prompt(part: UserPromptPart) -> str:
    if isinstance(part.content, str):
        return part.content
    return "\n".join(item for item in part.content if isinstance(item, str))
