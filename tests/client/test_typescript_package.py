"""The TypeScript client as a package: packed and installed without a network into an empty folder, then used in Node through a kill."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine import PATIENCE, Machine
from reconvene.client.local import find

REPOSITORY = Path(__file__).parents[2]
NODE = Path(sys.executable).parent
"""The Node of the set-up stands beside its Python."""


def node(*words: str, cwd: Path) -> str:
    environment = {**os.environ, "PATH": f"{NODE}{os.pathsep}{os.environ['PATH']}", "HOME": str(cwd)}
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=environment, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing in it but the installed package."""
    base = tmp_path_factory.mktemp("package")
    source = base / "web/src/client"
    shutil.copytree(REPOSITORY / "web/src/client", source, ignore=shutil.ignore_patterns("dist"))
    (base / "web/node_modules").symlink_to(REPOSITORY / "web/node_modules")
    node("npm", "pack", "--offline", "--loglevel=error", "--pack-destination", str(base), cwd=source)
    (packed,) = base.glob("*.tgz")
    with tarfile.open(packed) as tar:
        names = set(tar.getnames())
    assert {"package/README.md", "package/LICENSE", "package/dist/index.js", "package/dist/index.d.ts"} <= names
    assert not [name for name in names if name.endswith(".ts") and not name.endswith(".d.ts")]
    empty = base / "empty"
    empty.mkdir()
    (empty / "package.json").write_text('{"private": true, "type": "module"}')
    node("npm", "install", "--offline", "--no-audit", "--no-fund", "--loglevel=error", str(packed), cwd=empty)
    assert [p.name for p in (empty / "node_modules").iterdir() if not p.name.startswith(".")] == ["@reconvene"]
    return empty


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.clean()


def code(page: Path) -> str:
    return re.findall(r"```ts\n(.*?)```", page.read_text("utf-8"), re.S)[0]


def test_the_program_of_the_how_to_goes_on_through_a_kill(installed: Path, machine: Machine) -> None:
    machine.speak_slowly()
    server = machine.serve()
    machine.environment["RECONVENE_PORT"] = str(server.port)  # the program names one address; it comes back there
    program = code(REPOSITORY / "docs/how-to/typescript-client.md")
    for written, here in {
        "http://localhost:8000": server.endpoint.url,
        "${homedir()}/.local/share/reconvene": str(machine.data_dir),
        "console.error(state.link.phase, state.view.items.length)": (
            "console.error(JSON.stringify([state.link.phase, state.view.items.map((i) => i.type)]))"
        ),
    }.items():
        assert written in program
        program = program.replace(written, here)
    (installed / "ask.ts").write_text(program)
    command = [str(NODE / "node"), "ask.ts"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=installed) as running:
        assert running.stderr is not None
        assert any('"tool"' in line for line in running.stderr)
        os.kill(server.pid, signal.SIGKILL)
        machine.until(lambda: find(machine.data_dir) is None)
        machine.speak_at_once()
        machine.serve()
        out, rest = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, rest
    assert out.startswith("success ")
    assert "hub.py" in out
    phases = [json.loads(line)[0] for line in rest.splitlines()]
    assert "waiting" in phases, "it never lost its connection"
    again = find(machine.data_dir)
    assert again is not None
    (session,) = again.call("GET", "/api/sessions")["sessions"]
    events = again.call("GET", f"/api/sessions/{session['session_id']}/events?limit=1000")["events"]
    assert [e["type"] for e in events].count("prompt") == 1


def test_the_program_of_the_readme_has_types(installed: Path) -> None:
    blocks = re.findall(r"```ts\n(.*?)```", (REPOSITORY / "web/src/client/README.md").read_text("utf-8"), re.S)
    program = blocks[0] + blocks[1]
    program = program.replace("memoryShelf }", "memoryShelf, pending }")
    (installed / "readme.ts").write_text(f"declare const token: string\n{program}")
    (installed / "wrong.ts").write_text("import { Client } from '@reconvene/client'\nnew Client({ server: 8000 })\n")
    tsc = [str(NODE / "node"), str(REPOSITORY / "web/node_modules/typescript/bin/tsc"), "--noEmit", "--strict"]
    how = ["--module", "nodenext", "--target", "es2023", "--lib", "es2023,dom"]
    node(*tsc, *how, "readme.ts", cwd=installed)
    with pytest.raises(AssertionError, match="not assignable"):
        node(*tsc, *how, "wrong.ts", cwd=installed)


def test_a_wrong_token_is_an_error_and_no_loop(installed: Path, machine: Machine) -> None:
    server = machine.serve()
    (installed / "wrong.mjs").write_text(
        "import { answerTo, Client, memoryShelf } from '@reconvene/client'\n"
        f"const client = new Client({{ server: '{server.endpoint.url}', token: 'x', session: null, shelf: memoryShelf() }})\n"
        "client.start()\n"
        "try { await answerTo(client, client.prompt('?')) } catch (e) { console.log(e.name, e.code) }\n"
        "client.stop()\n"
    )
    assert node(str(NODE / "node"), "wrong.mjs", cwd=installed) == "Refused sign-in\n"
