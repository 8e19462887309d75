"""`ask` and `attach` against servers that follow a script: how a run ends, questions, and a person who leaves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from peer import SESSION, Life, Peer, server, session
from reconvene.cli import deciding
from reconvene.cli.conversation import Conversation, Screen
from reconvene.cli.deciding import Parts, answer_of, edited
from reconvene.client.link import Link
from reconvene.errors import ReconveneError
from reconvene.protocol.follower import Follower


def event(
    seq: int, type: str, content: dict[str, Any], item: str | None = None, run: str | None = "r1"
) -> dict[str, Any]:
    return {"type": type, "seq": seq, "run_id": run, "item_id": item, "parent_id": None, "at": 0.0, "content": content}


def events(after: str, upto: str, *events: dict[str, Any]) -> dict[str, Any]:
    return {"type": "batch", "content": {"after": after, "upto": upto, "events": list(events), "synced": True}}


EMPTY = {"type": "snapshot", "content": {"cursor": "c0", "events": [], "synced": True}}
ANSWER = [
    event(2, "text", {"attempt": 1, "text": "Sessions are "}, "i1"),
    event(3, "message", {"text": "Sessions are swept."}, "i1"),
    event(4, "completed", {"outcome": "success", "text": "Sessions are swept."}),
]
QUESTION = event(2, "question", {"id": "q1", "text": "Which one?", "schema": {"enum": ["hub", "pool"]}})


def screen(*, json: bool = False, asks: bool = False) -> Screen:
    return Screen(json, asks, lambda session: f"reconvene attach {session}")


async def begin(peer: Peer) -> dict[str, Any]:
    """The start of a session with its first prompt; returns the prompt's frame."""
    frame = await peer.get()
    await peer.send(session(base_ms=1, cap_ms=1), EMPTY)
    await peer.ack(frame)
    await peer.send(events("c0", "c1", event(1, "prompt", {"id": frame["id"], "text": frame["content"]})))
    return frame


async def ask(*lives: Life, prompt: str | None = "How?", **how: bool) -> int:
    follower = Follower() if prompt is not None else Follower(SESSION)
    link = Link(client={"id": "c1", "name": "terminal"}, follower=follower, random=lambda: 0.0)
    async with server(*lives) as where:
        return await asyncio.wait_for(Conversation(where, link, screen(**how), prompt).run(), 10)


async def test_the_answer_is_on_stdout_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    async def life(peer: Peer) -> None:
        await begin(peer)
        await peer.send(events("c1", "c4", *ANSWER))
        await peer.rest()

    assert await ask(life) == 0
    said = capsys.readouterr()
    assert said.out == "Sessions are swept.\n"
    assert said.err == ""


async def test_json_is_one_object_a_line_each_event_once(capsys: pytest.CaptureFixture[str]) -> None:
    async def cut_off(peer: Peer) -> None:
        await begin(peer)
        await peer.send(events("c1", "c2", ANSWER[0]))
        await peer.cut()

    async def snapshot(peer: Peer) -> None:
        await peer.get()
        content = {"cursor": "c4", "events": [event(1, "prompt", {"id": "x", "text": "How?"}), *ANSWER[1:]]}
        await peer.send(session(mode="snapshot", reason="lag"), {"type": "snapshot", "content": content})
        await peer.rest()

    assert await ask(cut_off, snapshot, json=True) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["type"] for line in lines] == ["session", "prompt", "text", "session", "message", "completed"]


async def test_events_of_other_runs_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    async def life(peer: Peer) -> None:
        frame = await peer.get()
        other = event(1, "message", {"text": "Somebody else's."}, "i0", run="r0")
        await peer.send(session(), EMPTY, events("c0", "c1", other))
        await peer.ack(frame)
        await peer.send(events("c1", "c4", *ANSWER))
        await peer.rest()

    assert await ask(life) == 0
    assert capsys.readouterr().out == "Sessions are swept.\n"


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
async def test_a_run_that_does_not_succeed_ends_with_4(outcome: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def life(peer: Peer) -> None:
        await begin(peer)
        error = event(2, "error", {"code": "provider_auth", "message": "The key was refused.", "retryable": True})
        await peer.send(events("c1", "c3", error, event(3, "completed", {"outcome": outcome, "text": ""})))
        await peer.rest()

    assert await ask(life) == 4
    assert "The key was refused." in capsys.readouterr().err


async def test_a_refused_prompt_is_an_error() -> None:
    async def life(peer: Peer) -> None:
        frame = await peer.get()
        content = {"code": "root_required", "message": "Name one of: a, b.", "retryable": False, "details": {}}
        await peer.send(session(), EMPTY, {"type": "nack", "reply_to": frame["id"], "content": content})
        await peer.rest()

    with pytest.raises(ReconveneError, match="Name one of"):
        await ask(life)


async def test_a_question_that_nobody_can_answer_ends_with_5(capsys: pytest.CaptureFixture[str]) -> None:
    async def life(peer: Peer) -> None:
        await begin(peer)
        await peer.send(events("c1", "c2", QUESTION))
        await peer.rest()

    assert await ask(life) == 5
    said = capsys.readouterr().err
    assert "Which one? (hub / pool)" in said
    assert f"reconvene attach {SESSION}" in said


@pytest.mark.parametrize("late", [False, True], ids=["before", "meanwhile"])
async def test_a_prompt_behind_a_run_that_waits_ends_with_5(late: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody has to answer what the run before it asks; nobody is there."""
    asked = [event(1, "run", {"status": "running"}), QUESTION, event(3, "run", {"status": "waiting"})]

    async def life(peer: Peer) -> None:
        frame = await peer.get()
        before = {"type": "snapshot", "content": {"cursor": "c3", "events": [] if late else asked, "synced": True}}
        await peer.send(session(base_ms=1, cap_ms=1), before)
        await peer.send({"type": "ack", "reply_to": frame["id"], "content": {"status": "accepted", "run_id": "r2"}})
        own = [
            event(4, "prompt", {"id": frame["id"], "text": frame["content"]}, run="r2"),
            event(5, "run", {"status": "queued", "position": 1}, run="r2"),
        ]
        await peer.send(events("c3", "c5", *own))
        if late:
            await peer.send(events("c5", "c8", *asked))
        await peer.rest()

    assert await ask(life) == 5
    said = capsys.readouterr()
    assert said.out == ""
    assert "queued behind 1" in said.err and "reconvene attach" in said.err


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal's other end, to type on."""
    typed, stdin = os.openpty()
    with os.fdopen(stdin, "r") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        yield typed
    os.close(typed)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[str]:
    """Filled whenever the person is asked; before that nothing should be typed."""
    times: asyncio.Queue[str] = asyncio.Queue()
    real, of_parts = deciding.hint, Parts.hint

    def of_part(self: Parts) -> str:
        times.put_nowait("part")
        return of_parts(self)

    monkeypatch.setattr(Parts, "hint", of_part)

    def hint(item: dict[str, Any]) -> str:
        times.put_nowait(item["id"])
        return real(item)

    monkeypatch.setattr("reconvene.cli.conversation.hint", hint)
    return times


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[int]:
    """Filled with the last seq of whatever was shown."""
    seqs: asyncio.Queue[int] = asyncio.Queue()
    show = Conversation._show

    def showing(self: Conversation, events: list[dict[str, Any]]) -> None:
        show(self, events)
        for event in events:
            seqs.put_nowait(event["seq"])

    monkeypatch.setattr(Conversation, "_show", showing)
    return seqs


async def until(seqs: asyncio.Queue[int], seq: int) -> None:
    while await seqs.get() != seq:
        pass


async def test_a_question_is_answered_on_the_terminal_until_it_fits(
    keyboard: int, asked: asyncio.Queue[str], capsys: pytest.CaptureFixture[str]
) -> None:
    async def life(peer: Peer) -> None:
        await begin(peer)
        await peer.send(events("c1", "c2", QUESTION))
        await asked.get()
        os.write(keyboard, b"\n")
        await asked.get()
        os.write(keyboard, b"nothing\n")
        wrong = await peer.get()
        assert (wrong["type"], wrong["reply_to"], wrong["content"]) == ("answer", "q1", "nothing")
        content = {"code": "invalid_field", "message": "Answer one of: hub, pool.", "retryable": False, "details": {}}
        await peer.send({"type": "nack", "reply_to": wrong["id"], "content": content})
        await asked.get()
        os.write(keyboard, b"hub\n")
        right = await peer.get()
        assert right["content"] == "hub"
        await peer.ack(right)
        answered = event(3, "answered", {"id": "q1", "answer": "hub", "by": "terminal"})
        await peer.send(events("c2", "c4", answered, event(4, "completed", {"outcome": "success", "text": ""})))
        await peer.rest()

    assert await ask(life, asks=True) == 0
    said = capsys.readouterr().err
    assert "Answer one of: hub, pool." in said
    assert "terminal answered: hub" in said


async def test_a_question_that_somebody_else_answers_is_taken_back(
    keyboard: int, asked: asyncio.Queue[str], capsys: pytest.CaptureFixture[str]
) -> None:
    async def life(peer: Peer) -> None:
        await begin(peer)
        await peer.send(events("c1", "c2", QUESTION))
        assert await asked.get() == "q1"
        await peer.send(events("c2", "c3", event(3, "answered", {"id": "q1", "answer": "pool", "by": "page"})))
        confirmation = event(4, "confirmation", {"id": "q2", "text": "Sure?"})
        await peer.send(events("c3", "c4", confirmation))
        assert await asked.get() == "q2"
        os.write(keyboard, b"perhaps\ny\n")
        frame = await peer.get()
        assert (frame["reply_to"], frame["content"]) == ("q2", True)
        await peer.ack(frame)
        answered = event(5, "answered", {"id": "q2", "answer": True, "by": "terminal"})
        await peer.send(events("c4", "c6", answered, event(6, "completed", {"outcome": "success", "text": ""})))
        await peer.rest()

    assert await ask(life, asks=True) == 0
    said = capsys.readouterr().err
    assert "page answered: pool" in said
    assert "Answer y or n." in said


async def test_a_diff_is_decided(keyboard: int, asked: asyncio.Queue[str]) -> None:
    diff = {"id": "d1", "files": [{"path": "a.py", "op": "edit", "hunks": [{"id": "h1", "unified": "-a\n+b"}]}]}

    async def life(peer: Peer) -> None:
        await begin(peer)
        await peer.send(events("c1", "c2", event(2, "diff", diff)))
        await asked.get()
        os.write(keyboard, b"use a constant\n")
        frame = await peer.get()
        assert frame["type"] == "decision"
        assert frame["content"] == {"verdict": "feedback", "hunks": None, "feedback": "use a constant"}
        await peer.ack(frame)
        decided = event(3, "decided", {"id": "d1", "verdict": "feedback", "feedback": "use a constant"})
        await peer.send(events("c2", "c4", decided, event(4, "completed", {"outcome": "success", "text": ""})))
        await peer.rest()

    assert await ask(life, asks=True) == 0


TWO = {
    "id": "d1",
    "files": [
        {
            "path": "a.py",
            "op": "edit",
            "hunks": [{"id": f"h{n}", "unified": f"@@ -{n} @@\n-a\n+b\x1b[2J"} for n in (1, 2)],
        }
    ],
}


@pytest.mark.parametrize(
    ("typed", "hunks", "verdict"),
    [("yn", ["h1"], "accept"), ("ny", ["h2"], "accept"), ("nn", None, "reject"), ("x?yy", ["h1", "h2"], "accept")],
)
async def test_a_diff_is_gone_through_part_by_part(
    keyboard: int, asked: asyncio.Queue[str], typed: str, hunks: Any, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def life(peer: Peer) -> None:
        await begin(peer)
        await peer.send(events("c1", "c2", event(2, "diff", TWO)))
        assert await asked.get() == "d1"
        os.write(keyboard, b"s\n")
        for letter in typed:
            assert await asked.get() == "part"
            os.write(keyboard, f"{letter}\n".encode())
        frame = await peer.get()
        assert frame["content"] == {"verdict": verdict, "hunks": hunks, "feedback": None}
        await peer.ack(frame)
        decided = event(3, "decided", {"id": "d1", "verdict": verdict, "hunks": hunks})
        await peer.send(events("c2", "c4", decided, event(4, "completed", {"outcome": "success", "text": ""})))
        await peer.rest()

    assert await ask(life, asks=True) == 0
    said = capsys.readouterr().err
    assert "part 2 of 2" in said and "\x1b" not in said and ("Answer y, n, f, e or q." in said) is ("?" in typed)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["y", "f"], None),
        (["y", "f Keep B"], "In a.py, at `@@ -2 @@`: Keep B\n\nFine as they are: a.py at `@@ -1 @@`."),
        (["n", "f shorter"], "In a.py, at `@@ -2 @@`: shorter"),
        (
            ["e"],
            "I edited the part of a.py at `@@ -1 @@`. Propose exactly this in its place:\n\n```diff\n@@ -1 @@\n-a\n+c\n```",
        ),
    ],
)
def test_a_part_is_sent_back_or_edited(typed: list[str], said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.edit", lambda text, extension: text.replace("+b\x1b[2J", "+c"))
    parts = Parts({"type": "diff", **TWO})
    taken: Any = None
    for word in typed:
        taken = parts.edited() if word == "e" else parts.take(word)
    if said is None:
        assert taken == "Type f and what should be different."
    else:
        assert taken["content"] == {"verdict": "feedback", "hunks": None, "feedback": said}
        assert taken["reply_to"] == "d1"


def test_a_part_that_is_left_as_it_was_is_no_feedback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.edit", lambda text, extension: text)
    assert Parts({"type": "diff", **TWO}).edited() == "The change is as it was."
    monkeypatch.setattr("click.edit", lambda text, extension: "x" * 20_000)
    assert "in words" in str(Parts({"type": "diff", **TWO}).edited())


async def test_q_goes_back_to_the_whole_and_then_leaves(keyboard: int, asked: asyncio.Queue[str]) -> None:
    async def life(peer: Peer) -> None:
        await begin(peer)
        await peer.send(events("c1", "c2", event(2, "diff", TWO)))
        for expected, word in (("d1", b"s\n"), ("part", b"y\n"), ("part", b"q\n"), ("d1", b"q\n")):
            assert await asked.get() == expected
            os.write(keyboard, word)
        await peer.rest()

    assert await ask(life, asks=True) == 130


@pytest.mark.parametrize("change", [True, False])
async def test_a_diff_is_edited(
    keyboard: int, asked: asyncio.Queue[str], change: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.edit", lambda text, extension: text.replace("+b", "+c ```") if change else text)

    async def life(peer: Peer) -> None:
        await begin(peer)
        await peer.send(events("c1", "c2", event(2, "diff", TWO)))
        await asked.get()
        os.write(keyboard, b"e\n")
        if not change:
            await asked.get()
            os.write(keyboard, b"y\n")
        frame = await peer.get()
        content = frame["content"]
        assert content["verdict"] == ("feedback" if change else "accept")
        assert not change or ("+c ```" in content["feedback"] and content["feedback"].endswith("\n````"))
        await peer.ack(frame)
        decided = event(3, "decided", {"id": "d1", "verdict": "reject"})
        await peer.send(events("c2", "c4", decided, event(4, "completed", {"outcome": "success", "text": ""})))
        await peer.rest()

    assert await ask(life, asks=True) == 0


def test_an_edit_that_is_too_long_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.edit", lambda text, extension: "x" * 20_000)
    assert "in words" in str(edited({"type": "diff", **TWO}))


TYPED = {
    "y": ("accept", None, None),
    "N": ("reject", None, None),
    "2, 1": ("accept", ["h1", "h2"], None),
    "3": ("accept", ["h3"], None),
    "f shorter": ("feedback", None, "shorter"),
    "keep the name": ("feedback", None, "keep the name"),
}


@pytest.mark.parametrize("typed", TYPED)
def test_what_is_typed_at_a_diff(typed: str) -> None:
    item = {"type": "diff", "id": "d1", "files": [{"hunks": [{"id": "h1"}, {"id": "h2"}]}, {"hunks": [{"id": "h3"}]}]}
    frame = answer_of(item, typed)
    assert isinstance(frame, dict)
    assert tuple(frame["content"][k] for k in ("verdict", "hunks", "feedback")) == TYPED[typed]
    assert answer_of(item, "4") == "The parts are 1 to 3."
    assert answer_of(item, "f") == "Type what should be different."


async def test_ctrl_c_detaches_and_says_how_to_come_back(
    shown: asyncio.Queue[int], capsys: pytest.CaptureFixture[str]
) -> None:
    async def life(peer: Peer) -> None:
        await begin(peer)
        await peer.send(events("c1", "c2", ANSWER[0]))
        await until(shown, 2)
        os.kill(os.getpid(), signal.SIGINT)
        await peer.rest()

    assert await ask(life) == 130
    assert f"reconvene attach {SESSION}" in capsys.readouterr().err


async def test_ctrl_c_before_the_prompt_is_stored_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    async def life(peer: Peer) -> None:
        await peer.get()
        os.kill(os.getpid(), signal.SIGINT)
        await peer.rest()

    assert await ask(life) == 130
    assert "did not reach the server" in capsys.readouterr().err


async def test_attach_shows_the_conversation_and_stays(
    shown: asyncio.Queue[int], capsys: pytest.CaptureFixture[str]
) -> None:
    async def life(peer: Peer) -> None:
        assert (await peer.get())["config"] == {"session_id": SESSION}
        content = {
            "cursor": "c4",
            "events": [event(1, "prompt", {"id": "x", "text": "How?", "by": "page"}), *ANSWER],
            "synced": True,
        }
        await peer.send(session(mode="snapshot"), {"type": "snapshot", "content": content})
        await peer.send(events("c4", "c5", event(5, "prompt", {"id": "y", "text": "Really?"}, run="r2")))
        await until(shown, 5)
        os.kill(os.getpid(), signal.SIGINT)
        await peer.rest()

    assert await ask(life, prompt=None) == 130
    said = capsys.readouterr()
    assert said.out == "Sessions are swept.\n"
    assert "> How? (page)\n" in said.err
    assert "> Really?\n" in said.err


async def test_a_lost_connection_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    async def cut_off(peer: Peer) -> None:
        await begin(peer)
        await peer.cut()

    async def again(peer: Peer) -> None:
        await peer.get()
        await peer.cut()

    async def whole(peer: Peer) -> None:
        assert (await peer.get())["config"]["cursor"] == "c1"
        await peer.send(session(mode="resume"), events("c1", "c4", *ANSWER))
        await peer.rest()

    assert await ask(cut_off, again, whole) == 0
    said = capsys.readouterr()
    assert said.out == "Sessions are swept.\n"
    assert said.err.count("connection lost") == 1
    assert said.err.count("connected again") == 1
