"""[bad102] Killed at every step of an accept of three files, and of its recovery: each file is old or new, somebody's
bytes are somewhere, and the next start brings it to an end.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proof import report
from reconvene.config import Limits
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits import Outcome, Plan, Transition, Writer
from reconvene.workspace.edits.disk import Disk
from reconvene.workspace.edits.slot import Slot
from reconvene.workspace.jail import Jail
from reconvene.workspace.names import is_temporary
from reconvene.workspace.reading import blob_id
from reconvene.workspace.workspace import Workspace

DEATHS = "Crash: in each step of writing three files"
SAVES = "Crash: in each step of writing, while somebody saves"
OLD = {"edit.py": b"old\n" * 500, "gone.py": b"deleted"}
NEW = {"edit.py": b"new\n" * 700, "made/of/new.py": b"created"}
STEPS = (
    Transition("edit.py", OLD["edit.py"], NEW["edit.py"], 0o755),
    Transition("made/of/new.py", None, NEW["made/of/new.py"]),
    Transition("gone.py", OLD["gone.py"], None),
)
THEIRS = b"what a person saved"
CALLS = (
    "open_folder", "make_folder", "remove_folder", "create", "write", "dress", "chmod", "sync", "open_file", "rename_new", "exchange",
    "remove", "look",
)  # fmt: skip
MOVES = ("rename_new", "exchange")


class Mortal(Disk):
    """Dies in the middle of the n-th call (`write`: half written), and lets somebody save before the m-th move."""

    def __init__(self, *, dies_at: int = 0, save_at: int = 0, save: Callable[[], None] = lambda: None) -> None:
        self.dies_at, self.save_at, self.save = dies_at, save_at, save
        self.calls = self.moves = 0

    def __getattribute__(self, name: str) -> Any:
        method = object.__getattribute__(self, name)
        return self._dying(name, method) if name in CALLS else method

    def _dying(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.calls += 1
            if self.calls == self.dies_at:
                if name == "write":
                    method(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            if name in MOVES and not any(isinstance(a, bytes) and a.endswith((b".part", b".hold")) for a in args[1:3]):
                self.moves += 1
                if self.moves == self.save_at:
                    self.save()
            return method(*args)

        return call


class MortalWithoutExchange(Mortal):
    exchanges = False


class Case:
    """A code base, a plan that is in the log, and what is to hold of it."""

    def __init__(self, folder: Path, kind: type[Mortal]) -> None:
        self.root, self.kind = folder / "repo", kind
        self.root.mkdir()
        for name, content in OLD.items():
            (self.root / name).write_bytes(content)
            (self.root / name).chmod(0o644)
        self.contents = Contents(folder / "contents")
        self.plan = Plan.from_json(self.writer().plan(STEPS, id="0123456789abcdef").to_json())

    def writer(self, disk: Disk | None = None) -> Writer:
        return Writer(Workspace(Jail(str(self.root)), Limits()), self.contents, disk=disk)

    def killed(self, **how: Any) -> bool:
        """Apply (or recover) in a process that dies; False when it came to its end before."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                self.writer(self.kind(**how)).recover(self.plan)
                code = 0
            finally:
                os._exit(code)
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return True
        assert os.WEXITSTATUS(status) == 0
        return False

    def files(self) -> dict[str, bytes]:
        return {str(p.relative_to(self.root)): p.read_bytes() for p in self.root.rglob("*") if p.is_file()}

    def visible(self) -> dict[str, bytes]:
        return {p: c for p, c in self.files().items() if not is_temporary(p.rpartition("/")[2])}

    def check_between(self, theirs: str | None = None) -> None:
        """Whatever was killed: no path has anything but one of its contents."""
        for path, content in self.visible().items():
            allowed = [c for c in (OLD.get(path), NEW.get(path)) if c is not None] + [THEIRS] * (path == theirs)
            assert content in allowed, f"{path} is something between: {content[:50]!r}"

    def recovered(self) -> Outcome:
        return self.writer(self.kind()).recover(self.plan)

    def save(self, path: str) -> None:
        """As editors do: a new file in the old one's place."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = self.root.parent / "saved"
        beside.write_bytes(THEIRS)
        beside.rename(target)

    def check_end(self, outcome: Outcome, saved_since: str | None = None) -> None:
        """All new (but for a file that somebody saved over the new one) or, with somebody's content in the way, exactly
        what the outcome says; nothing is left beside."""
        there = self.visible()
        assert self.files() == there
        if outcome.status == "applied":
            if saved_since is not None and there.get(saved_since) == THEIRS:
                assert there == NEW | {saved_since: THEIRS}
                return
            assert there == NEW
            assert (self.root / "edit.py").stat().st_mode & 0o777 == 0o755
        else:
            assert {f.path: f.on_disk for f in outcome.files if f.on_disk} == {p: blob_id(c) for p, c in there.items()}


@pytest.fixture
def shm() -> Iterator[Path]:
    """In memory, where there is such a folder: a killed process needs no real disk."""
    folder = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture
def fresh(shm: Path) -> Callable[[type[Mortal]], Case]:
    def make(kind: type[Mortal]) -> Case:
        for old in shm.iterdir():
            shutil.rmtree(old)
        folder = shm / "case"
        folder.mkdir()
        return Case(folder, kind)

    return make


KINDS = pytest.mark.parametrize(
    "kind", [Mortal, MortalWithoutExchange], ids=["bad102-exchange", "bad102-without-exchange"]
)
Fresh = Callable[[type[Mortal]], Case]


def saved_at_the_end(case: Case, path: str) -> None:
    """What a person saved is at its path, or kept."""
    at_path = case.visible().get(path) == THEIRS
    assert at_path or case.contents.get(blob_id(THEIRS)) == THEIRS, f"what was saved as {path} is lost"


@KINDS
def test_killed_at_every_step(fresh: Fresh, kind: type[Mortal]) -> None:
    deaths = 0
    for at in range(1, 1000):
        case = fresh(kind)
        if not case.killed(dies_at=at):
            break
        deaths += 1
        case.check_between()
        outcome = case.recovered()
        assert outcome.status == "applied"
        case.check_end(outcome)
    print(f"{deaths} deaths")
    assert deaths > 60


@pytest.mark.parametrize("path", ["edit.py", "gone.py", "made/of/new.py"])
def test_somebody_saves_between_death_and_recovery(fresh: Fresh, path: str) -> None:
    ends = set()
    for at in range(1, 1000, 3):
        case = fresh(Mortal)
        if not case.killed(dies_at=at):
            break
        case.save(path)
        outcome = case.recovered()
        ends.add(outcome.status)
        assert outcome.status == "conflict"
        assert case.visible()[path] == THEIRS
        case.check_between(path)
        case.check_end(outcome)
    assert at > 60


@pytest.mark.parametrize("path", ["edit.py", "gone.py", "made/of/new.py"])
def test_killed_while_a_save_is_put_back(fresh: Fresh, path: str) -> None:
    """The save comes in the last moment before its file is moved; then the process dies at each later step."""
    killed_with_a_save(fresh, Mortal, path, range(1, 4), range(30, 140, 2))


def killed_with_a_save(fresh: Fresh, kind: type[Mortal], path: str, moments: range, deaths: range) -> int:
    count = 0
    for moment in moments:
        for at in deaths:
            case = fresh(kind)
            if not case.killed(dies_at=at, save_at=moment, save=lambda c=case: c.save(path)):  # type: ignore[misc]
                break
            saved = THEIRS in case.files().values()
            case.check_between(path)
            outcome = case.recovered()
            case.check_end(outcome)
            if saved:
                saved_at_the_end(case, path)
                count += 1
    assert count > 10
    return count


def test_a_recovery_that_forgets_what_came_out_is_caught(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation control: what lies beside is removed without being looked at."""
    began = time.monotonic()

    def forgetful(slot: Slot) -> Any:
        for name in (slot._temp, slot._part, slot._hold):
            if slot.folder is not None:
                slot._remove(name)
        return slot.state()

    monkeypatch.setattr(Slot, "begin", forgetful)
    with pytest.raises(AssertionError, match="is lost"):
        killed_with_a_save(fresh, Mortal, "edit.py", range(1, 4), range(30, 140))
    told = "what lies beside is removed unseen: a save is lost"
    report(SAVES, control=told, seconds=time.monotonic() - began)


def test_writing_in_place_is_caught(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation control: the new content is written over the old one."""
    began = time.monotonic()

    def in_place(slot: Slot, expected: str | None) -> bool:
        assert slot.folder is not None
        content = slot._contents.get(slot.step.new_hash or "")
        if content is not None and slot.step.base_hash is not None:
            fd = os.open(slot._name, os.O_WRONLY | os.O_TRUNC, dir_fd=slot.folder)
            slot._disk.write(fd, content)
            os.close(fd)
            slot._remove(slot._temp)
            return True
        return True

    monkeypatch.setattr(Slot, "_flip", in_place)
    at = 0
    with pytest.raises(AssertionError, match="something between"):
        for at in range(1, 1000):
            case = fresh(Mortal)
            if not case.killed(dies_at=at):
                break
            case.check_between()
    told = f"written over the old content: half of a file after {at} deaths"
    report(DEATHS, control=told, seconds=time.monotonic() - began)


@pytest.mark.long
@KINDS
def test_killed_at_every_step_and_again_at_every_step_of_the_recovery(fresh: Fresh, kind: type[Mortal]) -> None:
    began = time.monotonic()
    deaths = 0
    for at in range(1, 1000):
        again = 0
        for again in range(1, 1000):
            case = fresh(kind)
            if not case.killed(dies_at=at):
                assert deaths > 5000
                figure = (
                    "{deaths:,} deaths, in each step of an accept of an edit, a new file and a deletion and again in each step of the "
                    "recovery from it, with and without the exchange of names: no path ever has anything but its old or its new content, "
                    "each is brought to its end, nothing is left beside"
                )
                report(DEATHS, figure, counts={"deaths": deaths}, seconds=time.monotonic() - began)
                return
            deaths += 1
            case.check_between()
            if not case.killed(dies_at=again):
                case.check_end(case.recovered())
                break
            deaths += 1
            case.check_between()
            outcome = case.recovered()
            assert outcome.status == "applied"
            case.check_end(outcome)


SAVED = (
    "{saves:,} saves of a person in the moment in which a file is moved, before a death in each step and in the recovery from one: each is "
    "at its path or kept, 0 lost"
)


@pytest.mark.long
@KINDS
@pytest.mark.parametrize("path", ["edit.py", "gone.py", "made/of/new.py"])
def test_killed_at_every_step_around_a_save_at_every_moment(fresh: Fresh, kind: type[Mortal], path: str) -> None:
    began = time.monotonic()
    saves = killed_with_a_save(fresh, kind, path, range(1, 8), range(1, 1000))
    report(SAVES, SAVED, counts={"saves": saves}, seconds=time.monotonic() - began)


@pytest.mark.long
@KINDS
def test_every_move_may_be_overtaken_during_recovery(fresh: Fresh, kind: type[Mortal]) -> None:
    """Killed at every step, and somebody saves before every move of the recovery."""
    began = time.monotonic()
    saves = 0
    for at in range(1, 1000):
        for path in ("edit.py", "gone.py", "made/of/new.py"):
            for moment in range(1, 6):
                case = fresh(kind)
                if not case.killed(dies_at=at):
                    assert saves > 100
                    report(SAVES, SAVED, counts={"saves": saves}, seconds=time.monotonic() - began)
                    return
                disk = kind(save_at=moment, save=lambda c=case, p=path: c.save(p))  # type: ignore[misc]
                outcome = case.writer(disk).recover(case.plan)
                case.check_between(path)
                case.check_end(outcome, saved_since=path)
                if disk.moves >= moment:
                    saves += 1
                    saved_at_the_end(case, path)
