"""Reads a model's step while it is still being written: `{"tool": "search", "arguments": {…}}` or `{"answer": "…"}`.

A pure state machine: text goes in as it comes, in pieces cut anywhere, and what can be shown of it comes out. The keys may stand in any
order; the text of an answer comes out decoded, the arguments as the JSON text they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_SPACE = " \t\r\n"
_STRING_END = re.compile(r'["\\]')
_HALF_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)$")
_HIGH_SURROGATE = re.compile(r"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?)$")
_PLAIN_END = re.compile(r"[,\]}\s]")
MOST_NAME = 200
"""Characters of a key or a tool's name; a model that writes more of one is lost."""


class NoStep(ValueError):
    """The text is no step. The server that wrote it does not keep to the schema it was given."""


@dataclass(frozen=True, slots=True)
class Said:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """The tool of this step. Its arguments follow."""

    tool: str


@dataclass(frozen=True, slots=True)
class Argued:
    """More of the arguments' JSON text."""

    json: str


Piece = Said | Called | Argued


class StepReader:
    """One step.

    >>> reader = StepReader()
    >>> [*reader.feed('{"tool": "read_file", "arguments": {"pa'), *reader.feed('th": "a.py"}}')]
    [Called(tool='read_file'), Argued(json='{"pa'), Argued(json='th": "a.py"}')]
    >>> reader.done
    True
    """

    def __init__(self) -> None:
        self.done = False
        """Whether the whole step was read."""
        self._buffer = ""
        self._state: Callable[[], Iterator[Piece]] = self._begin
        self._key = ""
        self._tool: str | None = None
        self._early: str | None = None
        """Arguments that came before the tool's name."""
        self._argued = False
        self._said = False
        self._depth = 0
        self._quoted = self._escaped = False
        """Whether a raw value is inside of a string, and right after a backslash."""
        self._kind = ""
        """Of a raw value: `{` for what has an end of its own, `"` for a string, `x` for a number or a word."""

    def feed(self, text: str) -> Iterator[Piece]:
        """
        Raises:
            NoStep: what came cannot become a step any more.
        """
        self._buffer += text
        while self._buffer:
            before = len(self._buffer), self._state
            yield from self._state()
            if (len(self._buffer), self._state) == before:
                return

    def end(self) -> None:
        """Nothing more comes.

        Raises:
            NoStep: the step is not whole.
        """
        if not self.done:
            raise NoStep("it ends in the middle of a step")

    # -- states: each takes what it can from the buffer

    def _begin(self) -> Iterator[Piece]:
        self._skip_space()
        if self._take("{"):
            self._state = self._key_or_end
        return iter(())

    def _key_or_end(self) -> Iterator[Piece]:
        self._skip_space()
        if not self._buffer:
            return
        if self._buffer[0] == "}":
            self._buffer = self._buffer[1:]
            self._state = self._after
            self.done = True
            if self._tool is None and not self._said:
                raise NoStep("it has neither a tool nor an answer")
            if self._tool is not None and not self._argued:
                yield Argued("{}")
        elif (key := self._whole_string()) is not None:
            self._key = key
            self._state = self._colon

    def _colon(self) -> Iterator[Piece]:
        self._skip_space()
        if self._take(":"):
            self._state = self._value
        return iter(())

    def _value(self) -> Iterator[Piece]:
        self._skip_space()
        if not self._buffer:
            return
        first = self._buffer[0]
        if self._key == "answer" and first == '"':
            self._buffer = self._buffer[1:]
            self._state = self._answer
        elif self._key == "tool" and first == '"':
            if (name := self._whole_string()) is not None:
                self._tool = name
                self._state = self._comma
                yield Called(name)
                if self._early is not None:
                    self._argued = True
                    yield Argued(self._early)
        elif self._key in ("answer", "tool"):
            raise NoStep(f"its {self._key} is no text")
        else:
            self._depth, self._quoted = 0, False
            self._kind = "{" if first in "{[" else '"' if first == '"' else "x"
            self._state = self._raw

    def _answer(self) -> Iterator[Piece]:
        """The text of an answer, as far as it can be decoded."""
        end = self._string_end(0)
        ready, rest = (self._buffer[:end], self._buffer[end + 1 :]) if end is not None else (self._buffer, "")
        if end is None and (half := _HIGH_SURROGATE.search(ready) or _HALF_ESCAPE.search(ready)):
            ready, rest = ready[: half.start(1)], ready[half.start(1) :]
        self._buffer = rest
        if end is not None:
            self._state = self._comma
        if ready or end is not None:
            self._said = True
            yield Said(self._decoded(ready))

    def _raw(self) -> Iterator[Piece]:
        """A value that is passed on as it is written, or, of a key that nobody asked for, left out."""
        at = self._raw_end()
        taken, self._buffer = (self._buffer, "") if at is None else (self._buffer[:at], self._buffer[at:])
        if at is not None:
            self._state = self._comma
        if self._key != "arguments" or not taken:
            return
        if self._tool is None:
            self._early = (self._early or "") + taken
        else:
            self._argued = True
            yield Argued(taken)

    def _comma(self) -> Iterator[Piece]:
        self._skip_space()
        if self._buffer[:1] == "}" or self._take(","):
            self._state = self._key_or_end
        return iter(())

    def _after(self) -> Iterator[Piece]:
        self._skip_space()
        if self._buffer:
            raise NoStep("something follows it")
        return iter(())

    # -- pieces of JSON

    def _skip_space(self) -> None:
        self._buffer = self._buffer.lstrip(_SPACE)

    def _take(self, expected: str) -> bool:
        if not self._buffer:
            return False
        if self._buffer[0] != expected:
            raise NoStep(f"{self._buffer[0]!r} stands where {expected!r} belongs")
        self._buffer = self._buffer[1:]
        return True

    def _string_end(self, begin: int) -> int | None:
        """Where the quote stands that ends the string whose text begins there."""
        at = begin
        while found := _STRING_END.search(self._buffer, at):
            if found[0] == '"':
                return found.start()
            at = found.end() + 1
        return None

    def _whole_string(self) -> str | None:
        """A short string at the buffer's beginning, None while it is not all there."""
        if self._buffer[0] != '"':
            raise NoStep(f"{self._buffer[0]!r} stands where a text belongs")
        end = self._string_end(1)
        if end is None and len(self._buffer) <= MOST_NAME:
            return None
        if end is None or end > MOST_NAME:
            raise NoStep("a name in it has no end")
        text, self._buffer = self._decoded(self._buffer[1:end]), self._buffer[end + 1 :]
        return text

    def _raw_end(self) -> int | None:
        """Where the raw value ends, None while it goes on; the state of what was looked at is kept."""
        if self._kind == "x":
            found = _PLAIN_END.search(self._buffer)
            return found.start() if found else None
        for at, char in enumerate(self._buffer, 1):
            if self._escaped:
                self._escaped = False
            elif self._quoted and char == "\\":
                self._escaped = True
            elif char == '"':
                self._quoted = not self._quoted
            elif not self._quoted and char in "{[":
                self._depth += 1
            elif not self._quoted and char in "}]":
                self._depth -= 1
            if not self._quoted and self._depth == 0:
                return at
        return None

    @staticmethod
    def _decoded(inside: str) -> str:
        try:
            return str(json.loads(f'"{inside}"', strict=False))
        except ValueError as e:
            raise NoStep("a text in it is not JSON") from e
