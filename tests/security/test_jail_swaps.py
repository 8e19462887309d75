"""A million opens, to read and to write, while somebody swaps folders and files for links to the outside: none gets out. [bad78]

`tests/workspace/test_jail_race.py` is the short form. `OPENS` is how many in all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proof import report
from reconvene.errors import ReconveneError
from reconvene.workspace.edits.disk import Disk
from reconvene.workspace.jail import Jail, Variant, best_variant

OPENS = int(os.environ.get("OPENS", "1500000"))
PATHS = ("d/f", "e/f", "deep/er/f")
FOLDERS = ("d", "deep/er")
NEW = b".reconvene-new"
PROOF = "Jail: opened while it is swapped"


@dataclass
class Swapping:
    root: Path
    outside: Path
    swaps: int = 0
    got: Counter[str] = field(default_factory=Counter)

    def touched(self) -> list[str]:
        """What is outside and was not there before."""
        return sorted(str(p.relative_to(self.outside)) for p in self.outside.rglob("*") if p.name != "f")


@contextmanager
def swapping(folder: Path) -> Iterator[Swapping]:
    root, outside = folder / "repo", folder / "away"
    for place in (root / "d", root / "e", root / "deep/er"):
        place.mkdir(parents=True)
        (place / "f").write_text("public")
    outside.mkdir()
    (outside / "f").write_text("SECRET")
    (root / "link-d").symlink_to(outside)
    (root / "e/link-f").symlink_to("../../away/f")
    (root / "deep/link-er").symlink_to("../../away")
    it = Swapping(root, outside)
    program = [sys.executable, str(Path(__file__).with_name("swapper.py")), str(root)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield it
        finally:
            process.stdin.close()
            it.swaps = int(process.stdout.readline() or 0)


def read(it: Swapping, open_it: Callable[[str], int], opens: int) -> None:
    for n in range(opens):
        try:
            fd = open_it(PATHS[n % len(PATHS)])
        except (OSError, ReconveneError):
            it.got["refused"] += 1
            continue
        it.got["inside" if os.read(fd, 6) == b"public" else "OUTSIDE"] += 1
        os.close(fd)


def write(it: Swapping, open_folder: Callable[[str], int], opens: int) -> None:
    """As an accepted change is laid: the folder is opened, a file is made in it, and it is removed again."""
    disk = Disk()
    away = os.stat(it.outside)
    for n in range(opens):
        try:
            folder = open_folder(FOLDERS[n % len(FOLDERS)])
        except (OSError, ReconveneError):
            it.got["refused"] += 1
            continue
        fd = disk.create(folder, NEW, 0o600)
        disk.write(fd, b"public")
        disk.close(fd)
        st = os.fstat(folder)
        it.got["OUTSIDE" if (st.st_dev, st.st_ino) == (away.st_dev, away.st_ino) else "inside"] += 1
        disk.remove(folder, NEW)
        os.close(folder)


VARIANTS: list[Variant] = sorted({"walk", best_variant()})


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"bad78-{v}")
@pytest.mark.parametrize("what", ["read", "write"])
def test_none_of_a_million_opens_gets_out(tmp_path: Path, variant: Variant, what: str) -> None:
    opens = OPENS * (2 if what == "read" else 1) // (3 * len(VARIANTS))
    began, cpu = time.monotonic(), time.process_time()
    with swapping(tmp_path) as it:
        jail, disk = Jail(str(it.root), variant), Disk()
        if what == "read":
            read(it, lambda path: jail.open(path)[0], opens)
        else:
            write(it, lambda path: disk.open_folder(jail, path), opens)
    print(what, variant, dict(it.got), f"{it.swaps:,} swaps")
    assert it.got["OUTSIDE"] == 0 and it.touched() == []
    # Both sides of the swap were met often, or nothing was shown.
    assert it.got["inside"] > opens / 20 and it.got["refused"] > opens / 20
    report(
        PROOF,
        "{opens:,} opens ({refused:,} refused) to read and to write, by the kernel's resolution and by walking, against {swaps:,} swaps "
        "of folders and files for links to the outside: 0 get out",
        counts={"opens": opens, "refused": it.got["refused"], "swaps": it.swaps},
        seconds=time.monotonic() - began,
        cpu=time.process_time() - cpu,
    )


@pytest.mark.long
@pytest.mark.parametrize("what", ["read", "write"], ids=lambda w: f"bad78-control-{w}")
def test_who_looks_first_and_opens_then_gets_out(tmp_path: Path, what: str) -> None:
    """The control: the path is resolved and compared, then opened."""
    with swapping(tmp_path) as it:
        real_root = os.path.realpath(it.root)

        def checked(path: str, flags: int) -> int:
            real = os.path.realpath(os.path.join(real_root, path))
            if os.path.commonpath([real, real_root]) != real_root:
                raise PermissionError(path)
            return os.open(real, flags)

        deadline = time.monotonic() + 60
        opens = 0
        while not it.got["OUTSIDE"] and time.monotonic() < deadline:
            opens += 300
            if what == "read":
                read(it, lambda path: checked(path, os.O_RDONLY), 300)
            else:
                write(it, lambda path: checked(path, os.O_RDONLY | os.O_DIRECTORY), 300)
    print(what, dict(it.got))
    assert it.got["OUTSIDE"] > 0
    report(PROOF, control=f"resolved, compared and then opened to {what}: outside within {opens:,} opens")
