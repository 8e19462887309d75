"""`ask` and `attach` against servers that follow a script: what is shown, how a run ends, and a person who leaves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from talking import ANSWER, EMPTY, ask, begin, event, events, until

from peer import SESSION, Peer, session
from reconvene.cli import asking
from reconvene.cli.conversation import Conversation
from reconvene.errors import ReconveneError


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


class Away:
    """A server whose database is away for some answers."""

    def __init__(self, *refused: str) -> None:
        self.refused = list(refused)

    def call(self, method: str, path: str) -> Any:
        if self.refused:
            raise ReconveneError(self.refused.pop(), "The database does not answer.")
        return {"sessions": [{"session_id": SESSION, "root": "/project", "archived": False}]}


def attach(away: Away, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    class Attached(Conversation):
        async def run(self) -> int:
            return 7 if self._link.session_id == SESSION else 0

    monkeypatch.setattr(asking, "awake", lambda *_: away)
    monkeypatch.setattr(asking, "Conversation", Attached)
    monkeypatch.setattr(asking, "AGAIN", 0.0)
    return asking.attach(SESSION, folder, as_json=True)


def test_attach_begins_in_an_outage_and_waits_for_its_end(tmp_path, monkeypatch, capsys):
    away = Away("store_error", "starting", "store_busy", "draining")
    assert attach(away, tmp_path, monkeypatch) == 7 and not away.refused
    assert capsys.readouterr().err.count("does not answer") == 1, "it is said once"


def test_attach_does_not_repeat_what_is_refused_for_good(tmp_path, monkeypatch):
    with pytest.raises(ReconveneError, match="does not answer"):
        attach(Away("store_error", "unauthorized"), tmp_path, monkeypatch)


def test_control_without_asking_again_attach_ends_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "NOT_NOW", frozenset())
    with pytest.raises(ReconveneError):
        attach(Away("store_error"), tmp_path, monkeypatch)
