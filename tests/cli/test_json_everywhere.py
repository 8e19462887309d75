"""`--json`: every command takes it, and then says one JSON object a line on stdout and nothing else there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from machine import Machine, lines
from reconvene.cli.main import app
from reconvene.client.local import find

BRIDGES = {"acp", "mcp"}
"""They speak JSON-RPC, and nothing else."""


def commands() -> Iterator[tuple[str, Any]]:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        yield from ((f"{name} {n}", c) for n, c in inner.items()) if inner else ((name, command),)


def test_every_command_takes_it() -> None:
    without = {name for name, command in commands() if "--json" not in {o for p in command.params for o in p.opts}}
    assert without == BRIDGES


def one(machine: Machine, *words: str) -> dict[str, Any]:
    done = machine.here(*words, "--json")
    assert done.returncode == 0, done.stderr
    (said,) = lines(done.stdout)
    return said


def test_what_is_printed_otherwise_is_in_the_object(served: Machine, tmp_path: Path) -> None:
    session = one(
        served,
        "sessions",
        "fork",
        lines(served.here("ask", "what is a hub?", "--json").stdout)[0]["content"]["session_id"],
    )
    id = session["session_id"]
    text = served.here("sessions", "export", id, "-f", "markdown").stdout
    assert one(served, "sessions", "export", id, "-f", "markdown") == {
        "session_id": id,
        "format": "markdown",
        "text": text,
    }
    file = tmp_path / "session.jsonl"
    assert one(served, "sessions", "export", id, "-o", str(file)) == {
        "session_id": id,
        "format": "jsonl",
        "file": str(file),
    }
    assert file.read_text() == served.here("sessions", "export", id).stdout
    assert one(served, "patch", id) == {"session_id": id, "patch": ""}
    link = one(served, "share", id)["id"]
    assert one(served, "share", id, "--revoke", link) == {"session_id": id, "id": link}
    assert one(served, "sessions", "rm", id, "--yes")["session_id"] == id
    one(served, "users", "add", "Eve")
    assert one(served, "users", "disable", "Eve")["disabled"] is True
    said = one(served, "config", "zed")
    assert said["client"] == "zed" and said["settings"] == json.loads(served.here("config", "zed").stdout)


@pytest.mark.timeout(120)
def test_a_server_is_started_joined_restarted_and_stopped(machine: Machine) -> None:
    process = machine.start("serve", "--no-browser", "--json")
    assert process.stdout is not None
    began = json.loads(process.stdout.readline())
    assert began["url"].startswith(f"http://localhost:{began['port']}/sign-in?t=") and began["pid"] == process.pid
    assert began["roots"] == [str(machine.root)]
    joined = one(machine, "serve", "--no-browser")
    assert {**joined, "url": ""} == {**began, "url": ""} and joined["url"] != began["url"]
    again = one(machine, "restart")
    assert again == {"status": "restarted", "pid": began["pid"], "port": began["port"]}
    assert json.loads(process.stdout.readline())["port"] == began["port"], "it is still asked for JSON"
    assert one(machine, "stop") == {"status": "stopped", "pid": began["pid"], "port": began["port"]}
    assert find(machine.data_dir) is None
