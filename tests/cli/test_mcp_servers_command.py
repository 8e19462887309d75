"""`mcp-servers`: by command and by address, and what is kept of secrets."""

from __future__ import annotations

import json

import pytest

from machine import Machine, lines
from reconvene.agents.foreign_settings import ForeignServer, configured

URL = "https://mcp.example.com/mcp"


def test_servers_are_added_by_command_or_address_listed_and_removed(machine: Machine) -> None:
    def typed(*words: str, stdin: str | None = None) -> str:
        done = machine.here("mcp-servers", *words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    typed("add", "tracker", "--env", "KEY=secret-1", "--", "run", "-x")
    typed(
        "add", "docs", "--url", URL, "--approval", "once", "--header", "X-Team=secret-2", "--token", stdin="secret-3\n"
    )
    sent = {"X-Team": "secret-2", "Authorization": "Bearer secret-3"}
    assert configured(machine.data_dir) == {
        "tracker": ForeignServer("run", ["-x"], {"KEY": "secret-1"}),
        "docs": ForeignServer(url=URL, headers=sent, approval="once"),
    }
    shown, rows = typed("list"), lines(typed("list", "--json"))
    assert "run -x" in shown and URL in shown and "asked once in a session" in shown
    assert rows[0] == {"name": "tracker", "approval": "ask", "command": "run", "args": ["-x"], "env": ["KEY"]}
    assert rows[1] == {"name": "docs", "approval": "once", "url": URL, "headers": ["Authorization", "X-Team"]}
    assert "secret" not in shown + json.dumps(rows)
    assert lines(typed("add", "tracker", "--json", "--env", "KEY=secret-1", "--", "run", "-x")) == rows[:1]
    assert lines(typed("remove", "docs", "--json")) == rows[1:]
    assert list(configured(machine.data_dir)) == ["tracker"]


@pytest.mark.parametrize(
    "words",
    [
        "a",
        f"a --url {URL} -- run",
        "a --url ftp://x.test",
        "a --url https://",
        "a --url http://x.test/mcp --header Authorization=secret",
        f"a --url {URL} --header secret",
        f"a --url {URL} --token",
        f"a --url {URL} --env KEY=secret",
        "a --header A=secret -- run",
        "a --token -- run",
        "No_Name -- run",
    ],
)
def test_what_cannot_be_added_is_said_and_nothing_is_kept(machine: Machine, words: str) -> None:
    done = machine.here("mcp-servers", "add", *words.split())
    assert done.returncode == 2 and done.stderr.startswith("reconvene: "), done.stderr
    assert configured(machine.data_dir) == {}
