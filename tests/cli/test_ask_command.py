"""`ask` as a person types it, against a real server."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from machine import PATIENCE, Machine, lines
from reconvene.cli import at_rest, background, whereabouts
from reconvene.client.local import Server, find, need
from reconvene.errors import ReconveneError
from reconvene.log.folder import DataFolder


def test_ask_answers_on_stdout_and_says_its_steps_on_stderr(served: Machine) -> None:
    done = served.run("ask", "how are idle sessions removed?")
    assert done.returncode == 0, done.stderr
    assert "hub.py" in done.stdout, done.stdout + done.stderr
    assert "· map: 2 files" in done.stderr
    assert "· search" in done.stderr
    assert "·" not in done.stdout.splitlines()[0]


def test_ask_goes_on_with_a_session_and_shows_only_what_is_new(served: Machine) -> None:
    first = lines(served.here("ask", "how are idle sessions removed?", "--json").stdout)
    session_id = first[0]["content"]["session_id"]
    done = served.here("ask", "-s", session_id[:12], "what does idle mean?", "--json")
    again = lines(done.stdout)
    assert again[0] == {"type": "session", "content": {"session_id": session_id, "mode": "resume", "reason": None}}
    assert again[1]["type"] == "prompt"
    assert again[1]["seq"] > first[-1]["seq"]
    assert {e["run_id"] for e in again[1:]} == {"r2"}
    assert (again[-1]["type"], again[-1]["content"]["outcome"]) == ("completed", "success")


def test_what_is_piped_in_is_part_of_the_prompt(served: Machine) -> None:
    done = served.run("ask", "review this", "--json", stdin="+ def sweep(self):\n\0\xff".encode("latin-1"))
    prompt = next(e for e in lines(done.stdout) if e["type"] == "prompt")
    assert prompt["content"]["text"] == "review this\n\n+ def sweep(self):\n\ufffd\ufffd"
    whole = served.here("ask", "-", "--json", stdin="only this")
    assert next(e for e in lines(whole.stdout) if e["type"] == "prompt")["content"]["text"] == "only this"


@pytest.mark.parametrize(
    ("words", "stdin", "exit_code", "says"),
    [
        (["ask", " "], None, 2, "The prompt is empty"),
        (["ask", "-"], "", 2, "The prompt is empty"),
        (["ask", "-"], "x" * 300_000, 1, "200,000"),
        (["ask", "-"], "x" * 1_500_000, 1, "Shorten it"),
        (["ask", "-"], "x" * 5_000_000, 1, "Send less of it"),
        (["ask", "-s", "s_nothing", "hello"], None, 1, "There is no session s_nothing"),
        (["ask", "--root", "/nowhere", "hello"], None, 2, "There is no folder /nowhere"),
        (["ask", "--root", "/", "hello"], None, 2, "cannot be served"),
        (["attach", "s_nothing"], None, 1, "There is no session"),
        (["sessions", "show", "s_nothing"], None, 1, "There is no session"),
        (["sessions", "rm", "last"], None, 2, "say --yes"),
        (["ask"], None, 2, "Missing argument"),
        (["no-such-command"], None, 2, "No such command"),
        (["serve", "--port", "99999"], None, 2, "port"),
    ],
    ids=lambda v: "-".join(v)[:30] if isinstance(v, list) else "",
)
def test_what_cannot_be_done_is_a_sentence_and_a_code(
    served: Machine, words: list[str], stdin: str | None, exit_code: int, says: str
) -> None:
    if words[0] == "serve":
        words = [*words, "--data-dir", str(served.data_dir / "other")]
    if words[-1] == "last":  # whichever tests ran before this one
        assert served.here("ask", "how are idle sessions removed?").returncode == 0
    done = served.here(*words, stdin=stdin)
    assert done.returncode == exit_code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_ask_starts_a_server_that_stays_and_starts_it_again_when_it_was_killed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.speak_slowly()
    asking = machine.start("ask", "how are idle sessions removed?")
    assert asking.stderr is not None
    assert any("starting a server in the background" in line for line in iter(asking.stderr.readline, ""))
    assert any("map" in line for line in iter(asking.stderr.readline, ""))
    server = find(machine.data_dir)
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    out, err = asking.communicate(timeout=2 * PATIENCE)
    assert asking.returncode == 0, err
    assert "connection lost" in err and "the server was killed; starting it again" in err and "connected again" in err
    assert "hub.py" in out
    again = find(machine.data_dir)
    assert again is not None and again.pid != server.pid
    (session,) = lines(machine.here("sessions", "list", "--json").stdout)
    assert find(machine.data_dir) == again
    assert machine.here("stop").returncode == 0
    assert find(machine.data_dir) is None
    assert not (machine.data_dir / "server.json").exists()
    what_is_at_rest_wakes_a_server_with_its_code_base(machine, session["session_id"], monkeypatch)


def what_is_at_rest_wakes_a_server_with_its_code_base(
    machine: Machine, id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []

    def start(data_dir: Path, root: Path, *, port: int, port_is_chosen: bool) -> Server:
        started.append(root)
        raise ReconveneError("starting", "Not here.")

    monkeypatch.setattr(background, "start", start)
    monkeypatch.chdir(machine.data_dir)  # whatever folder the command is typed in
    for name in ("last", id, id[:8]):
        with pytest.raises(ReconveneError, match="Not here"):
            at_rest.wake(machine.data_dir, name)
    assert started == [machine.root] * 3
    for command in (["attach", "s_nothing"], ["ask", "-s", "s_nothing", "hello"]):
        done = machine.here(*command)
        assert (done.returncode, "no session s_nothing" in done.stderr) == (1, True), done.stderr
    assert len(started) == 3, "nothing is started for what there is not"


def test_before_there_is_any_session_nothing_is_woken(machine: Machine) -> None:
    done = machine.here("attach", "last")
    assert (done.returncode, done.stderr) == (1, 'reconvene: There is no session yet. Start one: reconvene ask "…"\n')


def test_a_folder_that_somebody_has_is_waited_for_and_then_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DataFolder.claim(private(tmp_path))
    try:
        with pytest.raises(ReconveneError, match=rf"process {os.getpid()}.*does not answer"):
            need(tmp_path)
        monkeypatch.setattr(background, "OTHERS", 0.0)
        with pytest.raises(ReconveneError, match="does not answer"):
            background.start(tmp_path, tmp_path, port=0, port_is_chosen=True)
        server = Server(os.getpid(), "localhost", 1, "x")
        found: list[Server | None] = [None, server]
        monkeypatch.setattr(background, "OTHERS", PATIENCE)
        monkeypatch.setattr(background, "find", lambda _: found.pop(0))
        assert background.start(tmp_path, tmp_path, port=0, port_is_chosen=True) is server, "it came up meanwhile"
    finally:
        folder.release()


@pytest.mark.parametrize("chosen", [False, True])
def test_a_server_started_after_a_kill_is_where_the_killed_one_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: bool
) -> None:
    commands: list[list[str]] = []
    server = Server(os.getpid(), "localhost", 1, "x")

    def started(command: list[str], **_: object) -> None:
        commands.append(command)

    monkeypatch.setattr(background.subprocess, "Popen", started)
    monkeypatch.setattr(background, "_free", lambda _: True)
    monkeypatch.setattr(background, "find", lambda _: server if commands else None)
    (tmp_path / "server.json").write_text(json.dumps({"pid": 1, "host": "localhost", "port": 8123}))
    assert background.start(tmp_path, tmp_path, port=8000, port_is_chosen=chosen) is server
    (command,) = commands
    assert command[command.index("--port") + 1] == ("8000" if chosen else "8123"), "open pages look for it there"


async def test_a_server_that_was_stopped_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def start(data_dir: Path, root: Path, *, port: int, port_is_chosen: bool) -> Server:
        started.append(port)
        raise ReconveneError("starting", "Not here.")

    monkeypatch.setattr(background, "start", start)
    monkeypatch.setattr(whereabouts, "GRACE", 0.0)
    where = whereabouts.Whereabouts(tmp_path, tmp_path)
    assert await where() is None
    assert started == [], "there was none, or it was stopped and took its server.json along"
    (tmp_path / "server.json").write_text(json.dumps({"pid": 1, "host": "localhost", "port": 8123}))
    folder = DataFolder.claim(private(tmp_path))
    assert await where() is None
    assert started == [], "somebody has the folder: it is coming up"
    folder.release()
    for _ in range(whereabouts.STARTS + 2):
        assert await where() is None
    assert started == [8123] * whereabouts.STARTS


def private(folder: Path) -> Path:
    folder.chmod(0o700)
    return folder


def test_ctrl_c_detaches_and_the_run_goes_on(served: Machine) -> None:
    asking = served.start("ask", "how are idle sessions removed?")
    assert asking.stderr is not None
    assert "map" in asking.stderr.readline()
    asking.send_signal(signal.SIGINT)
    _, err = asking.communicate(timeout=PATIENCE)
    assert asking.returncode == 130
    (session_id,) = re.findall(r"reconvene attach (s_\S+)", err)
    served.until(
        lambda: any(
            s["session_id"] == session_id and s["status"] == "idle"
            for s in lines(served.here("sessions", "list", "--json").stdout)
        )
    )
    shown = served.here("sessions", "show", session_id).stdout
    assert "hub.py" in shown, shown
