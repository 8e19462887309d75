"""A real server that is killed under an answer: the collector sees one session, and the attempt that goes on links to the one that died."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from otlp import Collector, attributes
from real import QUESTION, Place


def post(place: Place, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(f"{place.url}{path}", json.dumps(body).encode(), method="POST")
    request.add_header("Authorization", f"Bearer {place.token}")
    request.add_header("Content-Type", "application/json")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return json.load(answer)


def test_the_trace_of_a_killed_server_goes_on_by_a_link(tmp_path: Path) -> None:
    collector, place = Collector(), Place(tmp_path, pause_ms=80)
    place.environ |= {"RECONVENE_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}
    try:
        place.serve()
        session = post(place, "/api/sessions", {})["session_id"]
        post(place, f"/api/sessions/{session}/messages", {"type": "default", "id": "otlp-1", "content": QUESTION})
        collector.wait(lambda c: any(s.name.startswith("execute_tool") for s in c.spans))
        port, before = place.kill(), list(collector.spans)
        place.serve(port, pause_ms=0)
        collector.wait(lambda c: c.named("invoke_workflow run"))
    finally:
        place.close()
        collector.close()
    [run] = collector.named("invoke_workflow run")  # the span of the attempt that died never ended
    assert attributes(run)["reconvene.attempt"] == 2 and attributes(run)["reconvene.ended"] == "answered"
    [link] = run.links
    assert {link.trace_id} == {span.trace_id for span in before} != {run.trace_id}
    assert {attributes(span)["gen_ai.conversation.id"] for span in collector.spans} == {session}
    assert len({r["service.instance.id"] for r in collector.resources}) == 2
