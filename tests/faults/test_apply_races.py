"""Accepts and undos race a program that saves the same file all the time: no save is lost, by neither way of saving. And
somebody who swaps a folder for a link: nothing is written outside.

What the program saved last, or a change of exactly that, is at the path; a save that somebody's later content replaced
without having seen it is in the store of contents. Everything else is a lost save.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from proof import report
from reconvene.config import Limits
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits import Transition, Writer
from reconvene.workspace.edits.disk import Disk
from reconvene.workspace.jail import Jail
from reconvene.workspace.names import is_temporary
from reconvene.workspace.reading import blob_id
from reconvene.workspace.workspace import Workspace

RACES = "Races: accepts and undos against a program that saves"
LINKS = "Races: accepts against a folder that is a link every other moment"
EDITOR = r"""
import json, os, sys, time
path, style, until, every = sys.argv[1], sys.argv[2], time.monotonic() + float(sys.argv[3]), float(sys.argv[4])
number, replaced = 0, []
def now():
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return b""
def stands(content, number):
    return content in (b"user:%d\n" % number, b"agent on user:%d\n" % number)
while time.monotonic() < until:
    number += 1
    mine = b"user:%d\n" % number
    if style == "rename":
        with open(path + "~", "wb") as f:
            f.write(mine)
        os.replace(path + "~", path)
    else:
        with open(path, "wb") as f:
            f.write(mine[:3])
            f.flush()
            f.write(mine[3:])
    time.sleep(every)
    # What is exchanged and at once exchanged back is not there for a moment; what is lost does not come back.
    patience = time.monotonic() + 1
    while not stands(now(), number):
        if time.monotonic() > patience:
            replaced.append(number)
            break
        time.sleep(0.0002)
print(json.dumps([number, replaced]))
"""


class Race:
    """A file, a program that saves it, and accepts of what was read from it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repo"
        self.root.mkdir()
        self.path = self.root / "f"
        self.path.write_bytes(b"user:0\n")
        self.contents = Contents(folder / "contents")
        self.writer = self.writer_with(None)

    def writer_with(self, disk: Disk | None) -> Writer:
        return Writer(Workspace(Jail(str(self.root)), Limits()), self.contents, disk=disk)

    def run(
        self, style: str, seconds: float, accept: Callable[[bytes, bytes], str], *, until_lost: bool = False
    ) -> Counter[str]:
        """How often each outcome came, how many saves there were, and of those how many are lost or only kept."""
        command = [sys.executable, "-S", "-c", EDITOR, str(self.path), style, str(seconds), "0.001"]
        editor = subprocess.Popen(command, stdout=subprocess.PIPE)
        ends: Counter[str] = Counter()
        try:
            while editor.poll() is None:
                with suppress(FileNotFoundError):
                    base = self.path.read_bytes()
                    if base.startswith(b"user:") and base.endswith(b"\n"):
                        ends[accept(base, b"agent on " + base)] += 1
        finally:
            if editor.poll() is None:
                editor.kill()
            assert editor.stdout is not None
            saves, replaced = json.loads(editor.stdout.read())
            editor.wait()
        ends["saves"] = saves
        kept = [n for n in replaced if self.contents.get(blob_id(b"user:%d\n" % n)) is not None]
        ends["kept"], ends["lost"] = len(kept), len(replaced) - len(kept)
        return ends

    def accept(self, base: bytes, new: bytes) -> str:
        """Half of what was applied is taken back at once."""
        plan = self.writer.plan([Transition("f", base, new)])
        outcome = self.writer.apply(plan)
        if outcome.unsettled:
            self.writer.settle(plan, final=True)
        if outcome.status == "applied" and random.random() < 0.5:
            back = self.writer.undo([plan])
            undone = self.writer.apply(back)
            if undone.unsettled:
                self.writer.settle(back, final=True)
            return f"undo {undone.status}"
        return outcome.status


@pytest.fixture
def race() -> Iterator[Race]:
    """In memory where that is possible: the less a disk waits, the more often they meet."""
    folder = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    yield Race(Path(folder))
    shutil.rmtree(folder)


STYLES = pytest.mark.parametrize("style", ["rename", "in-place"])


@STYLES
def test_no_save_is_lost(race: Race, style: str) -> None:
    unharmed(race, style, 1.5)


@pytest.mark.long
@STYLES
def test_no_save_is_lost_in_a_minute(race: Race, style: str) -> None:
    unharmed(race, style, 60.0)


@pytest.mark.long
@STYLES
def test_no_save_is_lost_where_files_cannot_be_exchanged(race: Race, style: str) -> None:
    disk = Disk()
    disk.exchanges = False
    race.writer = race.writer_with(disk)
    unharmed(race, style, 20.0)


def unharmed(race: Race, style: str, seconds: float) -> None:
    random.seed(1)
    found = race.run(style, seconds, race.accept)
    print(f"{style}, {seconds:.0f} s, seed 1: {dict(found)}")
    assert found["lost"] == 0
    assert found["saves"] > 10 * seconds
    assert found["applied"] + found["undo applied"] > 0
    assert found["conflict"] + found["none"] + found["undo conflict"] > 0
    assert not [n for n in os.listdir(race.root) if is_temporary(n)]
    figure = (
        "{saves:,} saves, by a new file in the old one's place and in place, against {tried:,} accepts and undos ({applied:,} applied) of "
        "the same file, with and without the exchange of names: {lost:,} lost, {kept:,} that something later replaced are kept"
    )
    tried = found.total() - sum(found[name] for name in ("saves", "kept", "lost"))
    counts = {"applied": found["applied"] + found["undo applied"], "tried": tried}
    counts |= {name: found[name] for name in ("saves", "lost", "kept")}
    report(RACES, figure, counts=counts, seed=1, seconds=seconds)


@STYLES
def test_reading_comparing_and_then_writing_loses_saves(race: Race, style: str) -> None:
    """Mutation control: everything but the exchange, on a machine that is busy for a moment between looking and writing."""

    def accept(base: bytes, new: bytes) -> str:
        beside = race.root / "beside"
        beside.write_bytes(new)
        if race.path.read_bytes() != base:
            return "conflict"
        time.sleep(0.002)
        os.replace(beside, race.path)
        return "applied"

    lost = saves = 0
    began = time.monotonic()
    deadline = time.monotonic() + 60
    while not lost and time.monotonic() < deadline:
        found = race.run(style, 1.5, accept)
        lost, saves = found["lost"], saves + found["saves"]
        print(f"{style}: {dict(found)}")
    assert lost > 0
    told = f"compared and then replaced, saves by {style}: {lost:,} lost of {saves:,}"
    report(RACES, control=told, seconds=time.monotonic() - began)


# -- a folder that is a link every other moment


@contextmanager
def swapping(root: Path) -> Iterator[Counter[str]]:
    """`root/d` is now a folder, now a link to the outside; both names change places in one step."""
    outside = root.parent / "away"
    for folder in (outside, root / "d"):
        folder.mkdir()
        (folder / "f").write_bytes(b"base")
    (root / "link").symlink_to(outside)
    stop, count = threading.Event(), Counter[str]()
    libc = ctypes.CDLL(None, use_errno=True)
    a, b = os.fsencode(root / "d"), os.fsencode(root / "link")

    def swap() -> None:
        while not stop.is_set():
            count["swaps"] += libc.renameat2(-100, a, -100, b, 2) == 0
            time.sleep(0.0001)

    thread = threading.Thread(target=swap, daemon=True)
    thread.start()
    try:
        yield count
    finally:
        stop.set()
        thread.join()


def attack(write: Callable[[str, bytes | None, bytes | None], str], outside: Path, seconds: float) -> Counter[str]:
    """Edits, creates and deletes below `d` as fast as it can, until something happened outside."""
    found: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not found["outside"]:
        for path, base, new in (
            ("d/f", b"base", b"new"), ("d/g", None, b"made"), ("d/e/h", None, b"deep"),
            ("d/f", b"new", b"base"), ("d/g", b"made", None), ("d/e/h", b"deep", None),
        ):  # fmt: skip
            found[write(path, base, new)] += 1
        there = {str(p.relative_to(outside)): p.read_bytes() if p.is_file() else b"" for p in outside.rglob("*")}
        found["outside"] += there != {"f": b"base"}
    return found


def test_bad99_nothing_is_written_outside(race: Race) -> None:
    nothing_outside(race, 1.5)


@pytest.mark.long
def test_bad99_nothing_is_written_outside_for_long(race: Race) -> None:
    nothing_outside(race, 60.0)


def nothing_outside(race: Race, seconds: float) -> None:
    def write(path: str, base: bytes | None, new: bytes | None) -> str:
        outcome = race.writer.apply(race.writer.plan([Transition(path, base, new)]))
        return outcome.error.code if outcome.error else outcome.status

    with swapping(race.root) as count:
        found = attack(write, race.root.parent / "away", seconds)
    print(dict(found), dict(count))
    assert found["outside"] == 0
    assert min(found["applied"], found["path_outside_root"], count["swaps"]) > 20
    assert not [n for _, _, names in os.walk(race.root) for n in names if is_temporary(n)]
    figure = (
        "{tried:,} edits, new files and deletions below it ({applied:,} applied, {refused:,} refused) against {swaps:,} swaps of the "
        "folder and a link to the outside: {outside:,} written outside"
    )
    counts = {"tried": found.total() - found["outside"], "refused": found["path_outside_root"], "swaps": count["swaps"]}
    counts |= {name: found[name] for name in ("applied", "outside")}
    report(LINKS, figure, counts=counts, seconds=seconds)


def test_looking_first_and_then_writing_gets_outside(race: Race) -> None:
    """Mutation control: a path that is resolved, checked, and then opened."""
    root = os.path.realpath(race.root)
    began = time.monotonic()

    def write(path: str, base: bytes | None, new: bytes | None) -> str:
        with suppress(OSError):
            real = os.path.realpath(os.path.join(root, path))
            if os.path.commonpath([real, root]) != root:
                return "refused"
            if new is None:
                os.unlink(real)
            else:
                os.makedirs(os.path.dirname(real), exist_ok=True)
                with open(real, "wb") as file:
                    file.write(new)
        return "written"

    with swapping(race.root) as count:
        found = attack(write, race.root.parent / "away", 60.0)
    print(dict(found), dict(count))
    assert found["outside"] > 0
    told = f"resolved, checked and then opened: outside within {found.total() - 1:,} writes"
    report(LINKS, control=told, seconds=time.monotonic() - began)
