"""`sessions …` as a person types it, against a real server; and what a shell completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from machine import LINK, Machine, lines
from reconvene.cli import sessions
from reconvene.client.local import find

SESSION = {
    "title": "", "root": "/home/me/shop", "status": "idle", "pinned": False, "archived": False, "active_at": 0.0, "pending": 0,
}  # fmt: skip


def test_sessions_are_listed_shown_renamed_forked_exported_archived_and_deleted(
    served: Machine, tmp_path: Path
) -> None:
    id = lines(served.here("ask", "what is a hub?", "--json").stdout)[0]["content"]["session_id"]
    assert served.here("sessions", "rename", id, "About the hub").returncode == 0
    assert "About the hub" in served.run("sessions", "list").stdout
    shown = served.here("sessions", "show", "last").stdout
    assert shown.startswith("> what is a hub?")
    exported = lines(served.here("sessions", "export", id).stdout)
    assert exported == lines(served.here("sessions", "show", id, "--json").stdout)
    assert exported[0]["type"] == "prompt"
    written = tmp_path / "session.md"
    assert served.here("sessions", "export", id, "-f", "markdown", "-o", str(written)).returncode == 0
    assert written.read_text().startswith("# About the hub\n\n> what is a hub?\n")
    html = served.here("sessions", "export", id, "-f", "html").stdout
    assert "<h2>what is a hub?</h2>" in html
    fork = served.here("sessions", "fork", id).stdout.strip()
    assert fork != id
    assert lines(served.here("sessions", "show", fork, "--json").stdout)[0]["content"] == exported[0]["content"]
    assert served.here("sessions", "archive", fork).returncode == 0
    known = [s["session_id"] for s in lines(served.here("sessions", "list", "--json").stdout)]
    assert id in known
    assert fork not in known
    assert fork in served.here("sessions", "list", "--all").stdout
    assert served.here("sessions", "rm", fork, "--yes").returncode == 0
    assert fork not in served.here("sessions", "list", "--all").stdout


def test_the_list_is_a_table_that_stays_within_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    known = [
        {**SESSION, "session_id": f"s_{letter * 22}", "title": title, "pending": pending}
        for letter, title, pending in (("a", "Short", 0), ("b", "A much longer title\x1b[2J", 2))
    ]

    class Known:
        live = True

        def sessions(self, **_: object) -> Any:
            return known

    monkeypatch.setattr(sessions, "look", lambda _: Known())
    sessions.print_list(tmp_path, archived=True, as_json=False)
    piped = capsys.readouterr().out.splitlines()
    assert len(piped) == 2 and all(line.endswith("/home/me/shop") for line in piped)
    assert piped[0].index("/home") == piped[1].index("/home"), "columns begin at one place"
    assert "\\x1b[2J · 2 to answer" in piped[1]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((60, 20)))
    monkeypatch.setenv("NO_COLOR", "1")
    sessions.print_list(tmp_path, archived=True, as_json=False)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("SESSION ") and len(shown) == 3
    assert max(map(len, shown)) <= 60
    assert shown[1].startswith("s_aaaaaaaa  idle"), "the start of an id is enough, and leaves room"


def test_sessions_are_found_by_what_was_said(served: Machine) -> None:
    id = lines(served.here("ask", "what is a wombat good for?", "--json").stdout)[0]["content"]["session_id"]
    shown = served.here("sessions", "search", "wombat", "good")
    assert shown.stdout.startswith(f"{id}  what is a wombat good for?\n    "), shown.stderr
    (found,) = [s for s in lines(served.here("sessions", "search", "wombat", "--json").stdout) if s["session_id"] == id]
    assert found["title"] == "what is a wombat good for?" and found["hits"]
    nothing = served.here("sessions", "search", "zzzzz")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "Nothing was found" in nothing.stderr
    assert served.here("sessions", "search", " ").returncode == 2


def test_old_sessions_are_pruned_and_those_that_matter_stay(machine: Machine) -> None:
    machine.serve()
    asked = ("what is a hub?", "how are idle sessions removed?", "what does idle mean?")
    made = [lines(machine.here("ask", text, "--json").stdout)[0]["content"]["session_id"] for text in asked]
    server = find(machine.data_dir)
    assert server is not None
    server.call("PATCH", f"/api/sessions/{made[0]}", {"pinned": True})
    machine.here("sessions", "archive", made[1])
    assert "No session is that old" in machine.here("sessions", "prune", "--older", "1h").stderr
    assert machine.here("sessions", "prune", "--older", "0").returncode == 2, "nobody said that it is sure"
    would = machine.here("sessions", "prune", "--older", "0", "--dry-run", "--json")
    assert {s["session_id"] for s in lines(would.stdout)} == {made[1], made[2]}
    gone = machine.here("sessions", "prune", "--older", "0", "--archived", "--yes")
    assert gone.stdout.startswith(made[1]) and "1 session deleted" in gone.stderr
    machine.here("sessions", "prune", "--older", "0", "-y")
    assert [s["session_id"] for s in lines(machine.here("sessions", "list", "--all", "--json").stdout)] == [made[0]]
    for wrong in ("soon", "nan", "-1", ""):
        refused = machine.here("sessions", "prune", "--older", wrong)
        assert refused.returncode == 2, wrong


def test_a_shell_completes_commands_and_sessions(served: Machine) -> None:
    id = lines(served.here("ask", "what is a hub?", "--json").stdout)[0]["content"]["session_id"]

    def completed(words: str) -> list[str]:
        asked = {"_RECONVENE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        script = "import sys; sys.argv = ['reconvene']; from reconvene.cli.main import app; app(prog_name='reconvene')"
        environment = {**served.environment, **asked}
        return subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment
        ).stdout.split()

    assert completed("reconvene sessions se") == ["search"]
    assert completed("reconvene attach la") == ["last"]
    assert id in completed(f"reconvene sessions show {id[:6]}")
    assert id in completed(f"reconvene ask -s {id[:6]}")
    served.environment = {**served.environment, "RECONVENE_DATA_DIR": str(served.data_dir / "none")}
    try:
        assert completed("reconvene attach s_") == [], "where no session is there is nothing to offer, and no error"
    finally:
        served.environment = {**served.environment, "RECONVENE_DATA_DIR": str(served.data_dir)}


def test_what_changes_a_session_prints_it_as_json(served: Machine) -> None:
    id = lines(served.here("ask", "what is a hub?", "--json").stdout)[0]["content"]["session_id"]
    assert lines(served.here("sessions", "rename", id, "New", "--json").stdout)[0]["title"] == "New"
    assert lines(served.here("sessions", "archive", id, "--json").stdout)[0]["archived"] is True
    assert lines(served.here("sessions", "archive", id, "--undo", "--json").stdout)[0]["archived"] is False
    assert LINK.fullmatch(lines(served.here("open", "--json").stdout)[0]["url"] + "\n")
