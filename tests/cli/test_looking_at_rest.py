"""Commands that only look, with and without a server: the same answers, and nothing is started for them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machine import Machine, lines
from reconvene.cli import background
from reconvene.cli.stored import APPLICATION_ID, OWNER, Stored
from reconvene.client.local import find
from reconvene.errors import ReconveneError
from reconvene.log import database
from reconvene.server import gate

LOOKS = (
    "sessions list --all --json",
    "sessions show last",
    "sessions show last --json",
    "sessions export last",
    "sessions export last -f markdown",
    "sessions export last -f html",
    "sessions search idle --json",
    "users list --json",
    "audit --json",
    "share last --list --json",
    "patch",
)


@pytest.fixture(scope="module")
def rested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, dict[str, str]]]:
    """A machine whose server was killed, and what the commands said while it ran."""
    machine = Machine(tmp_path_factory.mktemp("rested"))
    server = machine.serve()
    for asked in ("what is a hub?", "how are idle sessions removed?"):
        machine.here("ask", asked)
    machine.here("sessions", "archive", "last")
    machine.here("users", "add", "Bob")
    machine.here("share", "last")
    said = {words: machine.here(*words.split()).stdout for words in LOOKS}
    os.kill(server.pid, signal.SIGKILL)
    machine.processes[0].wait()
    yield machine, said
    machine.clean()


@pytest.mark.parametrize("words", LOOKS)
def test_the_answer_is_the_same_without_a_server(
    rested: tuple[Machine, dict[str, str]], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, said = rested
    monkeypatch.setattr(background, "start", starts_nothing)
    done = machine.here(*words.split())
    assert done.returncode == 0, done.stderr
    assert timeless(done.stdout) == timeless(said[words])
    assert said[words] or words == "patch"
    assert find(machine.data_dir) is None


def starts_nothing(*_: Any, **__: Any) -> Any:
    raise AssertionError("a command that only looks started a server")


def timeless(text: str) -> str:
    """Without how long something will still last: only a server's own time counts for that."""

    def cleared(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: cleared(v) for k, v in value.items() if k != "left"}
        return [cleared(v) for v in value] if isinstance(value, list) else value

    rows = text.splitlines()
    return "\n".join(json.dumps(cleared(json.loads(row))) if row.startswith("{") else row for row in rows)


def test_nothing_is_written(rested: tuple[Machine, dict[str, str]]) -> None:
    machine, _ = rested
    before = contents(machine.data_dir)
    for words in LOOKS:
        if "search" not in words:  # it keeps an index of its own, which can be made anew at any time
            assert machine.here(*words.split()).returncode == 0
    assert contents(machine.data_dir) == before


def contents(folder: Path) -> dict[str, bytes]:
    """Without SQLite's list of readers."""
    files = (f for f in folder.rglob("*") if f.is_file() and f.suffix not in (".db-shm", ".log"))
    return {str(f): f.read_bytes() for f in files}


def test_what_was_cut_off_stands_still_until_somebody_wants_it_to_go_on(machine: Machine) -> None:
    machine.speak_slowly()
    server = machine.serve()
    asking = machine.start("ask", "how are idle sessions removed?", "--json")
    assert asking.stdout is not None
    machine.until(lambda: '"type":"text"' in str(asking.stdout.readline()))  # type: ignore[union-attr]
    asking.kill()
    os.kill(server.pid, signal.SIGKILL)
    machine.processes[0].wait()
    listed = machine.here("sessions", "list")
    assert listed.stdout.split()[1] == "running" and "1 session stands still" in listed.stderr
    assert find(machine.data_dir) is None
    # Whoever changes something wants a server, which goes on with it.
    renamed = machine.here("sessions", "rename", "last", "Cut off", "--json")
    assert lines(renamed.stdout)[0]["title"] == "Cut off", renamed.stderr
    assert "starting a server" in renamed.stderr and find(machine.data_dir) is not None
    assert "stands still" not in machine.here("sessions", "list").stderr


def test_without_any_session_there_is_nothing_to_see_and_nothing_is_made(machine: Machine) -> None:
    assert "No sessions yet" in machine.here("sessions", "list").stderr
    assert "Nothing was found" in machine.here("sessions", "search", "hub").stderr
    for words in ("sessions show last", "patch", "undo --yes", "sessions rm last --yes", "retry"):
        done = machine.here(*words.split())
        assert done.returncode == 1 and "There is no session yet" in done.stderr, words
    assert not machine.data_dir.exists()


def stored(folder: Path) -> Stored | None:
    folder.mkdir(exist_ok=True)
    database.create(folder / "reconvene.db")
    return Stored.of(folder)


def test_a_database_of_an_earlier_version_is_left_to_a_server(tmp_path: Path) -> None:
    assert stored(tmp_path) is not None
    with sqlite3.connect(tmp_path / "reconvene.db") as db:
        db.execute("pragma user_version = 0")
    db.close()
    assert Stored.of(tmp_path) is None


@pytest.mark.parametrize(
    ("pragma", "code"),
    [
        pytest.param("application_id = 7", "store_foreign", id="foreign"),
        pytest.param("user_version = 999", "store_newer", id="newer"),
    ],
)
def test_what_is_not_ours_is_refused(tmp_path: Path, pragma: str, code: str) -> None:
    stored(tmp_path)
    with sqlite3.connect(tmp_path / "reconvene.db") as db:
        db.execute(f"pragma {pragma}")
    db.close()
    with pytest.raises(ReconveneError) as refused:
        Stored.of(tmp_path)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"", "store_corrupt", id="empty"),
        pytest.param(b"no database at all" * 100, "store_corrupt", id="no-database"),
        pytest.param(None, "store_lost", id="gone"),
    ],
)
def test_what_is_damaged_or_gone_is_said(tmp_path: Path, content: bytes | None, code: str) -> None:
    stored(tmp_path)
    (tmp_path / "reconvene.db.instance").write_text("one")
    (tmp_path / "reconvene.db").unlink()
    if content is not None:
        (tmp_path / "reconvene.db").write_bytes(content)
    with pytest.raises(ReconveneError) as refused:
        Stored.of(tmp_path)
    assert refused.value.code == code


def test_what_it_knows_of_the_store_is_what_the_store_says() -> None:
    assert database.APPLICATION_ID == APPLICATION_ID and gate.OWNER == OWNER


@pytest.mark.parametrize("where", ["environment", "file"])
def test_sessions_in_postgresql_are_not_looked_for_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from reconvene.cli.stored import elsewhere

    monkeypatch.delenv("RECONVENE_DATABASE", raising=False)
    assert not elsewhere(tmp_path)
    if where == "environment":
        monkeypatch.setenv("RECONVENE_DATABASE", "postgresql://localhost/x")
    else:
        (tmp_path / "config.toml").write_text('database = "postgresql://localhost/x"\n')
    assert elsewhere(tmp_path)
