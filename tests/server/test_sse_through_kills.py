"""A run driven over plain HTTP by other people's readers, with the server killed in the middle: each event once, the whole answer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai._streaming import ServerSentEvent, SSEDecoder

from machine import Machine
from reconvene.client.local import Server, find

DELTAS = ("text", "reasoning", "item_aborted")
QUESTION = {
    "type": "default",
    "id": "0199b2c0-6f6e-7c60-8d1f-1c2f3a4b5c6d",
    "content": "how are idle sessions removed?",
}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.clean()


def new_session(server: Server) -> str:
    return str(server.call("POST", "/api/sessions", {})["session_id"])


def ask(server: Server, session_id: str) -> None:
    assert server.call("POST", f"/api/sessions/{session_id}/messages", QUESTION)["status"] == "accepted"


def killed(machine: Machine, server: Server) -> Server:
    os.kill(server.pid, signal.SIGKILL)
    machine.until(lambda: find(machine.data_dir) is None)
    machine.speak_at_once()
    return machine.serve()


def whole_log(server: Server, session_id: str) -> list[tuple[int, str]]:
    events = server.call("GET", f"/api/sessions/{session_id}/events?limit=1000")["events"]
    return [(e["seq"], e["type"]) for e in events if e["type"] not in DELTAS]


def once(seen: list[dict[str, Any]]) -> list[tuple[int, str]]:
    seqs = [e["seq"] for e in seen]
    assert len(set(seqs)) == len(seqs), "an event came twice"
    return [(e["seq"], e["type"]) for e in seen if e["type"] not in DELTAS]


def read_with_openai(server: Server, session_id: str, last: str | None) -> Iterator[ServerSentEvent]:
    """As the `openai` package reads its streams."""
    headers = {"Authorization": f"Bearer {server.token}", "Accept": "text/event-stream"}
    if last is not None:
        headers["Last-Event-ID"] = last
    url = f"{server.endpoint.url}/api/sessions/{session_id}/events"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        yield from SSEDecoder().iter_bytes(iter(lambda: answer.read1(4096), b""))


def test_the_reader_of_openai_goes_on_with_last_event_id(machine: Machine) -> None:
    machine.speak_slowly()
    server = machine.serve()
    session_id = new_session(server)
    seen: list[dict[str, Any]] = []
    last: str | None = None
    deaths = 0
    asked = False
    while not seen or seen[-1]["type"] != "completed":
        try:
            for said in read_with_openai(server, session_id, last):
                if not said.data:  # `retry`, which comes alone: the stream is open, so that what follows is seen live
                    if not asked:
                        ask(server, session_id)
                    asked = True
                    continue
                event = said.json()
                assert said.event == event["type"]
                seen.append(event)
                last = said.id
                if event["type"] == "tool_call" and not deaths:
                    deaths += 1
                    server = killed(machine, server)
                    break
                if event["type"] == "completed":
                    break
        except OSError:  # what was under way when it died
            assert deaths
    assert deaths == 1
    assert once(seen) == whole_log(server, session_id)
    assert "hub.py" in seen[-1]["content"]["text"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_goes_on_behind_the_last_id_it_saw(machine: Machine) -> None:
    machine.speak_slowly()
    server = machine.serve()
    session_id = new_session(server)
    seen: list[dict[str, Any]] = []
    last: str | None = None
    deaths = 0
    asked = False
    while not seen or seen[-1]["type"] != "completed":
        more = [] if last is None else ["-H", f"Last-Event-ID: {last}"]
        url = f"{server.endpoint.url}/api/sessions/{session_id}/events"
        words = [
            "curl",
            "-sN",
            "-m",
            "60",
            "-H",
            f"Authorization: Bearer {server.token}",
            "-H",
            "Accept: text/event-stream",
        ]
        with subprocess.Popen([*words, *more, url], stdout=subprocess.PIPE, text=True) as curl:
            assert curl.stdout is not None
            for line in curl.stdout:
                name, _, value = line.rstrip("\n").partition(": ")
                if name == "retry" and not asked:
                    ask(server, session_id)
                    asked = True
                elif name == "id":
                    coming = value
                elif name == "data":
                    seen.append(json.loads(value))
                    last = coming
                    if seen[-1]["type"] == "tool_call" and not deaths:
                        deaths += 1
                        threading.Thread(target=os.kill, args=(server.pid, signal.SIGKILL)).start()
                    if seen[-1]["type"] == "completed":
                        break
            curl.kill()
        if deaths == 1 and (not seen or seen[-1]["type"] != "completed"):
            deaths += 1
            machine.until(lambda: find(machine.data_dir) is None)
            machine.speak_at_once()
            server = machine.serve()
    assert deaths == 2, "it was over before the server died"
    assert once(seen) == whole_log(server, session_id)


def test_mutation_without_last_event_id_everything_comes_twice(machine: Machine) -> None:
    machine.speak_slowly()
    server = machine.serve()
    session_id = new_session(server)
    ask(server, session_id)
    seen: list[dict[str, Any]] = []
    for _ in range(2):
        for said in read_with_openai(server, session_id, None):
            if said.data:
                seen.append(said.json())
                if seen[-1]["type"] == "repo_map":
                    break
    with pytest.raises(AssertionError, match="twice"):
        once(seen)
