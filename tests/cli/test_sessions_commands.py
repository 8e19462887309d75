"""`sessions …` as a person types it, against a real server."""

from __future__ import annotations

from pathlib import Path

from machine import Machine, lines


def test_sessions_are_listed_shown_renamed_forked_exported_archived_and_deleted(
    served: Machine, tmp_path: Path
) -> None:
    id = lines(served.run("ask", "what is a hub?", "--json").stdout)[0]["content"]["session_id"]
    assert served.run("sessions", "rename", id, "About the hub").returncode == 0
    assert "About the hub" in served.run("sessions", "list").stdout
    shown = served.run("sessions", "show", "last").stdout
    assert shown.startswith("> what is a hub?")
    exported = lines(served.run("sessions", "export", id).stdout)
    assert exported == lines(served.run("sessions", "show", id, "--json").stdout)
    assert exported[0]["type"] == "prompt"
    written = tmp_path / "session.md"
    assert served.run("sessions", "export", id, "-f", "markdown", "-o", str(written)).returncode == 0
    assert written.read_text().startswith("# About the hub\n\n> what is a hub?\n")
    html = served.run("sessions", "export", id, "-f", "html").stdout
    assert "<h2>what is a hub?</h2>" in html
    fork = served.run("sessions", "fork", id).stdout.strip()
    assert fork != id
    assert lines(served.run("sessions", "show", fork, "--json").stdout)[0]["content"] == exported[0]["content"]
    assert served.run("sessions", "archive", fork).returncode == 0
    known = [s["session_id"] for s in lines(served.run("sessions", "list", "--json").stdout)]
    assert id in known
    assert fork not in known
    assert fork in served.run("sessions", "list", "--all").stdout
    assert served.run("sessions", "rm", fork, "--yes").returncode == 0
    assert fork not in served.run("sessions", "list", "--all").stdout
