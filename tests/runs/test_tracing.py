"""Runs as OpenTelemetry shows them: spans by the GenAI conventions, links across crashes, and no content unless it is asked for."""

from __future__ import annotations

import asyncio
import doctest
import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from pydantic_ai.exceptions import ModelHTTPError

from house import ME, House, check_log, contents
from reconvene.runs import tracing
from reconvene.runs.tracing import Tracing
from scripted import scripted

SECRET_PROMPT = "where does the purple walrus sleep?"
STEPS = [
    [("search", {"query": "idle walruses"}), ("read_file", {"path": "src/hub.py"})],
    "The walrus sleeps in src/hub.py:2",
]


class Seen:
    """What was exported, by a provider of this test alone."""

    def __init__(self, *, content: bool = False) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracing = Tracing(provider, meters, content=content)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def named(self, operation: str) -> list[ReadableSpan]:
        return [s for s in self.spans if (s.attributes or {}).get("gen_ai.operation.name") == operation]

    def metrics(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        assert data is not None
        found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        return {m.name: list(m.data.data_points) for m in found}

    def text(self) -> str:
        return "\n".join(s.to_json() for s in self.spans)


async def traced(tmp_path: Path, seen: Seen, model: Any, **more: Any) -> House:
    house = await House.open(tmp_path, model, **more)
    again(house, seen)
    return house


def again(house: House, seen: Seen) -> None:
    assert house.supervisor.around is not None
    house.supervisor.around.tracing = seen.tracing


async def restarted(house: House, seen: Seen) -> None:
    await house.crash()
    await house.load()
    again(house, seen)
    await house.supervisor.start()


async def test_a_run_is_a_tree_of_spans_with_tokens_model_and_session(tmp_path: Path) -> None:
    seen = Seen()
    house = await traced(tmp_path, seen, scripted(STEPS))
    session = await house.ask(SECRET_PROMPT)
    check_log(await house.completed(session))
    await house.close()
    [run], [agent] = seen.named("invoke_workflow"), seen.named("invoke_agent")
    chats, tools = seen.named("chat"), seen.named("execute_tool")
    assert (len(chats), sorted(t.name for t in tools)) == (2, ["execute_tool read_file", "execute_tool search"])
    assert agent.name == "invoke_agent orchestrator" and agent.parent and run.context
    assert agent.parent.span_id == run.context.span_id and run.parent is None and not run.links
    for span in seen.spans:
        assert (span.attributes or {})["gen_ai.conversation.id"] == session, span.name
        assert span.context.trace_id == run.context.trace_id
    for span in [*chats, *tools]:
        assert span.parent and agent.context and span.parent.span_id == agent.context.span_id
    assert (
        run.attributes
        and run.attributes["reconvene.run.id"] == "r1"
        and run.attributes["reconvene.ended"] == "answered"
    )
    for chat in chats:
        attributes = dict(chat.attributes or {})
        assert attributes["gen_ai.usage.output_tokens"] > 0 and attributes["gen_ai.usage.input_tokens"] > 0
        assert attributes["gen_ai.request.model"] == attributes["gen_ai.response.model"] == "scripted"
        assert attributes["gen_ai.provider.name"] == "function"
    search = next(t for t in tools if t.name.endswith("search"))
    assert search.attributes and search.attributes["reconvene.tool.cache"] == "fresh"
    metrics = seen.metrics()
    duration = metrics["gen_ai.client.operation.duration"]
    assert sum(p.count for p in duration) == 2 and {"input", "output"} == {
        p.attributes["gen_ai.token.type"] for p in metrics["gen_ai.client.token.usage"]
    }


@pytest.mark.parametrize("content", [False, True], ids=["left-out", "control-asked-for"])
async def test_content_goes_along_only_when_asked_for(tmp_path: Path, content: bool) -> None:
    seen = Seen(content=content)
    house = await traced(tmp_path, seen, scripted(STEPS))
    session = await house.ask(SECRET_PROMPT)
    await house.completed(session)
    await house.close()
    said = seen.text()
    for private in (SECRET_PROMPT, "idle walruses", "The walrus sleeps", "def sweep", "You work on one code base"):
        assert (private in said) == content, private


async def test_an_attempt_after_a_crash_links_to_the_one_it_goes_on_from(tmp_path: Path) -> None:
    hold, reached = asyncio.Event(), asyncio.Event()

    async def before(step: int) -> None:
        if step == 1 and not hold.is_set():
            reached.set()
            await asyncio.Event().wait()

    seen = Seen()
    house = await traced(tmp_path, seen, scripted(STEPS, before=before))
    session = await house.ask(SECRET_PROMPT)
    async with asyncio.timeout(20):
        await reached.wait()
    await house.crash()
    hold.set()
    await house.load()
    again(house, seen)
    await house.supervisor.start()
    rows = await house.completed(session)
    check_log(rows)
    first, second = seen.named("invoke_workflow")
    assert first.attributes and first.attributes["reconvene.ended"] == "interrupted" and first.context
    [link] = second.links
    assert (link.context.trace_id, link.context.span_id) == (first.context.trace_id, first.context.span_id)
    assert second.attributes and second.attributes["reconvene.attempt"] == 2 and second.parent is None
    kept = [json.loads(r.content)["traceparent"] for r in rows if r.type == "trace"]
    assert [int(k.split("-")[2], 16) for k in kept] == [s.context.span_id for s in (first, second) if s.context]
    assert all(not r.public for r in rows if r.type == "trace")
    assert second.attributes["reconvene.reason"] == "restart"
    replayed = [bool((s.attributes or {}).get("reconvene.replayed")) for s in seen.named("execute_tool")]
    assert sorted(replayed) == [False, False, True, True]  # the second attempt had both results from the log
    await house.close()


async def test_waiting_for_a_person_is_no_error(tmp_path: Path) -> None:
    seen = Seen()
    house = await traced(tmp_path, seen, scripted([[("ask_user", {"question": "Which?"})], "thanks"]))
    session = await house.ask("q")
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    await restarted(house, seen)
    [question] = (await house.sessions.state(session)).pending.values()
    await house.sessions.answer(ME, session, id="a1", reply_to=question.id, value="this")
    await house.completed(session)
    await house.close()
    assert [s.name for s in seen.spans if s.status.status_code is StatusCode.ERROR] == []
    left, done = seen.named("execute_tool")
    assert (
        left.attributes
        and left.attributes["reconvene.left"]
        and done.attributes
        and "reconvene.left" not in done.attributes
    )
    assert [dict(s.attributes or {})["reconvene.ended"] for s in seen.named("invoke_workflow")] == [
        "unloaded",
        "answered",
    ]


async def test_a_failing_provider_is_an_error_of_its_attempt_and_the_next_links_to_it(tmp_path: Path) -> None:
    tries = 0

    async def before(_step: int) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ModelHTTPError(503, "scripted", "down: the purple walrus")

    seen = Seen()
    house = await traced(tmp_path, seen, scripted(["fine"], before=before))
    session = await house.ask("q")
    await house.completed(session)
    await house.close()
    failed, fine = seen.named("invoke_workflow")
    assert failed.status.status_code is StatusCode.ERROR and failed.attributes
    assert failed.attributes["error.type"] == "provider_unavailable" and "walrus" not in seen.text()
    assert fine.links[0].context.span_id == failed.context.span_id and fine.status.status_code is StatusCode.UNSET
    errors = [p for p in seen.metrics()["gen_ai.client.operation.duration"] if "error.type" in p.attributes]
    assert sum(p.count for p in errors) == 1


async def test_sub_agents_belong_to_the_session(tmp_path: Path) -> None:
    seen = Seen()
    steps = [[("explore", {"questions": ["where is the hub?", "where is the session?"]})], "done"]
    house = await traced(tmp_path, seen, scripted(steps))
    session = await house.ask("a wide question")
    await house.completed(session)
    await house.close()
    agents = {str(s.attributes["gen_ai.agent.name"]) for s in seen.named("invoke_agent") if s.attributes}
    assert len(agents) > 1, agents
    assert {(s.attributes or {}).get("gen_ai.conversation.id") for s in seen.spans} == {session}


def test_the_examples_hold() -> None:
    done = doctest.testmod(tracing)
    assert done.attempted and not done.failed


class _Broken(SpanExporter):
    """An exporter that raises, as none should."""

    def export(self, spans: Any) -> SpanExportResult:
        raise RuntimeError("the collector is on fire")


async def test_an_exporter_that_breaks_does_not_touch_the_run(tmp_path: Path) -> None:
    seen = Seen()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(_Broken()))
    seen.tracing = Tracing(provider, MeterProvider(shutdown_on_exit=False))
    house = await traced(tmp_path, seen, scripted(STEPS))
    session = await house.ask("q")
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["outcome"] == "success"
    await house.close()


async def test_without_tracing_the_log_is_as_ever(tmp_path: Path) -> None:
    house = await House.open(tmp_path, scripted(STEPS))
    session = await house.ask("q")
    assert not [r for r in await house.completed(session) if r.type == "trace"]
    await house.close()
