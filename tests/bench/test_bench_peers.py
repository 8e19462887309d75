"""The comparison's own parts: what is counted as lost, what the model says, and that the page is what was measured."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.peers import __main__ as peers
from bench.peers import measure, provider, released
from bench.peers.peer import EventStream, Page
from bench.peers.provider import Provider


class Shown(Page):
    def __init__(self, text: str) -> None:
        self.text = text

    async def cut(self) -> None:
        pass


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tok0 tok1 tok2 ", (0, 0, 3)),
        ("tok0 tok4 ", (3, 0, 5)),
        ("tok0 tok1 tok1 tok2 tok0 ", (0, 2, 3)),
        ("", (0, 0, 0)),
        ("tok0 tok", (0, 0, 1)),
    ],
)
def test_what_is_missing_and_what_is_there_twice(text: str, found: tuple[int, int, int]) -> None:
    assert measure.compared(Shown(text)) == found


def test_up_to_the_end_what_never_came_is_missing_too() -> None:
    assert measure.compared(Shown("tok0 tok1 "), 240) == (238, 0, 240)


def ask(served: Provider, path: str, body: dict[str, Any]) -> str:
    request = urllib.request.Request(served.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return str(answer.read().decode())


SHELL = {"type": "object", "properties": {"command": {"type": "string"}}}
LIST = {"type": "object", "properties": {"command": {"type": "array"}, "shell": {"type": "boolean"}}}


def test_the_model_speaks_both_ways_of_its_provider_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "PACE", 0.0)
    monkeypatch.setattr(provider, "SLOW", 5)
    served = Provider()
    tools = [{"type": "function", "function": {"name": "bash", "parameters": SHELL}}]
    said = ask(
        served,
        "/chat/completions",
        {"stream": True, "messages": [{"role": "user", "content": "SLOW a"}], "tools": tools},
    )
    assert said.count('"content": "tok') == 5 and served.said == {"SLOW a": 5}
    listed = [{"type": "function", "name": "shell", "parameters": LIST}]
    said = ask(served, "/responses", {"input": [{"role": "user", "content": "TOOL b"}], "tools": listed})
    calls = [json.loads(line[6:]) for line in said.splitlines() if "function_call" in line]
    arguments = json.loads(calls[0]["item"]["arguments"])
    assert arguments["shell"] is True and arguments["command"][0].startswith("echo begun >> ")
    done = {"type": "function_call_output", "call_id": "x", "output": ""}
    said = ask(served, "/responses", {"input": [{"role": "user", "content": "TOOL b"}, done], "tools": listed})
    assert "function_call" not in said and "done" in said
    assert served.since(0) == 3


async def test_events_are_read_whole_however_they_come() -> None:
    heard: list[tuple[str, Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1a\r\nevent: a\nid: 7\ndata: {"n":1}\n\n\r\n'
        )
        writer.write(b'10\r\ndata: {"n":2}\n\n\r\n0\r\n\r\n')
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    stream = EventStream(server.sockets[0].getsockname()[1], "/", lambda event, said: heard.append((event, said)), {})
    await stream.open()
    async with asyncio.timeout(10):
        while not stream.ended:
            await asyncio.sleep(0)
    await stream.cut()
    server.close()
    assert heard == [("a", {"n": 1}), ("", {"n": 2})] and stream.last_id == "7"


def test_the_page_is_what_was_measured() -> None:
    kept = json.loads(peers.KEPT.read_text())
    assert peers.PAGE.read_text() == peers.page(kept)
    assert "reconvene" in kept["cells"] and len(kept["cells"]) >= 4
    for name, cells in kept["cells"].items():
        assert set(cells) == set(measure.ROWS), name
        assert kept["versions"][name] not in ("", "?")


def test_columns_of_a_later_run_are_added_and_said() -> None:
    kept = {
        "day": "d",
        "cells": {"codex": {}},
        "versions": {"codex": "1"},
        "notes": ["a", "opencode: of an earlier run"],
    }
    new = {"day": "e", "commit": "c", "others": 0.5, "cells": {"opencode": {"x": "y"}}, "versions": {"opencode": "2"}}
    made = peers.added(kept, new)
    assert made["day"] == "d" and made["cells"] == {"codex": {}, "opencode": {"x": "y"}}
    assert made["versions"] == {"codex": "1", "opencode": "2"}
    assert made["notes"] == ["a", "opencode: of a run of its own (e, commit c; other programs kept 0.5 cores busy)."]


def test_a_python_that_is_not_there_is_said() -> None:
    assert released.interpreter((3, 0)) == sys.executable
    with pytest.raises(released.Unavailable, match=r"needs Python 9\.1; this is 3\."):
        released.interpreter((9, 1))


async def test_what_could_not_be_had_says_why_in_each_cell() -> None:
    found = await peers.run(["openhands"], {"openhands-agent-server": "it needs Python 3.12"})
    assert set(found["cells"]["openhands"].values()) == {"not measured: it needs Python 3.12"}


def test_all_that_is_compared_is_pinned() -> None:
    for name, peer in peers.PEERS.items():
        assert name == "reconvene" or released.VERSIONS[peer.package]
        assert peer.setting and peer.limits
