"""[bad78] Somebody swaps a folder or a file for a link to the outside while it is opened: no byte from outside, ever."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconvene.errors import ReconveneError
from reconvene.workspace.jail import Jail, best_variant


@contextmanager
def swapping(root: Path) -> Iterator[None]:
    """`root/d` and `root/d/f` are now what they should be, now links to `SECRET`."""
    outside = root.parent / "away"
    outside.mkdir()
    (outside / "f").write_text("SECRET")
    (root / "d").mkdir()
    (root / "d/f").write_text("public")
    (root / "link-d").symlink_to(outside)
    (root / "e").mkdir()
    (root / "e/f").write_text("public")
    (root / "e/link-f").symlink_to("../../away/f")
    stop = threading.Event()

    def exchange(a: str, b: str) -> None:
        os.rename(a, a + "~")
        os.rename(b, a)
        os.rename(a + "~", b)

    def swap() -> None:
        d, f = str(root / "d"), str(root / "e/f")
        link_d, link_f = str(root / "link-d"), str(root / "e/link-f")
        while not stop.is_set():
            exchange(d, link_d)
            exchange(f, link_f)

    thread = threading.Thread(target=swap, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def attack(open_it: Callable[[str], int], seconds: float, *, until_escape: bool) -> dict[bytes, int]:
    """Reads as fast as it can; what came out, counted."""
    got: dict[bytes, int] = {b"public": 0, b"SECRET": 0, b"refused": 0}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not (until_escape and got[b"SECRET"]):
        for path in ("d/f", "e/f"):
            try:
                fd = open_it(path)
            except (OSError, ReconveneError, PermissionError):
                got[b"refused"] += 1
                continue
            got[os.read(fd, 6)] += 1
            os.close(fd)
    return got


@pytest.mark.parametrize("variant", sorted({"walk", best_variant()}), ids=lambda v: f"bad78-{v}")
def test_nothing_escapes(root: Path, variant: str) -> None:
    with swapping(root):
        jail = Jail(str(root), variant)
        got = attack(lambda path: jail.open(path)[0], 1.0, until_escape=False)
    print(variant, got)
    assert got[b"SECRET"] == 0
    # Both sides of the swap were met, or nothing was shown.
    assert got[b"public"] > 20
    assert got[b"refused"] > 20


def test_the_race_is_real(root: Path) -> None:
    """Mutation control: a jail that checks the path and then opens it is caught."""
    real_root = os.path.realpath(root)

    def check_then_open(path: str) -> int:
        real = os.path.realpath(os.path.join(real_root, path))
        if os.path.commonpath([real, real_root]) != real_root:
            raise PermissionError(path)
        return os.open(real, os.O_RDONLY)

    with swapping(root):
        got = attack(check_then_open, 60.0, until_escape=True)
    print("check, then open:", got)
    assert got[b"SECRET"] > 0


def test_a_prefix_is_no_jail(root: Path) -> None:
    """[bad75] Mutation control: a jail that compares the beginning of the path lets a sibling through, and ours does not."""
    beside = root.parent / "repo-secret"
    beside.mkdir()
    (beside / "key").write_text("SECRET")
    path = os.path.abspath(os.path.join(root, "../repo-secret/key"))
    assert path.startswith(str(root))
    with pytest.raises(ReconveneError, match="path_outside_root"):
        Jail(str(root)).open("../repo-secret/key")
