"""The path jail, by the kernel and by the walk: what is opened, what is refused, and that a broken jail would be noticed."""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from reconvene.errors import ReconveneError
from reconvene.workspace import jail as jail_module
from reconvene.workspace.jail import Jail, best_variant

pytestmark = pytest.mark.parametrize("variant", sorted({"walk", best_variant()}))


def tree(root: Path) -> None:
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/c/f.py").write_text("ok")
    (root / "outside-no").write_text("ok")
    beside = root.parent / "repo-secret"
    beside.mkdir()
    (beside / "key").write_text("SECRET")
    (root / "dir-out").symlink_to(beside)
    (root / "dir-out-relative").symlink_to("../repo-secret")
    (root / "file-out").symlink_to("../outside")
    (root / "file-absolute").symlink_to("/etc/passwd")
    (root / "proc").symlink_to("/proc/self")
    (root / "environ").symlink_to("/proc/self/environ")
    (root / "environ-relative").symlink_to("../" * 30 + "proc/self/environ")
    (root / "far").symlink_to("a/b/../../../outside")
    (root / "a/up").symlink_to("../../outside")
    (root / "file-in").symlink_to("a/b/c/f.py")
    (root / "dir-in").symlink_to("a/b")
    (root / "a/b/back").symlink_to("../b/c/../c/f.py")
    (root / "chain").symlink_to("dir-in/back")
    (root / "here").symlink_to(".")
    (root / "to-root").symlink_to("a/..")
    (root / "loop1").symlink_to("loop2")
    (root / "loop2").symlink_to("loop1")
    (root / "dangling").symlink_to("nothing")
    os.mkfifo(root / "pipe")
    here = os.getcwd()
    os.chdir(root)  # a socket's path has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind("socket")
    finally:
        os.chdir(here)


def text(jail: Jail, path: str) -> str:
    fd, _, _ = jail.open(path)
    try:
        return os.read(fd, 100).decode()
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("a/b/c/f.py", "a/b/c/f.py"),
        ("./a//b/c/f.py", "a/b/c/f.py"),
        ("file-in", "a/b/c/f.py"),
        ("dir-in/c/f.py", "a/b/c/f.py"),
        ("a/b/back", "a/b/c/f.py"),
        ("chain", "a/b/c/f.py"),
        ("here/here/file-in", "a/b/c/f.py"),
        ("to-root/a/b/c/f.py", "a/b/c/f.py"),
    ],
    ids=["plain", "dots", "bad77-file", "bad77-folder", "bad77-dotdot", "bad77-chain", "bad77-itself", "bad77-root"],
)
def test_inside_is_opened(root: Path, variant: str, path: str, real: str) -> None:
    tree(root)
    jail = Jail(str(root), variant)
    fd, st, told = jail.open(path)
    os.close(fd)
    assert (st.st_size, told) == (2, real)
    seen = jail.stat(path)
    assert seen is not None
    assert seen.st_ino == st.st_ino


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../outside", "path_outside_root"),
        ("a/../../outside", "path_outside_root"),
        ("../repo-secret/key", "path_outside_root"),
        ("dir-out/key", "path_outside_root"),
        ("dir-out-relative/key", "path_outside_root"),
        ("file-out", "path_outside_root"),
        ("file-absolute", "path_outside_root"),
        ("far", "path_outside_root"),
        ("a/up", "path_outside_root"),
        ("/proc/self/environ", "path_outside_root"),
        ("proc/environ", "path_outside_root"),
        ("environ", "path_outside_root"),
        ("environ-relative", "path_outside_root"),
        ("a\0b", "invalid_path"),
        ("x" * 300, "name_too_long"),
        ("pipe", "not_a_regular_file"),
        ("socket", "not_a_regular_file"),
        ("a/b", "is_a_directory"),
        (".", "is_a_directory"),
        ("dir-in", "is_a_directory"),
        ("here", "is_a_directory"),
        ("missing", "file_not_found"),
        ("missing/x", "file_not_found"),
        ("outside-no/x", "file_not_found"),
        ("loop1", "file_not_found"),
        ("dangling", "file_not_found"),
    ],
    ids=[
        "bad74-dotdot", "bad74-in-and-out", "bad75-sibling-prefix", "bad76-folder-absolute", "bad76-folder-relative", "bad76-file",
        "bad76-file-absolute", "bad76-zigzag", "bad76-deeper", "bad79-absolute", "bad79-magic-folder", "bad79-environ", "bad79-relative",
        "bad80-nul", "bad81-name", "bad84-pipe", "bad84-socket", "bad85-folder", "bad85-root", "bad85-link-to-folder", "bad85-link-to-root",
        "missing", "missing-folder", "file-as-folder", "link-loop", "dangling-link",
    ],
)  # fmt: skip
def test_everything_else_is_refused(root: Path, variant: str, path: str, code: str) -> None:
    tree(root)
    jail = Jail(str(root), variant)
    with pytest.raises(ReconveneError) as e:
        jail.open(path)
    assert e.value.code == code
    assert "SECRET" not in str(e.value)
    assert jail.stat(path) is None


@pytest.mark.parametrize("number", [(1, 3), (1, 8)], ids=["bad84-null", "bad84-random"])
def test_a_device_is_refused(
    root: Path, variant: str, number: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    jail = Jail(str(root), variant)
    try:
        os.mknod(root / "device", 0o666 | stat.S_IFCHR, os.makedev(*number))
    except OSError:  # only root makes devices; anybody else is told that a file is one
        (root / "device").write_text("x")
        real = os.fstat
        told = lambda fd: os.stat_result((stat.S_IFCHR | 0o666, *real(fd)[1:]))  # noqa: E731
        monkeypatch.setattr(os, "fstat", told)
    with pytest.raises(ReconveneError, match="not_a_regular_file"):
        jail.open("device")
    assert jail.stat("device") is None


def test_a_pipe_would_hang_without_the_flag(root: Path, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "pipe")
    jail = Jail(str(root), variant)
    monkeypatch.setattr(jail_module, "_FILE", jail_module._FILE & ~os.O_NONBLOCK)
    refused: list[str] = []

    def read() -> None:
        try:
            jail.open("pipe")
        except ReconveneError as e:
            refused.append(e.code)

    reader = threading.Thread(target=read)
    reader.start()
    reader.join(0.2)
    hung = reader.is_alive()
    os.close(os.open(root / "pipe", os.O_WRONLY))  # lets it go on
    reader.join()
    assert hung
    assert refused == ["not_a_regular_file"]


def test_a_mounted_proc_inside_is_not_read(root: Path, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """[bad79] A chroot tree may hold a mounted /proc, whose files say that they are regular."""
    (root / "environ").write_text("KEY=1")
    monkeypatch.setattr(jail_module, "_device", lambda path: root.stat().st_dev if path == "/proc" else -1)
    jail = Jail(str(root), variant)
    assert jail.stat("environ") is not None  # the root's own device is what it is
    jail._unreal = frozenset({root.stat().st_dev})
    assert jail.stat("environ") is None
    with pytest.raises(ReconveneError, match="not_a_regular_file"):
        jail.open("environ")


@pytest.mark.parametrize("path", ["f", "closed/f"], ids=lambda p: f"bad89-{p}")
def test_what_the_system_denies(variant: str, path: str, as_nobody: Callable[[Callable[[], None]], None]) -> None:
    # Not below pytest's own folder, which only its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        root = Path(os.path.realpath(folder))
        root.chmod(0o755)
        (root / "closed").mkdir()
        (root / "closed/f").write_text("x")
        (root / "f").write_text("x")
        (root / "search-only").mkdir()
        (root / "search-only/f").write_text("x")
        for name, mode in (("closed", 0), ("f", 0), ("search-only", 0o711), ("search-only/f", 0o644)):
            (root / name).chmod(mode)

        def test() -> None:
            jail = Jail(str(root), variant)
            with pytest.raises(ReconveneError, match="permission_denied"):
                jail.open(path)
            assert jail.stat("closed/f") is None
            os.close(jail.open("search-only/f")[0])

        try:
            as_nobody(test)
        finally:
            (root / "closed").chmod(0o700)
            (root / "search-only").chmod(0o700)


def test_no_descriptor_is_left_open(root: Path, variant: str) -> None:
    tree(root)
    jail = Jail(str(root), variant)
    before = os.open("/", os.O_RDONLY)
    os.close(before)
    for path in (
        "chain",
        "loop1",
        "far",
        "pipe",
        "socket",
        "a/b",
        "missing/x",
        "here",
        "dangling",
        "to-root/a/b/c/f.py",
    ):
        for _ in range(3):
            jail.stat(path)
            with suppress(ReconveneError):
                os.close(jail.open(path)[0])
    after = os.open("/", os.O_RDONLY)
    os.close(after)
    held = jail._fd
    del jail
    assert after == before
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(held)


@pytest.mark.parametrize("how", ["deleted", "renamed", "replaced"], ids=lambda h: f"bad92-{h}")
def test_a_root_that_went_away_is_noticed(root: Path, variant: str, how: str) -> None:
    (root / "f").write_text("x")
    jail = Jail(str(root), variant)
    jail.check_alive()
    moved = root.with_name("moved")
    root.rename(moved)
    if how == "replaced":
        root.mkdir()
        (root / "f").write_text("of another")
    if how == "deleted":
        (moved / "f").unlink()
        moved.rmdir()
        for look in (lambda: jail.open("f"), lambda: jail.stat("f")):
            with pytest.raises(ReconveneError, match="workspace_gone"):
                look()
    with pytest.raises(ReconveneError, match="workspace_gone") as e:
        jail.check_alive()
    assert e.value.retryable
    if how == "renamed":
        moved.rename(root)
        jail.check_alive()
        assert text(jail, "f") == "x"


def test_without_the_system_call_paths_are_walked(root: Path, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in (errno.ENOSYS, errno.EPERM):

        def refused(*_: object, code: int = code) -> int:
            raise OSError(code, os.strerror(code))

        best_variant.cache_clear()
        monkeypatch.setattr(jail_module, "_openat2", refused)
        try:
            assert Jail(str(root)).variant == "walk"
        finally:
            best_variant.cache_clear()


def test_a_full_table_of_descriptors_is_no_verdict_on_the_file(
    root: Path, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "f").write_text("x")
    jail = Jail(str(root), variant)

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", full)
    monkeypatch.setattr(jail_module, "_openat2", full)
    with pytest.raises(ReconveneError, match="tool_failed") as e:
        jail.open("f")
    monkeypatch.undo()
    assert e.value.retryable
    assert text(jail, "f") == "x"


def test_a_link_is_not_listed_through(root: Path, variant: str) -> None:
    tree(root)
    jail = Jail(str(root), variant)
    for path in ("", "a", "a/b"):
        os.close(jail.open_directory(path))
    for path in ("dir-out", "dir-in", "dir-in/c", "here"):
        with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
            jail.open_directory(path)
