"""What a run asks is answered on the terminal, or ends the command when nobody is there."""

from __future__ import annotations

import asyncio
import os

import pytest
from talking import QUESTION, ask, begin, event, events

from peer import SESSION, Peer, session


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
