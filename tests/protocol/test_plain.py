"""A plain client sees sentences, is asked one thing at a time, and what it answers goes to what it was asked."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import FakeRow, LogWriter, any_rows, written_log

from reconvene.errors import ReconveneError
from reconvene.protocol import plain
from reconvene.protocol.frames import PlainFrame
from reconvene.protocol.plain import AnswerTo, Ask, DecideOn, NewPrompt, PlainProjection, interpret

PLAIN = {"session", "log", "plan", "diff", "question", "confirmation", "usage", "completed", "error"}
TEXTS = {"log", "diff", "question", "confirmation"}


def replayed(rows: list[FakeRow]) -> tuple[PlainProjection, list[tuple[str, Any]]]:
    projection = PlainProjection()
    frames = [frame for row in rows for frame in projection.feed(row)] + projection.show()
    return projection, [(frame["type"], frame["content"]) for frame in frames]


def said(text: str, type: str = "confirmation") -> PlainFrame:
    return PlainFrame(type=type, content=text)  # type: ignore[arg-type]


def hunk(n: int, text: str) -> dict[str, str]:
    return {"id": f"h{n}", "unified": f"@@ -{n} +{n} @@\n{text}"}


def edit(path: str = "src/a.py", op: str = "edit", **more: Any) -> dict[str, Any]:
    return {"path": path, "op": op, "hunks": [hunk(1, "-a = 1\n+a = 2\n")], **more}


def test_a_run_as_a_plain_client_sees_it() -> None:
    log = LogWriter()
    log.add("prompt", id="p1", text="How does the\ncleanup work?")
    log.add("run", status="queued", prompts=["p1"], position=2)
    log.add("run", status="running", attempt=1)
    log.add("repo_map", files=1200, symbols=3400, tokens=1, fingerprint="f", built_ms=1, reused=True)
    log.add("plan", title=None, steps=[{"title": "Look"}])
    log.add("text", item="i1", attempt=1, text="Let me")
    log.add("message", item="i1", text="Let me look.")
    log.add("tool_call", item="t1", id="t1", name="search", args={"query": "session cleanup"})
    log.private()
    log.add("tool_result", item="t1", id="t1", summary="7 snippets", cache="cached")
    log.add("tool_call", item="t2", id="t2", name="read_file", args={"path": "src/a.py", "start": 10, "end": 40})
    log.add("tool_result", item="t2", id="t2", summary="no such file", ok=False)
    log.add("run", status="recovering", attempt=2, reason="restart")
    log.add("item_aborted", item="i2", attempt=1)
    log.add("message", item="i3", text="Hm.", kind="reasoning")
    log.add("usage", input_tokens=5)
    log.add("error", code="tool_failed", message="It failed.")
    log.add("message", item="i4", text="The sweeper does it.")
    log.add("completed", outcome="success", text="The sweeper does it.")
    frames = replayed(log.rows)[1]
    assert [content for kind, content in frames if kind == "log"] == [
        '[prompt] "How does the cleanup work?"',
        "[run] queued, 2 runs go first",
        "[run] running",
        "[map] 1,200 files, 3,400 symbols (reused)",
        "Let me look.",
        '[search] "session cleanup" → 7 snippets (cached)',
        "[read_file] src/a.py:10-40 → failed: no such file",
        "[run] recovering, attempt 2: restart",
        "[reasoning] Hm.",
        "The sweeper does it.",
    ]
    rest = [kind for kind, _ in frames if kind != "log"]
    assert rest == ["plan", "usage", "error", "completed"]
    assert frames[-1][1] == {"outcome": "success", "text": "The sweeper does it.", "reason": None}


def test_every_frame_says_where_it_comes_from() -> None:
    projection = PlainProjection()
    log = LogWriter()
    log.add("question", id="q1", text="Which?")
    assert projection.feed(log.rows[0]) == []
    assert projection.show() == [{"type": "question", "content": "Which?", "seq": 1, "run_id": "r1"}]
    assert projection.show() == []


def test_an_answer_that_came_only_with_completed_is_a_log_too() -> None:
    log = LogWriter()
    log.add("completed", outcome="success", text="Here.")
    log.add("completed", "r2", outcome="failed", text="The provider does not answer.")
    assert [kind for kind, _ in replayed(log.rows)[1]] == ["log", "completed", "completed"]


def test_one_thing_is_asked_at_a_time_the_oldest_first() -> None:
    log = LogWriter()
    log.add("question", id="q1", text="Which?", schema={"type": "string", "enum": ["a", "b"]})
    log.add("confirmation", id="c1", text="Sure?")
    log.add("diff", id="d1", files=[edit()], risky=True)
    projection, frames = replayed(log.rows)
    assert frames == [("question", "Which? (a, b)")]
    assert interpret(said("a", "question"), projection) == AnswerTo("q1", "a")
    assert (
        projection.feed(log.add("answered", id="q1", answer="a", by="page"))[0]["content"]
        == '[question] "Which?" → "a" (by page)'
    )
    assert [f["type"] for f in projection.show()] == ["confirmation"]
    assert interpret(said("Yes"), projection) == AnswerTo("c1", True)
    assert interpret(said(" n "), projection) == AnswerTo("c1", False)
    assert projection.feed(log.add("answered", id="c1", answer=False))[0]["content"] == '[question] "Sure?" → no'
    shown = projection.show()
    assert [f["type"] for f in shown] == ["diff", "confirmation"]
    assert shown[0]["content"] == "--- a/src/a.py\n+++ b/src/a.py\n@@ -1 +1 @@\n-a = 1\n+a = 2\n"
    assert "src/a.py" in shown[1]["content"]
    assert "machine" in shown[1]["content"]
    assert interpret(said("Y"), projection) == DecideOn("d1", "accept")
    assert interpret(said("NO"), projection) == DecideOn("d1", "reject")
    assert projection.feed(log.add("decided", id="d1", verdict="accept", hunks=["h1"]))[0]["content"] == (
        "[diff] src/a.py → accepted 1 of 1 hunks"
    )
    assert projection.show() == []


def test_the_second_pending_one_may_be_settled_first() -> None:
    log = LogWriter()
    log.add("question", id="q1", text="One?")
    log.add("question", id="q2", text="Two?")
    projection, _ = replayed(log.rows)
    projection.feed(log.add("answered", id="q2", answer="x"))
    assert projection.show() == []
    assert interpret(said("y", "question"), projection) == AnswerTo("q1", "y")


def test_feedback_on_a_diff() -> None:
    log = LogWriter()
    log.add("diff", id="d1", files=[edit()])
    projection, _ = replayed(log.rows)
    asked = interpret(said("F"), projection)
    assert isinstance(asked, Ask)
    assert [f["type"] for f in asked.frames] == ["question"]
    assert isinstance(interpret(said("  ", "question"), projection), Ask)
    assert interpret(said("Use a constant.", "question"), projection) == DecideOn("d1", "feedback", "Use a constant.")
    assert interpret(said("y"), projection) == DecideOn("d1", "accept")  # or changes one's mind
    decided = projection.feed(log.add("decided", id="d1", verdict="feedback", feedback="Use a constant."))
    assert decided[0]["content"] == '[diff] src/a.py → feedback: "Use a constant."'
    projection.feed(log.add("diff", id="d2", files=[edit()]))
    projection.show()
    with pytest.raises(ReconveneError, match="no_such_question"):  # the new diff has no feedback asked for
        interpret(said("Use a constant.", "question"), projection)


@pytest.mark.parametrize("text", ["", "maybe", "yy", "1", "true", "\u00ff"])
def test_anything_else_is_asked_again(text: str) -> None:
    log = LogWriter()
    log.add("confirmation", id="c1", text="Sure?")
    projection, frames = replayed(log.rows)
    again = interpret(said(text), projection)
    assert isinstance(again, Ask)
    assert [(f["type"], f["content"]) for f in again.frames] == frames


def test_f_is_no_answer_to_a_confirmation_without_a_diff() -> None:
    log = LogWriter()
    log.add("confirmation", id="c1", text="Sure?")
    assert isinstance(interpret(said("f"), replayed(log.rows)[0]), Ask)


def test_an_answer_never_goes_to_something_else() -> None:
    log = LogWriter()
    projection = PlainProjection()
    for kind in ("question", "confirmation"):
        with pytest.raises(ReconveneError, match="no_such_question"):  # bad65: nothing is asked
            interpret(said("y", kind), projection)
    projection.feed(log.add("question", id="q1", text="Which?"))
    with pytest.raises(ReconveneError, match="no_such_question"):  # not yet shown
        interpret(said("y", "question"), projection)
    projection.show()
    with pytest.raises(ReconveneError, match="no_such_question"):
        interpret(said("y", "confirmation"), projection)
    projection.feed(log.add("answered", id="q1", answer="a"))
    projection.feed(log.add("diff", id="d1", files=[edit()]))
    projection.show()
    with pytest.raises(ReconveneError, match="no_such_question"):  # meant for q1, which another tab answered
        interpret(said("delete it", "question"), projection)


def test_a_default_frame_is_a_prompt_whatever_is_asked() -> None:
    log = LogWriter()
    log.add("question", id="q1", text="Which?")
    assert interpret(said("y", "default"), replayed(log.rows)[0]) == NewPrompt("y")


def test_settled_questions_are_replayed_as_log() -> None:
    log = LogWriter()
    log.add("question", id="q1", text="Which?")
    log.add("diff", id="d1", files=[edit(f"src/{n}.py") for n in range(5)])
    log.add("answered", id="q1", answer={"a": 1})
    log.add("decided", id="d1", verdict="reject", by="page")
    log.add("answered", id="q0", answer="asked before")
    log.add("decided", id="d0", verdict="accept")
    assert replayed(log.rows)[1] == [
        ("log", '[question] "Which?" → {"a": 1}'),
        ("log", "[diff] src/0.py, src/1.py and 3 more files → rejected (by page)"),
        ("log", '[question] → "asked before"'),
        ("log", "[diff] → accepted"),
    ]


def test_a_question_whose_run_ended_is_asked_no_more() -> None:
    log = LogWriter()
    log.add("question", "r1", id="q1", text="Which?")
    log.add("question", "r2", id="q2", text="What?")
    projection, _ = replayed(log.rows)
    frames = projection.feed(log.add("completed", "r1", outcome="cancelled"))
    assert [f["content"] for f in frames[:1]] == ['[question] "Which?" → closed: its run is over']
    assert [f["content"] for f in projection.show()] == ["What?"]


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (None, "5", "5"),
        ({"type": "integer"}, "5", 5),
        ({"type": "integer"}, "five", "five"),
        ({"type": "number"}, "1e999", "1e999"),
        ({"type": "boolean"}, "Yes", True),
        ({"type": "boolean"}, "perhaps", "perhaps"),
        ({"type": "object"}, '{"a":1}', {"a": 1}),
        ({"type": "array"}, "[" * 99, "[" * 99),
        ({"type": "object"}, "null", "null"),
        ({"type": ["string", "null"]}, "x", "x"),
    ],
)
def test_an_answer_takes_the_schemas_type(schema: dict[str, Any] | None, text: str, value: object) -> None:
    log = LogWriter()
    log.add("question", id="q1", text="?", schema=schema)
    assert interpret(said(text, "question"), replayed(log.rows)[0]) == AnswerTo("q1", value)  # type: ignore[arg-type]


def test_diffs_as_unified_text() -> None:
    files = [
        edit("new.py", "create"),
        edit("gone.py", "delete"),
        edit("b.py", "rename", old_path="a.py"),
        edit("empty.py", "create") | {"hunks": []},
    ]
    log = LogWriter()
    log.add("diff", id="d1", files=files)
    text = dict(replayed(log.rows)[1])["diff"]
    lines = [line for line in text.splitlines() if not line.startswith(("@@", "-a", "+a"))]
    assert lines == [
        "--- /dev/null", "+++ b/new.py", "--- a/gone.py", "+++ /dev/null", "rename from a.py", "rename to b.py",
        "--- a/a.py", "+++ b/b.py", "create empty.py",
    ]  # fmt: skip


def test_a_rename_is_said_once() -> None:
    from reconvene.protocol import sentences
    from reconvene.workspace.edits import change_of

    change = change_of("b.py", b"one\n", b"two\n", old_path="a.py", mode=0o755)
    hunks = [{"id": h.id, "unified": h.unified} for h in change.hunks]
    text = sentences.unified([{"path": "b.py", "op": "rename", "old_path": "a.py", "hunks": hunks}])
    assert text == (
        "rename from a.py\nrename to b.py\nnew mode 0755\n--- a/a.py\n+++ b/b.py\n@@ -1 +1 @@\n-one\n+two\n"
    )
    only = change_of("b.py", b"one\n", b"one\n", old_path="a.py")
    hunks = [{"id": h.id, "unified": h.unified} for h in only.hunks]
    text = sentences.unified([{"path": "b.py", "op": "rename", "old_path": "a.py", "hunks": hunks}])
    assert text == "rename from a.py\nrename to b.py\n"


@settings(max_examples=100, deadline=None)
@given(any_rows(), st.data())
def test_any_log_and_any_answers(rows: list[FakeRow], data: st.DataObject) -> None:
    projection = PlainProjection()
    open_now: str | None = None
    for row in rows:
        frames = projection.feed(row)
        if data.draw(st.booleans()):
            frames += projection.show()
        asked = projection.asked_now()
        for frame in frames:
            assert frame["type"] in PLAIN
            assert isinstance(frame["content"], str) == (frame["type"] in TEXTS)
            json.dumps(frame)
        open_now = asked.id if asked else None
        answer = said(
            data.draw(st.sampled_from(["y", "n", "f", "x", ""])),
            data.draw(st.sampled_from(["question", "confirmation"])),
        )
        try:
            meant = interpret(answer, projection)
        except ReconveneError as e:
            assert e.code == "no_such_question"
        else:
            if isinstance(meant, AnswerTo):
                assert meant.question_id == open_now
            if isinstance(meant, DecideOn):
                assert meant.diff_id == open_now


@pytest.mark.parametrize("seed", range(20))
def test_what_is_asked_at_the_end_is_the_oldest_pending(seed: int) -> None:
    from reconvene.protocol.view import reduce

    rows = written_log(Random(seed), runs=3)
    projection, frames = replayed(rows)
    pending = reduce(row.event() for row in rows if row.public).pending()
    asked = projection.asked_now()
    assert (asked.id if asked else None) == (pending[0]["id"] if pending else None)
    assert sum(kind in ("question", "confirmation") for kind, _ in frames) == (1 if pending else 0)


def test_an_answer_given_to_the_wrong_thing_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_verdict", lambda text, asked, projection: AnswerTo(asked.id, True))
    with pytest.raises(AssertionError):
        test_feedback_on_a_diff()
    monkeypatch.setattr(PlainProjection, "_settle", lambda self, key: None)
    with pytest.raises(AssertionError):
        test_settled_questions_are_replayed_as_log()
