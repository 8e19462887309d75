"""What a code base has: by git, by our own walk, and what neither may give."""

from __future__ import annotations

import asyncio
import doctest
import os
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.workspace import git_files, ignore_rules, listing, walk
from reconvene.workspace.ignore_rules import IgnoreRules, parse_pattern
from reconvene.workspace.names import display_path
from reconvene.workspace.workspace import Workspace

Serve = Callable[..., Workspace]
Git = Callable[..., str]


def files(root: Path, *paths: str, text: str = "x\n") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def test_git_tells_what_it_tracks_and_what_it_would(root: Path, serve: Serve, git: Git) -> None:
    files(
        root,
        "tracked.py",
        "src/a.py",
        "src/b.py",
        "build/out.o",
        "note.log",
        "gone.py",
        "forced.log",
        "sub/deep/keep.txt",
        "sub/drop.txt",
    )
    (root / ".gitignore").write_text("build/\n*.log\n")
    (root / "sub/.gitignore").write_text("*.txt\n!keep.txt\n")
    (root / "link.py").symlink_to("tracked.py")
    (root / "around").symlink_to("src")
    git(root, "init")
    git(root, "add", "-f", "tracked.py", "src/a.py", "gone.py", "forced.log", "link.py", "around")
    (root / "gone.py").unlink()
    got = serve().listing()
    assert got.paths == [
        ".gitignore",
        "forced.log",
        "src/a.py",
        "src/b.py",
        "sub/.gitignore",
        "sub/deep/keep.txt",
        "tracked.py",
    ]
    assert (got.source, got.note, got.truncated, got.skipped) == ("git", None, False, 0)
    assert {p: s.size for p, s in got.stats.items()} == {p: (root / p).stat().st_size for p in got.paths}
    assert got.stats["src/a.py"] == serve().stat("src/a.py")


def test_a_conflict_is_listed_once(root: Path, serve: Serve, git: Git) -> None:
    files(root, "f")
    git(root, "init")
    git(root, "add", ".")
    git(root, "commit", "-m", "1")
    git(root, "checkout", "-b", "other")
    files(root, "f", text="other")
    git(root, "commit", "-am", "2")
    git(root, "checkout", "main")
    files(root, "f", text="main")
    git(root, "commit", "-am", "3")
    with pytest.raises(subprocess.CalledProcessError):
        git(root, "merge", "other")
    assert serve().listing().paths == ["f"]


def test_a_folder_of_a_repository_and_a_worktree(root: Path, serve: Serve, git: Git, tmp_path: Path) -> None:
    above = tmp_path / "above"
    files(above, "top.py", "repo/a.py", "repo/b.log", "repo/sub/c.py")
    (above / ".gitignore").write_text("*.log\n/repo/sub/\n")
    git(above, "init")
    git(above, "add", ".")
    git(above, "commit", "-m", "1")
    inside = Workspace.open(above / "repo", data_dir=None, limits=Limits())
    assert (inside.listing().paths, inside.listing().source) == (["a.py"], "git")
    git(above, "worktree", "add", str(tmp_path / "tree"))
    tree = Workspace.open(tmp_path / "tree", data_dir=None, limits=Limits())
    assert (tree.listing().paths, tree.listing().source) == ([".gitignore", "repo/a.py", "top.py"], "git")


def test_submodules_and_repositories_inside(root: Path, serve: Serve, git: Git, tmp_path: Path) -> None:
    library = tmp_path / "library"
    files(library, "lib.py", "old.py")
    (library / ".gitignore").write_text("*.o\n")
    git(library, "init")
    git(library, "add", ".")
    git(library, "commit", "-m", "1")
    files(root, "main.py", "clone/own.py", "clone/skip.o")
    git(root, "init")
    git(root, "-c", "protocol.file.allow=always", "submodule", "add", str(library), "vendor/lib")
    (root / "clone/.gitignore").write_text("*.o\n")
    git(root / "clone", "init")
    git(root / "clone", "add", ".")
    git(root / "clone", "commit", "-m", "1")
    files(root, "vendor/lib/new.py", "vendor/lib/made.o")
    got = serve().listing()
    assert got.source == "git"
    assert got.paths == [
        ".gitmodules", "clone/.gitignore", "clone/own.py", "main.py",
        "vendor/lib/.gitignore", "vendor/lib/lib.py", "vendor/lib/new.py", "vendor/lib/old.py",
    ]  # fmt: skip
    # One that is broken is walked; the rest stays git's.
    (root / "clone/.git/HEAD").write_text("nonsense")
    assert serve().listing().paths == got.paths
    assert serve().listing().source == "git"


IGNORES = [
    "*.log", "/build", "build/", "!keep.log", "doc/*.txt", "**/temp", "a/**/z", "*.py[co]", "#comment", "\\#literal", "\\!bang",
    "trail ", "sp\\ ", "x?z", "[ab].c", "", "src/*", "!src/a.py", "deep/**", "*~",
    "!*/", "**", "**.log", "a**z", "/**/z", "x/**/y/**/z", "[!a]", "[^a-z]", "[]y]*", "[[:upper:]]", "[[:nope:]]", "[a", "\\*", "q[+-.]r",
    "[z-a]", "q\\\\r", "??", "\udce9", "*\u00fc*", "end\\",
    "!", "//", "a/", "a//b", "/", " ", "!build", "!doc", "!temp/", "doc", "*/*", "[a-", "[[:digit:]-z]",
]  # fmt: skip
NAMES = [
    "y]z", "A", "q-r", "\u00fcz", "*", "q\\r", "\udce9", "a b",
    "a.log", "keep.log", "build", "doc", "n.txt", "temp", "a", "z", "m.pyc", "#comment", "#literal", "!bang", "trail", "trail ",
    "sp ", "xyz",     "b.c", "d.c", "src", "a.py", "deep", "e~", "ü.log", "[ab].c",
]  # fmt: skip


def test_the_walk_ignores_what_git_ignores(root: Path, serve: Serve, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    git(root, "init")
    for number in range(12):
        top = root / f"tree{number}"
        for _ in range(30):
            path = top
            for name in dice.choices(NAMES, k=dice.randint(1, 4)):
                if path.is_file():
                    break
                path = path / name
            if not path.exists() and not path.parent.is_file():
                files(root, str(path.relative_to(root)))
        for folder, _, _ in os.walk(top):
            if folder == str(top) or dice.random() < 0.15:
                Path(folder, ".gitignore").write_bytes(
                    "\n".join(dice.choices(IGNORES, k=dice.randint(1, 6))).encode("utf-8", "surrogateescape")
                )
    by_git = serve().listing()
    monkeypatch.setattr(git_files, "_program", lambda: None)
    by_walk = serve().listing()
    assert (by_git.source, by_walk.source) == ("git", "walk")
    assert "not installed" in (by_walk.note or "")
    assert by_walk.paths == by_git.paths


def test_without_git_the_folder_is_walked(root: Path, serve: Serve) -> None:
    files(
        root,
        "a.py",
        "src/b.py",
        "src/c.tmp",
        "node_modules/x/index.js",
        "__pycache__/a.pyc",
        ".venv/lib/x.py",
        ".github/ci.yml",
    )
    (root / ".gitignore").write_bytes(b"\xef\xbb\xbf*.tmp\r\n")
    (root / "loop").symlink_to(".")
    (root / "src/up").symlink_to("..")
    os.mkfifo(root / "pipe")
    got = serve().listing()
    assert got.paths == [".github/ci.yml", ".gitignore", "a.py", "src/b.py"]
    assert (got.source, got.truncated, got.skipped) == ("walk", False, 0)
    assert got.note == "There is no git repository here, so the folder was walked."


@pytest.mark.parametrize("what", ["HEAD", "config", "index"])
def test_a_broken_repository_is_walked(root: Path, serve: Serve, git: Git, what: str) -> None:
    files(root, "a.py", "b.tmp")
    (root / ".gitignore").write_text("*.tmp\n")
    git(root, "init")
    git(root, "add", ".")
    (root / ".git" / what).write_bytes(b"\0[nonsense")
    got = serve().listing()
    assert (got.paths, got.source) == ([".gitignore", "a.py"], "walk")
    assert "it refuses the repository" in (got.note or "")


def test_a_repository_of_another_owner_is_asked_all_the_same(
    root: Path, serve: Serve, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container with a mounted folder. Its settings run nothing either way, see test_hostile_git."""
    files(root, "a.py", "b.tmp")
    (root / ".gitignore").write_text("*.tmp\n")
    git(root, "init")
    with pytest.raises(subprocess.CalledProcessError, match="128"):
        git(root, "ls-files", GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    given = git_files._environment
    monkeypatch.setattr(
        git_files, "_environment", lambda *args: given(*args) | {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    )
    got = serve().listing()
    assert (got.paths, got.source) == ([".gitignore", "a.py"], "git")


def test_where_everything_is_ignored_the_rules_are_left_aside(root: Path, serve: Serve, git: Git) -> None:
    files(root, "a.py", "src/b.py", "node_modules/x.js")
    (root / ".gitignore").write_text("/*\n")
    for prepare in (lambda: None, lambda: git(root, "init")):
        prepare()
        got = serve().listing()
        assert (got.paths, got.source) == ([".gitignore", "a.py", "src/b.py"], "walk")
        assert "Its .gitignore leaves nothing" in (got.note or "")


@pytest.mark.parametrize("by", ["git", "walk"], ids=lambda by: f"bad90-{by}")
def test_secrets_are_never_listed(root: Path, serve: Serve, git: Git, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files(
        root,
        "a.py",
        ".env",
        "api/.env.local",
        "id_rsa",
        ".ssh/known_hosts",
        ".aws/config",
        "tls.key",
        "sub/.git/config",
        ".hg/hgrc",
    )
    if by == "git":
        git(root, "init")
        git(root, "add", "-f", ".env", "id_rsa")
    got = serve().listing()
    assert (got.paths, got.source) == (["a.py"], by)
    # Mutation control: nothing else holds them back.
    for module in (listing, walk):
        monkeypatch.setattr(module, "is_secret", lambda path: False)
    assert {".env", "id_rsa", "tls.key"} <= set(serve().listing().paths)


@pytest.mark.parametrize("by", ["git", "walk"], ids=lambda by: f"bad82-{by}")
def test_names_of_any_bytes_are_listed(root: Path, serve: Serve, git: Git, by: str) -> None:
    names = [
        b"latin-\xe9.py",
        b"line\nbreak",
        b"tab\t",
        "bidi\u202e.py".encode(),
        b"quote\"'",
        b"-rf",
        b"\xff\xfe/in\xff",
        b" ",
    ]
    for name in names:
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(name)
    if by == "git":
        git(root, "init")
    workspace = serve()
    got = workspace.listing()
    assert got.source == by
    assert sorted(p.encode("utf-8", "surrogateescape") for p in got.paths) == sorted(names)
    for path in got.paths:
        for asked in (path, display_path(path)):
            assert workspace.read_bytes(asked, max_bytes=99) == path.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("by", ["git", "walk"], ids=lambda by: f"bad94-{by}")
def test_more_files_than_the_limit(root: Path, serve: Serve, git: Git, by: str) -> None:
    files(root, *(f"d{n % 10}/f{n}" for n in range(300)), ".env")
    if by == "git":
        git(root, "init")
    got = serve(files=100).listing()
    assert (len(got.paths), got.truncated, got.source) == (100, True, by)
    assert "more files" in (got.note or "")
    whole = serve(files=300).listing()
    assert (len(whole.paths), whole.truncated) == (300, False)


@pytest.mark.parametrize("count", [10_000], ids=["bad94-one-folder"])
def test_many_in_one_folder(count: int, root: Path, serve: Serve) -> None:
    for n in range(count):
        os.close(os.open(root / f"f{n}", os.O_CREAT | os.O_WRONLY))
    assert len(serve().listing().paths) == count


@pytest.mark.parametrize("by", ["git", "walk"], ids=lambda by: f"bad94-{by}")
def test_folders_without_end(root: Path, serve: Serve, git: Git, by: str) -> None:
    files(root, "a.py", "d/b.py")
    if by == "git":
        git(root, "init")
    here = os.open(root / "d", os.O_RDONLY)
    for _ in range(3000):  # 6,000 bytes of path, which no call takes any more
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    try:
        got = serve().listing()
    finally:
        subprocess.run(
            ["rm", "-rf", str(root / "d")], check=True
        )  # pytest's own way of removing goes down by recursion
    assert got.paths == ["a.py", "d/b.py"]
    assert by == "git" or got.truncated
    assert got.skipped == 1


@pytest.mark.parametrize("by", ["git", "walk"], ids=lambda by: f"bad89-{by}")
def test_what_may_not_be_looked_at_is_counted(
    tmp_path_factory: pytest.TempPathFactory, git: Git, as_nobody: Callable[[Callable[[], None]], None], by: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(os.path.realpath(folder))
        files(root, "a.py", "closed/b.py", "closed-too/c.py", "open/d.py")
        if by == "git":
            git(root, "init")
        root.chmod(0o755)
        for name in ("closed", "closed-too"):
            (root / name).chmod(0)

        def test() -> None:
            got = Workspace.open(root, data_dir=None, limits=Limits()).listing()
            assert (got.paths, got.skipped, got.source) == (["a.py", "open/d.py"], 2, by), got

        try:
            as_nobody(test)
        finally:
            for name in ("closed", "closed-too"):
                (root / name).chmod(0o700)


@pytest.mark.parametrize("pipe", ["info/exclude", "index", "HEAD"], ids=lambda p: f"bad93-{p}")
async def test_a_disk_that_hangs_holds_up_its_own_thread_only(
    pipe: str, root: Path, serve: Serve, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(root, "a.py", "b.tmp")
    (root / ".gitignore").write_text("*.tmp\n")
    git(root, "init")
    git(root, "add", "a.py")
    (root / ".git" / pipe).unlink(missing_ok=True)
    os.mkfifo(root / ".git" / pipe)  # git waits for a writer for ever
    monkeypatch.setattr(listing, "GIT_SECONDS", 0.3)
    workspace = serve()
    listed = asyncio.create_task(asyncio.to_thread(workspace.listing))
    beats = 0
    while not listed.done():
        await asyncio.sleep(0.01)
        beats += 1
    got = await listed
    assert beats > 5
    assert (got.paths, got.source) == ([".gitignore", "a.py"], "walk")
    assert "did not answer in time" in (got.note or "")
    # It is not asked again for a while, so that not every look costs the wait.
    monkeypatch.setattr(git_files, "git_files", None)
    before = time.monotonic()
    assert workspace.listing().paths == got.paths
    assert time.monotonic() - before < 0.25


def test_bad93_a_slow_walk_ends_with_what_it_has(root: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    files(root, "a.py", *(f"d{n}/f.py" for n in range(20)))
    clock = iter(range(1000))
    monkeypatch.setattr(walk, "SECONDS", 10.0)
    monkeypatch.setattr(walk.time, "monotonic", lambda: float(next(clock)))
    found = walk.walk_files(serve()._jail, 1000)
    assert found.late
    assert found.truncated
    assert 1 < len(found.paths) < 21


def test_hostile_patterns_cost_nothing(root: Path, serve: Serve) -> None:
    name = "a" * 200
    files(root, name, "b.py")
    (root / ".gitignore").write_text(
        "*a" * 60 + "b\n" + "**/" * 300 + "x\n" + "[" * 1000 + "\n" + "!\n\\\n" + "z" * 100_000 + "\nb.*\n"
    )
    before = time.process_time()
    got = serve().listing()
    assert got.paths == [".gitignore", name]
    assert time.process_time() - before < 5
    # Mutation control: backtracking takes its time for four of these sixty stars already.
    pattern = parse_pattern(b"*a" * 4 + b"b")
    assert pattern is not None
    before = time.process_time()
    re.fullmatch(pattern.regex, name.encode())
    assert time.process_time() - before > 0.05


def test_examples() -> None:
    assert doctest.testmod(ignore_rules).failed == 0


def test_more_patterns_than_one_set_takes() -> None:
    text = "\n".join(["*a" * 30 + f"{n}*" for n in range(1990)] + ["b.*", "[[:alpha:]]", "[z-a]", "!b.c"]).encode()
    rules = IgnoreRules.parse("src/", text, IgnoreRules.parse("", b"*.tmp\n*.c", None))
    assert len(rules.groups) > 1
    told = [rules.ignores(f"src/{p}") for p in ("b.py", "b.c", "x.tmp", "x.c", "a", "a" * 30 + "7", "deep/b.py")]
    assert told == [True, False, True, True, True, True, True]
    assert not rules.ignores("src/7")


def test_a_root_that_goes_away_is_not_an_empty_one(root: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    files(root, "a.py")
    workspace = serve()
    walked = listing.walk_files

    def move_and_walk(*args: object, **kwargs: object) -> object:
        root.rename(root.with_name("moved"))
        return walked(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(listing, "walk_files", move_and_walk)
    with pytest.raises(ReconveneError, match="workspace_gone"):
        workspace.listing()
