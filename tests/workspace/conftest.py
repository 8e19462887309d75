from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from reconvene.config import Limits
from reconvene.workspace.workspace import Workspace

_GIT_ENV = {
    "PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_ALLOW_PROTOCOL": "file",
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder to serve, with a file outside that must never be read."""
    (tmp_path / "outside").write_text("SECRET")
    root = tmp_path / "repo"
    root.mkdir()
    return root


@pytest.fixture
def serve(root: Path) -> Callable[..., Workspace]:
    """The workspace of `root`, with some limits."""

    def open_it(**limits: object) -> Workspace:
        return Workspace.open(root, data_dir=None, limits=Limits(**limits))

    return open_it


@pytest.fixture
def git() -> Callable[..., str]:
    def run(folder: Path, *args: str, **env: str) -> str:
        done = subprocess.run(
            ["git", "-c", "init.defaultBranch=main", *args],
            cwd=folder,
            env=_GIT_ENV | env,
            check=True,
            capture_output=True,
        )
        return done.stdout.decode("utf-8", "surrogateescape")

    return run


@pytest.fixture
def as_nobody() -> Callable[[Callable[[], None]], None]:
    """Runs a function where permissions count: in a forked child without root's rights, when the tests run as root."""

    def run(test: Callable[[], None]) -> None:
        if os.geteuid() != 0:
            test()
            return
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                test()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    return run
