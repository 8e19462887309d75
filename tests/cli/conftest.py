"""Machines for the commands, and a terminal to type on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from reconvene.cli import deciding
from reconvene.cli.conversation import Conversation
from reconvene.cli.deciding import Parts


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One server for all tests that leave it as it was."""
    machine = Machine(tmp_path_factory.mktemp("served"))
    machine.serve()
    machine.run("index")  # returns once every file was read
    yield machine
    machine.clean()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine where nothing runs yet."""
    machine = Machine(tmp_path)
    yield machine
    machine.clean()


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
