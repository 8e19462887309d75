"""A change on the terminal: taken, refused, gone through part by part, edited, sent back."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from talking import ask, begin, event, events

from peer import Peer
from reconvene.cli.deciding import Parts, answer_of, edited


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
