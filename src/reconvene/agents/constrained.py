"""Constrained steps: weak local models that call tools without a mistake of form.

A small model behind llama.cpp, Ollama, vLLM or LM Studio seldom writes a tool call its server can read, and `tool_choice: required` is
accepted there without being enforced (ggml-org/llama.cpp#27217). What those servers do enforce is a JSON schema for the answer. So the
tools become one: a step is `{"tool": …, "arguments": …}` or `{"answer": …}`, and what comes back is told to pydantic-ai as a tool call or
as text, while it is being written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from pydantic_ai import RunContext
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.messages import (
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
)
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.profiles import ModelProfile, merge_profile
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from reconvene.agents import loops
from reconvene.agents.providers import CONSTRAINED
from reconvene.agents.step_history import as_steps
from reconvene.agents.step_reader import Argued, Called, NoStep, Piece, Said, StepReader
from reconvene.agents.step_schema import step_schema, step_words

ANSWER_AT = 3
"""So many calls that were made before, and nothing but an answer is left to choose."""
MOST_TOKENS = 4096
"""Of one step, where the agent sets no limit: a string has no end that a grammar would enforce."""
ROUNDS = 5
"""So many times the same in a row, and a response is at its end: a small model that began to repeat itself does not stop."""
_SHORTEST, _LONGEST = 24, 400
"""Characters of what is taken for a repetition; shorter ones are tables, rulers and blanks."""
PATIENCE = 600.0
"""Seconds of silence at least that are borne: a processor reads a long conversation for minutes before it writes a word."""


class Constrained(WrapperModel):
    """A model whose every response is one step. `wrapped` has to be one whose server enforces JSON schemas.

    A response that is no step all the same raises UnexpectedModelBehavior: the server does not enforce them.
    """

    @property
    def profile(self) -> ModelProfile:
        """The wrapped model's; the schema is taken, so an agent cannot have it for its own output."""
        return merge_profile(self.wrapped.profile, ModelProfile(supports_json_schema_output=False))

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        async with self.request_stream(messages, model_settings, model_request_parameters) as stream:
            async for _ in stream:
                pass
        return stream.get()

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        settings, asked = self.prepare_request(model_settings, model_request_parameters)
        told = [*asked.declared_function_tools, *asked.output_tools]
        tools, answer = _choices(told, asked, dict(settings or {}).get("tool_choice"))
        tools, answer = _without_repeated(tools, answer, {t.name for t in asked.output_tools}, messages)
        inner = replace(
            asked,
            function_tools=[],
            output_tools=[],
            native_tools=[],
            tool_visibility=None,
            output_mode="native",
            output_object=OutputObjectDefinition(json_schema=step_schema(tools, answer), name="step"),
            allow_text_output=True,
            # What is told of the tools stays the same whatever may be chosen now: the server's cache begins with it.
            instruction_parts=[*_instructions(asked, messages), InstructionPart(step_words(told, True))],
        )
        async with self.wrapped.request_stream(as_steps(messages), _settings(settings), inner, run_context) as stream:
            yield Steps(asked, stream)


def _choices(
    tools: list[ToolDefinition], asked: ModelRequestParameters, choice: Any
) -> tuple[list[ToolDefinition], bool]:
    """Which tools may be called, and whether there may be an answer, by pydantic-ai's `tool_choice`."""
    answer = asked.allow_text_output
    if choice == "none":
        tools = asked.output_tools
    elif choice == "required":
        answer = False
    elif isinstance(choice, list):
        tools, answer = [t for t in tools if t.name in choice], False
    return tools, answer or not tools


def _without_repeated(
    tools: list[ToolDefinition], answer: bool, final: set[str], messages: Sequence[ModelMessage]
) -> tuple[list[ToolDefinition], bool]:
    """Leave out the tool of a call that the model had made before in this turn, and, when it does not stop, all that do not end the run.

    A model that has no other idea says the most likely thing once more. A grammar can take that away from it.
    """
    made: set[str] = set()
    repeated: list[str] = []
    for message in loops.turn(messages):
        if isinstance(message, ModelResponse):
            repeated += [call.tool_name for call in message.tool_calls if loops.fingerprint(call) in made]
            made |= {loops.fingerprint(call) for call in message.tool_calls}
    if not repeated:
        return tools, answer
    out = {t.name for t in tools} - final if len(repeated) >= ANSWER_AT else {repeated[-1]}
    left = [t for t in tools if t.name not in out]
    return (left, answer) if left or answer else (tools, answer)


def _instructions(asked: ModelRequestParameters, messages: Sequence[ModelMessage]) -> list[InstructionPart]:
    if asked.instruction_parts is not None:
        return asked.instruction_parts
    last = next((m.instructions for m in reversed(messages) if isinstance(m, ModelRequest) and m.instructions), None)
    return [InstructionPart(last)] if last else []


def _settings(settings: ModelSettings | None) -> ModelSettings:
    """Greedy where nothing else is set: chance makes a small model's choices worse, and nobody could repeat them."""
    kept = {k: v for k, v in (settings or {}).items() if k not in ("tool_choice", "parallel_tool_calls")}
    silence = kept.get("timeout")
    if isinstance(silence, int | float):
        kept["timeout"] = max(float(silence), PATIENCE)
    return ModelSettings(**{"temperature": 0.0, "max_tokens": MOST_TOKENS, **kept})  # type: ignore[typeddict-item]


@dataclass
class Steps(StreamedResponse):
    """One step as it is being written: text for an answer, a tool call for the rest."""

    written: StreamedResponse

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        reader, tail, lost = StepReader(), "", False
        try:
            async for event in self.written:
                match event:
                    case (
                        PartStartEvent(part=TextPart(content=text))
                        | PartDeltaEvent(delta=TextPartDelta(content_delta=text))
                    ) if text:
                        for piece in reader.feed(text):
                            for said in self._events(piece):
                                yield said
                        tail = (tail + text)[-_LONGEST * ROUNDS :]
                        if lost := goes_round(tail):
                            break
                    case (
                        PartStartEvent(index=index, part=ThinkingPart(content=text))
                        | PartDeltaEvent(index=index, delta=ThinkingPartDelta(content_delta=text))
                    ) if text:
                        for said in self._parts_manager.handle_thinking_delta(vendor_part_id=index, content=text):
                            yield said
            if lost:
                await self.written.cancel()
            self._take_over()
            if lost:
                self.finish_reason, self.state = "length", "complete"
            elif self.finish_reason not in ("length", "content_filter") and not self.cancelled:
                reader.end()
        except NoStep as e:
            sentence = (
                f"{self.model_name} wrote something that is no step ({e}). Its server does not enforce the JSON schema it was given; "
                f"without `{CONSTRAINED}` before its name the model is used as others are"
            )
            raise UnexpectedModelBehavior(sentence) from None
        if lost and self._parts_manager.get_part_by_vendor_id("call") is not None:
            raise UnexpectedModelBehavior(f"{self.model_name} repeated itself in a tool's arguments")

    def _events(self, piece: Piece) -> list[ModelResponseStreamEvent]:
        parts = self._parts_manager
        match piece:
            case Said(text):
                return [*parts.handle_text_delta(vendor_part_id="answer", content=text)]
            case Called(tool):
                call_id = f"call_{uuid4().hex}"
                return [
                    *parts.handle_tool_call_delta_events(vendor_part_id="call", tool_name=tool, tool_call_id=call_id)
                ]
            case Argued(args):
                return [*parts.handle_tool_call_delta_events(vendor_part_id="call", args=args)]

    def _take_over(self) -> None:
        """What else the server said of the response."""
        inner = self.written
        self.provider_response_id, self.provider_details = inner.provider_response_id, inner.provider_details
        self.state, self.canonical_system = inner.state, inner.canonical_system
        called = inner.finish_reason == "stop" and self._parts_manager.get_part_by_vendor_id("call") is not None
        self.finish_reason = "tool_call" if called else inner.finish_reason

    @property
    def usage(self) -> RequestUsage:
        return self.written.usage

    async def close_stream(self) -> None:
        await self.written.cancel()

    def get_stream_cancel_errors(self) -> tuple[type[BaseException], ...]:
        return self.written.get_stream_cancel_errors()

    @property
    def model_name(self) -> str:
        return self.written.model_name

    @property
    def provider_name(self) -> str | None:
        return self.written.provider_name

    @property
    def provider_url(self) -> str | None:
        return self.written.provider_url

    @property
    def timestamp(self) -> datetime:
        return self.written.timestamp


def goes_round(text: str) -> bool:
    """Whether a text ends in `ROUNDS` times the same.

    >>> goes_round("It is used here. " + "It is used in the function `render`. " * 5), goes_round("-" * 400)
    (True, False)
    """
    end = text[-_SHORTEST:]
    before = text.rfind(end, 0, len(text) - 1)
    period = len(text) - len(end) - before
    if before < 0 or period < _SHORTEST or len(text) < period * ROUNDS:
        return False
    return text.endswith(text[-period:] * ROUNDS)
