"""Whether a model goes round in circles, decided from the message history alone, so that a crash does not forget it.

A turn is what came since a person last said something: their word, also one that steers a running run, starts the count again.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolCallPart, UserPromptPart

NOTE_AT = 3
"""So many times the same call, and its result says so."""
STOP_AT = 10
"""So many times, and the run is over its budget."""
_SHORT = 2_000
"""Characters of arguments that are remembered."""


def turn(messages: Sequence[ModelMessage]) -> Sequence[ModelMessage]:
    """The messages since the last user prompt, that one included."""
    for i in range(len(messages) - 1, -1, -1):
        message = messages[i]
        if isinstance(message, ModelRequest) and any(isinstance(p, UserPromptPart) for p in message.parts):
            return messages[i:]
    return messages


def fingerprint(call: ToolCallPart) -> str:
    """Equal for calls of the same tool with the same arguments, however they are written."""
    args = call.args
    if not isinstance(args, str):
        return f"{call.tool_name} {_sorted(args)}"
    return f"{call.tool_name} {(_written if len(args) <= _SHORT else _written.__wrapped__)(args)}"


@functools.lru_cache(maxsize=1024)  # every call of a turn is looked at in each of its steps
def _written(args: str) -> str:
    try:
        return _sorted(json.loads(args))
    except ValueError:
        return args


def _sorted(args: Any) -> str:
    return json.dumps(args or {}, sort_keys=True, default=str)


def repetitions(messages: Sequence[ModelMessage], tool_call_id: str) -> int:
    """How many model responses of this turn asked for exactly this call, the one with `tool_call_id` included.

    Twins within one response count once: a loop is to ask again after the answer was seen.
    """
    responses = list(_responses(turn(messages)))
    wanted = next((fingerprint(c) for r in reversed(responses) for c in r if c.tool_call_id == tool_call_id), None)
    return sum(any(fingerprint(c) == wanted for c in calls) for calls in responses)


def runaway(messages: Sequence[ModelMessage], stop_at: int = STOP_AT) -> ToolCallPart | None:
    """The call that this turn made in `stop_at` responses, if there is one."""
    counts: Counter[str] = Counter()
    for calls in _responses(turn(messages)):
        for mark, call in {fingerprint(c): c for c in calls}.items():
            counts[mark] += 1
            if counts[mark] >= stop_at:
                return call
    return None


def within(messages: Sequence[ModelMessage], tool_call_id: str, cap: int) -> bool:
    """Whether a call is among the first `cap` of the last response. Costs `cap` steps, however many calls there are."""
    for message in reversed(messages):
        if isinstance(message, ModelResponse):
            calls = (p for p in message.parts if isinstance(p, ToolCallPart))
            return any(call.tool_call_id == tool_call_id for call in islice(calls, cap))
    return True


def spent(messages: Sequence[ModelMessage], per_response: int) -> int:
    """The tool calls of this turn; of one response no more than `per_response` count, the others were not run."""
    return sum(min(len(calls), per_response) for calls in _responses(turn(messages)))


def _responses(messages: Sequence[ModelMessage]) -> Iterator[list[ToolCallPart]]:
    for message in messages:
        if isinstance(message, ModelResponse):
            yield message.tool_calls
