"""Traces and metrics of a whole server to a real collector, which goes away in the middle; and a server that sends nothing."""

from __future__ import annotations

import asyncio
import doctest
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from otlp import Collector, attributes
from serving import Serving, serving

from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.server import telemetry
from reconvene.server.lifecycle import Server
from reconvene.server.metrics import Metrics
from reconvene.server.telemetry import PATIENCE, Telemetry, signals
from reconvene.sessions.rows import Who

ME = Who("owner", "test")


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    made = Collector()
    yield made
    made.close()


async def asked(server: Serving, text: str) -> str:
    """The session of a prompt, when its run has ended."""
    session = (await server.sessions.attach(ME, session_id=None)).session.id
    ended = asyncio.Event()

    def listen(id: str, rows: object) -> None:
        if id == session and any(row.type == "completed" for row in rows):  # type: ignore[attr-defined]
            ended.set()

    server.sessions.listeners.append(listen)
    await server.sessions.submit(ME, session, id=None, text=text)
    async with asyncio.timeout(60):
        await ended.wait()
    return session


async def test_a_collector_that_goes_and_comes_costs_spans_and_nothing_else(
    tmp_path: Path, collector: Collector
) -> None:
    async with serving(tmp_path, kind=Server, otlp_endpoint=f"{collector.url}/") as server:
        first = await asked(server, "Where is start?")
        await asyncio.to_thread(collector.wait, lambda c: c.named("invoke_workflow run"))
        [run] = collector.named("invoke_workflow run")
        assert attributes(run)["gen_ai.conversation.id"] == first
        assert collector.resources[0]["service.name"] == "reconvene"
        assert collector.resources[0]["service.instance.id"] == server.services.boot
        collector.close()
        await asked(server, "What does start return?")  # a run ends, whoever listens
        lost = server.services.metrics
        async with asyncio.timeout(60):
            while not lost.telemetry_lost:
                await asyncio.sleep(0.05)
        collector.open()
        third = await asked(server, "And now?")

        def of_third(c: Collector) -> bool:
            return any(attributes(s)["gen_ai.conversation.id"] == third for s in c.named("invoke_workflow run"))

        await asyncio.to_thread(collector.wait, of_third)
    # The end of the server sends what is left: its metrics, which are else sent once a minute.
    sums = collector.metrics["reconvene.runs_ended"].sum.data_points
    assert {p.attributes[0].value.string_value: p.as_int or p.as_double for p in sums}["success"] == 3
    assert {"gen_ai.client.operation.duration", "gen_ai.client.token.usage", "reconvene.connections"} <= set(
        collector.metrics
    )
    said = [json.loads(line) for line in (tmp_path / "data/logs/server.log").read_text().splitlines()]
    assert [e["event"] for e in said if e["logger"] == "reconvene.telemetry" and e["level"] == "warning"] == [
        "the OpenTelemetry collector takes nothing; runs go on without it"
    ]


async def test_a_collector_that_never_answers_does_not_keep_the_server_from_ending(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    silent = await asyncio.start_server(lambda _r, _w: asyncio.Event().wait(), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    opened = Telemetry.open(
        Settings(data_dir=tmp_path, otlp_endpoint=f"http://127.0.0.1:{port}"), Metrics(), version="1", instance="i"
    )
    assert opened is not None
    with opened._tracers.get_tracer("test").start_as_current_span("s"):
        pass
    began = time.monotonic()
    await opened.close()
    assert PATIENCE / 2 <= time.monotonic() - began < 30  # it had something to wait for, and did not wait for it
    silent.close()


@pytest.mark.parametrize(
    ("setting", "environ", "wanted"),
    [
        (None, {}, set()),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, set()),
        ("http://h", {}, {"traces", "metrics"}),
        ("http://h", {"OTEL_SDK_DISABLED": "TRUE"}, set()),
        ("http://h", {"OTEL_METRICS_EXPORTER": "none"}, {"traces"}),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h/v1/traces"}, {"traces"}),
    ],
)
def test_who_turns_it_on(tmp_path: Path, setting: str | None, environ: dict[str, str], wanted: set[str]) -> None:
    assert signals(Settings(data_dir=tmp_path, otlp_endpoint=setting), environ) == wanted


@pytest.mark.parametrize("endpoint", ["localhost:4318", "ftp://h", "http://"])
def test_an_endpoint_that_is_none_is_refused_at_the_start(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(ReconveneError) as refused:
        Settings.load({"data_dir": tmp_path}, {"RECONVENE_OTLP_ENDPOINT": endpoint})
    assert refused.value.code == "invalid_field" and "RECONVENE_OTLP_ENDPOINT" in refused.value.message


def test_a_variable_of_opentelemetrys_that_is_wrong_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    assert Telemetry.open(Settings(data_dir=tmp_path), Metrics(), version="1", instance="i") is None


def test_without_the_packages_the_server_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    settings = Settings(data_dir=tmp_path, otlp_endpoint="http://127.0.0.1:9")
    assert Telemetry.open(settings, Metrics(), version="1", instance="i") is None


def test_the_examples_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    # What an earlier test's thread still has to say would stand between an example and what it prints.
    monkeypatch.setattr(telemetry, "_log", structlog.wrap_logger(structlog.ReturnLogger(), processors=[]))
    done = doctest.testmod(telemetry)
    assert done.attempted and not done.failed


OFF_AND_ON = """\
import asyncio, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_telemetry import asked
from serving import serving
from reconvene.server.lifecycle import Server
for name in [m for m in sys.modules if m.startswith(("opentelemetry.sdk", "prometheus"))]:
    del sys.modules[name]
async def main(**settings):
    async with serving(Path(sys.argv[1]), kind=Server, **settings) as server:
        await asked(server, "Where is start?")
    print([m for m in ("opentelemetry.sdk", "prometheus_client") if m in sys.modules])
asyncio.run(main())
asyncio.run(main(otlp_endpoint="http://127.0.0.1:9"))
"""


def test_off_nothing_of_it_is_imported_by_a_server_that_runs(tmp_path: Path) -> None:
    here = Path(__file__).parent
    program = [sys.executable, "-c", OFF_AND_ON, str(tmp_path), str(here), str(here.parent)]
    seen = subprocess.run(program, capture_output=True, text=True, timeout=100)
    off, control = seen.stdout.splitlines()[-2:]
    assert (off, control) == ("[]", "['opentelemetry.sdk']"), (seen.stdout[-500:], seen.stderr[-2000:])
