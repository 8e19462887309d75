"""Every recorded conversation is followed to the recorded view; a client that breaks a rule is caught by one of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from make_conversations import FOLDER, conversations, text

from reconvene.protocol import follower as follower_module
from reconvene.protocol.events import CONTENTS
from reconvene.protocol.follower import Follower
from reconvene.protocol.frames import SERVER_FRAMES
from reconvene.protocol.view import View

FILES = sorted(FOLDER.glob("*.jsonl"))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def follow(lines: Iterable[dict[str, Any]], follower: Follower) -> None:
    for line in lines:
        match line:
            case {"connect": config}:
                assert follower.connect() == config
            case {"receive": frame, "outcome": outcome}:
                assert follower.receive(frame) == outcome
            case {"view": view, "cursor": cursor}:
                assert follower.view.to_json() == view
                assert follower.cursor == cursor


@pytest.mark.parametrize("path", FILES, ids=[p.stem for p in FILES])
def test_a_recorded_conversation(path: Path) -> None:
    lines = read(path)
    assert "about" in lines[0]
    assert "view" in lines[-1]
    follow(lines, Follower())


def test_the_files_are_what_the_script_writes() -> None:
    made = {name: text(lines) for name, lines in conversations()}
    assert {p.name: p.read_text("utf-8") for p in FILES} == made, "run tests/protocol/make_conversations.py"


def test_recorded_frames_are_frames_of_the_protocol() -> None:
    models = {m.model_fields["type"].default: m for m in SERVER_FRAMES}
    for path in FILES:
        for line in read(path):
            if frame := line.get("receive"):
                models[frame["type"]].model_validate(frame)
                for event in frame["content"].get("events", ()):
                    CONTENTS[event["type"]].model_validate(event["content"])


class AppliesAnything(Follower):
    def receive(self, frame: Any) -> Any:
        if frame["type"] == "batch":
            frame = {**frame, "content": {**frame["content"], "after": self.cursor}}
        return super().receive(frame)


class GoesOnAfterAGap(Follower):
    def receive(self, frame: Any) -> Any:
        self._gap = False
        return super().receive(frame)


class AddsSnapshots(Follower):
    def receive(self, frame: Any) -> Any:
        before = self.view
        outcome = super().receive(frame)
        if frame["type"] == "snapshot" and outcome == "applied":
            for event in frame["content"]["events"]:
                before.apply(event)
            self.view = before
        return outcome


class ForgetsTheCursor(Follower):
    def connect(self) -> Any:
        self.cursor = None
        return super().connect()


class KeepsItsSession(Follower):
    def receive(self, frame: Any) -> Any:
        mine = self.session_id
        outcome = super().receive(frame)
        self.session_id = mine or self.session_id
        return outcome


BROKEN = [AppliesAnything, GoesOnAfterAGap, AddsSnapshots, ForgetsTheCursor, KeepsItsSession]


def caught(client: type[Follower]) -> bool:
    for path in FILES:
        try:
            follow(read(path), client())
        except AssertionError:
            return True
    return False


@pytest.mark.parametrize("client", BROKEN)
def test_a_client_that_breaks_a_rule_is_caught(client: type[Follower]) -> None:
    assert caught(client)


def test_a_client_without_memory_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "REMEMBERED", 0)
    assert caught(Follower)


_SILENCED = sorted(
    {
        "text",
        "message",
        "item_aborted",
        "answered",
        "decided",
        "applied",
        "run",
        "usage",
        "plan",
        "completed",
        "prompt",
        "tool_result",
    }
)


@pytest.mark.parametrize("kind", _SILENCED)
def test_a_reducer_that_forgets_a_type_is_caught(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = View.apply
    monkeypatch.setattr(View, "apply", lambda self, event: None if event["type"] == kind else whole(self, event))
    assert caught(Follower)
