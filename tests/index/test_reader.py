"""Files handed to threads: none twice, one look within another, and nothing left behind by one that is given up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from codebase import CodeBase
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.index import reader as module
from reconvene.index.reader import FileReader
from reconvene.index.root import version
from reconvene.index.store import Store
from reconvene.index.workers import Workers, WorkersClosed

MANY = [f"many/m{n}.py" for n in range(90)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "x.db", version())
    yield made
    made.close()


def reader_of(code: CodeBase, workers: Workers) -> FileReader:
    for path in MANY:
        code.write(path, f"def of_{path[6:-3]}():\n    pass\n")
    return FileReader(code.workspace(), Limits(), workers)


def within_another(code: CodeBase, workers: Workers, store: Store) -> None:
    reader = reader_of(code, workers)
    stats = code.workspace().listing().stats

    def both() -> tuple[list[str], list[str]]:
        outer = reader.read_all(MANY, stats, store)
        first = next(outer).path
        inner = [found.path for found in reader.read_all(["shop/cart.py", "shop/money.py"], stats, store)]
        return [first, *(found.path for found in outer)], inner

    try:
        with ThreadPoolExecutor(1) as thread:
            reading = thread.submit(both)
            try:
                outer, inner = reading.result(timeout=60 if module.LOOKS > 1 else 1)
            finally:
                reader.close()
    finally:
        reader.close()
    assert (sorted(outer), sorted(inner)) == (sorted(MANY), ["shop/cart.py", "shop/money.py"])


def test_what_is_asked_for_by_its_path_is_read_within_a_look_at_everything(
    code: CodeBase, workers: Workers, store: Store
) -> None:
    within_another(code, workers, store)


def test_control_without_threads_of_its_own_it_would_wait_for_ever(
    code: CodeBase, workers: Workers, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOKS", 1)
    with pytest.raises(TimeoutError):
        within_another(code, workers, store)


def test_one_that_is_given_up_lets_its_threads_go_and_reads_no_further(
    code: CodeBase, workers: Workers, store: Store
) -> None:
    others = set(threading.enumerate())
    reader = reader_of(code, workers)
    stats = code.workspace().listing().stats
    begun: list[str] = []
    paths = (begun.append(path) or path for path in MANY)
    reading = reader.read_all(paths, stats, store)
    next(reading)
    reading.close()
    most = module.TOGETHER * (2 * workers.count + 2)
    assert most < len(MANY)
    assert len(list(reader.read_all(["shop/cart.py"], stats, store))) == 1
    assert len(begun) <= most
    reader.close()
    for thread in set(threading.enumerate()) - others:
        if thread.name.startswith("index-reader"):
            thread.join(30)
            assert not thread.is_alive()


@pytest.mark.parametrize("what", ["closed", "gone"])
def test_whoever_takes_in_what_is_read_is_told_why_it_ends(
    code: CodeBase, workers: Workers, store: Store, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    reader = reader_of(code, workers)
    stats = code.workspace().listing().stats
    reading = reader.read_all(MANY, stats, store)
    next(reading)
    if what == "closed":
        reader.close()
        expected: type[Exception] = WorkersClosed
    else:
        code.root.rename(code.root.with_name("moved"))
        expected = ReconveneError
    with pytest.raises(expected):
        list(reading)
    reader.close()
