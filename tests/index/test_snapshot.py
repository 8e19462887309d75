"""Snapshots: a restart serves from one, and is right whatever became of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import threading
import weakref
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest

from codebase import CodeBase
from reconvene.errors import ReconveneError
from reconvene.index import RootIndex, memory, snapshot
from reconvene.index.segment import Postings, Segment
from reconvene.index.store import Store
from reconvene.index.view import View
from reconvene.index.workers import Workers
from reconvene.search import search

QUERIES = ["cart", "sweep expired sessions", "def:Money", "parse_amount", '"visitor"', "guide", "brand_new"]


@pytest.fixture(autouse=True)
def _also_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.index.settled.SMALLEST", 0)


async def settled(index: RootIndex) -> RootIndex:
    """Up to date, and its snapshot written."""
    await index.refresh()
    if index._settling is not None:
        await index._settling
    return index


async def answers(index: RootIndex) -> list[object]:
    found = [asdict(await search(index, query)) for query in QUERIES]
    for answer in found:
        del answer["epoch"]
    everything = [(path, index.fingerprint(path), index.definitions(path)) for path in sorted(index.view.paths())]
    return [found, everything, index.symbols, index.view.statistics]


def snapshots(code: CodeBase) -> list[Path]:
    return sorted((code.data / "indexes").glob("*.snapshot*"))


class Loads:
    """Counts how often an index was made from all stored analyses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.all = 0
        whole = Store.states

        def counted(store: Store) -> object:
            self.all += 1
            return whole(store)

        monkeypatch.setattr(Store, "states", counted)


async def test_a_restart_serves_from_the_snapshot(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await settled(await code.index(workers, fresh=False))
    before = await answers(index)
    await index.close()
    loads = Loads(monkeypatch)
    index = await code.index(workers, fresh=False)
    assert await answers(index) == before
    assert loads.all == 0
    assert not index.view.segments[0].chunks.where.flags.owndata
    assert (await index.refresh()).reused
    await index.close()


async def test_what_changed_since_is_laid_over_it(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await settled(await code.index(workers, fresh=False))
    code.write("shop/money.py", "class Coin:\n    '''Money of a visitor'''\n")
    code.write("shop/new.py", "def brand_new():\n    pass\n")
    code.remove("web/app.js")
    await index.refresh()
    before = await answers(index)
    await index.close()
    loads = Loads(monkeypatch)
    index = await code.index(workers, fresh=False)
    assert await answers(index) == before
    assert (loads.all, len(snapshots(code))) == (0, 1)
    fresh = await code.index(workers, fresh=True)
    assert await answers(fresh) == before
    await fresh.close()
    await index.close()


async def test_a_new_one_is_made_when_much_changed_and_the_old_one_goes(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconvene.index.settled._BESIDE", 2)
    index = await settled(await code.index(workers, fresh=False))
    first = snapshots(code)
    code.write("shop/one.py", "one = 1\n")
    await settled(index)
    assert snapshots(code) == first
    for name in ("two", "three", "four"):
        code.write(f"shop/{name}.py", f"def {name}():\n    pass\n")
    await settled(index)
    second = snapshots(code)
    assert len(first) == len(second) == 1 and first != second
    assert len(index.view.segments) == 1
    await index.close()


async def test_changes_while_it_is_written_are_not_lost(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await code.index(workers, fresh=False)
    loop = asyncio.get_running_loop()
    write = snapshot.write

    def slow(path: Path, segment: Segment, made_by: str) -> None:
        code.write("shop/late.py", "def brand_new():\n    pass\n")
        code.remove("shop/cart.py")
        asyncio.run_coroutine_threadsafe(index.refresh(["shop/late.py", "shop/cart.py"]), loop).result()
        write(path, segment, made_by)

    monkeypatch.setattr(snapshot, "write", slow)
    await settled(index)
    assert (await search(index, "brand_new")).snippets[0].path == "shop/late.py"
    assert index.view.find("shop/cart.py") is None
    before = await answers(index)
    await index.close()
    index = await code.index(workers, fresh=False)
    assert await answers(index) == before
    await index.close()


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _flipped(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "gone": lambda data, rng: None,
    "empty": lambda data, rng: b"",
    "torn": _cut,
    "a bit": _flipped,
    "longer": lambda data, rng: data + b"\0",
    "zeros": lambda data, rng: bytes(len(data)),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_one_that_is_damaged_is_not_used(
    damage: str, code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    index = await settled(await code.index(workers, fresh=False))
    before = await answers(index)
    await index.close()
    loads = Loads(monkeypatch)
    for n in range(1, 6):
        (file,) = snapshots(code)
        whole = file.read_bytes()
        found = DAMAGE[damage](whole, rng)
        file.write_bytes(found) if found is not None else file.unlink(missing_ok=True)
        index = await code.index(workers, fresh=False)
        assert await answers(index) == before
        assert loads.all == n and not file.exists()
        await index.close()  # which writes another


async def test_control_without_the_checksum_a_flipped_bit_is_believed(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await settled(await code.index(workers, fresh=False))
    before = await answers(index)
    await index.close()
    (file,) = snapshots(code)
    whole = file.read_bytes()
    name = b"shop/cart.py"
    assert whole.count(name) == 1
    file.write_bytes(whole.replace(name, b"shop/card.py"))
    monkeypatch.setattr(snapshot, "_is_whole", lambda fd, size: True)
    index = await code.index(workers, fresh=False)
    assert await answers(index) != before
    await index.close()


@pytest.mark.parametrize("other", ["_made_by", "_role_rules"])
async def test_one_that_was_made_otherwise_is_not_used(
    other: str, code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await settled(await code.index(workers, fresh=False))).close()
    before = snapshots(code)
    monkeypatch.setattr(snapshot, other, lambda *made_by: "another version")
    loads = Loads(monkeypatch)
    index = await code.index(workers, fresh=False)
    assert (loads.all, snapshots(code)) == (1, [])
    await index.close()
    assert len(snapshots(code)) == 1 and snapshots(code) != before


async def test_one_of_a_moment_the_store_does_not_know_is_not_used(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store may lose its last commits to a power cut, and a file may come from a copy of the folder."""
    index = await settled(await code.index(workers, fresh=False))
    for far in (-(1 << 40), 1):
        name, _, epoch = (index._store.meta("snapshot") or "").partition(" ")
        index._store.keep_meta("snapshot", f"{name} {int(epoch) + far}")
        kept = index._settled.load(index._store)
        assert kept is None
        index._settled._base = None
        await settled(index)
        assert len(snapshots(code)) == 1
    await index.close()


async def test_killed_at_any_point_it_answers_the_same(
    code: CodeBase, tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconvene.index.settled._BESIDE", 1)
    rng = random.Random(7)
    points: list[Path] = []

    def killed_before(step: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **kwargs: object) -> object:
            point = tmp_path / f"point{len(points)}"
            shutil.copytree(code.data, point)
            for torn in point.glob("indexes/*.new"):
                os.truncate(torn, rng.randrange(torn.stat().st_size + 1))
            points.append(point)
            return step(*args, **kwargs)

        return wrapped

    index = await code.index(workers, fresh=False)
    await settled(index)
    for name in ("one", "two", "three"):
        code.write(f"shop/{name}.py", f"def brand_{name}():\n    pass\n")
    monkeypatch.setattr(os, "fsync", killed_before(os.fsync))
    monkeypatch.setattr(Path, "rename", killed_before(Path.rename))
    monkeypatch.setattr(Path, "unlink", killed_before(Path.unlink))
    monkeypatch.setattr(Store, "keep_meta", killed_before(Store.keep_meta))
    await settled(index)
    monkeypatch.undo()
    monkeypatch.setattr("reconvene.index.settled.SMALLEST", 0)
    expected = await answers(index)
    await index.close()
    assert len(points) >= 5
    for point in points:
        code.data = point
        index = await code.index(workers, fresh=False)
        assert await answers(index) == expected
        assert len(snapshots(code)) <= 1, "what does not count is gone"
        await index.close()


async def test_without_room_for_one_everything_else_works(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    index = await code.index(workers, fresh=False)
    monkeypatch.setattr("reconvene.index.snapshot.os.fsync", full)
    await settled(index)
    assert snapshots(code) == []
    assert (await search(index, "cart")).snippets
    settling = index._settling
    await settled(index)
    assert index._settling is settling, "not tried again at once"
    await index.close()


def test_a_segment_is_read_as_it_was_written(tmp_path: Path) -> None:
    empty = Segment.build([])
    snapshot.write(tmp_path / "a", empty, "x")
    found = snapshot.read(tmp_path / "a", "x")
    assert found is not None and (found.paths, found.blobs, found.number) == ((), (), {})
    for postings in ("chunks", "names", "symbols", "stems", "folders"):
        for part in fields(Postings):
            one, other = (getattr(getattr(s, postings), part.name) for s in (empty, found))
            assert one.dtype == other.dtype and np.array_equal(one, other)
    assert snapshot.read(tmp_path / "a", "y") is None
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


async def test_closed_right_after_it_was_built_the_snapshot_is_there(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers, fresh=True)
    await index.close()
    assert len(snapshots(code)) == 1


async def test_closing_does_not_wait_long_for_a_snapshot(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconvene.index.root.SETTLE_SECONDS", 0.05)

    def endless(segments: object, alive: object, go_on: Callable[[], None]) -> Segment:
        while True:
            go_on()

    index = await code.index(workers, fresh=False)
    monkeypatch.setattr("reconvene.index.settled.Segment.merge", endless)
    looking = asyncio.create_task(index.refresh())
    while index._settling is None:
        await asyncio.wait({looking}, timeout=0.01)
    await asyncio.wait_for(index.close(), 20)
    assert snapshots(code) == []
    assert (await looking).changed


async def test_when_a_build_is_over_its_snapshot_is_there(
    code: CodeBase, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends the process right after it, the next start is as quick as any."""
    index = await code.index(workers, fresh=False)
    assert (await index.refresh()).parsed
    left = tmp_path / "left"
    shutil.copytree(code.data, left)  # what a killed process leaves
    before = await answers(index)
    await index.close()
    loads = Loads(monkeypatch)
    code.data = left
    index = await code.index(workers, fresh=False)
    assert (await answers(index), loads.all) == (before, 0)
    await index.close()


async def test_control_a_build_that_does_not_wait_for_it_is_noticed(
    code: CodeBase, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = threading.Event()
    write, copytree = snapshot.write, shutil.copytree

    def late(path: Path, segment: Segment, made_by: str) -> None:
        copied.wait(30)
        write(path, segment, made_by)

    def copying(*args: object, **options: object) -> Path:
        target = copytree(*args, **options)
        copied.set()
        return target

    monkeypatch.setattr(snapshot, "write", late)
    monkeypatch.setattr(shutil, "copytree", copying)
    monkeypatch.setattr("reconvene.index.settled.Settled.exists", True)
    with pytest.raises(AssertionError):
        await test_when_a_build_is_over_its_snapshot_is_there(code, workers, tmp_path, monkeypatch)


async def test_what_was_read_before_it_was_closed_is_served_at_once_and_not_read_again(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(200):
        code.write(f"many/m{n}.py", f"def brand_{n}():\n    pass\n")
    index = await code.index(workers, fresh=False)
    looking = asyncio.create_task(index.refresh())
    while index.parsed < 50:
        await asyncio.wait({looking}, timeout=0.005)
    await index.close()
    with contextlib.suppress(ReconveneError):
        await looking
    read, files = index.parsed, index.view.known.files
    assert files < len(list(code.root.rglob("*.*"))), "it was too quick"
    assert len(snapshots(code)) == 1
    loads = Loads(monkeypatch)
    index = await code.index(workers, fresh=False)
    assert (index.partial, index.view.files, loads.all) == (True, files, 0)
    await index.refresh()
    assert not index.partial and index.parsed + read == index.view.files
    fresh = await code.index(workers, fresh=True)
    assert await answers(fresh) == await answers(index)
    await fresh.close()
    await index.close()


async def test_what_a_build_needed_is_given_back(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []
    built: list[weakref.ref[View]] = []
    index = await code.index(workers, fresh=False)
    write = index._settled.write

    def writing(view: View, stop: threading.Event) -> str:
        built.append(weakref.ref(view))
        return write(view, stop)

    monkeypatch.setattr(index._settled, "write", writing)
    monkeypatch.setattr("reconvene.index.root.give_back", lambda: given.append(built[0]() is None))
    await index.refresh()
    assert given == [True], "and nothing holds the view that it was made of"
    await index.close()


def test_giving_memory_back_is_safe_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    memory.give_back()
    memory._trim.cache_clear()
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    memory.give_back()
    memory._trim.cache_clear()
