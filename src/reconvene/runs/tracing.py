"""What runs look like to OpenTelemetry, by the GenAI semantic conventions: made only when an endpoint for it is set.

A run is a trace for each of its attempts: `invoke_workflow run`, below it `invoke_agent`, `chat` and `execute_tool`. The session is
`gen_ai.conversation.id` of all of them. Where an attempt's span is, is in the log, written with the attempt's beginning; so the attempt
that goes on after a crash, a question or a failure links to the span it goes on from, whichever process that was in.

Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/ (semantic conventions 1.43, development).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import baggage, context, trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, TraceFlags
from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability, Instrumentation
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models.instrumented import InstrumentationSettings

from reconvene import __version__
from reconvene.agents.durable import AgentDeps, ToolOutcome
from reconvene.errors import ReconveneError
from reconvene.log.port import NewEvent
from reconvene.runs.journal import TRACE, Journal
from reconvene.sessions.rows import private

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

SESSION = "gen_ai.conversation.id"
RUN = "reconvene.run.id"
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bounds of the duration's histogram, as the conventions advise."""


class Tracing:
    """
    Args:
        content: whether prompts, answers, code and arguments of tools go along. Without it there are names, counts and times only.
    """

    def __init__(
        self, tracer_provider: TracerProvider, meter_provider: MeterProvider, *, content: bool = False
    ) -> None:
        self._settings = InstrumentationSettings(
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            include_content=content,
            include_binary_content=False,
            include_model_request_parameters=False,
        )
        self._tracer = tracer_provider.get_tracer("reconvene", __version__)
        self._durations = meter_provider.get_meter("reconvene", __version__).create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="How long a request to a model took.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )

    def capabilities(self, session_id: str, run_id: str) -> Sequence[AbstractCapability[Any]]:
        """What every agent of a run is given, sub-agents too."""
        return (Instrumentation(self._settings), _Measured(session_id, run_id, self._durations))

    def attempt(self, journal: Journal, reason: str | None) -> AttemptSpan:
        """The span of the attempt that is about to begin."""
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": "run",
            SESSION: journal.session_id,
            RUN: journal.run_id,
            "reconvene.attempt": journal.attempt + 1,
        }
        before = parsed(journal.traced)
        links = [Link(before, {"reconvene.goes_on_from": journal.attempt})] if before is not None else []
        span = self._tracer.start_span(
            "invoke_workflow run", context.Context(), SpanKind.INTERNAL, attributes, links=links
        )
        if reason is not None and (
            reason == "restart" or self._settings.include_content
        ):  # else a provider's own words
            span.set_attribute("reconvene.reason", reason)
        return AttemptSpan(span, journal)


class AttemptSpan:
    """`rows` are written with the attempt's beginning; `going_on` is around its work."""

    def __init__(self, span: Span, journal: Journal) -> None:
        self._span = span
        at = span.get_span_context()
        journal.traced = f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags:02x}"
        self.rows: list[NewEvent] = [
            private(TRACE, {"traceparent": journal.traced}, run_id=journal.run_id, stateful=False)
        ]

    @contextmanager
    def going_on(self) -> Iterator[None]:
        with trace.use_span(self._span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield
            except ReconveneError as error:
                self._span.set_attribute("error.type", error.code)
                self._span.set_status(StatusCode.ERROR, error.code)
                raise
            except asyncio.CancelledError:
                self.ended("interrupted")
                raise

    def ended(self, how: str) -> None:
        """`answered`, `unloaded` (it waits for a person), `cancelled` (by one) or `interrupted` (the server ends)."""
        self._span.set_attribute("reconvene.ended", how)


def told(outcome: ToolOutcome | None) -> None:
    """Say of the current tool's span what came out; None: the log had it, so nothing was done."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    if outcome is None:
        span.set_attribute("reconvene.replayed", True)
        return
    span.set_attributes({"reconvene.tool.ok": outcome.ok, "reconvene.tool.truncated": outcome.truncated})
    if outcome.cache is not None:
        span.set_attribute("reconvene.tool.cache", outcome.cache)


def parsed(traceparent: str | None) -> SpanContext | None:
    """The place that a `traceparent` (W3C Trace Context) names; None when it names none.

    >>> parsed("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").span_id == 0xB7AD6B7169203331
    True
    >>> parsed("00-0-0-01") is parsed(None) is None
    True
    """
    try:
        _, trace_id, span_id, flags = (traceparent or "").split("-")
        at = SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))
    except ValueError:
        return None
    return at if at.is_valid else None


class _Measured(AbstractCapability[AgentDeps]):
    """Within pydantic-ai's own spans: the session of sub-agents too, how long models took, and that waiting is no error."""

    def __init__(self, session_id: str, run_id: str, durations: Any) -> None:
        self._session_id, self._run_id, self._durations = session_id, run_id, durations

    async def wrap_run(self, ctx: RunContext[AgentDeps], *, handler: Any) -> Any:
        # A sub-agent's messages are a conversation of their own to pydantic-ai; to everybody else they belong to the session.
        trace.get_current_span().set_attributes({SESSION: self._session_id, RUN: self._run_id})
        token = context.attach(baggage.set_baggage(SESSION, self._session_id))
        try:
            return await handler()
        finally:
            context.detach(token)

    async def wrap_model_request(
        self, ctx: RunContext[AgentDeps], *, request_context: Any, handler: Any
    ) -> ModelResponse:
        model = request_context.model
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": model.system,
            "gen_ai.request.model": model.model_name,
        }
        began = time.perf_counter()
        try:
            response: ModelResponse = await handler(request_context)
        except BaseException as error:
            self._durations.record(time.perf_counter() - began, {**attributes, "error.type": type(error).__name__})
            raise
        attributes["gen_ai.response.model"] = response.model_name or model.model_name
        self._durations.record(time.perf_counter() - began, attributes)
        return response

    async def wrap_tool_execute(
        self, ctx: RunContext[AgentDeps], *, call: ToolCallPart, tool_def: Any, args: Any, handler: Any
    ) -> Any:
        span = trace.get_current_span()
        span.set_attribute(RUN, self._run_id)
        try:
            return await handler(args)
        except asyncio.CancelledError:
            # A tool that waits for a person is left, and called again when they have answered.
            span.set_attribute("reconvene.left", True)
            span.set_status(StatusCode.OK)
            raise
