"""A few paths told apart without listing everything, files that commits touched, and a listing that is told to stop."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconvene.workspace import git_files
from reconvene.workspace.git_files import StoppedError
from reconvene.workspace.workspace import Workspace

Serve = Callable[..., Workspace]
Git = Callable[..., str]


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{path}\n")


def some(workspace: Workspace, *paths: str) -> list[str] | None:
    got = workspace.listing_of(paths)
    return None if got is None else got.paths


def test_a_few_paths_are_told_apart_as_a_listing_does(root: Path, serve: Serve, git: Git) -> None:
    seed = 11
    print("seed", seed)
    git(root, "init")
    write(root, ".gitignore", "a.py", "src/b.py", "out/made.o", "note.log", ".env", "sub/deep/*.py", "[x].py")
    (root / ".gitignore").write_text("out/\n*.log\n")
    git(root, "add", "a.py", "src/b.py")
    (root / "link.py").symlink_to("a.py")
    workspace = serve()
    whole = workspace.listing()
    there = [
        str((Path(folder) / name).relative_to(root))
        for folder, _, names in os.walk(root)
        for name in names
        if ".git" not in Path(folder).parts
    ]
    rng = random.Random(seed)
    for _ in range(30):
        asked = [*rng.sample(there, rng.randrange(1, len(there))), "gone.py", "src", "nowhere/x.py"]
        assert some(workspace, *asked) == sorted(set(asked) & set(whole.paths)), asked
    got = workspace.listing_of(["a.py"])
    assert got is not None and got.stats["a.py"] == whole.stats["a.py"]


def test_where_names_do_not_tell_a_listing_is_asked_for(root: Path, serve: Serve, git: Git) -> None:
    write(root, "a.py")
    assert some(serve(), "a.py") is None, "no repository"
    git(root, "init")
    write(root, "inner/b.py")
    git(root / "inner", "init")
    assert some(serve(), "inner/b.py") is None, "another repository's"
    assert some(serve(), *(f"{n}.py" for n in range(500))) is None, "too many"
    assert some(serve(), "a.py") == ["a.py"]


def test_a_listing_that_waits_for_git_stops_at_once(
    root: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = tmp_path / "git"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o700)
    monkeypatch.setattr(git_files, "_program", lambda: str(hanging))
    (root / ".git").mkdir()
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        serve().listing(stop)
    assert time.monotonic() - began < 2


def test_a_walk_stops_at_once(root: Path, serve: Serve) -> None:
    write(root, "a/b.py")
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        serve().listing(stop)


def test_files_that_commits_touched_newest_first(root: Path, serve: Serve, git: Git) -> None:
    git(root, "init")
    write(root, "import.py", "a.py", "b c.py", "gone.py")
    git(root, "add", "-A")
    git(root, "commit", "-m", "import of everything")
    for names in (["b c.py"], ["a.py", "ü\n.py"], ["gone.py"]):
        for name in names:
            (root / name).write_text("changed\n")
        git(root, "add", "-A")
        git(root, "commit", "-m", "change")
    (root / "gone.py").unlink()
    git(root, "commit", "-am", "drop")
    history = serve().git_history(threading.Event())
    assert history is not None
    assert history.touched(10, 5.0) == ["gone.py", "a.py", "ü\n.py", "b c.py"], "not all that the first commit brought"
    assert history.touched(1, 5.0) == ["gone.py"]
    assert history.touched(10, -1.0) == [], "not in time"
