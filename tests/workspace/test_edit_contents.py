"""The store of contents: each once, whole or not at all, private, and swept only when nobody can want it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from reconvene.errors import ReconveneError
from reconvene.workspace import contents as module
from reconvene.workspace.contents import GRACE, Contents
from reconvene.workspace.reading import blob_id


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("content", [b"", b"text\n", bytes(range(256)) * 99, b"\r\n\xef\xbb\xbf"])
def test_what_is_put_comes_back(tmp_path: Path, content: bytes) -> None:
    store = Contents(tmp_path / "contents")
    name = store.put(content)
    assert name == blob_id(content)
    assert store.get(name) == content
    assert Contents(tmp_path / "contents").get(name) == content


def test_each_content_is_there_once_compressed_and_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = Contents(tmp_path / "contents")
        for _ in range(3):
            store.put(b"a line of code\n" * 10_000)
    finally:
        os.umask(old)
    (path,) = files(tmp_path)
    assert path.stat().st_size == store.size() < 2_000
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.stat().st_mode & 0o777 for p in (path.parent, tmp_path / "contents")] == [0o700, 0o700]


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", "0" * 39, "0" * 41, "G" * 40, "0" * 40 + "\n", "0" * 40])
def test_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    assert Contents(tmp_path / "contents").get(name) is None


def test_sweep_keeps_what_is_named_and_what_is_new(tmp_path: Path) -> None:
    now = [1_000_000.0]
    store = Contents(tmp_path / "contents", clock=lambda: now[0])
    named, old, again = (store.put(c) for c in (b"named", b"old", b"again"))
    now[0] += GRACE + 1
    assert store.put(b"again") == again  # wanted anew, by a plan that no log has yet
    fresh = store.put(b"fresh")
    freed = store.sweep({named})
    assert freed > 0
    assert [store.get(h) is not None for h in (named, old, again, fresh)] == [True, False, True, True]
    assert store.sweep({named}) == 0


def test_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    store = Contents(tmp_path / "contents", clock=lambda: 9e9)
    (tmp_path / "contents/ab").mkdir(parents=True)
    (tmp_path / "contents/ab/cd.1234.part").write_bytes(b"half")
    assert store.sweep(()) == 4
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "damage", [b"", b"x" * 30, b"\x78\x9c\x03\x00\x00\x00\x00\x01"], ids=["cut", "garbage", "other-content"]
)
def test_a_damaged_content_is_none_and_is_mended(tmp_path: Path, damage: bytes) -> None:
    store = Contents(tmp_path / "contents")
    name = store.put(b"content")
    files(tmp_path)[0].write_bytes(damage)
    assert store.get(name) is None
    assert store.put(b"content") == name
    assert store.get(name) == b"content"


def test_two_contents_of_one_hash_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "blob_id", lambda content: "a" * 40)
    store = Contents(tmp_path / "contents")
    store.put(b"good")
    with pytest.raises(ReconveneError, match=r"store_error.*deceive"):
        store.put(b"evil")
    assert store.get("a" * 40) == b"good"


@pytest.mark.parametrize(
    ("code", "expected"), [(errno.ENOSPC, "disk_full"), (errno.EDQUOT, "disk_full"), (errno.EIO, "store_error")]
)
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_bad101_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, expected: str
) -> None:
    store = Contents(tmp_path / "contents")
    store.put(b"there before")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(ReconveneError, match=expected):
        store.put(b"there before" * 2)
    monkeypatch.undo()
    assert len(files(tmp_path)) == 1
    assert store.get(store.put(b"there before" * 2)) is not None
