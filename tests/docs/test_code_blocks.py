"""Every block of code in the documentation is looked at: it runs, or it is read by what reads it for real.

Shell blocks are typed, page by page, on a machine with a server; what would leave that machine (`make`, `ssh`, a clone) is a stand-in.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machine import PATIENCE, Machine

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "SECURITY.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
LANGUAGES = {"sh", "js", "ts", "python", "json", "toml", "yaml", "ini", "nginx", "text"}
ELSEWHERE = {
    "curl.md": "tests/docs/test_client_pages.py",
    "python-client.md": "tests/docs/test_client_pages.py",
    "typescript-client.md": "tests/docs/test_client_pages.py",
    "protocol.md": "tests/docs/test_docs.py",  # the sample, to the letter
    "ag-ui.md": "tests/adapters/test_agui_front_ends.py",
    "back-up.md": "tests/cli/test_backing_up.py",
    "postgresql.md": "tests/log/test_moving.py",  # it needs a database server
}
"""Pages whose programs and commands are run by other tests."""
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.S | re.M)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each, without the indentation of the list that it stands in."""
    found = BLOCK.findall(page.read_text("utf-8"))
    return [(language, re.sub(rf"^{indent}", "", text, flags=re.M)) for indent, language, text in found]


def of(language: str) -> list[Any]:
    pairs = [(page, text) for page in PAGES for found, text in blocks(page) if found == language]
    return [pytest.param(page, text, id=f"{page.stem}-{n}") for n, (page, text) in enumerate(pairs)]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_block_says_what_it_is(page: Path) -> None:
    said = page.read_text("utf-8")
    assert len(re.findall(r"^ *```", said, re.M)) == 2 * len(blocks(page)), (
        "a fence that does not close, or not where it opened"
    )
    for language, text in blocks(page):
        assert language in LANGUAGES, text[:80]
        if language in ("js", "ts", "python"):
            assert page.name in ELSEWHERE, f"nothing runs this: {text[:80]}"


def test_the_tests_that_run_them_exist() -> None:
    for page, test in ELSEWHERE.items():
        assert (REPOSITORY / test).is_file(), test
        assert any(p.name == page for p in PAGES), page


@pytest.mark.parametrize(("page", "text"), of("json"))
def test_json_is_what_the_server_takes_or_says(page: Path, text: str) -> None:
    from reconvene.protocol.events import CONTENTS
    from reconvene.protocol.frames import CLIENT_FRAMES

    said = json.loads(text)
    if "event" in said:  # a line of the log
        assert {"session_id", "run_id", "logger", "level", "timestamp"} <= set(said)
    elif "seq" in said:
        CONTENTS[said["type"]].model_validate(said["content"])
    else:
        CLIENT_FRAMES[said["type"]].model_validate(said)


@pytest.mark.parametrize(("page", "text"), of("toml"))
def test_toml_is_a_config_that_the_server_reads(tmp_path: Path, page: Path, text: str) -> None:
    from reconvene.config import Settings

    (tmp_path / "config.toml").write_text(text, "utf-8")
    settings = Settings.load({"data_dir": tmp_path}, {})
    assert set(tomllib.loads(text)) <= {name.split(".")[0] for name in settings.origins}


@pytest.mark.parametrize(("page", "text"), of("ini"))
def test_a_unit_starts_what_there_is(page: Path, text: str) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    assert unit["Service"]["ExecStart"].split()[:2] == ["%h/reconvene/.venv/bin/reconvene", "serve"]


def test_what_proxies_are_told_is_complete() -> None:
    """What the table of that page says matters is in its nginx block, and its braces close."""
    (text,) = (text for language, text in blocks(REPOSITORY / "docs/how-to/behind-a-proxy.md") if language == "nginx")
    for line in ("proxy_set_header Host $host;", "proxy_set_header Upgrade $http_upgrade;", "proxy_buffering off;"):
        assert line in text
    assert text.count("{") == text.count("}") and "proxy_http_version 1.1;" in text


# -- what is typed

STAND_INS = ("make", "ssh", "ollama", "npx", "npm", "systemctl", "loginctl")
TYPED = sorted(
    {page for page in PAGES if page.name not in ELSEWHERE for language, _ in blocks(page) if language == "sh"}
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("typed"))
    home = Path(machine.environment["HOME"])
    data = home / ".local/share/reconvene"
    data.parent.mkdir(parents=True)
    machine.data_dir = data
    machine.environment |= {"RECONVENE_DATA_DIR": str(data), "RECONVENE_OFFLINE_DELAY_MS": "0"}
    (home / "code").mkdir()
    (home / "code/project").symlink_to(machine.root)
    (home / "code/other").mkdir()
    stand_ins = home / "bin"
    stand_ins.mkdir()
    for name in STAND_INS:
        script(stand_ins / name, f'echo "{name} $*"')
    clone = "mkdir reconvene; cp -r code/project/. reconvene/; cp -r .venv reconvene/"
    real = f'exec {shutil.which("git")} "$@"'
    script(stand_ins / "git", f'if [ "$1" = clone ]; then {clone}; else {real}; fi')
    script(stand_ins / "reconvene", f'exec {sys.executable} -m reconvene.cli.main "$@"')
    (home / ".venv/bin").mkdir(parents=True)
    (home / ".venv/bin/reconvene").symlink_to(stand_ins / "reconvene")
    machine.environment["PATH"] = f"{stand_ins}:{os.environ['PATH']}"
    nowhere = "http://127.0.0.1:9"  # some pages set a model: whatever would ask it does not leave the machine
    machine.environment |= {"HTTPS_PROXY": nowhere, "https_proxy": nowhere, "NO_PROXY": "localhost,127.0.0.1"}
    served = machine.serve()
    machine.environment["RECONVENE_PORT"] = str(served.port)
    git(machine.root, "init", "-q")
    git(machine.root, "add", ".")
    git(machine.root, "commit", "-qm", "all of it")
    assert machine.run("ask", "Where are idle sessions removed?").returncode == 0  # `last` is one, then
    yield machine
    machine.clean()


def script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/bash\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@t.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, env={"PATH": os.environ["PATH"], "HOME": str(folder)})


def typed(machine: Machine, page: Path) -> subprocess.CompletedProcess[str]:
    """All shell blocks of a page, one after the other, as a person would type them; keys that are asked for are given."""
    from reconvene.client.local import find

    server = find(machine.data_dir)
    if server is None:
        server = machine.serve()
    text = "\n".join(block for language, block in blocks(page) if language == "sh")
    if "reconvene ask" in text:  # pages before may have set a model
        text = f"reconvene model offline\n{text}"
    text = (
        text.replace("http://localhost:8000", server.endpoint.url)
        .replace("TOKEN=…", "TOKEN=x")
        .replace("clone … ", "clone x ")
        .replace("reconvene doctor", "reconvene doctor || [ $? = 1 ]")  # what is wrong with the machine of this test
    )
    text = re.sub(r"^.* --key\b.*$", r"\g<0> <<< a-key", text, flags=re.M)
    assert "…" not in text, "what is left out cannot be typed"
    return subprocess.run(
        ["bash", "-eu", "-O", "expand_aliases", "-o", "pipefail", "-c", f"set -x\n{text}"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=machine.environment["HOME"],
        env=machine.environment,
        timeout=2 * PATIENCE,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", TYPED, ids=lambda p: p.stem)
def test_what_a_page_tells_to_type_works(served: Machine, page: Path) -> None:
    began = time.monotonic()
    done = typed(served, page)
    assert done.returncode == 0, f"{done.stdout[-800:]}\n{done.stderr[-2000:]}"
    print(
        f"{page.stem}: what is typed took {time.monotonic() - began:.1f} s"
    )  # with -s: the machine's share of a tutorial


def test_mutation_a_command_that_is_none_is_seen(served: Machine, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.md"
    wrong.write_text("```sh\nreconvene sessions list\nreconvene sessions lost\n```\n")
    assert typed(served, wrong).returncode != 0
