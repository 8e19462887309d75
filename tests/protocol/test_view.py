"""The rules of `docs/explanation/reducer.md`, one by one."""

from __future__ import annotations

from typing import Any

from logs import LogWriter

from reconvene.protocol.view import View, reduce


def view(log: LogWriter) -> View:
    return reduce(row.event() for row in log.rows if row.public)


def texts(log: LogWriter) -> list[tuple[str, Any]]:
    return [(item["text"], item["final"]) for item in view(log).items.values() if item["type"] == "text"]


def test_pieces_are_joined_until_the_message_replaces_them() -> None:
    log = LogWriter()
    log.add("text", item="i1", attempt=1, text="The ans")
    log.add("text", item="i1", attempt=1, text="wer")
    assert texts(log) == [("The answer", False)]
    log.add("message", item="i1", text="The answer.")
    log.add("text", item="i1", attempt=9, text=" too late")
    log.add("item_aborted", item="i1", attempt=9)
    assert texts(log) == [("The answer.", True)]


def test_an_item_keeps_its_place_when_it_is_finished() -> None:
    log = LogWriter()
    log.add("reasoning", item="i1", attempt=1, text="Hm")
    log.add("tool_call", item="t1", id="t1", name="search", args={"query": "x"})
    log.add("message", item="i1", text="Hm.", kind="reasoning")
    log.add("tool_call", item="t1", id="t1", name="search", args={"query": "y"})
    assert list(view(log).items) == ["text:r1/i1", "tool:r1/t1"]
    assert view(log).items["tool:r1/t1"]["args"] == {"query": "y"}
    assert view(log).items["text:r1/i1"]["kind"] == "reasoning"


def test_what_is_struck_is_gone_and_comes_back_at_the_end() -> None:
    log = LogWriter()
    log.add("text", item="i1", attempt=1, text="half")
    log.add("text", item="i2", attempt=1, text="other")
    log.add("item_aborted", item="i1", attempt=1)
    assert texts(log) == [("other", False)]
    log.add("text", item="i1", attempt=2, text="whole")
    assert texts(log) == [("other", False), ("whole", False)]


def test_attempts() -> None:
    log = LogWriter()
    log.add("text", item="i1", attempt=1, text="one")
    log.add("text", item="i1", attempt=2, text="two")
    log.add("text", item="i1", attempt=1, text="late")
    log.add("item_aborted", item="i1", attempt=1)
    assert texts(log) == [("two", False)]


def test_what_waits() -> None:
    log = LogWriter()
    log.add("question", "r1", id="q1", text="Which?")
    log.add("confirmation", "r1", id="q2", text="Sure?")
    log.add("diff", "r2", id="d1", files=[])
    log.add("question", "r3", id="q3", text="What?")
    assert view(log).to_json()["pending"] == ["question:q1", "question:q2", "diff:d1", "question:q3"]
    log.add("answered", "r1", id="q1", answer="first", by="a")
    log.add("answered", "r1", id="q1", answer="second", by="b")
    log.add("decided", "r2", id="d1", verdict="accept")
    log.add("applied", "r2", diff_id="d1", files=[{"path": "a.py"}])
    log.add("completed", "r3", outcome="cancelled")
    log.add("answered", "r1", id="unknown", answer="x")
    folded = view(log)
    assert folded.to_json()["pending"] == ["question:q2"]
    assert folded.items["question:q1"]["settled"]["answer"] == "first"
    assert folded.items["diff:d1"]["settled"]["verdict"] == "accept"
    assert folded.items["diff:d1"]["applied"][0]["path"] == "a.py"


def test_runs_plans_and_usage() -> None:
    log = LogWriter()
    log.add("run", "r1", status="queued", prompts=["p1"], position=3)
    log.add("run", "r1", status="running", attempt=2, reason="restart")
    log.add("plan", "r1", steps=[{"title": "one"}])
    log.add("plan", "r2", steps=[{"title": "two"}])
    log.add("usage", "r1", input_tokens=5)
    log.add("usage", "r1", input_tokens=7)
    log.add("completed", "r1", outcome="failed", text="No.", reason="provider_auth")
    folded = view(log)
    run = folded.runs["r1"]
    known = {k: run[k] for k in ("status", "attempt", "reason", "position", "outcome", "text", "ended")}
    assert known == {
        "status": "running", "attempt": 2, "reason": "restart", "position": None,
        "outcome": "failed", "text": "No.", "ended": "provider_auth",
    }  # fmt: skip
    assert run["usage"]["input_tokens"] == 7
    assert run["plan"]["steps"][0]["title"] == "one"
    assert folded.plan is not None
    assert (folded.plan["run_id"], folded.plan["steps"][0]["title"]) == ("r2", "two")


def test_actions() -> None:
    log = LogWriter()
    log.add("prompt", id="p1", text="Why", delivery="steer", by="page")
    log.add("action", None, name="rename", args={"title": "Sweeper"})
    log.add("action", None, name="edit_prompt", args={"id": "p1", "text": "Why?"})
    log.add("action", None, name="remove_prompt", args={"id": "p2"})
    log.add("action", None, name="pin", args={"pinned": True})
    prompt = view(log).items["prompt:p1"]
    assert (prompt["text"], prompt["delivery"], prompt["by"], prompt["removed"]) == ("Why?", "steer", "page", False)
    log.add("action", None, name="remove_prompt", args={"id": "p1"})
    assert view(log).items["prompt:p1"]["removed"]
    assert view(log).title == "Sweeper"


def test_results_errors_maps_and_what_is_not_known() -> None:
    log = LogWriter()
    log.add("tool_result", item="t1", id="t1", summary="of no call")
    log.add("repo_map", files=1, symbols=2, tokens=3, fingerprint="f", built_ms=4, reused=True)
    log.add("tool_call", item="t2", id="t2", name="search", args=None, parent="t0")
    log.add("tool_result", item="t2", id="t2", summary="7 places", ok=False)
    log.add("error", code="internal", message="No.")
    later = {"type": "from_the_future", "seq": 9, "run_id": None, "at": 0, "content": {"x": 1}}
    folded = reduce([later], view(log))
    assert list(folded.items) == ["event:2", "tool:r1/t2", "event:5"]
    assert folded.items["tool:r1/t2"]["result"]["summary"] == "7 places"
    assert folded.items["tool:r1/t2"]["parent_id"] == "t0"
    assert folded.items["event:5"]["content"]["code"] == "internal"
    assert (folded.items["event:5"]["seq"], folded.items["event:5"]["type"]) == (5, "error")
