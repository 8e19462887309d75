"""[bad96] A repository whose own settings name programs: listing it runs none of them. Plain git would run each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reconvene.workspace import git_files
from reconvene.workspace.workspace import Workspace

Serve = Callable[..., Workspace]
Git = Callable[..., str]


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A program that leaves a trace when it runs."""
    program = tmp_path / "planted.sh"
    program.write_text(f"#!/bin/sh\necho \"$0 $*\" >> '{tmp_path}/trace'\n")
    program.chmod(0o755)
    return program


def fsmonitor(root: Path, git: Git, planted: Path) -> None:
    git(root, "config", "core.fsmonitor", str(planted))


def promisor(root: Path, git: Git, planted: Path) -> None:
    """A partial clone: git fetches a missing .gitignore to judge a new file by, and the "remote" is a command."""
    (root / "sub/new.py").write_text("x")
    git(root, "update-index", "--skip-worktree", "sub/.gitignore")
    (root / "sub/.gitignore").unlink()
    blob = git(root, "rev-parse", ":sub/.gitignore").strip()
    (root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for key, value in {
        "core.repositoryformatversion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": str(root.parent / "nowhere"),
        "remote.origin.uploadpack": str(planted),
    }.items():
        git(root, "config", key, value)


def promisor_by_ssh(root: Path, git: Git, planted: Path) -> None:
    promisor(root, git, planted)
    git(root, "config", "remote.origin.url", "ssh://example.invalid/x")
    git(root, "config", "core.sshCommand", str(planted))


def promisor_by_ext(root: Path, git: Git, planted: Path) -> None:
    promisor(root, git, planted)
    git(root, "config", "remote.origin.url", f"ext::{planted} x")
    git(root, "config", "protocol.ext.allow", "always")


def elsewhere(root: Path, git: Git, planted: Path) -> None:
    """The settings are in another folder, by a .git file and a commondir."""
    fsmonitor(root, git, planted)
    (root / ".git").rename(root / "data")
    (root / "data/trees").mkdir()
    (root / "data/trees/HEAD").write_text("ref: refs/heads/main\n")
    (root / "data/trees/commondir").write_text("..\n")
    (root / "data/index").rename(root / "data/trees/index")
    (root / ".git").write_text("gitdir: data/trees\n")


def included(root: Path, git: Git, planted: Path) -> None:
    (root / "settings").write_text(f"[core]\n\tfsmonitor = {planted}\n")
    git(root, "config", "include.path", "../settings")


def nested(root: Path, git: Git, planted: Path) -> None:
    inside = root / "vendor"
    inside.mkdir()
    (inside / "v.py").write_text("x")
    git(inside, "init")
    git(inside, "add", ".")
    git(inside, "commit", "-m", "1")
    fsmonitor(inside, git, planted)


def everything_else(root: Path, git: Git, planted: Path) -> None:
    """What `ls-files` has no reason to run."""
    hooks = root / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for hook in (
        "fsmonitor-watchman",
        "post-index-change",
        "pre-commit",
        "post-checkout",
        "reference-transaction",
        "sendemail-validate",
    ):
        (hooks / hook).write_text(planted.read_text())
        (hooks / hook).chmod(0o755)
    (root / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    for key in (
        "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv", "diff.evil.command", "diff.external",
        "core.pager", "pager.ls-files", "core.editor", "core.askPass", "core.gitProxy", "core.alternateRefsCommand", "credential.helper",
        "alias.ls-files", "gpg.program", "uploadpack.packObjectsHook", "sequence.editor", "web.browser", "browser.x.cmd",
    ):  # fmt: skip
        git(root, "config", key, f"!{planted}" if key.startswith("alias") else str(planted))


RUN_BY_PLAIN_GIT = [fsmonitor, promisor, promisor_by_ssh, promisor_by_ext, elsewhere, included]


def repository(root: Path, git: Git) -> None:
    (root / "sub").mkdir()
    (root / "a.py").write_text("x")
    (root / "sub/b.py").write_text("x")
    (root / "sub/.gitignore").write_text("*.tmp\n")
    git(root, "init")
    git(root, "add", ".")
    git(root, "commit", "-m", "1")


@pytest.mark.parametrize("plant", [*RUN_BY_PLAIN_GIT, nested, everything_else], ids=lambda f: f"bad96-{f.__name__}")
def test_nothing_planted_runs(root: Path, serve: Serve, git: Git, planted: Path, plant: Callable[..., None]) -> None:
    repository(root, git)
    plant(root, git, planted)
    trace = planted.parent / "trace"
    trace.unlink(missing_ok=True)  # planting uses git, which may run it
    before = snapshot(root)
    got = serve().listing()
    assert not trace.exists(), trace.read_text()
    assert {"a.py", "sub/b.py"} <= set(got.paths)
    assert not any(p.startswith(".git/") for p in got.paths)
    assert snapshot(root) == before  # and nothing is written into the repository


@pytest.mark.parametrize("plant", RUN_BY_PLAIN_GIT, ids=lambda f: f"bad96-{f.__name__}")
def test_plain_git_runs_it(
    root: Path, serve: Serve, git: Git, planted: Path, plant: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutation control: without the settings and the environment, the same listing is caught."""
    repository(root, git)
    plant(root, git, planted)
    trace = planted.parent / "trace"
    trace.unlink(missing_ok=True)
    subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, check=False)
    # A git to come may refuse a fetch from a command by itself; none does so of a setting that it documents.
    caught = trace.exists()
    assert caught or plant in (promisor, promisor_by_ssh, promisor_by_ext)
    trace.unlink(missing_ok=True)
    given = git_files._environment
    monkeypatch.setattr(git_files, "_COMMAND", git_files._COMMAND[git_files._COMMAND.index("ls-files") :])
    monkeypatch.setattr(
        git_files,
        "_environment",
        lambda *args: {k: v for k, v in given(*args).items() if k in ("PATH", "GIT_DIR", "GIT_WORK_TREE")},
    )
    serve().listing()
    assert trace.exists() == caught


@pytest.mark.parametrize("guard", ["GIT_ALLOW_PROTOCOL"])
def test_one_guard_alone_holds_a_partial_clone(
    root: Path, serve: Serve, git: Git, planted: Path, guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git before 2.44 does not know GIT_NO_LAZY_FETCH: the transports must be closed without it."""
    repository(root, git)
    promisor(root, git, planted)
    trace = planted.parent / "trace"
    trace.unlink(missing_ok=True)
    given = git_files._environment
    monkeypatch.setattr(
        git_files, "_environment", lambda *args: {k: v for k, v in given(*args).items() if k != "GIT_NO_LAZY_FETCH"}
    )
    serve().listing()
    assert not trace.exists()


def test_another_work_tree_is_not_followed(root: Path, serve: Serve, git: Git) -> None:
    repository(root, git)
    (root.parent / "private.py").write_text("SECRET")
    git(root, "config", "core.worktree", str(root.parent))
    got = serve().listing()
    assert got.paths == ["a.py", "sub/.gitignore", "sub/b.py"]


def test_an_index_that_names_what_is_outside_lists_nothing_of_it(
    root: Path, serve: Serve, git: Git, tmp_path: Path
) -> None:
    """A .git that is another's: only what is here is listed."""
    other = tmp_path / "other"
    other.mkdir()
    repository(other, git)
    (other / "private.py").write_text("SECRET")
    git(other, "add", ".")
    (root / "a.py").write_text("mine")
    (root / ".git").symlink_to(other / ".git")
    assert serve().listing().paths == ["a.py"]
    # The same for a folder that git takes for one of the tree, and that is a link by now.
    (root / "sub").symlink_to(other / "sub")
    assert serve().listing().paths == ["a.py"]


def test_a_program_of_the_code_base_is_not_taken_for_git(
    root: Path, serve: Serve, git: Git, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(root, git)
    (root / "bin").mkdir()
    (root / "bin/git").write_text(planted.read_text())
    (root / "bin/git").chmod(0o755)
    monkeypatch.chdir(root)
    for path in (f"bin:{os.environ['PATH']}", f".:bin:{os.environ['PATH']}", f"{root}/bin:{os.environ['PATH']}"):
        monkeypatch.setenv("PATH", path)
        git_files._program.cache_clear()
        try:
            assert "a.py" in serve().listing().paths
        finally:
            git_files._program.cache_clear()
    assert not (planted.parent / "trace").exists()


def test_git_gets_no_keys(root: Path, serve: Serve, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(root, git)
    monkeypatch.setenv("OPENAI_API_KEY", "SECRET")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_TRACE", "1")
    envs = []
    start = subprocess.Popen
    monkeypatch.setattr(
        git_files.subprocess, "Popen", lambda *args, **kw: (envs.append(kw["env"]), start(*args, **kw))[1]
    )
    assert serve().listing().source == "git"
    (env,) = envs
    assert not {"OPENAI_API_KEY", "GIT_CONFIG_COUNT", "GIT_TRACE", "HOME"} & set(env)


def test_what_hangs_is_killed_with_what_it_started(
    root: Path, serve: Serve, git: Git, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    repository(root, git)
    fake = tmp_path / "git"
    fake.write_text(
        f'#!/bin/sh\n{sys.executable} -c \'import os,time; open("{tmp_path}/pid","w").write(str(os.getpid())); time.sleep(60)\' &\nwait\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr(git_files, "_program", lambda: str(fake))
    monkeypatch.setattr("reconvene.workspace.listing.GIT_SECONDS", 1.0)
    got = serve().listing()
    assert got.source == "walk"
    assert got.paths == ["a.py", "sub/.gitignore", "sub/b.py"]
    pid = int((tmp_path / "pid").read_text())
    for _ in range(1000):  # init takes it away
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
    raise AssertionError("still running")


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): ((s := p.lstat()).st_mtime_ns, s.st_size) for p in root.rglob("*")}
