"""Secrets stay where they are: the server's own keys, and those that stand in source."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import model_provider
import pytest
from model_provider import MODEL, Provider, Refuse, do, say
from real_server import Server
from serving import serving

from house import House
from proof import report
from reconvene.agents import models, redact
from reconvene.agents.providers import Access, Providers
from reconvene.commands import job as jobs
from reconvene.commands.job import Job, Spec
from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.index import Indexes
from reconvene.runs import overview
from reconvene.server import code_api
from reconvene.server.indexing import Indexing
from scripted import scripted

IN_SOURCE = "AKIAZ7QK3J5LM2NP4RST"
OF_THE_ENVIRONMENT = "canary-of-the-environment-51"
STORED = "canary-that-was-stored-52"
OF_THE_DATABASE = "canary-of-the-database-53"
OF_THE_SIGN_IN = "canary-of-the-sign-in-54"
OIDC = {
    "RECONVENE_OIDC_ISSUER": "http://127.0.0.1:9", "RECONVENE_OIDC_CLIENT_ID": "reconvene", "RECONVENE_OIDC_ALLOW": "*",
    "RECONVENE_OIDC_CLIENT_SECRET": OF_THE_SIGN_IN,
}  # fmt: skip
REPEATED = {
    "jwt": "-eyJ", "aws": "AKIA-", "github": "ghp_-", "slack": "xoxb-/", "google": "AIza/", "openai": "sk-/", "pem": "-----BEGIN ",
}  # fmt: skip
"""Beginnings of secrets, over and over: what makes a pattern look from each of them to the end of the file."""


# -- in source


def cpu(hide: Any, text: str) -> float:
    began = time.process_time()
    hide(text)
    return time.process_time() - began


@pytest.mark.parametrize("beginning", REPEATED.values(), ids=[f"bad91-{name}" for name in REPEATED])
def test_hiding_takes_time_in_proportion(beginning: str) -> None:
    assert cpu(redact.redact, (beginning * 2**20)[: 2**20]) < 1.0


@pytest.mark.parametrize("text", ["", "é\ud800AKIAZ7QK3J5LM2NP4RST\udfff", "日本 AKIAZ7QK3J5LM2NP4RST 🎉"])
def test_text_of_any_kind_is_kept_around_a_secret(text: str) -> None:
    assert redact.redact(text) == text.replace(IN_SOURCE, redact.HIDDEN)


def test_secrets_in_source_measured() -> None:
    tree = Path(__file__).parents[2] / "src" / "reconvene"
    text = "".join(path.read_text() for path in sorted(tree.rglob("*.py"))) * 2
    clean = redact.redact(text)
    hostile = max(cpu(redact.redact, (beginning * 2**20)[: 2**20]) for beginning in REPEATED.values())
    best = min(cpu(redact.redact, clean) for _ in range(3))
    assert redact.redact(clean) == clean
    report(
        "Secrets in source",
        f"hidden at {len(clean.encode()) / best / 1e6:,.0f} MB of source per CPU second (RE2); 1 MiB of unfinished secrets, which is what "
        f"costs most, takes {hostile * 1000:.0f} ms",
    )


@pytest.mark.long
def test_with_another_engine_time_grows_with_the_square() -> None:
    same = re.compile(redact._FORMS.pattern)
    small, large = (cpu(lambda text: same.sub(b"", text.encode()), "-eyJ" * n) for n in (2000, 8000))
    assert large > 8 * small
    report("Secrets in source", control="with Python's own engine four times the text takes "
           f"{large / small:.0f} times as long")  # fmt: skip


# -- of the server


def parents_environment(tmp_path: Path) -> str:
    """What a command that is not confined finds in the process that holds it."""
    work = tmp_path / "work"
    work.mkdir()
    job = Job(tmp_path / "data" / "commands", "looks up")
    code = "import os; print(open(f'/proc/{os.getppid()}/environ', 'rb').read())"
    job.start(
        Spec(
            argv=(sys.executable, "-c", code),
            cwd=str(work),
            env={},
            timeout=30.0,
            keep=100_000,
            kind="none",
            writable=(),
            hidden=(),
        )
    )
    end = time.monotonic() + 30
    while (result := job.result()) is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    found = result.output.decode()
    assert "PATH=" in found
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="this system shows no environments")
def test_what_holds_a_command_has_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", OF_THE_ENVIRONMENT)
    assert OF_THE_ENVIRONMENT not in parents_environment(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="this system shows no environments")
def test_a_supervisor_with_the_servers_environment_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", OF_THE_ENVIRONMENT)
    monkeypatch.setattr(jobs, "_SUPERVISORS", tuple(os.environ))
    assert OF_THE_ENVIRONMENT in parents_environment(tmp_path)
    report("Secrets of the server", control="with the server's environment, what holds a command has a key")


def test_nothing_prints_itself_with_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", OF_THE_ENVIRONMENT)
    providers = Providers.of(Settings(data_dir=tmp_path))
    providers.allow("openai", Access(key=STORED))
    access = providers.access("openai")
    model = models.resolve("openai:gpt-5", providers)
    database = f"postgresql://reconvene:{OF_THE_DATABASE}@db.example/reconvene"
    settings = Settings.load({"data_dir": tmp_path}, environ=OIDC | {"RECONVENE_DATABASE": database})
    things: list[object] = [access, providers, settings, vars(settings), settings.model_dump_json(), model, vars(model)]
    printed = "".join(f"{thing!r} {thing!s}" for thing in things)
    for secret in (STORED, OF_THE_ENVIRONMENT, OF_THE_DATABASE, OF_THE_SIGN_IN):
        assert secret not in printed
    assert access is not None and access.key == STORED
    assert settings.database is not None and settings.database.get_secret_value() == database
    with pytest.raises(ReconveneError) as e:
        Settings.load({"data_dir": tmp_path}, environ={"RECONVENE_DATABASE": f"mysql://reconvene:{OF_THE_DATABASE}@db"})
    assert OF_THE_DATABASE not in f"{e.value!r} {e.value.details}"


def test_no_program_is_asked_what_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's `platform` starts `uname -p` for it, with all of the environment; a provider's client asks for each model."""
    program = (
        "import subprocess, sys\n"
        "if sys.argv[1] == 'ours': import reconvene.agents.models as models; models.resolve('openai:gpt-5')\n"
        "subprocess.check_output = lambda *a, **k: print('started') or ''\n"
        "import platform\n"
        "platform.platform()\n"
    )
    monkeypatch.setenv("OPENAI_API_KEY", OF_THE_ENVIRONMENT)
    said = {
        who: subprocess.run([sys.executable, "-c", program, who], capture_output=True, text=True, check=True).stdout
        for who in ("ours", "plain")
    }
    assert "started" not in said["ours"] and "started" in said["plain"]


STARTED = {"Popen", "run", "call", "check_call", "check_output", "create_subprocess_exec", "create_subprocess_shell"}


def without_environment(source: str) -> list[str]:
    """What starts a program and does not say what is in its environment: it would get ours, keys and all."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func)
        starts = name.rpartition(".")[2] in STARTED and name.startswith(("subprocess.", "asyncio.create"))
        if (starts or name.endswith("StdioServerParameters")) and not any(word.arg == "env" for word in call.keywords):
            found.append(f"line {call.lineno}: {name}")
    return found


def test_whatever_a_server_starts_is_given_an_environment() -> None:
    tree = Path(__file__).parents[2] / "src" / "reconvene"
    started = 0
    for path in sorted(tree.rglob("*.py")):
        if "cli" not in path.parts:  # it starts the server itself
            started += len(re.findall(r"subprocess\.(?:Popen|run)\(|StdioServerParameters\(", path.read_text()))
            assert without_environment(path.read_text()) == [], path
    assert started >= 5
    assert without_environment("import subprocess\nsubprocess.run(['git'])") == ["line 2: subprocess.run"]
    report(
        "Secrets of the server",
        control="a program that is started without an environment of its own is found in the source",
    )


class Children(threading.Thread):
    """Looks at the environments of everything that a process started, again and again, until `ended`."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.ended = pid, threading.Event()
        self.seen: dict[int, bytes] = {}

    def run(self) -> None:
        while not self.ended.wait(0.02):
            for child in below(self.pid):
                try:
                    told = Path(f"/proc/{child}/environ").read_bytes()
                    program = Path(f"/proc/{child}/cmdline").read_bytes()
                except OSError:  # over already
                    continue
                # Between fork and exec a child still is what its parent is.
                if program != Path(f"/proc/{self.pid}/cmdline").read_bytes():
                    self.seen[child] = program + b"\0" + told


def below(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from below(child)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="this system shows no environments")
async def test_a_whole_server_tells_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    heard: list[str] = []
    place = model_provider.place
    monkeypatch.setattr(
        model_provider, "place", lambda messages: (heard.append(json.dumps(messages)), place(messages))[1]
    )
    provider = Provider()
    await provider.start()
    keys = {"ANTHROPIC_API_KEY": OF_THE_ENVIRONMENT, "RECONVENE_LOG_LEVEL": "debug", **OIDC}
    server = Server(tmp_path, "--model", MODEL, environ=provider.environ | keys)
    (server.root / "config.py").write_text(f"AWS = '{IN_SOURCE}'\ndef connect_to_aws(): return AWS\n")
    provider.on(
        "look",
        do(("search", {"query": "connect_to_aws"}), ("read_file", {"path": "config.py"}), ("repo_map", {})),
        say("It is `config.py:2`."),
    )
    echoed = f"The key {STORED}, or {OF_THE_ENVIRONMENT}, is not known here."
    provider.on("refused", Refuse(400, echoed))

    def work() -> dict[str, str]:
        server.start()
        assert server.process is not None
        children = Children(server.process.pid)
        children.start()
        token = (server.data / "owner.token").read_text().strip()
        link = server.new_link().partition("?t=")[2]
        server.call("PATCH", "/api/model", {"provider": "openai", "key": STORED})
        told: dict[str, str] = {}
        sessions: dict[str, str] = {}
        for prompt in ("look", "refused"):
            session = sessions[prompt] = server.call("POST", "/api/sessions", {})["session_id"]
            frame = {"type": "default", "id": prompt, "content": prompt}
            server.call("POST", f"/api/sessions/{session}/messages", frame)
            end = time.monotonic() + 60
            rows = server.rows(session)
            while not any(row["content"].get("status") == "waiting" or row["type"] == "completed" for row in rows):
                assert time.monotonic() < end, json.dumps(rows)[-900:]
                time.sleep(0.05)
                rows = server.rows(session)
            told[f"events of {prompt!r}"] = json.dumps(rows)
        session = sessions["look"]
        asked = [
            "/metrics",
            "/api/me",
            "/api/model",
            "/api/roots",
            "/api/sessions",
            "/api/code/map",
            "/api/code/symbol?name=AWS",
            "/api/code/search?q=AWS",
        ]
        asked += [f"/api/sessions/{session}/{what}" for what in ("file?path=config.py", "export", "export?format=html")]
        for path in asked:
            told[path] = text_of(server, path, token)
        assert "AWS" in told["/api/code/symbol?name=AWS"] and "connect_to_aws" in told[asked[-3]]
        children.ended.set()
        children.join()
        server.stop()
        told["what it printed"] = (server.folder / "server.err").read_text()
        for program in children.seen.values():
            told["a child: " + program.replace(b"\0", b" ")[:60].decode()] = program.decode("utf-8", "replace")
        assert any("a child" in name for name in told)
        for path in server.data.rglob("*"):
            if path.is_file() and path.name not in ("owner.token", "providers.json"):
                told[str(path.relative_to(server.data))] = path.read_bytes().decode("latin-1")
        told["secrets"] = json.dumps([token, link])
        return told

    told = await asyncio.to_thread(work)
    await provider.close()
    token, link = json.loads(told.pop("secrets"))
    secrets = {
        "the environment's key": OF_THE_ENVIRONMENT,
        "the stored key": STORED,
        "the secret of the sign-in elsewhere": OF_THE_SIGN_IN,
        "the token": token,
        "a sign-in link": link,
    }
    found = [(name, where) for name, secret in secrets.items() for where, text in told.items() if secret in text]
    assert found == []
    # What stands in the source itself may be in the index, which is on this machine as the source is; nowhere else.
    found = [where for where, text in told.items() if IN_SOURCE in text and not where.startswith("indexes")]
    assert found == []
    assert "connect_to_aws" in "".join(heard) and IN_SOURCE not in "".join(heard)
    assert redact.HIDDEN in told["events of 'refused'"] and "is not known here" in told["events of 'refused'"]
    for name in ("owner.token", "providers.json"):
        assert (server.data / name).stat().st_mode & 0o077 == 0
    report(
        "Secrets of the server",
        f"{len(secrets)} of the server's own and 1 in source looked for in {len(told)} places (events, answers, /metrics, logs, the "
        f"database, {sum('a child' in name for name in told)} child processes, what the model was sent): 0 found",
        seconds=time.monotonic() - began,
    )


def text_of(server: Server, path: str, token: str) -> str:
    request = urllib.request.Request(f"{server.origin}{path}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
        return str(answer.read().decode())


def test_a_key_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without being told of a stored key, `redact_own` would let it through."""
    monkeypatch.setattr(redact, "_told", set())
    assert STORED in redact.redact_own(f"The key {STORED} is wrong.")
    redact.know(STORED)
    assert STORED not in redact.redact_own(f"The key {STORED} is wrong.")
    report("Secrets of the server", control="a stored key that was not made known is repeated with a provider's words")


async def test_where_a_symbol_is_looked_up_secrets_are_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "config.py").write_text(f"def aws(): return '{IN_SOURCE}'\nkept = aws(), '{IN_SOURCE}'\n")
    async with serving(tmp_path) as server:
        indexes = Indexes(tmp_path / "data", server.services.settings.limits, kept=True, alive=lambda root: False)
        server.services.indexing = Indexing(server.services, indexes)
        try:
            await (await indexes.get(server.sessions.roots.all()[0])).refresh()
            found = await server.http("GET", "/api/code/symbol?name=aws")
            assert found.json["definitions"] and found.json["uses"]
            assert found.body.count(redact.HIDDEN.encode()) == 2 and IN_SOURCE.encode() not in found.body
            monkeypatch.setattr(code_api, "redact", lambda text: text)  # the control
            assert IN_SOURCE.encode() in (await server.http("GET", "/api/code/symbol?name=aws")).body
            report(
                "Secrets of the server",
                control="not hidden in a looked-up symbol or the kept overview, one in source is found there",
            )
        finally:
            await indexes.close()


@pytest.mark.parametrize("hidden", [True, False], ids=["hidden", "control"])
async def test_the_overview_that_a_log_keeps_has_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: bool
) -> None:
    if not hidden:
        monkeypatch.setattr(overview, "redact", lambda text: text)
    house = await House.open(tmp_path, scripted(["Done."]), files={"config.py": f"AWS = '{IN_SOURCE}'\n"})
    await (await house.indexes.get(house.workspace)).refresh()  # the overview waits for it only so long
    session = await house.ask("q")
    await house.completed(session)
    [kept] = await house.log.read(session, 0, types=(overview.OVERVIEW,))
    assert "AWS" in kept.content and (IN_SOURCE in kept.content) is not hidden
    await house.close()
