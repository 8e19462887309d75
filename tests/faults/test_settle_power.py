"""[bad102] The power goes while it is settled what a program wrote late into a file that had been replaced: its bytes are never lost."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from io_points import Points
from platter import Platter

from reconvene.config import Limits
from reconvene.workspace import Workspace
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits import Plan, Transition, Writer
from reconvene.workspace.edits.disk import Disk, Seen
from reconvene.workspace.reading import blob_id

LATE = {"f": b"what a program wrote late\n" * 60, "g": b"late, too"}
OLD = {"f": b"old\n" * 300, "g": b"deleted"}
NEW = {"f": b"new\n" * 400}
MODES = ("drop", "subset", "torn")
CUTS = 4
"""Of each call and mode: what is left is a matter of chance."""
Image = dict[str, bytes | None]


class Blind(Disk):
    """An operating system that does not tell who has a file open for writing."""

    def look(self, *args: Any) -> Seen | None:
        seen = super().look(*args)
        return seen and replace(seen, written=None)


class Place:
    def __init__(self, folder: Path) -> None:
        self.root, self.data = folder / "project", folder / "data"
        self.contents = Contents(self.data / "contents")

    def writer(self, disk: Disk | None = None) -> Writer:
        return Writer(Workspace.open(self.root, data_dir=self.data, limits=Limits()), self.contents, disk=disk)

    def files(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in self.root.iterdir()}

    def has(self, late: bytes) -> bool:
        return self.contents.get(blob_id(late)) == late or late in self.files().values()


def recorded(place: Place, rng: random.Random) -> tuple[Plan, list[tuple[str, Image]], list[tuple[str, Image]]]:
    """A change that is applied, what comes late, and its settling: what cuts at each call of the settling leave, and after it."""
    place.root.mkdir(parents=True)
    place.data.mkdir()
    for name, content in OLD.items():
        (place.root / name).write_bytes(content)
    held = {name: os.open(place.root / name, os.O_RDWR) for name in OLD}
    platter = Platter([place.data, place.root])
    during: list[tuple[str, Image]] = []
    after: list[tuple[str, Image]] = []
    settling = False

    def cut(into: list[tuple[str, Image]]) -> None:
        into += [(mode, platter.cut(rng, mode)) for mode in MODES for _ in range(CUTS)]

    def act(_n: int, op: str, path: str, _half: Callable[[], None]) -> None:
        if settling:
            cut(during)
        if op in ("unlink", "remove", "renameat2", "rename", "replace"):
            platter.remember(path)

    with Points([place.data, place.root], act, sync=False, sqlite=False, done=platter.did):
        writer = place.writer(Blind())
        plan = writer.plan([Transition("f", OLD["f"], NEW["f"]), Transition("g", OLD["g"], None)])
        assert writer.apply(plan).unsettled
        for name, fd in held.items():
            os.ftruncate(fd, 0)
            os.write(fd, LATE[name])
            os.fsync(fd)
            os.close(fd)
        settling = True
        assert {late.path for late in place.writer().settle(plan).late} == set(LATE)
        settling = False
        cut(after)
    return plan, during, after


def restored(folder: Path, place: Place, image: Image) -> Place:
    there = Place(folder)
    there.root.mkdir(parents=True)
    there.data.mkdir()
    for path, content in sorted(image.items()):
        target = folder / Path(path).relative_to(place.root.parent)
        if content is None:
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return there


def lost(folder: Path, seed: int) -> list[str]:
    """What of the late bytes is nowhere, or what is left beside, after any of the cuts."""
    place = Place(folder / "recorded")
    plan, during, after = recorded(place, random.Random(seed))
    assert len(during) > 100
    wrong = []
    for n, (mode, image) in enumerate([*during, *after]):
        there = restored(folder / f"cut{n}", place, image)
        when = "after it" if n >= len(during) else f"at call {n // (len(MODES) * CUTS)}"
        wrong += [f"{mode} {when}: {name} is nowhere" for name, late in LATE.items() if not there.has(late)]
        there.writer().settle(plan, final=True)
        if there.files() != NEW:
            wrong.append(f"{mode} {when}: left {sorted(there.files())}")
        if not all(there.contents.get(blob_id(late)) == late for late in LATE.values()):
            wrong.append(f"{mode} {when}: settled again, and not kept")
    return wrong


def test_bad102_what_came_late_survives_every_cut(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"\nseed {seed}")
    assert not lost(tmp_path, seed)


def test_control_contents_that_are_not_durable_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Contents.put
    monkeypatch.setattr(Contents, "put", lambda self, content, **_: put(self, content, durable=False))
    assert lost(tmp_path, 1)
