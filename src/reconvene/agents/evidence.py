"""What a message history says has been asked, found and read: the offline model's only memory.

It reads the text that the tools wrote (see tools.py): `## path:start-end symbol`, then numbered lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

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
class Turn:
    """What came of one prompt so far. `calls`: (tool, arguments) of every call, answered or not."""

    question: str
    calls: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    searches: list[tuple[str, list[Place]]] = field(default_factory=list)
    """Query and places, in the order of the results."""
    reads: list[Place] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """What tools that could not do their work said."""
    told: list[str] = field(default_factory=list)
    """Answers of the person."""

    def called(self, tool: str) -> int:
        return sum(name == tool for name, _ in self.calls)

    @property
    def places(self) -> list[Place]:
        return [*self.reads, *(p for _, found in self.searches for p in found)]


def turns(messages: Sequence[ModelMessage]) -> list[Turn]:
    """The conversation, prompt by prompt; the last one is the one to answer."""
    told: list[Turn] = []
    asked: dict[str, tuple[str, dict[str, object]]] = {}
    for message in messages:
        if isinstance(message, ModelResponse):
            for call in message.tool_calls:
                asked[call.tool_call_id] = call.tool_name, call.args_as_dict()
                if told:
                    told[-1].calls.append(asked[call.tool_call_id])
        elif isinstance(message, ModelRequest):
            prompts = [_prompt(p) for p in message.parts if isinstance(p, UserPromptPart)]
            for part in message.parts:
                if isinstance(part, ToolReturnPart) and told:
                    _take(told[-1], part, asked.get(part.tool_call_id, (part.tool_name, {})))
            if prompts:
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


def _take(turn: Turn, part: ToolReturnPart, call: tuple[str, dict[str, object]]) -> None:
    content = part.content
    if isinstance(content, dict) and isinstance(error := content.get("error"), dict):
        turn.failures.append(str(error.get("message", "")))
    elif part.outcome != "success" or not isinstance(content, str):
        turn.failures.append(f"{part.tool_name} had no result")
    elif part.tool_name == "search":
        turn.searches.append((str(call[1].get("query", "")), list(places(content))))
    elif part.tool_name == "read_file":
        turn.reads += places(content)
    elif part.tool_name == "ask_user":
        turn.told.append(content)


def _prompt(part: UserPromptPart) -> str:
    if isinstance(part.content, str):
        return part.content
    return "\n".join(item for item in part.content if isinstance(item, str))
