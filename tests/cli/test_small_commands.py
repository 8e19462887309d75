"""What all commands have in common: they start light, fail in a sentence, and agree with the server on places."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from machine import PATIENCE, Machine
from reconvene.cli import places
from reconvene.client.local import LOCK
from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.log import folder

LIGHT = {"apsw"}
"""Without a server the data folder is looked at; that alone costs 3 ms."""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["sessions", "list"],
        ["sessions", "search", "x"],
        ["users", "list"],
        ["open"],
        ["stop"],
        ["serve", "--help"],
        ["backup", "--help"],
        ["audit", "-n", "3"],
        ["commands"],
        ["config", "zed"],
        ["mcp-servers", "list"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported_for_small_things(machine: Machine, words: list[str]) -> None:
    assert set(machine.loaded(*words)) <= LIGHT


def test_control_what_is_imported_is_seen(machine: Machine) -> None:
    assert "pydantic" in machine.loaded("audit", "-n", "many")


def test_something_unforeseen_is_one_line_and_a_log(machine: Machine) -> None:
    script = (
        "import sys; sys.argv = ['reconvene', 'open']\n"
        "from reconvene.cli import control, main\n"
        "def broken(*_, **__): raise RuntimeError('boom')\n"
        "control.open_page = broken\n"
        "main.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=machine.environment, timeout=PATIENCE
    )
    assert done.returncode == 1
    log = machine.data_dir / "logs" / "cli.log"
    assert done.stderr == f"reconvene: Something unforeseen: RuntimeError: boom. Its details are in {log}.\n"
    assert "Traceback" in log.read_text()


def test_places_and_lock_are_those_of_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert LOCK == folder.LOCK
    for environment in ({}, {"RECONVENE_DATA_DIR": str(tmp_path)}, {"RECONVENE_DATA_DIR": "~/x"}):
        monkeypatch.delenv("RECONVENE_DATA_DIR", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert places.data_dir(None) == Settings.load().data_dir
        assert places.data_dir(Path("relative")) == Settings.load({"data_dir": "relative"}).data_dir


def test_the_code_base_is_the_one_around_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert places.root_of(None, []) == inner
    assert places.root_of(None, [str(tmp_path), str(tmp_path / "a"), "/elsewhere"]) == tmp_path / "a"
    assert places.root_of(Path("."), [str(tmp_path)]) == inner


@pytest.mark.parametrize("typed", ["", "\n", "  \n"])
def test_a_key_that_is_not_given_is_said_and_nothing_changes(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    from reconvene.cli.model import _key

    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    with pytest.raises(ReconveneError, match=r"No key for openai was typed or piped"):
        _key("openai")
    monkeypatch.setattr("sys.stdin", io.StringIO(" sk-1 \n"))
    assert _key("openai") == "sk-1"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["search", "x", "-k", "0"], "-k"),
        (["search", "x", "-k", "many"], "-k"),
        (["map", "--tokens", "1"], "--tokens"),
        (["sessions", "export", "last", "-f", "pdf"], "-f"),
        (["config", "emacs"], "emacs"),
        (["serve", "--port", "x"], "--port"),
        (["rewind", "-n", "0"], "-n"),
        (["audit", "-n", "10001"], "-n"),
        (["audit", "-n", "1e3"], "-n"),
    ],
    ids=" ".join,
)
def test_what_is_typed_is_still_checked(machine: Machine, words: list[str], says: str) -> None:
    done = machine.here(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_values_are_those_that_were_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from reconvene.cli import code, sessions
    from reconvene.cli.main import app

    seen: list[Any] = []
    monkeypatch.setattr(code, "print_map", lambda *words, **more: seen.append((words, more)))
    monkeypatch.setattr(sessions, "search", lambda *words, **more: seen.append((words, more)))
    run = CliRunner().invoke
    more = {"tokens": 64, "focus": ["a", "b"], "cursor": None, "as_json": True}
    assert (
        run(app, ["map", "--tokens", "64", "--focus", "a", "--focus", "b", "--json", "--data-dir", "x"]).exit_code == 0
    )
    assert seen.pop() == ((Path("x").absolute(), None), more)
    assert run(app, ["map", "--root", str(tmp_path)]).exit_code == 0
    assert seen.pop()[0][1] == tmp_path
    assert run(app, ["sessions", "search", "two", "words"]).exit_code == 0
    assert seen.pop()[0][1] == "two words"
    monkeypatch.setattr(sessions, "export", lambda *words, **more: seen.append((words, more)))
    assert run(app, ["sessions", "export", "last", "-f", "html"]).exit_code == 0
    assert seen.pop()[0][2] == "html"
    assert run(app, ["sessions", "search", "x", "-k", "7"]).exit_code == 0
    assert seen.pop()[1]["limit"] == 7
