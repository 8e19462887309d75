"""What git's history tells, and that asking for it runs nothing."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from reconvene.config import Limits
from reconvene.workspace import git_files, git_history
from reconvene.workspace.git_files import GitError, StoppedError
from reconvene.workspace.git_history import Commit
from reconvene.workspace.workspace import Workspace

Serve = Callable[..., Workspace]
Git = Callable[..., str]


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def commit(root: Path, git: Git, message: str) -> None:
    git(root, "add", "-A")
    git(root, "commit", "--allow-empty", "--allow-empty-message", "-m", message)


@pytest.fixture
def history(root: Path, git: Git) -> Path:
    git(root, "init")
    for path in ("a.py", "sub/b.py", "sub/c d.py"):
        write(root, path, f"{path}\n" * 5)
    commit(root, git, "begin")
    write(root, "a.py", "x = 1\n")
    write(root, "sub/b.py", "y = 1\n")
    commit(root, git, "Subject\n\nBody of it\nM\n")
    (root / "sub/c d.py").rename(root / "moved\n.py")
    commit(root, git, "move")
    commit(root, git, "")
    return root


def told(workspace: Workspace) -> list[Commit]:
    git = workspace.git_history(threading.Event())
    assert git is not None
    return list(git.commits(git.ids(git.head(), 100)))


def test_commits_newest_first(history: Path, serve: Serve) -> None:
    nothing, move, change, begin = told(serve())
    assert (nothing.message.strip(), nothing.paths, nothing.renames) == ("", (), ())
    assert (move.paths, move.renames) == (("moved\n.py",), (("sub/c d.py", "moved\n.py"),))
    assert (change.message, change.paths, change.first) == ("Subject\n\nBody of it\nM\n", ("a.py", "sub/b.py"), False)
    assert begin.first and set(begin.paths) == {"a.py", "sub/b.py", "sub/c d.py"}


def test_of_a_folder_only_its_own_files(history: Path) -> None:
    folder = Workspace.open(history / "sub", data_dir=None, limits=Limits())
    assert [c.paths for c in told(folder)] == [(), ("c d.py",), ("b.py",), ("b.py", "c d.py")]


def test_merges_are_left_out_and_no_more_than_asked_for(history: Path, serve: Serve, git: Git) -> None:
    git(history, "checkout", "-b", "side", "HEAD~2")
    write(history, "side.py", "1")
    commit(history, git, "side")
    git(history, "merge", "-m", "merge", "main")
    asked = serve().git_history(threading.Event())
    assert asked is not None
    assert len(asked.ids(asked.head(), 100)) == 5
    assert len(asked.ids(asked.head(), 2)) == 2


def test_an_answer_that_is_too_long_is_asked_for_in_parts(
    history: Path, serve: Serve, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(120):
        write(history, f"many/{i}.txt", "1")
    commit(history, git, "import")
    whole = told(serve())
    monkeypatch.setattr(git_history, "_BYTES", 700)
    imported, *others = told(serve())
    assert others == whole[1:]
    assert (imported.id, imported.paths, imported.first) == (whole[0].id, (), True)


@pytest.mark.parametrize("broken", ["no commit", "no objects", "no git"])
def test_what_git_cannot_tell(root: Path, serve: Serve, git: Git, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    git(root, "init")
    if broken != "no commit":
        write(root, "a", "1")
        commit(root, git, "1")
    if broken == "no objects":
        for file in (root / ".git/objects").rglob("*"):
            file.unlink() if file.is_file() else None
    if broken == "no git":
        monkeypatch.setattr(git_files, "_program", lambda: None)
    with pytest.raises(GitError):
        told(serve())


def test_where_there_is_no_repository_there_is_no_history(root: Path, serve: Serve) -> None:
    assert serve().git_history(threading.Event()) is None


def test_it_is_given_up_at_once(history: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "git"
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setattr(git_files, "_program", lambda: str(fake))
    stop = threading.Event()
    asked = serve().git_history(stop)
    assert asked is not None
    stop.set()
    with pytest.raises(StoppedError):
        asked.head()


# -- a repository whose settings name programs


@pytest.fixture
def signed(history: Path, git: Git, tmp_path: Path) -> Path:
    """Its last commit bears a signature, and a setting says which program checks such. Returns the trace that program leaves."""
    program = tmp_path / "planted.sh"
    program.write_text(f"#!/bin/sh\necho \"$0 $*\" >> '{tmp_path}/trace'\n")
    program.chmod(0o755)
    head, _, message = git(history, "cat-file", "commit", "HEAD").partition("\n\n")
    text = f"{head}\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\n{message}"
    done = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin"], cwd=history, input=text.encode(), capture_output=True, check=True
    )  # fmt: skip
    git(history, "update-ref", "HEAD", done.stdout.decode().strip())
    for key in (
        "gpg.program",
        "core.pager",
        "pager.log",
        "diff.external",
        "core.fsmonitor",
        "core.alternateRefsCommand",
    ):
        git(history, "config", key, str(program))
    git(history, "config", "log.showSignature", "true")
    git(history, "config", "alias.log", f"!{program}")
    trace = tmp_path / "trace"
    trace.unlink(missing_ok=True)
    return trace


@pytest.mark.parametrize("_", [0], ids=["bad96-history"])
def test_nothing_planted_runs(history: Path, serve: Serve, signed: Path, _: int) -> None:
    assert len(told(serve())) == 4
    assert not signed.exists(), signed.read_text()


def test_control_asked_without_guards_it_runs(
    history: Path, serve: Serve, signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unguarded(arguments: Sequence[str], folder: str, git_dir: str, work_tree: str) -> subprocess.Popen[bytes]:
        plain = ["git", *(a for a in arguments if a != "--no-show-signature")]
        pipe = subprocess.PIPE
        return subprocess.Popen(plain, cwd=folder, stdout=pipe, stderr=pipe, start_new_session=True)

    monkeypatch.setattr(git_history, "start", unguarded)
    told(serve())
    assert signed.exists()
