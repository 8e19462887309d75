"""A model whose stream comes in larger pieces: what has arrived already is one piece, what comes one by one stays as it is.

A provider sends a few characters at a time, and many of them in one packet of the network. Each piece passes a dozen layers of generators
and locks before anybody sees it, which costs more than anything else that a run does; joined before they enter, they cost it once. Nothing
waits for more to come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    TextPartDelta,
    ThinkingPartDelta,
    ToolCallPartDelta,
)
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

AHEAD = 256
"""Events that are taken from the provider before anybody wants them, at most."""


class Gathering(WrapperModel):
    """The wrapped model, with what it streams gathered."""

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        async with self.wrapped.request_stream(
            messages, model_settings, model_request_parameters, run_context
        ) as stream:
            events = stream._get_event_iterator  # what every kind of stream implements
            stream._get_event_iterator = lambda: gathered(events())  # type: ignore[method-assign]
            yield stream


async def gathered(events: AsyncIterator[ModelResponseStreamEvent]) -> AsyncIterator[ModelResponseStreamEvent]:
    """The same events, those that follow each other joined where both are there already. What `events` raises comes after them.

    They are taken by a task of its own: a scope of cancellation that the provider's client opens while it waits stays in one task.
    """
    arrived: list[ModelResponseStreamEvent] = []
    news, room = asyncio.Event(), asyncio.Event()

    async def take() -> None:
        try:
            async with aclosing(events):  # type: ignore[type-var]
                async for event in events:
                    arrived.append(event)
                    news.set()
                    if len(arrived) >= AHEAD:
                        room.clear()
                        await room.wait()
        finally:
            news.set()

    task = asyncio.create_task(take(), name="model stream")
    try:
        while arrived or not task.done():
            if not arrived:
                news.clear()
                await news.wait()
            pieces = joined(arrived)
            arrived.clear()
            room.set()
            for piece in pieces:
                yield piece
        await task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


def joined(events: Iterable[ModelResponseStreamEvent]) -> list[ModelResponseStreamEvent]:
    """Deltas of one part that follow each other as one delta.

    >>> words = [PartDeltaEvent(0, TextPartDelta(text)) for text in ("to", "geth", "er")]
    >>> joined(words)[0].delta.content_delta, len(joined(words))
    ('together', 1)
    """
    made: list[ModelResponseStreamEvent] = []
    kind: tuple[Any, ...] | None = None
    texts: list[str] = []

    def close() -> None:
        if len(texts) > 1:
            made[-1] = _with("".join(texts), made[-1])
        texts.clear()

    for event in events:
        this, text = _plain(event)
        if this is not None and this == kind:
            texts.append(text)
            continue
        close()
        made.append(event)
        kind = this
        if this is not None:
            texts.append(text)
    close()
    return made


def _plain(event: ModelResponseStreamEvent) -> tuple[tuple[Any, ...] | None, str]:
    """What a delta is one of, and its text; None when it says more than text."""
    if isinstance(event, PartDeltaEvent):
        match event.delta:
            case TextPartDelta(content_delta=str(text), provider_details=None, citations_delta=None) as delta:
                return (event.index, "text", delta.provider_name), text
            case ThinkingPartDelta(content_delta=str(text), signature_delta=None, provider_details=None) as delta:
                return (event.index, "thinking", delta.provider_name), text
            case ToolCallPartDelta(tool_name_delta=None, args_delta=str(text), provider_details=None) as delta:
                return (event.index, "call", delta.tool_call_id, delta.provider_name), text
    return None, ""


def _with(text: str, event: ModelResponseStreamEvent) -> PartDeltaEvent:
    """The event with another text."""
    assert isinstance(event, PartDeltaEvent)
    delta = event.delta
    if isinstance(delta, ToolCallPartDelta):
        return replace(event, delta=replace(delta, args_delta=text))
    assert isinstance(delta, TextPartDelta | ThinkingPartDelta)
    return replace(event, delta=replace(delta, content_delta=text))
