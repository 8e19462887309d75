"""An index that is looked after: hints, sweeps, rest, pause. Clock and events are the test's; one test has the system's own."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from codebase import CodeBase, Repository
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.index import Indexes, RootIndex
from reconvene.index import upkeep as rules
from reconvene.index.state import IndexState
from reconvene.index.upkeep import AGAIN_SECONDS, IDLE_SECONDS, SWEEP_SECONDS, Upkeep
from reconvene.index.watch import Hint, Watcher, Watching, folders_of, remote_kind, unwatchable
from reconvene.index.workers import Workers


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Kept:
    """An index that is looked after step by step."""

    def __init__(self, code: CodeBase, index: RootIndex) -> None:
        self.code, self.index, self.clock, self.alive = code, index, Clock(), True
        self.said: list[IndexState] = []
        self.upkeep = Upkeep(index, alive=lambda: self.alive, report=self.said.append, watcher=None, clock=self.clock)

    async def tend(self, later: float = 0.0) -> float:
        self.clock.now += later
        return await self.upkeep.tend()

    def has(self, path: str) -> bool:
        return self.index.fingerprint(path) is not None


@pytest.fixture
async def kept(code: CodeBase, workers: Workers) -> AsyncIterator[Kept]:
    index = await code.index(workers, fresh=False)
    yield Kept(code, index)
    await index.close()


async def test_a_cold_index_is_built_and_says_how_it_goes(kept: Kept) -> None:
    assert kept.upkeep.state().phase == "building"
    wait = await kept.tend()
    assert kept.upkeep.state().phase == "ready" and kept.index.verified
    assert 0 < wait <= SWEEP_SECONDS
    assert kept.said[0].partial and kept.said[0].phase == "building"


async def test_what_no_event_told_of_is_found_by_the_next_sweep(kept: Kept) -> None:
    await kept.tend()
    kept.code.write("shop/silent.py", "silent = 1\n")
    await kept.tend(SWEEP_SECONDS / 2)
    assert not kept.has("shop/silent.py")
    await kept.tend(SWEEP_SECONDS / 2)
    assert kept.has("shop/silent.py")


async def test_control_who_trusts_events_alone_misses_it(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "SWEEP_SECONDS", float("inf"))
    await kept.tend()
    kept.code.write("shop/silent.py", "silent = 1\n")
    await kept.tend(10 * SWEEP_SECONDS)
    assert not kept.has("shop/silent.py")


async def test_a_hint_is_followed_at_once_and_alone(kept: Kept) -> None:
    await kept.tend()
    kept.code.write("shop/money.py", "class Coin:\n    pass\n")
    kept.code.write("shop/cart.py", "class Basket:\n    pass\n")
    sweeps = kept.upkeep.sweeps
    kept.upkeep.hint(Hint(frozenset({"shop/money.py"})))
    await kept.tend(0.1)
    assert [d.name for d in kept.index.definitions("shop/money.py")] == ["Coin"]
    assert next(d.name for d in kept.index.definitions("shop/cart.py")) == "Cart"
    assert kept.upkeep.sweeps == sweeps


async def test_a_hint_is_no_truth(kept: Kept) -> None:
    await kept.tend()
    epoch, parsed = kept.index.epoch, kept.index.parsed
    kept.upkeep.hint(Hint(frozenset({"shop/money.py", "no/such.py"}), everything=True))
    await kept.tend(AGAIN_SECONDS)
    assert (kept.index.epoch, kept.index.parsed) == (epoch, parsed)


async def test_hints_of_an_ignored_file_are_looked_at_once(
    tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = Repository(tmp_path)
    code.write(".gitignore", "*.log\n")
    kept = Kept(code, await code.index(workers))
    await kept.tend()
    looked = 0
    real = kept.index.refresh_paths

    async def counted(paths: Any) -> Any:
        nonlocal looked
        looked += 1
        return await real(paths)

    monkeypatch.setattr(kept.index, "refresh_paths", counted)
    code.write("app.log", "1\n")
    for _ in range(5):
        kept.upkeep.hint(Hint(frozenset({"app.log"})))
        await kept.tend(1.0)
    assert looked == 1 and kept.index.view.find("app.log") is None
    code.write(".gitignore", "\n")
    kept.upkeep.hint(Hint(frozenset(), everything=True))
    await kept.tend(AGAIN_SECONDS)
    assert kept.has("app.log")
    await kept.index.close()


async def test_sweeps_that_hints_ask_for_have_a_share_of_the_time(kept: Kept) -> None:
    await kept.tend()
    kept.index.looked_ms = 500
    kept.upkeep.hint(Hint(frozenset(), everything=True))
    await kept.tend(rules.SHARE)
    sweeps = kept.upkeep.sweeps
    kept.upkeep._due = kept.clock.now + 5.0
    kept.upkeep.hint(Hint(frozenset(), everything=True))
    assert await kept.tend() == pytest.approx(5.0)
    assert kept.upkeep.sweeps == sweeps
    await kept.tend(5.0)
    assert kept.upkeep.sweeps == sweeps + 1


async def test_an_idle_index_gives_its_memory_back_and_comes_back(kept: Kept) -> None:
    await kept.tend()
    files, parsed = kept.index.files, kept.index.parsed
    kept.alive = False
    await kept.tend(IDLE_SECONDS - 1)
    assert not kept.index.resting
    await kept.tend(1)
    assert kept.index.resting and kept.index.files == 0 and kept.upkeep.state().phase == "resting"
    kept.upkeep.used()
    await kept.tend()
    assert (kept.index.files, kept.index.parsed, kept.index.resting) == (files, parsed, False)


async def test_nobody_there_no_sweeps(kept: Kept) -> None:
    kept.alive = False
    await kept.tend()
    sweeps = kept.upkeep.sweeps
    for _ in range(5):
        await kept.tend(SWEEP_SECONDS)
    assert kept.upkeep.sweeps == sweeps == 1


async def test_a_root_that_is_gone_is_said_and_comes_back(kept: Kept) -> None:
    await kept.tend()
    away = kept.code.root.with_name("away")
    kept.code.root.rename(away)
    await kept.tend(SWEEP_SECONDS)
    state = kept.upkeep.state()
    assert state.phase == "failed" and state.notes
    away.rename(kept.code.root)
    await kept.tend(AGAIN_SECONDS)
    assert kept.upkeep.state().phase == "ready"


async def test_a_paused_index_says_so_and_takes_in_only_what_is_named(kept: Kept, workers: Workers) -> None:
    await kept.tend()
    await kept.index.pause()
    kept.code.write("shop/money.py", "class Coin:\n    pass\n")
    kept.code.write("shop/later.py", "later = 1\n")
    await kept.tend(SWEEP_SECONDS)
    assert kept.upkeep.state().phase == "paused" and not kept.has("shop/later.py")
    assert (await kept.index.refresh()).paused
    assert (await kept.index.refresh_paths(["shop/money.py"])).changed == {"shop/money.py"}
    await kept.index.close()
    again = await kept.code.index(workers, fresh=False)
    assert again.paused, "also after a restart"
    await again.resume()
    assert (await again.refresh()).changed == {"shop/later.py"}
    await again.close()


async def test_a_rebuild_begins_from_nothing_with_epochs_of_its_own(kept: Kept) -> None:
    await kept.tend()
    epoch, files = kept.index.epoch, kept.index.files
    await kept.index.rebuild()
    assert (kept.index.files, kept.index.partial) == (0, True)
    await kept.tend(SWEEP_SECONDS)
    assert (kept.index.files, kept.index.builds) == (files, 2)
    assert kept.index.changed_since(epoch) is None


async def test_another_process_keeps_it_until_it_ends(code: CodeBase, workers: Workers) -> None:
    writer = await code.index(workers)
    guest = await code.index(workers)
    assert guest.shared and not writer.shared
    with pytest.raises(ReconveneError, match="Another process"):
        await guest.rebuild()
    await writer.close()
    code.write("shop/new.py", "new = 1\n")
    await guest.refresh()
    assert not guest.shared and guest.fingerprint("shop/new.py") is not None
    await guest.close()
    third = await code.index(workers, fresh=False)
    assert third.fingerprint("shop/new.py") is not None, "it was kept"
    await third.close()


# -- while everything is being read


async def test_own_writes_are_taken_in_while_everything_is_read(tmp_path: Path) -> None:
    from test_workers import stand_in

    code = Repository(tmp_path)
    for i in range(60):
        code.write(f"many/f{i:02}.py", f"hang {i}")
    workers = stand_in(seconds=0.5)
    index = await code.index(workers, fresh=False)
    building = asyncio.create_task(index.refresh())
    while not index.files:
        await asyncio.sleep(0.005)
    assert index.partial and index.view.find("shop/cart.py") is not None, "the listing is there at once"
    code.write("shop/own.py", "mine = 1\n")
    found = await index.refresh_paths(["shop/own.py"])
    assert found.changed == {"shop/own.py"} and not building.done()
    workers.close()
    await index.close()
    with pytest.raises(ReconveneError):
        await building


async def test_what_somebody_waits_for_is_read_first(tmp_path: Path, workers: Workers) -> None:
    code = CodeBase(tmp_path, {f"lib/part{i:03}.py": f"x{i} = {i}\n" for i in range(300)})
    code.write("zoo/elephant_keeper.py", "def feed(): pass\n")
    index = await code.index(workers, fresh=False)
    order: list[str] = []
    real = index._reader._read

    def noted(path: str, *args: Any) -> Any:
        order.append(path)
        return real(path, *args)

    index._reader._read = noted  # type: ignore[method-assign]
    index.want("where is the elephant keeper fed?")
    await index.refresh()
    assert order.index("zoo/elephant_keeper.py") < 10
    await index.close()


async def test_a_switch_between_branches_costs_no_analysis(tmp_path: Path, workers: Workers) -> None:
    code = Repository(tmp_path)
    for i in range(1000):
        code.write(f"lib/part{i:03}.py", f"x{i} = 1\n")
    code.commit("one")
    code.git("checkout", "-q", "-b", "other")
    for i in range(1000):
        code.write(f"lib/part{i:03}.py", f"x{i} = 2\n")
    code.commit("two")
    code.git("checkout", "-q", "main")
    index = await code.index(workers)
    code.git("checkout", "-q", "other")
    assert (await index.refresh()).parsed == 1000
    code.git("checkout", "-q", "main")
    back = await index.refresh()
    assert (len(back.changed), back.parsed) == (1000, 0)
    code.git("checkout", "-q", "other")
    assert (await index.refresh()).parsed == 0
    await index.close()


@pytest.mark.parametrize("offset", [-86400, 86400], ids=["past", "future"])
async def test_a_write_under_a_time_that_was_set_is_noticed(code: CodeBase, workers: Workers, offset: int) -> None:
    import os

    file = code.root / "shop/money.py"
    at = time.time_ns() + offset * 10**9
    os.utime(file, ns=(at, at))
    index = await code.index(workers)
    file.write_text(file.read_text().replace("cents", "pence"))
    os.utime(file, ns=(at, at))
    assert (await index.refresh()).changed == {"shop/money.py"}
    await index.close()


# -- the watcher


class Events:
    """A source that the test feeds."""

    def __init__(self) -> None:
        self.made: list[list[str]] = []
        self.feed: queue.Queue[set[tuple[int, str]] | Exception] = queue.Queue()
        self.fails: Exception | None = None

    def __call__(self, folders: list[str]) -> Events:
        if self.fails is not None:
            raise self.fails
        self.made.append(folders)
        return self

    def watch(self, debounce_ms: int, step_ms: int, timeout_ms: int, stop_event: Any) -> set[tuple[int, str]] | str:
        while not stop_event.is_set():
            try:
                told = self.feed.get(timeout=0.01)
            except queue.Empty:
                continue
            if isinstance(told, Exception):
                raise told
            return told
        return "stop"

    def close(self) -> None:
        pass


class Hints:
    def __init__(self) -> None:
        self.all: queue.Queue[Hint] = queue.Queue()

    def __call__(self, hint: Hint) -> None:
        self.all.put(hint)

    def next(self) -> Hint:
        return self.all.get(timeout=10)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def watching(tmp_path: Path, events: Events) -> Any:
    made: list[Watcher] = []

    def make(**how: Any) -> tuple[Watcher, Hints]:
        hints = Hints()
        made.append(Watcher(tmp_path, hints, source=events, **how))
        return made[-1], hints

    yield make
    for watcher in made:
        watcher.close()
        assert not watcher._thread.is_alive()


def test_only_folders_of_listed_files_are_watched(tmp_path: Path, events: Events, watching: Any) -> None:
    for folder in ("a/b", "node_modules/x", ".git"):
        (tmp_path / folder).mkdir(parents=True)
    watcher, hints = watching(git_dir=str(tmp_path / ".git"))
    watcher.watch(["a/b/f.py"])
    assert hints.next().everything, "what happened before it was watched made no event"
    assert events.made == [[str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a/b"), str(tmp_path / ".git")]]
    assert watcher.state == Watching("events", 3)
    events.feed.put({(2, str(tmp_path / "a/b/f.py"))})
    assert hints.next() == Hint(frozenset({"a/b/f.py"}))
    events.feed.put({(1, str(tmp_path / ".git/index.lock")), (2, str(tmp_path / "a/b/g.py"))})
    assert hints.next() == Hint(frozenset({"a/b/g.py"})), "only HEAD and index say something"
    for name in (".git/HEAD", ".git/index", "a/.gitignore"):
        events.feed.put({(1, str(tmp_path / name))})
        assert hints.next().everything, name


def test_a_new_folder_is_watched_with_what_was_made_in_it_and_everything_looked_at_again(
    tmp_path: Path, events: Events, watching: Any
) -> None:
    watcher, hints = watching()
    watcher.watch(["f.py"])
    hints.next()
    (tmp_path / "new/deep").mkdir(parents=True)
    (tmp_path / "new/node_modules").mkdir()
    (tmp_path / "new/deep/early.py").write_text("written before it was watched\n")
    events.feed.put({(1, str(tmp_path / "new"))})
    assert hints.next() == Hint(frozenset(), everything=True)
    assert events.made[-1] == [str(tmp_path), str(tmp_path / "new"), str(tmp_path / "new/deep")]
    watcher.watch(["f.py", "new/deep/early.py"])
    events.feed.put({(2, str(tmp_path / "new/deep/early.py"))})
    assert hints.next() == Hint(frozenset({"new/deep/early.py"}))


def test_events_are_not_lost_when_the_folders_are_told_again(tmp_path: Path, watching: Any, events: Events) -> None:
    """A source that is called back drops what it has gathered."""
    (tmp_path / "a").mkdir()
    watcher, hints = watching()
    watcher.watch(["f.py"])
    hints.next()
    watcher.watch(["g.py", "f.py"])
    assert not watcher.is_set(), "the same folders: it is left alone"
    # Other folders, and the same again before anybody looked: it was called back.
    watcher._wanted = frozenset({*watcher._wanted, "a"})
    watcher._want(frozenset({""}))
    assert hints.next().everything


def test_a_new_folder_of_ignored_files_is_let_go_an_empty_one_is_kept(
    tmp_path: Path, events: Events, watching: Any
) -> None:
    watcher, hints = watching()
    watcher.watch(["f.py"])
    hints.next()
    (tmp_path / "empty").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target/out.o").write_text("x")
    events.feed.put({(1, str(tmp_path / "empty")), (1, str(tmp_path / "target"))})
    hints.next()
    assert len(events.made[-1]) == 3
    watcher.watch(["f.py"])
    hints.next()
    assert events.made[-1] == [str(tmp_path), str(tmp_path / "empty")]


def test_no_more_watches_falls_back_to_sweeps_and_says_so(events: Events, watching: Any) -> None:
    events.fails = OSError("OS file watch limit reached. about [x]")
    watcher, hints = watching()
    watcher.watch(["f.py"])
    deadline = time.monotonic() + 10
    while watcher.state.why == "Nothing is watched yet." and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert watcher.state == Watching("sweeps", 0, "The system's watching of files failed: OS file watch limit reached.")
    assert hints.all.empty() and watcher._rests_until > time.monotonic() + 60


def test_a_source_that_breaks_means_a_look_at_everything(events: Events, watching: Any) -> None:
    watcher, hints = watching()
    watcher.watch(["f.py"])
    hints.next()
    events.feed.put(RuntimeError("Unable to decode path"))
    assert hints.next().everything
    assert watcher.state.mode == "sweeps" and "decode" in (watcher.state.why or "")


def test_too_many_folders_and_other_machines_are_not_watched(tmp_path: Path) -> None:
    assert "folders" in (unwatchable(str(tmp_path), 10**6) or "")
    assert unwatchable(str(tmp_path), 10) is None
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        "2 1 0:5 / /net/my\\040code rw shared:1 - nfs4 host:/x rw\n"
        "3 2 8:2 / /net/my\\040code/in rw - xfs d rw\n"
    )
    assert remote_kind("/net/my code/a", str(mounts)) == "nfs4"
    assert remote_kind("/net/my code/in/a", str(mounts)) is None
    assert remote_kind("/net/my codes", str(mounts)) is None
    assert folders_of(["a/b/c.py", "d.py"]) == {"", "a", "a/b"}


# -- all of it, with the system's own events


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps need not wait for their share of the time, which has a test of its own: ten times what one takes on this machine now."""
    monkeypatch.setattr(rules, "SHARE", 0.0)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("at_once")
async def test_files_in_new_folders_come_by_themselves(tmp_path: Path) -> None:
    code = Repository(tmp_path)
    states: list[IndexState] = []
    indexes = Indexes(code.data, Limits(), kept=True)
    indexes.listeners.append(states.append)
    index = await indexes.get(code.workspace())
    await until(lambda: indexes.states()[0].watching == "events" and indexes.states()[0].phase == "ready")
    code.write("shop/money.py", "class Coin:\n    pass\n")
    await until(lambda: [d.name for d in index.definitions("shop/money.py")] == ["Coin"])
    for i in range(20):
        code.write(f"brand/new{i}/deep/folder/f.py", f"def made_{i}():\n    pass\n")
    await until(lambda: all(index.fingerprint(f"brand/new{i}/deep/folder/f.py") for i in range(20)))
    (code.root / "web/app.js").unlink()
    await until(lambda: index.fingerprint("web/app.js") is None)
    assert states[-1].files == index.files or indexes.states()[0].files == index.files
    before = threading.active_count()
    await indexes.close()
    assert threading.active_count() < before
    assert not [t for t in threading.enumerate() if t.name == "watch"]


@pytest.mark.usefixtures("at_once")
async def test_control_without_looking_again_new_folders_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = Watcher._register

    def silent(self: Watcher) -> None:
        hint, self._hint = self._hint, lambda _: None
        try:
            register(self)
        finally:
            self._hint = hint

    monkeypatch.setattr(Watcher, "_register", silent)
    code = Repository(tmp_path)
    indexes = Indexes(code.data, Limits(), kept=True)
    index = await indexes.get(code.workspace())
    await until(lambda: indexes.states()[0].watching == "events" and indexes.states()[0].phase == "ready")
    for i in range(20):
        code.write(f"brand/new{i}/deep/folder/f.py", f"def made_{i}():\n    pass\n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await until(lambda: all(index.fingerprint(f"brand/new{i}/deep/folder/f.py") for i in range(20)))
    await indexes.close()
