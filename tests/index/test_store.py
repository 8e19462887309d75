from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from reconvene.index.analysis import Analysis
from reconvene.index.store import CHANGES_KEPT, Batch, Change, FileRecord, Store

A, B = b"a" * 20, b"b" * 20
RECORD = FileRecord(A, "read", 1, 2, 3, 4)
EMPTY = Batch((), {}, (), ())


def some(path: str = "x.py", blob: bytes = A) -> Batch:
    return Batch(
        [((blob, "python"), Analysis("indexed", 1, 0, b"", b""))],
        {path: RECORD._replace(blob=blob)},
        [],
        [Change(path, None, blob)],
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "indexes" / "x.db"


def test_what_was_committed_is_there_again(path: Path) -> None:
    store = Store(path, "1")
    before = store.epoch
    assert store.commit(some("na\udcffme.py"), {"complete": "1"}) == before + 1
    store.close()
    store = Store(path, "1")
    assert store.files() == {"na\udcffme.py": RECORD}
    assert store.analysis((A, "python")) == Analysis("indexed", 1, 0, b"", b"")
    assert store.analysis((A, "go")) is None
    assert (store.epoch, store.meta("complete")) == (before + 1, "1")
    store.close()


def test_the_files_are_the_owners_alone(path: Path) -> None:
    store = Store(path, "1")
    store.commit(some())
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    store.close()


@pytest.mark.parametrize("damage", ["other version", "garbage", "empty", "cut", "other schema"])
def test_what_cannot_be_used_is_made_anew(path: Path, damage: str) -> None:
    store = Store(path, "1")
    store.commit(some())
    epoch = store.epoch
    store.close()
    version = "1"
    if damage == "other version":
        version = "2"
    elif damage == "garbage":
        path.write_bytes(os.urandom(8192))
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        path.unlink()
        import apsw

        db = apsw.Connection(str(path))
        db.execute("create table meta(x)")
        db.close()
    store = Store(path, version)
    assert store.files() == {}
    assert store.changes(epoch) is None, "an epoch of the index before must not be taken for one of this"
    store.commit(some())
    store.close()


def test_the_epoch_moves_only_when_something_changed(path: Path) -> None:
    store = Store(path, "1")
    start = store.epoch
    assert store.commit(Batch((), {"x.py": RECORD}, (), ())) == start
    assert store.commit(some()) == start + 1
    assert store.commit(EMPTY) == start + 1
    assert store.epoch < 2**53
    store.close()


def test_changes_are_told_from_then_to_now(path: Path) -> None:
    store = Store(path, "1")
    start = store.epoch
    store.commit(some("x.py", A))
    store.commit(Batch((), {}, (), [Change("x.py", A, B), Change("y.py", None, b"")]))
    middle = store.epoch
    store.commit(Batch((), {}, ("x.py",), [Change("x.py", B, A)]))
    assert store.changes(start) == [Change("x.py", None, A), Change("y.py", None, b"")]
    assert store.changes(start + 1) == [Change("y.py", None, b"")], "there and back is no change"
    assert store.changes(middle) == [Change("x.py", B, A)]
    assert store.changes(store.epoch) == []
    assert store.changes(store.epoch + 1) is None
    assert store.changes(start - 1) is None
    store.close()


def test_tidying_keeps_what_is_used_or_told_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CHANGES_KEPT >= 100_000
    monkeypatch.setattr("reconvene.index.store.CHANGES_KEPT", 1)
    store = Store(path, "1")
    start = store.epoch
    store.commit(some("x.py", A))
    store.commit(some("x.py", B))
    store.commit(Batch((), {}, (), [Change("z.py", None, b"")]))
    store.tidy()
    assert store.analysis((A, "python")) is None
    assert store.analysis((B, "python")) is not None
    assert store.changes(start) is None
    assert store.changes(store.epoch - 1) == [Change("z.py", None, b"")]
    store.close()


def test_a_second_process_gets_a_copy_and_changes_nothing(path: Path) -> None:
    first = Store(path, "1")
    first.commit(some())
    second = Store(path, "1")  # the lock is held by the open file, so this is what another process would see
    assert second.shared and not first.shared
    assert second.files() == {"x.py": RECORD}
    second.commit(Batch((), {}, ("x.py",), [Change("x.py", A, None)]))
    second.close()
    assert first.files() == {"x.py": RECORD}
    first.close()
    third = Store(path, "1")
    assert not third.shared
    third.close()


def test_notes_hold_for_their_epoch(path: Path) -> None:
    store = Store(path, "1")
    store.keep_note("map", store.epoch, "text")
    assert store.note("map", store.epoch) == "text"
    store.commit(some())
    assert store.note("map", store.epoch) is None
    store.keep_note("other", store.epoch, "new")
    assert store.note("map", store.epoch - 1) is None
    store.close()
