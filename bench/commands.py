"""Processor time of `reconvene` commands that need no model, each in a process of its own, beside Python that starts and ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.control import clean_environment
from bench.plan import Plan
from bench.stage import source
from bench.table import Row, ratio

RECONVENE = str(Path(sys.executable).with_name("reconvene"))
TARGET = 0.150
"""Seconds of CPU, of the command's own process: what it asks a server for is the server's."""
COMMANDS = (
    "--version",
    "--help",
    "sessions list",
    "sessions show last",
    "sessions search sweep",
    "open --no-browser",
    "index --status --json",
    "index --json",
    "search sweep",
    "map",
    "config zed",
    "commands",
    "model",
    "mcp-servers list",
    "users list",
    "audit",
    "ask --help",
)
"""They ask the server, or read a file."""
AT_REST = ("sessions list", "sessions show last", "users list", "audit")
"""They look into the data folder while no server runs."""
AT_WORK = ("doctor",)
"""Looks through the machine in its own process, beside a server too: that is no start, so it has no target."""
AT_WORK_ALONE = ("search sweep", "map")
"""Without a server they search in their own process, with what that takes to import: that is no start either."""


def measure(folder: Path, plan: Plan) -> list[Row]:
    root, data = source(folder), folder / "data"
    environment = {**clean_environment(), "RECONVENE_DATA_DIR": str(data), "RECONVENE_PORT": "0", "CI": "1"}

    def rows(commands: Sequence[str], how: str, target: bool) -> list[Row]:
        return [_row(words, how, root, environment, plan.commands, target) for words in commands]

    with _served(root, environment):
        found = rows(COMMANDS, "", True) + rows(AT_WORK, " with its work", False)
    found += rows(AT_REST, ", no server", True)
    return found + rows(AT_WORK_ALONE, " with its work, no server", False)


def _row(words: str, how: str, root: Path, environment: dict[str, str], times: int, target: bool) -> Row:
    ours, floor = [], []
    for _ in range(times):
        floor.append(_cpu([sys.executable, "-c", "pass"], root, environment))
        ours.append(_cpu([RECONVENE, *words.split()], root, environment))
    # What else runs on the machine makes processor time longer and never shorter: the least of them is the command's own.
    cpu = min(ours)
    return Row(
        f"reconvene {words}: CPU ms{how}",
        f"{cpu * 1000:.0f}",
        f"{min(floor) * 1000:.0f}",
        f"{ratio(ours, floor):.1f}",
        f"≤ {TARGET * 1000:.0f} ms" if target else "",
        cpu <= TARGET if target else None,
    )


def _cpu(command: Sequence[str], root: Path, environment: dict[str, str]) -> float:
    """Seconds that a process used itself, in the program and for it in the kernel."""
    process = subprocess.Popen(
        command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    with process.stderr as said:
        words = said.read().decode("utf-8", "replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {words}")
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def _served(root: Path, environment: dict[str, str]) -> Iterator[None]:
    """A server with one session, as `sessions` and the like need one."""
    server = subprocess.Popen(
        [RECONVENE, "serve", str(root), "--no-browser"],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        if not server.stdout.readline():
            raise RuntimeError(f"the server did not start; see {environment['RECONVENE_DATA_DIR']}/logs")
        _cpu([RECONVENE, "ask", "What does sweep do?"], root, environment)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate()
