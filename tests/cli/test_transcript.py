"""A session as text: nothing twice, nothing missing, nothing that steers the terminal."""

from __future__ import annotations

import random
from typing import Any

import pytest

from reconvene.cli import terminal
from reconvene.cli.transcript import Transcript
from reconvene.protocol.view import View, reduce


class Log:
    """Events made one after the other."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(
        self, type: str, content: dict[str, Any], item: str | None = None, run: str | None = "r1"
    ) -> dict[str, Any]:
        event = {
            "type": type,
            "seq": len(self.events) + 1,
            "run_id": run,
            "item_id": item,
            "parent_id": None,
            "at": 0.0,
        }
        self.events.append({**event, "content": content})
        return self.events[-1]

    def text(self, text: str, attempt: int = 1) -> None:
        self.add("text", {"attempt": attempt, "text": text}, "i1")

    def message(self, text: str) -> None:
        self.add("message", {"text": text}, "i1")


def shown(transcript: Transcript, view: View, kind: str = "answer") -> str:
    return "".join(p.text if kind != "step" else p.text + "\n" for p in transcript.news(view) if p.kind == kind)


def test_an_answer_comes_as_it_is_written_and_ends_its_line() -> None:
    log, view, transcript, out = Log(), View(), Transcript(), ""
    for piece in ("Sessions are ", "swept", "."):
        log.text(piece)
    log.message("Sessions are swept.")
    for event in log.events:
        reduce([event], view)
        out += shown(transcript, view)
    assert out == "Sessions are swept.\n"


def test_in_a_file_nothing_is_that_was_struck() -> None:
    log, view, transcript, out = Log(), View(), Transcript(live=False), ""
    log.text("Sessions are ne")
    log.add("item_aborted", {"attempt": 1}, "i1")
    log.text("Sessions are swept", attempt=2)
    log.message("Sessions are swept.")
    for event in log.events:
        reduce([event], view)
        out += shown(transcript, view)
    assert out == "Sessions are swept.\n"


def test_why_a_run_does_not_go_on_at_once() -> None:
    log, transcript = Log(), Transcript()
    log.add(
        "run", {"status": "recovering", "attempt": 1, "reason": "The provider does not answer. Asking again in 1 s."}
    )
    assert shown(transcript, reduce(log.events), "step") == "· The provider does not answer. Asking again in 1 s.\n"
    log.add("run", {"status": "recovering", "attempt": 2, "reason": "restart"})
    assert shown(transcript, reduce(log.events), "step") == "· the server was restarted; the run goes on\n"


def test_what_a_run_cost_stands_at_its_end_also_when_all_is_shown_at_once() -> None:
    log, transcript = Log(), Transcript()
    for run in ("r1", "r2"):
        log.add("prompt", {"id": f"p{run}", "text": f"Ask {run}"}, f"{run}.p", run)
        log.add("usage", {"input_tokens": int(run[1]), "output_tokens": 0, "requests": 1}, None, run)
        log.add("message", {"text": f"Answer {run}."}, f"{run}.m", run)
        log.add("completed", {"outcome": "success", "text": ""}, None, run)
    told = [piece.text.strip() for piece in transcript.news(reduce(log.events)) if piece.text.strip()]
    cost = "tokens in, 0 out, 1 model request"
    assert told == ["> Ask r1", "Answer r1.", f"· 1 {cost}", "> Ask r2", "Answer r2.", f"· 2 {cost}"]


def test_a_snapshot_repeats_nothing() -> None:
    log, transcript = Log(), Transcript()
    log.text("Sessions are ")
    assert shown(transcript, reduce(log.events)) == "Sessions are "
    log.message("Sessions are swept.")
    assert shown(transcript, reduce(log.events[1:])) == "swept.\n"
    assert shown(transcript, reduce(log.events)) == ""


def test_a_struck_answer_is_said_and_written_anew() -> None:
    log, view, transcript = Log(), View(), Transcript()
    log.text("Sess")
    assert shown(transcript, reduce(log.events, view)) == "Sess"
    struck = log.add("item_aborted", {"attempt": 1}, "i1")
    pieces = transcript.news(reduce([struck], view))
    assert [p.kind for p in pieces] == ["answer", "step"]
    assert pieces[0].text == "\n"
    assert "written anew" in pieces[1].text
    log.text("Sessions.", attempt=2)
    assert shown(transcript, reduce(log.events[-1:], view)) == "Sessions."


def test_a_new_attempt_in_a_snapshot_does_not_join_on_to_the_old_one() -> None:
    log, transcript = Log(), Transcript()
    log.text("Half of an")
    shown(transcript, reduce(log.events))
    other = Log()
    other.message("Something else.")
    pieces = transcript.news(reduce(other.events))
    assert [p.text for p in pieces] == ["\n", "  (written anew)", "Something else.", "\n"]


@pytest.mark.parametrize("seed", range(20))
def test_any_cutting_into_batches_and_snapshots_prints_the_same(seed: int) -> None:
    dice = random.Random(seed)
    log = Log()
    for n in range(dice.randrange(1, 4)):
        log.add("prompt", {"id": f"p{n}", "text": "Why?"}, run=f"r{n}")
        text = ""
        for _ in range(dice.randrange(1, 6)):
            text += (piece := dice.choice(["word ", "line\n", "é"]))
            log.add("text", {"attempt": 1, "text": piece}, f"i{n}", f"r{n}")
        log.add("message", {"text": text}, f"i{n}", f"r{n}")
        log.add("completed", {"outcome": "success", "text": text}, run=f"r{n}")
    want = "".join(p.text for p in Transcript().news(reduce(log.events)))
    transcript, view, at, got = Transcript(), View(), 0, ""
    while at < len(log.events):
        upto = dice.randrange(at + 1, len(log.events) + 1)
        view = reduce(log.events[:upto]) if dice.random() < 0.3 else reduce(log.events[at:upto], view)
        got, at = got + "".join(p.text for p in transcript.news(view)), upto
    assert got == want, f"seed {seed}"


def test_steps_are_lines_of_their_own_and_one_run_is_told_from_others() -> None:
    log = Log()
    log.add("prompt", {"id": "p1", "text": "Why?"})
    log.add("tool_call", {"id": "c1", "name": "search", "args": {"query": "session cleanup"}})
    result = {"id": "c1", "summary": "7 places in 5 files", "ok": True, "truncated": False, "cache": "cached"}
    log.add("tool_result", result)
    log.add("tool_call", {"id": "c9", "name": "read_file", "args": {"path": "a.py"}}, run="r2")
    log.add("tool_result", {**result, "id": "c9"}, run="r2")
    one = shown(Transcript(one_run=True, run_id="r1"), reduce(log.events), "step")
    assert one == '· search "session cleanup" → 7 places in 5 files (cached)\n'
    everything = shown(Transcript(), reduce(log.events), "step")
    assert everything.startswith("> Why?\n")
    assert "read_file" in everything


def test_nothing_is_shown_before_the_run_is_known() -> None:
    log = Log()
    log.text("Somebody else's.")
    assert Transcript(one_run=True).news(reduce(log.events)) == []


def test_a_question_and_its_answer() -> None:
    log, view, transcript = Log(), View(), Transcript()
    log.add("question", {"id": "q1", "text": "Which one?", "schema": {"enum": ["a", "b"]}})
    assert shown(transcript, reduce(log.events, view), "step") == "? Which one? (a / b)\n"
    assert [i["id"] for i in transcript.pending(view)] == ["q1"]
    answered = log.add("answered", {"id": "q1", "answer": "a", "by": "page"})
    assert shown(transcript, reduce([answered], view), "step") == "· page answered: a\n"
    assert transcript.pending(view) == []


def test_a_diff_is_shown_as_a_diff() -> None:
    log = Log()
    file = {"path": "a.py", "op": "edit", "hunks": [{"id": "h1", "unified": "@@ -1 +1 @@\n-a\n+b"}]}
    log.add("diff", {"id": "d1", "files": [file]})
    assert shown(Transcript(), reduce(log.events), "diff") == "--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-a\n+b\n"


def test_the_parts_of_a_diff_are_numbered_and_what_became_of_it_is_said() -> None:
    log, transcript = Log(), Transcript()
    hunks = [{"id": f"h{n}", "unified": f"@@ -{n} +{n} @@\n-a\n+b\n"} for n in (1, 2)]
    log.add(
        "diff",
        {
            "id": "d1",
            "files": [{"path": "Makefile", "op": "edit", "hunks": hunks, "risk": "It is run."}],
            "risky": True,
        },
    )
    text = "".join(f"{p.text}\n" for p in transcript.news(reduce(log.events)))
    assert "! It is run." in text and "# part 1\n@@ -1" in text and "# part 2\n@@ -2" in text
    log.add("decided", {"id": "d1", "verdict": "accept", "hunks": ["h2"], "by": "page"})
    assert shown(transcript, reduce(log.events), "step") == "· accepted 1 hunks (by page)\n"
    clash = {"path": "b.py", "note": "Somebody changed it."}
    log.add("applied", {"diff_id": "d1", "files": [{"path": "Makefile"}], "conflicts": [clash]})
    assert shown(transcript, reduce(log.events), "step") == "· written: Makefile\n✗ b.py: Somebody changed it.\n"


def test_how_a_run_ended_is_said_after_its_text() -> None:
    log, transcript = Log(), Transcript()
    log.add("run", {"status": "recovering", "attempt": 2})
    assert shown(transcript, reduce(log.events), "step") == "· the server was restarted; the run goes on\n"
    log.message("Half.")
    log.add("usage", {"input_tokens": 1200, "output_tokens": 30, "requests": 2, "cost": 0.0123, "estimated": False})
    log.add("error", {"code": "provider_auth", "message": "The key was refused.", "retryable": True})
    log.add("completed", {"outcome": "failed", "reason": "provider_auth"})
    pieces = [p.text for p in transcript.news(reduce(log.events))]
    assert pieces == [
        "Half.",
        "\n",
        "✗ The key was refused.",
        "✗ failed: provider_auth",
        "· 1,200 tokens in, 30 out, 2 model requests, $0.0123",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\x00b", "a\\x00b"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\ud800", "\\ud800"),
        ("tab\tand\nnewline é 😀", "tab\tand\nnewline é 😀"),
    ],
    ids=["bad123-ansi", "bad123-nul", "bad123-c1", "bad83-bidi", "bad123-surrogate", "bad123-innocent"],
)
def test_text_cannot_steer_the_terminal(text: str, expected: str) -> None:
    log = Log()
    log.message(text)
    assert shown(Transcript(), reduce(log.events)) == expected + "\n"
    terminal.json_line({"text": text}).encode()


def test_mutation_without_cleaning_the_escape_would_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.cli.transcript.safe", lambda text: text)
    with pytest.raises(AssertionError):
        test_text_cannot_steer_the_terminal("\x1b[2Jgone", "\\x1b[2Jgone")
