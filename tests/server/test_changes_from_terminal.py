"""A change made in a real server, then printed, taken back, rewound, run again and planned with the commands of the terminal."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.exceptions import ModelHTTPError
from serving import Serving, serving

from coding import agents, update
from house import ME, contents
from reconvene.agents.edit_format import Create, Edit, Replace, render
from reconvene.log.port import Row
from reconvene.server.lifecycle import Server

CHANGE = render([Edit("main.py", (Replace(("    return 1",), ("    return 2",)),)), Create("ü b.txt", ("new",))])
BEFORE = "def start() -> int:\n    return 1\n"
PLAN: Any = [("create_plan", {"title": "Two", "steps": ["look", "change"]})]


class Terminal:
    """A server with runs, one session in it, and what is typed at it."""

    def __init__(self, server: Serving, root: Path) -> None:
        self.server, self.root = server, root
        self.session = ""

    async def ask(self, text: str) -> None:
        sessions = self.server.sessions
        self.session = self.session or (await sessions.attach(ME, session_id=None)).session.id
        ended = len(contents(await self.rows(), "completed"))
        await sessions.submit(ME, self.session, id=None, text=text)
        async with asyncio.timeout(30):
            while len(contents(rows := await self.rows(), "completed")) == ended:
                decided = {c["id"] for c in contents(rows, "decided")}
                for diff in (c for c in contents(rows, "diff") if c["id"] not in decided):
                    await sessions.decide(ME, self.session, id=None, reply_to=diff["id"], verdict="accept")
                await asyncio.sleep(0.02)

    async def rows(self) -> list[Row]:
        return await self.server.sessions.log.read(self.session, 0) if self.session else []

    async def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RECONVENE_")}
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "reconvene.cli.main", *words, "--data-dir", str(self.server.data_dir)],
            input=stdin, capture_output=True, text=True, timeout=60, cwd=self.root, env=environment,
        )  # fmt: skip


@pytest.fixture
async def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Terminal]:
    failed: list[int] = []

    async def before(who: str, n: int) -> None:
        if (who, n) == ("orchestrator", 2) and not failed:
            failed.append(n)
            raise ModelHTTPError(404, "gone")

    model = agents([PLAN, update("x", "main.py"), "It is written."], [CHANGE], before=before)
    monkeypatch.setattr("reconvene.agents.models.resolve", lambda *_: model)
    async with serving(tmp_path, kind=Server) as server:
        yield Terminal(server, tmp_path / "project")


async def test_a_change_from_the_terminal(terminal: Terminal, tmp_path: Path) -> None:
    root = terminal.root
    nothing = await terminal.run("patch")
    assert nothing.returncode == 1 and "no session yet" in nothing.stderr
    await terminal.ask("Make it two.")  # written, and then its model is gone
    changed = {p.name: p.read_text() for p in root.iterdir() if p.is_file()}
    assert changed == {"main.py": BEFORE.replace("1", "2"), "ü b.txt": "new\n"}

    patch = await terminal.run("patch")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "main.py").write_text(BEFORE)
    subprocess.run(["git", "apply", "-"], input=patch.stdout, text=True, cwd=copy, check=True)
    assert {p.name: p.read_text() for p in copy.iterdir()} == changed

    shown = await terminal.run("plan")
    assert shown.stdout == "# Two\n[>] look\n[ ] change\n"
    edited = await terminal.run("plan", "--stdin", stdin="# Two\n[x] look\n1. change\n- [ ] test\n")
    assert edited.returncode == 0 and "3 steps" in edited.stderr
    assert (await terminal.run("plan")).stdout == "# Two\n[x] look\n[ ] change\n[ ] test\n"
    refused = await terminal.run("plan", "--stdin", stdin="# only a title\n")
    assert refused.returncode == 2 and "at least one step" in refused.stderr

    asked = await terminal.run("undo")
    assert asked.returncode == 2 and "--yes" in asked.stderr
    undone = await terminal.run("undo", "--yes")
    assert undone.returncode == 0 and "Taken back: main.py" in undone.stderr + undone.stdout, undone
    assert [p.name for p in root.iterdir() if p.is_file()] == ["main.py"] and (root / "main.py").read_text() == BEFORE
    again = await terminal.run("undo", "--yes")
    assert again.returncode == 1 and "changed no file" in again.stderr
    assert (await terminal.run("patch")).stdout == ""


async def test_run_again_and_rewound_from_the_terminal(terminal: Terminal) -> None:
    root = terminal.root
    await terminal.ask("Make it two.")
    (root / "main.py").write_text(BEFORE)  # as if nothing had been done, so that it can be done again
    (root / "ü b.txt").unlink()
    running = asyncio.create_task(terminal.run("retry"))
    async with asyncio.timeout(60):
        while len(contents(rows := await terminal.rows(), "diff")) < 2:
            assert not running.done(), running.result()
            await asyncio.sleep(0.02)
    second = contents(rows, "diff")[1]["id"]
    await terminal.server.sessions.decide(ME, terminal.session, id=None, reply_to=second, verdict="accept")
    done = await running
    # Nobody is at its terminal to decide, so it says that it waits.
    assert done.returncode == 5 or "It is written." in done.stdout
    async with asyncio.timeout(60):
        while len(contents(await terminal.rows(), "completed")) < 2:
            await asyncio.sleep(0.02)
    assert (root / "main.py").read_text() == BEFORE.replace("1", "2")
    assert (await terminal.run("retry")).returncode == 1

    await terminal.ask("And now?")
    kept = await terminal.run("rewind", "--yes", "--keep-files")
    assert kept.returncode == 0 and "conversation was taken back" in kept.stderr, kept
    many = await terminal.run("rewind", "--yes", "-n", "9")
    assert many.returncode == 2 and "1 prompt" in many.stderr


async def test_control_a_patch_that_steers_a_terminal_is_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    from reconvene.cli.terminal import safe

    assert safe("+\x1b[2J\u202eevil\u200b\u061c") == "+\\x1b[2J\\u202eevil\\u200b\\u061c"
