"""Code bases that are not as they should be: each is indexed in bounded time, and search and map tell the truth about it."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from codebase import CodeBase
from reconvene.index import RootIndex
from reconvene.index.workers import Workers
from reconvene.repomap import repo_map
from reconvene.search import search
from reconvene.workspace import git_files
from reconvene.workspace.names import parse_path

GOOD = "def sweep_zebras(zebras):\n    return [z for z in zebras if not z.idle]\n"
FILES = {"src/zebra.py": GOOD, "README.md": "# Stripes\n"}


def git(root: Path, *args: str) -> None:
    env = {"PATH": "/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *who, *args], cwd=root, env=env, check=True, capture_output=True)


async def found(index: RootIndex, query: str = "sweep_zebras") -> list[str]:
    """Paths of the snippets, in the form that files are listed in."""
    return [parse_path(s.path) for s in (await search(index, query, limit=50)).snippets]


async def check(code: CodeBase, workers: Workers, *others: str, skipped: int = 0) -> RootIndex:
    """Index it; it has the good file and these, search and map show the good one, and another look finds nothing new."""
    index = await code.index(workers)
    assert sorted(index.view.paths()) == sorted(["src/zebra.py", *others])
    assert (index.skipped, index.partial) == (skipped, False)
    assert "src/zebra.py" in await found(index)
    assert "src/zebra.py" in [row.path for row in (await repo_map(index, query="sweep zebras")).rows]
    assert (await index.refresh()).reused
    return index


def no_git(root: Path) -> None:
    pass


def head_of_nonsense(root: Path) -> None:
    git(root, "init", "-q")
    git(root, "add", "-A")
    (root / ".git/HEAD").write_text("nonsense")


def index_of_nonsense(root: Path) -> None:
    git(root, "init", "-q")
    git(root, "add", "-A")
    (root / ".git/index").write_bytes(b"DIRC" + os.urandom(400))


def pointer_to_nowhere(root: Path) -> None:
    (root / ".git").write_text("gitdir: /nowhere/at/all\n")


def objects_lost(root: Path) -> None:
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "One")
    subprocess.run(["rm", "-rf", str(root / ".git/objects")], check=True)
    (root / ".git/objects").mkdir()


def bare_inside(root: Path) -> None:
    """A work tree that is a bare repository's folder."""
    git(root, "init", "-q", "--bare", ".git")


@pytest.mark.parametrize(
    "prepare",
    [no_git, head_of_nonsense, index_of_nonsense, pointer_to_nowhere, objects_lost, bare_inside],
    ids=lambda f: f.__name__.replace("_", "-"),
)
async def test_without_a_repository_or_with_a_broken_one(
    tmp_path: Path, workers: Workers, prepare: Callable[[Path], None]
) -> None:
    code = CodeBase(tmp_path, FILES)
    prepare(code.root)
    index = await check(code, workers, "README.md")
    assert await index.take_in_history() in (False, True)
    assert "src/zebra.py" in await found(index)
    await index.close()


async def test_a_repository_of_another_owner(tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    code = CodeBase(tmp_path, FILES | {".gitignore": "*.tmp\n", "a.tmp": "sweep_zebras"})
    git(code.root, "init", "-q")
    git(code.root, "add", "-A")
    git(code.root, "commit", "-q", "-m", "Sweep idle zebras")
    given = git_files._environment
    monkeypatch.setattr(
        git_files, "_environment", lambda *args: given(*args) | {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    )
    index = await check(code, workers, "README.md", ".gitignore")
    await index.take_in_history()
    assert index.view.history.mark, "its commits are read too"
    await index.close()


@pytest.mark.parametrize("by", ["git", "walk"])
async def test_where_everything_is_ignored_the_files_are_found_all_the_same(
    tmp_path: Path, workers: Workers, by: str
) -> None:
    code = CodeBase(tmp_path, FILES | {".gitignore": "*\n"})
    if by == "git":
        git(code.root, "init", "-q")
    index = await code.index(workers)
    assert await found(index) == ["src/zebra.py"]
    await index.close()


async def test_submodules_and_a_repository_inside_are_part_of_it(tmp_path: Path, workers: Workers) -> None:
    library = CodeBase(tmp_path / "library", {"lib.py": "def graze():\n    return 1\n"})
    git(library.root, "init", "-q")
    git(library.root, "add", "-A")
    git(library.root, "commit", "-q", "-m", "One")
    code = CodeBase(tmp_path / "main", FILES)
    git(code.root, "init", "-q")
    git(code.root, "submodule", "add", "-q", str(library.root), "vendor/lib")
    code.write("clone/own.py", "def trot():\n    return 2\n")
    git(code.root / "clone", "init", "-q")
    index = await check(code, workers, "README.md", ".gitmodules", "vendor/lib/lib.py", "clone/own.py")
    assert await found(index, "graze") == ["vendor/lib/lib.py"]
    assert await found(index, "trot") == ["clone/own.py"]
    await index.close()


@pytest.mark.parametrize(
    "name",
    [
        b"b\xffd.py",
        "left\u202eright.py".encode(),
        "no\u200bthing.py".encode(),
        b"new\nline.py",
        b"esc\x1b[31m.py",
        b" .py",
    ],
    ids=["bad82-not-utf8", "bad83-bidi", "bad83-zero-width", "bad83-newline", "bad83-escape", "bad83-blank"],
)
async def test_odd_names_are_found_shown_escaped_and_read_again(tmp_path: Path, workers: Workers, name: bytes) -> None:
    code = CodeBase(tmp_path, FILES)
    with open(os.fsencode(code.root) + b"/" + name, "wb") as file:
        file.write(b"def odd_gallop():\n    return 1\n")
    index = await check(code, workers, "README.md", os.fsdecode(name))
    (snippet,) = (await search(index, "odd_gallop")).snippets
    assert snippet.path.isprintable() and snippet.path.isascii()
    assert "odd_gallop" in index.workspace.read(snippet.path).text
    shown = (await repo_map(index, query="odd gallop")).text
    assert all(line.isprintable() for line in shown.split("\n"))
    await index.close()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path has 107 bytes at most
        try:
            s.bind(path.name)
        finally:
            os.chdir(here)


def link_to_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def link_outside(path: Path) -> None:
    outside = path.parents[2] / "outside.py"
    outside.write_text("def sweep_zebras():\n    outside = 1\n")
    path.symlink_to(outside)


@pytest.mark.parametrize(
    "make",
    [pipe, listening_socket, link_to_zero, link_to_itself, link_outside],
    ids=["bad84-pipe", "bad84-socket", "bad84-link-to-device", "bad84-link-loop", "bad76-link-outside"],
)
@pytest.mark.parametrize("by", ["git", "walk"])
async def test_what_is_no_file_is_never_opened(
    tmp_path: Path, workers: Workers, make: Callable[[Path], None], by: str
) -> None:
    code = CodeBase(tmp_path, FILES)
    make(code.root / "src/odd.py")
    if by == "git":
        git(code.root, "init", "-q")
    index = await check(code, workers, "README.md")
    assert await found(index) == ["src/zebra.py"]
    await index.close()


@pytest.mark.parametrize("when", ["listed", "indexed"], ids=lambda w: f"bad84-pipe-since-{w}")
async def test_a_file_that_becomes_a_pipe_holds_nobody_up(tmp_path: Path, workers: Workers, when: str) -> None:
    code = CodeBase(tmp_path, FILES | {"src/late.py": "def sweep_late():\n    return 1\n"})
    index = await code.index(workers, fresh=when == "indexed")
    listing = index.workspace.listing()
    code.remove("src/late.py")
    os.mkfifo(code.root / "src/late.py")
    if when == "listed":
        index.workspace.listing = lambda *_: listing  # type: ignore[method-assign]
        await index.refresh()
        del index.workspace.listing  # type: ignore[method-assign]
    assert await found(index, "sweep_late") in ([], ["src/zebra.py"])
    await index.refresh()
    assert "src/late.py" not in list(index.view.paths())
    await index.close()


@pytest.mark.parametrize("size", [1 << 40, 1 << 30], ids=["bad87-terabyte", "bad87-gigabyte"])
async def test_a_huge_file_is_known_by_its_name_and_costs_nothing(tmp_path: Path, workers: Workers, size: int) -> None:
    code = CodeBase(tmp_path, FILES)
    with (code.root / "src/huge_horse.py").open("wb") as file:
        file.truncate(size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    index = await check(code, workers, "README.md", "src/huge_horse.py")
    assert "src/huge_horse.py" in [row.path for row in (await repo_map(index, query="huge horse")).rows]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 50_000, "kB"
    await index.close()


@pytest.mark.parametrize("text", [b"zebra " * 170_000], ids=["bad88-one-line"])
async def test_a_file_of_one_long_line_is_no_code(tmp_path: Path, workers: Workers, text: bytes) -> None:
    code = CodeBase(tmp_path, FILES | {})
    code.write("src/line.py", text)
    index = await check(code, workers, "README.md", "src/line.py")
    assert await found(index, "zebra") == ["src/zebra.py"]
    await index.close()


@pytest.mark.parametrize(
    "text",
    [b"(" * 100_000, b"-" * 1_000_000, b"\0" * 100_000, b"".join(b"def f%d(): pass\n" % n for n in range(40_000))],
    ids=["bad95-parens", "bad95-dashes", "bad95-nuls", "bad95-definitions"],
)
async def test_hostile_source_is_taken_in_or_left_out_and_the_rest_is_found(
    tmp_path: Path, workers: Workers, text: bytes
) -> None:
    code = CodeBase(tmp_path, FILES)
    for suffix in ("py", "js", "c"):
        code.write(f"src/odd.{suffix}", text)
    index = await check(code, workers, "README.md", "src/odd.py", "src/odd.js", "src/odd.c")
    assert not index.left_out()
    await index.close()


@pytest.mark.parametrize("by", ["git", "walk"], ids=lambda by: f"bad94-{by}")
async def test_folders_without_end(tmp_path: Path, workers: Workers, by: str) -> None:
    code = CodeBase(tmp_path, FILES)
    if by == "git":
        git(code.root, "init", "-q")
    here = os.open(code.root / "src", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(os.open("f.py", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    try:
        index = await check(code, workers, "README.md", skipped=1)
        await index.close()
    finally:
        subprocess.run(["rm", "-rf", str(code.root / "src")], check=True)


@pytest.mark.parametrize("count", [2000], ids=["bad94-one-folder"])
async def test_many_files_in_one_folder(tmp_path: Path, workers: Workers, count: int) -> None:
    await many_in_one_folder(tmp_path, workers, count)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("count", [100_000], ids=["bad94-100k-in-one-folder"])
async def test_a_hundred_thousand_files_in_one_folder(tmp_path: Path, workers: Workers, count: int) -> None:
    await many_in_one_folder(tmp_path, workers, count)


async def many_in_one_folder(tmp_path: Path, workers: Workers, count: int) -> None:
    code = CodeBase(tmp_path, FILES)
    (code.root / "many").mkdir()
    folder = os.open(code.root / "many", os.O_RDONLY)
    for n in range(count):
        file = os.open(f"n{n}.txt", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=folder)
        os.write(file, b"one of many\n" if n % 7 else b"")
        os.close(file)
    os.close(folder)
    index = await code.index(workers)
    assert index.files == count + 2
    assert not index.partial and not index.truncated
    assert await found(index) == ["src/zebra.py"]
    assert len((await search(index, "one of many")).snippets) == 8
    (code.root / "many/n3.txt").unlink()
    assert (await index.refresh()).changed == {"many/n3.txt"}
    await index.close()
