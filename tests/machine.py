"""A person's machine: a data folder, a code base, and commands as they are typed there, each its own process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from reconvene.client.local import Server, find

RECONVENE = [sys.executable, "-m", "reconvene.cli.main"]


LINK = re.compile(r"http://localhost:\d+/sign-in\?t=[\w-]{20,}\n")


PATIENCE = 60.0


HEAVY = (
    "pydantic_ai", "pydantic", "fastapi", "numpy", "uvicorn", "apsw", "anthropic", "openai", "asyncio", "websockets", "httpx", "structlog",
    "importlib.metadata",
)  # fmt: skip
"""Each costs more than the rest of a small command's start: 70 ms of CPU on the machine this was measured on, most of it typer's."""


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

    def speak_slowly(self) -> None:
        """Of the servers that are started from here on: an answer takes seconds, so that there is a middle of it to be killed in."""
        self.environment["RECONVENE_OFFLINE_DELAY_MS"] = "50"

    def speak_at_once(self) -> None:
        """Of those that are started from here on: whoever waits for what is left of an answer has it."""
        self.environment["RECONVENE_OFFLINE_DELAY_MS"] = "0"

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

    def here(self, *words: str, stdin: str | bytes | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """`run` in this process, for what does not depend on having one of its own: starting Python costs more than most commands."""
        from reconvene.cli.main import main

        raw = stdin.encode() if isinstance(stdin, str) else stdin
        out, err = io.StringIO(), io.StringIO()
        code: Any = 0
        with contextlib.ExitStack() as stack:
            typed = stack.enter_context(_typed(raw))
            stack.enter_context(mock.patch.dict(os.environ, {**self.environment, **more}, clear=True))
            stack.enter_context(mock.patch.multiple(sys, stdin=typed, argv=["reconvene", *words]))
            stack.enter_context(contextlib.chdir(self.root))
            stack.enter_context(contextlib.redirect_stdout(out))
            stack.enter_context(contextlib.redirect_stderr(err))
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    def loaded(self, *words: str) -> list[str]:
        """Which of the heavy modules a command has imported at its end."""
        script = (
            f"import sys; sys.argv = ['reconvene', *{words!r}]\n"
            "from reconvene.cli.main import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            f"print('loaded:', *[m for m in {HEAVY!r} if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            cwd=self.root,
            env=self.environment,
            timeout=PATIENCE,
        )
        last = done.stdout.splitlines()[-1:]
        assert last and last[0].startswith("loaded:"), done.stdout + done.stderr
        return last[0].split()[1:]

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


@contextlib.contextmanager
def _typed(content: bytes | None) -> Iterator[Any]:
    if content is None:
        with open(os.devnull) as nothing:
            yield nothing
        return
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        with open(os.dup(file.fileno()), encoding="utf-8", errors="replace") as typed:
            yield typed


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
