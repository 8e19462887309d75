"""The commands as a person types them, each its own process, against a real server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconvene.cli import code, indexing, places, serving
from reconvene.cli.api import LOCK, Server, find
from reconvene.cli.doctor import chosen, model
from reconvene.config import Settings
from reconvene.log import folder
from reconvene.log.folder import DataFolder

RECONVENE = [sys.executable, "-m", "reconvene.cli.main"]
LINK = re.compile(r"http://localhost:\d+/sign-in\?t=[\w-]{20,}\n")
PATIENCE = 60.0
FILES = {
    "hub.py": """class Hub:
    def sweep(self, now):
        '''Remove idle sessions.'''
        return [s for s in self.sessions if s.idle(now)]
""",
    "session.py": """class Session:
    def idle(self, now):
        '''Whether nobody used the session for an hour.'''
        return now - self.last_active > 3600
""",
}


class Machine:
    """A data folder, a code base, and what is typed there."""

    def __init__(self, base: Path) -> None:
        self.data_dir = base / "data"
        self.root = base / "project"
        self.root.mkdir()
        for name, text in FILES.items():
            (self.root / name).write_text(text)
        self.environment = {
            k: v for k, v in os.environ.items() if not k.startswith("RECONVENE_") and not k.endswith("_API_KEY")
        }
        self.environment |= {
            "RECONVENE_DATA_DIR": str(self.data_dir),
            "RECONVENE_PORT": "0",
            "HOME": str(base),
            "CI": "1",
        }
        self.processes: list[subprocess.Popen[str]] = []

    def run(self, *words: str, stdin: str | bytes | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        how: dict[str, Any] = {"input": raw} if raw is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(
            [*RECONVENE, *words],
            capture_output=True,
            timeout=PATIENCE,
            cwd=self.root,
            env={**self.environment, **more},
            **how,
        )
        return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*RECONVENE, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.root,
            env=self.environment,
        )
        self.processes.append(process)
        return process

    def serve(self) -> Server:
        process = self.start("serve", "--no-browser")
        assert process.stdout is not None
        assert LINK.fullmatch(process.stdout.readline())
        server = find(self.data_dir)
        assert server is not None
        return server

    def until(self, holds: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (result := holds()):
            assert time.monotonic() < deadline, "it did not come to pass"
            time.sleep(0.02)
        return result

    def clean(self) -> None:
        if (server := find(self.data_dir)) is not None:
            os.kill(server.pid, signal.SIGKILL)
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One server for all tests that leave it as it was."""
    machine = Machine(tmp_path_factory.mktemp("served"))
    machine.serve()
    yield machine
    machine.clean()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine where nothing runs yet."""
    machine = Machine(tmp_path)
    yield machine
    machine.clean()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# -- ask


def test_ask_answers_on_stdout_and_says_its_steps_on_stderr(served: Machine) -> None:
    done = served.run("ask", "how are idle sessions removed?")
    assert done.returncode == 0, done.stderr
    assert "hub.py" in done.stdout, done.stdout + done.stderr
    assert "· map: 2 files" in done.stderr
    assert "· search" in done.stderr
    assert "·" not in done.stdout.splitlines()[0]


def test_ask_goes_on_with_a_session_and_shows_only_what_is_new(served: Machine) -> None:
    first = lines(served.run("ask", "how are idle sessions removed?", "--json").stdout)
    session_id = first[0]["content"]["session_id"]
    done = served.run("ask", "-s", session_id[:12], "what does idle mean?", "--json")
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
    whole = served.run("ask", "-", "--json", stdin="only this")
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
        assert served.run("ask", "how are idle sessions removed?").returncode == 0
    done = served.run(*words, stdin=stdin)
    assert done.returncode == exit_code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_ask_starts_a_server_that_stays(machine: Machine) -> None:
    done = machine.run("ask", "how are idle sessions removed?")
    assert done.returncode == 0, done.stderr
    assert "starting a server in the background" in done.stderr
    server = find(machine.data_dir)
    assert server is not None
    assert "background" not in machine.run("ask", "what is idle?").stderr
    assert find(machine.data_dir) == server
    assert machine.run("stop").returncode == 0
    assert find(machine.data_dir) is None
    assert not (machine.data_dir / "server.json").exists()


def test_ask_survives_a_kill_of_the_server(machine: Machine) -> None:
    server = machine.serve()
    asking = machine.start("ask", "how are idle sessions removed?")
    assert asking.stderr is not None
    assert "map" in asking.stderr.readline()
    os.kill(server.pid, signal.SIGKILL)
    assert any("connection lost" in line for line in iter(asking.stderr.readline, ""))
    machine.serve()
    out, err = asking.communicate(timeout=PATIENCE)
    assert asking.returncode == 0, err
    assert "connected again" in err
    assert "hub.py" in out


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
            for s in lines(served.run("sessions", "list", "--json").stdout)
        )
    )
    shown = served.run("sessions", "show", session_id).stdout
    assert "hub.py" in shown, shown


# -- sessions


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


# -- serve, open, restart


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
    assert LINK.fullmatch(served.run("open").stdout)


def test_restart_keeps_port_and_code_bases(machine: Machine, tmp_path: Path) -> None:
    server = machine.serve()
    other = tmp_path / "other"
    other.mkdir()
    machine.run("serve", str(other))
    before = server.call("GET", "/api/me")
    assert machine.run("restart").returncode == 0
    again = find(machine.data_dir)
    assert again is not None
    after = again.call("GET", "/api/me")
    assert (again.port, after["roots"]) == (server.port, before["roots"])
    assert after["boot"] != before["boot"]


def test_a_second_start_says_what_it_found_again(machine: Machine) -> None:
    machine.serve()
    machine.run("ask", "what is a hub?")
    machine.run("stop")
    process = machine.start("serve", "--no-browser")
    assert process.stderr is not None
    assert "1 session resumed, 0 runs continuing\n" in iter(process.stderr.readline, "")


@pytest.mark.parametrize("command", ["stop", "restart", "open", "sessions list"])
def test_without_a_server_it_says_how_to_start_one(machine: Machine, command: str) -> None:
    done = machine.run(*command.split())
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
        wrong = machine.run("doctor", RECONVENE_PORT=str(port))
        assert wrong.returncode == 1
        assert "✗ port" in wrong.stdout


def test_bad128_a_database_that_is_gone_ends_with_3_and_the_doctor_sees_it(machine: Machine) -> None:
    machine.data_dir.mkdir(mode=0o700)
    (machine.data_dir / "reconvene.db.instance").write_text("0123456789abcdef\n")
    done = machine.run("serve", "--port", "0")
    assert done.returncode == 3
    assert "is missing" in done.stderr
    assert "✗ database" in machine.run("doctor").stdout


def test_bad128_a_server_that_lost_its_database_is_found_and_stopped(machine: Machine) -> None:
    machine.serve()
    (machine.data_dir / "reconvene.db").unlink()
    lost = machine.until(lambda: (server := find(machine.data_dir)) and server.status != "ok" and server)
    assert lost.status == "store_lost"
    assert "✗ server" in machine.run("doctor").stdout
    asked = machine.run("ask", "Again?")
    assert (asked.returncode, "store_lost" in asked.stderr) == (1, True)
    assert machine.run("stop").returncode == 0


def test_bad130_a_server_that_does_not_answer_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconvene.cli.main import exit_code
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
    sick = machine.run("doctor")
    assert sick.returncode == 1
    assert "--repair" in sick.stdout
    assert machine.run("doctor", "--repair").returncode == 0
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


# -- the code


def test_search_map_and_index(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    built = machine.run("index")
    assert re.fullmatch(r"2 files, \d+ symbols, 2 analysed, \d+\.\d s\.\n", built.stdout), built.stderr

    def printed(command: Callable[..., Any], *args: Any, **how: Any) -> str:
        command(machine.data_dir, machine.root, *args, **how)
        return capsys.readouterr().out

    (again,) = lines(printed(indexing.index, "refresh", as_json=True))
    assert (again["files"], again["parsed"]) == (2, 0)
    found = lines(printed(code.print_search, "idle sessions", k=10, files=False, as_json=True))
    assert {"path", "start", "end", "score", "symbol", "text"} == set(found[0])
    assert re.match(
        r"\w+\.py:\d+-\d+ \d+\.\d+\n    ", printed(code.print_search, "idle", k=1, files=False, as_json=False)
    )
    files = printed(code.print_search, "idle sessions", k=10, files=True, as_json=False)
    assert files.split() == list(dict.fromkeys(f["path"] for f in found))
    assert printed(code.print_search, "zzzzqqqq", k=1, files=False, as_json=False) == ""
    assert "hub.py" in printed(code.print_map, tokens=1024, focus=[], as_json=False)
    rows = lines(printed(code.print_map, tokens=1024, focus=["hub.py"], as_json=True))
    assert {row["path"] for row in rows} <= set(FILES)
    assert all(set(row) == {"path", "line", "name", "kind", "score", "why"} for row in rows)
    assert machine.run("search", " ").returncode == 2
    first = machine.run("search", "session", "-k", "1")
    cursor = first.stderr.split("--cursor ")[1].split()[0]
    second = machine.run("search", "session", "-k", "1", "--cursor", cursor)
    assert second.returncode == 0 and second.stdout and second.stdout != first.stdout
    wrong = machine.run("map", "--cursor", cursor)
    assert wrong.returncode == 2 and "another question" in wrong.stderr


def test_an_index_is_paused_resumed_and_built_anew_here(machine: Machine) -> None:
    paused = machine.run("index", "--pause")
    assert paused.stdout == "The index is paused; 0 files are known so far.\n", paused.stderr
    assert machine.run("index").stdout == paused.stdout, "a pause outlasts the process"
    assert "2 files" in machine.run("index", "--resume").stdout
    assert "2 analysed" in machine.run("index", "--rebuild").stdout
    (state,) = lines(machine.run("index", "--status", "--json").stdout)
    assert (state["phase"], state["files"], state["partial"], state["parsed"]) == ("verifying", 2, False, 0)
    assert machine.run("index", "--pause", "--resume").returncode == 2


def test_beside_a_server_the_server_does_it(served: Machine) -> None:
    built = served.run("index", "--json")
    (state,) = lines(built.stdout)
    assert (state["phase"], state["verified"], state["files"] >= 2) == ("ready", True, True), built.stderr
    assert "paused" in served.run("index", "--pause").stdout
    assert "paused" in served.run("index").stdout
    assert served.run("index", "--status", "--json").stdout.count('"phase":"paused"') == 1
    assert " files, " in served.run("index", "--resume").stdout
    assert " files, " in served.run("index", "--rebuild").stdout


# -- the doctor, and what commands have in common


def test_doctor_on_a_fresh_machine_and_beside_a_server(machine: Machine, served: Machine) -> None:
    fresh = machine.run("doctor")
    assert fresh.returncode == 0, fresh.stdout
    assert all(line[0] in "✓" for line in fresh.stdout.splitlines())
    assert not machine.data_dir.exists()
    findings = lines(served.run("doctor", "--json").stdout)
    assert all(f["ok"] for f in findings), findings
    assert {
        "machine",
        "python",
        "sqlite",
        "disk",
        "data folder",
        "owner token",
        "database",
        "model",
        "index",
        "port",
        "server",
    } <= {f["check"] for f in findings}


def test_doctor_says_which_key_is_missing_and_shows_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings.load({"data_dir": tmp_path}, {"RECONVENE_MODEL": "anthropic:claude-sonnet-5-5"})
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    without = model(settings)
    assert not without.ok
    assert "ANTHROPIC_API_KEY" in without.detail
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-very-secret")
    assert model(settings).ok
    assert "secret" not in str(model(settings))
    assert [f.detail for f in chosen(settings)] == ["anthropic:claude-sonnet-5-5 (from RECONVENE_MODEL)"]


def test_a_setting_that_cannot_be_used_names_itself(machine: Machine) -> None:
    assert "retention" in machine.run("doctor", RECONVENE_RETENTION="soon").stdout
    done = machine.run("serve", RECONVENE_RETENTION="soon")
    assert done.returncode == 2
    assert "RECONVENE_RETENTION" in done.stderr


HEAVY = ("pydantic_ai", "fastapi", "numpy", "uvicorn", "apsw", "anthropic", "openai")


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["sessions", "list"], ["open"], ["stop"], ["serve", "--help"]], ids=" ".join
)
def test_nothing_heavy_is_imported_for_small_things(machine: Machine, words: list[str]) -> None:
    script = (
        f"import sys; sys.argv = ['reconvene', *{words!r}]\n"
        "from reconvene.cli.main import main\n"
        "try: main()\n"
        f"except SystemExit: print('loaded:', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=machine.environment, timeout=PATIENCE
    )
    assert done.stdout.endswith("loaded: []\n"), done.stdout + done.stderr


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
