"""`/metrics` as Prometheus reads it, and what is counted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from serving import serving

from reconvene.log.port import NewEvent, Row
from reconvene.protocol import events as ev
from reconvene.server.metrics import Metrics
from reconvene.sessions.rows import event


def rows(*contents: ev.Content) -> Sequence[Row]:
    made: list[NewEvent] = [event(content, run_id="r1") for content in contents]
    return [
        Row("s_1", n + 1, e.type, e.content, "r1", None, None, None, True, e.stateful, 0.0, "0" * 8)
        for n, e in enumerate(made)
    ]


def test_what_runs_did_is_counted_from_what_was_committed() -> None:
    metrics = Metrics()
    step = ev.StepUsage(input_tokens=10, output_tokens=3, cost=0.5)
    used = ev.Usage(input_tokens=99, output_tokens=99, cost=9.0, model="openai:m", step=step)
    again = ev.Run(status="recovering", attempt=1, reason="restart")
    backing_off = ev.Run(status="recovering", attempt=1, reason="The provider is busy.")
    done = ev.Completed(outcome="success", text="x")
    metrics.committed("s_1", rows(used, used, again, backing_off, done))
    found = {(f.name, *sorted(labels.values())): n for f in metrics.families() for labels, n in f.samples}
    assert found["reconvene_tokens", "input", "openai:m"] == 20 and found["reconvene_tokens", "openai:m", "output"] == 6
    assert found[("reconvene_cost_usd",)] == 1.0 and found["reconvene_model_responses", "openai:m"] == 2
    assert found[("reconvene_recoveries",)] == 1 and found["reconvene_runs_ended", "success"] == 1
    assert found["reconvene_runs_ended", "failed"] == 0 and found[("reconvene_appends",)] == 5


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("text/plain;version=0.0.4;q=0.3", "text/plain"),
        ("text/plain; version=hostile", "text/plain"),
        ("application/openmetrics-text;version=1.0.0;escaping=underscores,*/*;q=0.1", "application/openmetrics-text"),
        ("application/openmetrics-text;version=" + "9" * 5000, "text/plain"),
        ("\xff" * 100, "text/plain"),
    ],
    ids=["none", "plain", "no-number", "openmetrics", "long-number", "latin"],
)
async def test_scrapers_get_the_text_that_they_read(tmp_path: Path, accept: str, kind: str) -> None:
    async with serving(tmp_path) as server:
        server.services.metrics.bad_inputs['quo"te\\n'] = 2
        answer = await server.http("GET", "/metrics", headers={"Accept": accept} if accept else None)
        assert answer.status == 200 and (answer.header("content-type") or "").startswith(kind)
        parse = openmetrics.text_string_to_metric_families if "openmetrics" in kind else text_string_to_metric_families
        families = {f.name: f for f in parse(answer.body.decode())}
        assert families["reconvene_bad_inputs"].samples[0].labels == {"code": 'quo"te\\n'}
        assert families["reconvene_connections"].type == "gauge" and families["reconvene_handshakes"].type == "counter"
        if sys.platform == "linux":
            assert families["process_resident_memory_bytes"].samples[0].value > 1e6
