"""The fold of a session's stateful events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconvene.errors import ReconveneError
from reconvene.sessions.actions import ACTIONS, prepare
from reconvene.sessions.answers import checked
from reconvene.sessions.state import SessionState


@dataclass
class R:
    seq: int
    type: str
    content: str
    run_id: str | None = None


def folded(*events: tuple[str, str | None, dict[str, Any]]) -> SessionState:
    state = SessionState()
    for seq, (type, run_id, content) in enumerate(events, 1):
        state.apply(R(seq, type, json.dumps(content), run_id))
    return state


def prompt(id: str, run: str, text: str = "hello", delivery: str = "queue") -> tuple[str, str, dict[str, Any]]:
    return "prompt", run, {"id": id, "text": text, "delivery": delivery}


def run(run: str, status: str, **more: Any) -> tuple[str, str, dict[str, Any]]:
    return "run", run, {"status": status, **more}


QUEUED = (prompt("p1", "r1"), run("r1", "queued", prompts=["p1"]))


def test_a_prompt_is_queued_then_runs_then_ends() -> None:
    state = folded(*QUEUED)
    assert state.status == "running" and state.runnable() is state.runs["r1"]
    state = folded(*QUEUED, run("r1", "running", attempt=1))
    assert state.active is state.runs["r1"] and state.runs["r1"].attempt == 1
    state = folded(
        *QUEUED,
        run("r1", "running", attempt=1),
        ("completed", "r1", {"outcome": "success"}),
        ("ended", "r1", {"up": 5.0}),
    )
    assert state.status == "idle" and state.runnable() is None and state.runs["r1"].ended_at == 5.0


def test_one_run_at_a_time_in_the_order_of_the_prompts() -> None:
    events = (*QUEUED, run("r1", "running"), prompt("p2", "r2"), run("r2", "queued", prompts=["p2"]))
    state = folded(*events)
    assert state.active is state.runs["r1"] and [r.id for r in state.queue] == ["r2"]
    assert state.runnable() is state.runs["r1"]
    assert folded(*events, ("completed", "r1", {"outcome": "failed"})).runnable() is not None


def test_a_waiting_run_goes_on_when_one_of_its_questions_is_answered() -> None:
    asked = ("question", "r1", {"id": "q1", "text": "which?"})
    events = (*QUEUED, run("r1", "running"), asked, run("r1", "waiting"))
    state = folded(*events)
    assert state.status == "waiting" and state.runnable() is None and "q1" in state.pending
    state = folded(*events, ("answered", "r1", {"id": "q1", "answer": "a", "by": "page"}))
    assert state.runnable() is state.runs["r1"] and state.settled["q1"] == ("a", "page")


def test_a_run_that_was_answered_while_it_was_unloaded_goes_on() -> None:
    asked = ("question", "r1", {"id": "q1", "text": "which?"})
    answered = ("answered", "r1", {"id": "q1", "answer": "a"})
    state = folded(*QUEUED, run("r1", "running"), asked, answered, run("r1", "waiting"))
    assert state.runnable() is state.runs["r1"]


def test_the_end_of_a_run_closes_its_questions() -> None:
    state = folded(
        *QUEUED,
        run("r1", "running"),
        ("question", "r1", {"id": "q1", "text": "?"}),
        ("completed", "r1", {"outcome": "cancelled"}),
    )
    assert not state.pending and "q1" in state.closed


def test_a_cancelled_waiting_run_can_be_ended_by_its_owner() -> None:
    events = (*QUEUED, run("r1", "running"), ("question", "r1", {"id": "q1", "text": "?"}), run("r1", "waiting"))
    assert folded(*events, ("cancel", "r1", {"run_id": "r1"})).runnable() is not None


def test_a_steered_prompt_that_came_too_late_becomes_a_run() -> None:
    events = (
        *QUEUED,
        run("r1", "running"),
        prompt("p2", "r1", delivery="steer"),
        ("completed", "r1", {"outcome": "success"}),
    )
    assert [p.id for p in folded(*events).steering("r1")] == ["p2"]
    state = folded(*events, run("r2", "queued", prompts=["p2"]))
    assert state.prompts["p2"].run_id == "r2" and state.runs["r2"].first_seq == 4
    assert not state.steering("r1")


def test_the_queue_can_be_edited_moved_and_emptied() -> None:
    events = [*QUEUED, run("r1", "running")]
    for n in (2, 3, 4):
        events += [prompt(f"p{n}", f"r{n}"), run(f"r{n}", "queued", prompts=[f"p{n}"])]
    state = folded(*events, ("action", None, {"name": "move_prompt", "args": {"id": "p4", "position": 0}}))
    assert [r.id for r in state.queue] == ["r4", "r2", "r3"]
    state = folded(*events, ("action", None, {"name": "edit_prompt", "args": {"id": "p2", "text": "new"}}))
    assert state.prompts["p2"].text == "new"
    prepared = prepare(folded(*events), "remove_prompt", {"id": "p3"}, "page")
    assert prepared.ends_run == "r3"


def test_rows_are_folded_once() -> None:
    state = folded(*QUEUED)
    state.apply(R(2, "run", json.dumps({"status": "running"}), "r1"))
    assert state.runs["r1"].status == "queued"


@pytest.mark.parametrize(
    ("kind", "schema", "value", "stored"),
    [
        ("confirmation", None, "Y", True),
        ("confirmation", None, False, False),
        ("question", None, "text", "text"),
        ("question", {"type": "string", "enum": ["Retry", "stop"]}, " retry ", "Retry"),
        ("question", {"type": "integer"}, 3, 3),
        (
            "question",
            {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}},
            {"a": "x"},
            {"a": "x"},
        ),
    ],
)
def test_answers_that_fit(kind: Any, schema: Any, value: Any, stored: Any) -> None:
    assert checked(kind, schema, value) == stored


@pytest.mark.parametrize(
    ("kind", "schema", "value"),
    [
        ("confirmation", None, "maybe"),
        ("confirmation", None, {}),
        ("question", None, "  "),
        ("question", None, True),
        ("question", {"type": "string", "enum": ["a"]}, "b"),
        ("question", {"type": "integer"}, True),
        ("question", {"type": "object", "required": ["a"]}, {}),
    ],
)
def test_answers_that_do_not_fit(kind: Any, schema: Any, value: Any) -> None:
    with pytest.raises(ReconveneError) as e:
        checked(kind, schema, value)
    assert e.value.code == "invalid_field"


@pytest.mark.parametrize(
    ("name", "args", "code"),
    [
        ("explode", {}, "unknown_action"),
        ("rename", {}, "invalid_field"),
        ("rename", {"title": " "}, "invalid_field"),
        ("rename", {"title": "a", "colour": "red"}, "invalid_field"),
        ("pin", {"pinned": 1}, "invalid_field"),
        ("archive", {"archived": True}, "invalid_field"),
        ("recovery", {"policy": "always"}, "invalid_field"),
        ("edit_prompt", {"id": "p1", "text": "x"}, "invalid_field"),
        ("move_prompt", {"id": "nope", "position": 0}, "invalid_field"),
    ],
)
def test_actions_that_are_refused(name: str, args: dict[str, Any], code: str) -> None:
    with pytest.raises(ReconveneError) as e:
        prepare(folded(*QUEUED, run("r1", "running")), name, args, "page")
    assert e.value.code == code


@given(st.lists(st.sampled_from(["prompt", "run", "end", "ask", "answer", "wait", "cancel"]), max_size=30))
def test_any_order_of_real_events_keeps_the_fold_whole(words: list[str]) -> None:
    """At most one run is active, what is runnable is open, and a completed run has nothing pending."""
    state, seq = SessionState(), 0

    def put(type: str, run_id: str | None, content: dict[str, Any]) -> None:
        nonlocal seq
        seq += 1
        state.apply(R(seq, type, json.dumps(content), run_id))

    for n, word in enumerate(words):
        active = state.active
        match word:
            case "prompt":
                r = state.next_run_id()
                put("prompt", r, {"id": f"p{n}", "text": "x", "delivery": "queue"})
                put("run", r, {"status": "queued", "prompts": [f"p{n}"]})
            case "run" if (go := state.runnable()) is not None:
                put("run", go.id, {"status": "running", "attempt": go.attempt + 1})
            case "end" if active:
                put("completed", active.id, {"outcome": "success"})
            case "ask" if active:
                put("question", active.id, {"id": f"q{n}", "text": "?"})
            case "wait" if active:
                put("run", active.id, {"status": "waiting"})
            case "answer" if state.pending:
                put("answered", None, {"id": next(iter(state.pending)), "answer": "a"})
            case "cancel" if active:
                put("cancel", active.id, {"run_id": active.id})
        assert sum(r.status in ("running", "waiting", "recovering") for r in state.runs.values()) <= 1
        go = state.runnable()
        assert go is None or go.status != "completed"
        assert all(state.runs[p.run_id or ""].status != "completed" for p in state.pending.values())
        assert state.status == state.status_with({})[0]


def test_every_action_is_folded() -> None:
    """Control: an action that the fold forgets would be accepted and do nothing."""
    import inspect

    from reconvene.sessions import state as module

    source = inspect.getsource(module._action)
    assert all(f'case "{name}"' in source for name in ACTIONS)
