"""The code on the pages about clients runs, as it stands there, against a real server; with curl through a kill of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine import PATIENCE, Machine
from reconvene.client.local import Server, find

HOW_TO = Path(__file__).parents[2] / "docs/how-to"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (HOW_TO / page).read_text("utf-8"), re.S)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("served"))
    machine.environment["RECONVENE_OFFLINE_DELAY_MS"] = "0"
    machine.serve()
    yield machine
    machine.clean()


@pytest.mark.parametrize("number", range(len(blocks("python-client.md", "python"))))
def test_python(served: Machine, number: int) -> None:
    script = blocks("python-client.md", "python")[number]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=served.environment, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    says = {0: "success", 1: "hub.py", 2: "", 3: "no_such_session"}[number]
    assert says in done.stdout, done.stdout


def shell(machine: Machine, server: Server) -> str:
    """The page as one script, with this server's address and data folder."""
    page = "\n".join(blocks("curl.md", "sh"))
    for written, here in {
        "http://localhost:8000": server.endpoint.url,
        "~/.local/share/reconvene": str(machine.data_dir),
    }.items():
        assert written in page
        page = page.replace(written, here)
    return page


def test_curl_through_a_kill(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    following = tmp_path / "shell"
    following.mkdir()
    events = following / "events.jsonl"
    try:
        machine.speak_slowly()
        server = machine.serve()
        machine.environment["RECONVENE_PORT"] = str(server.port)  # the page names one address; it comes back there
        with subprocess.Popen(
            ["bash", "-eu", "-c", shell(machine, server)], stdout=subprocess.PIPE, text=True, cwd=following
        ) as bash:
            machine.until(lambda: events.exists() and '"type":"tool_call"' in events.read_text())
            os.kill(server.pid, signal.SIGKILL)
            machine.until(lambda: find(machine.data_dir) is None)
            machine.speak_at_once()
            machine.serve()
            out, _ = bash.communicate(timeout=PATIENCE)
        assert bash.returncode == 0
        seen = [json.loads(line) for line in events.read_text().splitlines()]
        assert len({e["seq"] for e in seen}) == len(seen)
        assert json.loads(out.splitlines()[-1]) == seen[-1]
        assert (seen[-1]["type"], seen[-1]["content"]["outcome"]) == ("completed", "success")
    finally:
        machine.clean()
