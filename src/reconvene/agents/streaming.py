"""A model that streams to whoever listens, and answers who asked with the whole response.

pydantic-ai passes each streamed event through a dozen generators and locks, and opens them for every response. A run needs none of
them: it shows what comes as it comes, and acts on the response when it is whole. So the stream is read here, by the task that asks.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

from pydantic_ai._run_context import get_current_run_context
from pydantic_ai.messages import ModelMessage, ModelResponse, ModelResponseStreamEvent
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings


class Listener(Protocol):
    """Who hears what a model says while it says it; `AgentDeps.listener`."""

    def piece(self, event: ModelResponseStreamEvent) -> None: ...

    def broken_off(self, said: ModelResponse) -> None:
        """The request was cancelled, and this is what had come."""
        ...


class Streaming(WrapperModel):
    """The wrapped model, asked for a stream also by who wants a response.

    So long as it says something it is not timed out, as `ModelSettings.timeout` is for each piece.
    """

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        context = get_current_run_context()
        listener: Listener | None = getattr(context.deps, "listener", None) if context is not None else None
        async with self.wrapped.request_stream(messages, model_settings, model_request_parameters, context) as stream:
            try:
                async for event in stream:
                    if listener is not None:
                        listener.piece(event)
            except asyncio.CancelledError:
                if listener is not None:
                    listener.broken_off(stream.get())
                raise
            said = stream.get()
            # As pydantic-ai has it when it reads a stream. Whether the model was done is for `Bounds` to say, by the reason it gave.
            return replace(said, state="complete") if said.state == "incomplete" else said
