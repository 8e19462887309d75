"""`serve`, `open`, `stop` and `restart`: what is found, what cannot start, and that nothing is told to a stranger."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from machine import LINK, Machine
from reconvene.cli import serving
from reconvene.client.local import LOCK, find
from reconvene.log.folder import DataFolder


def test_serve_adds_a_code_base_to_the_running_server(served: Machine, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    server = find(served.data_dir)
    assert server is not None
    done = served.run("serve", str(other), "--no-browser")
    assert done.returncode == 0
    assert LINK.fullmatch(done.stdout)
    assert f"process {server.pid}" in done.stderr
    assert str(other) in [r["root"] for r in server.call("GET", "/api/roots")["roots"]]
    assert LINK.fullmatch(served.here("open").stdout)


def test_restart_keeps_port_and_code_bases(machine: Machine, tmp_path: Path) -> None:
    server = machine.serve()
    other = tmp_path / "other"
    other.mkdir()
    machine.here("serve", str(other))
    before = server.call("GET", "/api/me")
    assert machine.run("restart").returncode == 0
    again = find(machine.data_dir)
    assert again is not None
    after = again.call("GET", "/api/me")
    assert (again.port, after["roots"]) == (server.port, before["roots"])
    assert after["boot"] != before["boot"]


def test_a_second_start_says_what_it_found_again(machine: Machine) -> None:
    machine.serve()
    machine.here("ask", "what is a hub?")
    machine.run("stop")
    process = machine.start("serve", "--no-browser")
    assert process.stderr is not None
    assert "1 session resumed, 0 runs continuing\n" in iter(process.stderr.readline, "")


@pytest.mark.parametrize("command", ["stop", "restart", "open", "users add Bob"])
def test_without_a_server_it_says_how_to_start_one(machine: Machine, command: str) -> None:
    done = machine.here(*command.split())
    assert done.returncode == 1
    assert "`reconvene serve`" in done.stderr


def test_bad130_a_taken_port_ends_with_3(machine: Machine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = machine.run("serve", "--port", str(port))
        assert done.returncode == 3
        assert str(port) in done.stderr
        wrong = machine.here("doctor", RECONVENE_PORT=str(port))
        assert wrong.returncode == 1
        assert "✗ port" in wrong.stdout


def test_bad128_a_database_that_is_gone_ends_with_3_and_the_doctor_sees_it(machine: Machine) -> None:
    machine.data_dir.mkdir(mode=0o700)
    (machine.data_dir / "reconvene.db.instance").write_text("0123456789abcdef\n")
    done = machine.run("serve", "--port", "0")
    assert done.returncode == 3
    assert "is missing" in done.stderr
    assert "✗ database" in machine.here("doctor").stdout


def test_bad128_a_server_that_lost_its_database_is_found_and_stopped(machine: Machine) -> None:
    machine.serve()
    (machine.data_dir / "reconvene.db").unlink()
    lost = machine.until(lambda: (server := find(machine.data_dir)) and server.status != "ok" and server)
    assert lost.status == "store_lost"
    assert "✗ server" in machine.here("doctor").stdout
    asked = machine.here("ask", "Again?")
    assert (asked.returncode, "store_lost" in asked.stderr) == (1, True)
    assert machine.run("stop").returncode == 0


def test_bad130_a_server_that_does_not_answer_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconvene.cli.exits import exit_code
    from reconvene.errors import ReconveneError

    monkeypatch.setattr(serving, "COMING_UP", 0.1)
    monkeypatch.setattr("reconvene.server.logs.configure", lambda *_: None)
    claimed = DataFolder.claim(machine.data_dir)
    try:
        with pytest.raises(ReconveneError) as refused:
            serving.serve([machine.root], {"data_dir": machine.data_dir, "port": 0}, browser=False)
    finally:
        claimed.release()
    assert str(os.getpid()) in refused.value.message
    assert exit_code(refused.value) == 3


@pytest.mark.parametrize("what", ["bad129-permissions", "bad127-garbage"])
def test_a_data_folder_that_cannot_be_used_ends_with_3_and_the_doctor_mends_it(machine: Machine, what: str) -> None:
    machine.data_dir.mkdir(mode=0o700)
    if what == "bad129-permissions":
        machine.data_dir.chmod(0o777)
    else:
        (machine.data_dir / "reconvene.db").write_bytes(b"garbage" * 1000)
    done = machine.run("serve")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    sick = machine.here("doctor")
    assert sick.returncode == 1
    assert "--repair" in sick.stdout
    assert machine.here("doctor", "--repair").returncode == 0
    machine.serve()


def test_a_killed_servers_file_fools_nobody(machine: Machine) -> None:
    """Its port may be anybody's now, and its process id too: neither is shown the owner's token."""
    machine.data_dir.mkdir(mode=0o700)
    (machine.data_dir / "owner.token").write_text("x" * 43)
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        stranger.settimeout(0.2)
        said = {"pid": os.getpid(), "host": "127.0.0.1", "port": stranger.getsockname()[1]}
        (machine.data_dir / "server.json").write_text(json.dumps(said))
        (machine.data_dir / LOCK).write_text(f"{os.getpid()}\n")
        assert find(machine.data_dir) is None
        with pytest.raises(TimeoutError):
            stranger.accept()


def test_a_setting_that_cannot_be_used_names_itself(machine: Machine) -> None:
    assert "retention" in machine.here("doctor", RECONVENE_RETENTION="soon").stdout
    done = machine.run("serve", RECONVENE_RETENTION="soon")
    assert done.returncode == 2
    assert "RECONVENE_RETENTION" in done.stderr
