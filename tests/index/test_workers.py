"""Files that hang or kill what reads them: only a worker dies, and the file is marked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import reconvene.index.workers as rooms
from reconvene.errors import ReconveneError
from reconvene.index.workers import Workers, WorkersClosed

# A worker that is told by the file's content what to do: the real one, with its analysis replaced.
STAND_IN = """
import os, signal, sys, time
sys.path.insert(0, {source!r})
from reconvene.index import worker
real, real_structure = worker.answer, worker.structure
def structure(data, codec, language):
    if data.startswith(b"def "): return real_structure(data, codec, language)
    return answer(data.strip(), codec, language)
def answer(data, codec, language):
    if data == b"hang": time.sleep(60)
    if data == b"spin":
        while True: pass
    if data == b"die": os._exit(1)
    if data == b"starve": time.sleep(1.2)
    if data == b"eat": bytearray(2 * worker.MEMORY)
    if data.startswith(b"once"):
        mark = data.split()[1].decode()
        if not os.path.exists(mark):
            open(mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
    if data == b"environment":
        return worker.Analysis("told", 0, 0, " ".join(os.environ).encode(), os.getcwd().encode())
    return real(data, codec, language)
worker.answer, worker.structure = answer, structure
worker._confine()
worker.serve(sys.stdin.buffer, sys.stdout.buffer)
"""
SOURCE = str(Path(rooms.__file__).parents[2])


def stand_in(**changes: float) -> Workers:
    return Workers(1, command=(sys.executable, "-c", STAND_IN.format(source=SOURCE)), **changes)  # type: ignore[arg-type]


@pytest.fixture
def odd() -> Workers:
    return stand_in(seconds=1.0)


@pytest.mark.parametrize(
    ("content", "state"),
    [(b"hang", "poison: time"), (b"spin", "poison: time"), (b"die", "poison: died"), (b"eat", "poison: died")],
    ids=["bad95-hangs", "bad95-spins", "bad95-dies", "bad95-eats-memory"],
)
def test_a_file_that_no_worker_survives_is_marked_and_the_next_is_read(
    odd: Workers, content: bytes, state: str
) -> None:
    try:
        assert odd.analyse(content, "python").state == state
        assert odd.analyse(b"def next(): pass\n", "python").symbols == 1
    finally:
        odd.close()


@pytest.mark.parametrize(
    ("content", "state"),
    [(b"hang", "poison: time"), (b"spin", "poison: time"), (b"die", "poison: died"), (b"eat", "poison: died")],
    ids=["bad95-hangs", "bad95-spins", "bad95-dies", "bad95-eats-memory"],
)
def test_a_parser_that_does_not_come_back_is_ended_in_the_same_way(odd: Workers, content: bytes, state: str) -> None:
    began = time.monotonic()
    try:
        assert odd.structure(content, "python").state == state
        assert time.monotonic() - began < 10
        assert odd.structure(b"def next(): pass\n", "python").state == "exact"
    finally:
        odd.close()


@pytest.mark.parametrize(
    ("language", "content"),
    [("python", b"-\n" * 300_000), ("java", b"template <\n" * 30_000), ("json", b'[{"a":\n' * 30_000)],
    ids=["bad95-too-slow", "bad95-too-deep", "bad95-deep-and-good"],
)
def test_real_grammars_end_within_the_deadline_or_are_ended(language: str, content: bytes) -> None:
    workers = Workers(1, seconds=2.0)
    try:
        began = time.monotonic()
        found = workers.structure(content, language)
        assert found.state in ("poison: time", "poison: died", "exact")
        assert time.monotonic() - began < 15
        assert workers.structure(b"def next(): pass\n", "python").symbols == 1
    finally:
        workers.close()


def test_no_grammar_is_loaded_by_a_worker_that_only_builds_the_index(workers: Workers) -> None:
    odd = Workers(1)
    try:
        odd.analyse(b"def next(): pass\n", "python")
        assert "_binding" not in loaded(odd)
        odd.structure(b"def next(): pass\n", "python")
        assert "tree_sitter_python/_binding" in loaded(odd) and "tree_sitter_go/" not in loaded(odd)
    finally:
        odd.close()


def loaded(workers: Workers) -> str:
    (pid,) = workers.pids()
    return Path(f"/proc/{pid}/maps").read_text()


def test_without_the_deadline_the_file_would_hang_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control of the above: with the wait made endless, the call does not come back by itself."""
    monkeypatch.setattr(rooms._Deadline, "left", lambda deadline: 3600.0)
    workers = stand_in(seconds=0.05)
    ended = threading.Event()

    def read() -> None:
        with pytest.raises(WorkersClosed):
            workers.analyse(b"hang", "python")
        ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert not ended.wait(0.5)
    workers.close()
    assert ended.wait(10)
    thread.join()


@pytest.mark.parametrize(("patience", "state"), [(rooms.PATIENCE, "indexed"), (1.0, "poison: time")])
def test_a_file_is_not_marked_for_a_machine_that_is_busy(
    odd: Workers, monkeypatch: pytest.MonkeyPatch, patience: float, state: str
) -> None:
    """What it did not get of the processor does not count; with the control, where the wall clock decides, it does."""
    monkeypatch.setattr(rooms, "PATIENCE", patience)
    try:
        assert odd.analyse(b"starve", "python").state == state
    finally:
        odd.close()


def test_a_process_that_starts_while_they_are_closed_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = stand_in(seconds=60)
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def closing(*args: Any, **more: Any) -> Any:
        started.append(real(*args, **more))
        workers.close()  # it does not know of this one yet
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", closing)
    began = time.monotonic()
    with pytest.raises(WorkersClosed):
        workers.analyse(b"hang", "python")
    assert started[0].returncode is not None and workers.pids() == []
    assert time.monotonic() - began < 30


def test_a_worker_that_something_else_killed_costs_no_file(tmp_path: Path) -> None:
    workers = stand_in()
    try:
        assert workers.analyse(f"once {tmp_path / 'mark'}".encode(), "python").state == "indexed"
    finally:
        workers.close()


def test_a_killed_worker_is_replaced(workers: Workers) -> None:
    assert workers.analyse(b"x = 1\n", "python").lines == 1
    (pid,) = workers.pids()
    os.kill(pid, signal.SIGKILL)
    assert workers.analyse(b"x = 1\ny = 2\n", "python").lines == 2
    assert workers.pids() != [pid]


def test_closing_ends_the_processes_and_refuses_more() -> None:
    workers = Workers(1)
    workers.analyse(b"x = 1\n", "python")
    (pid,) = workers.pids()
    workers.close()
    workers.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(WorkersClosed):
        workers.analyse(b"x = 1\n", "python")


def test_a_worker_gets_no_keys_and_not_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, odd: Workers
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.chdir(tmp_path)
    try:
        found = odd.analyse(b"environment", "python")
    finally:
        odd.close()
    assert b"OPENAI_API_KEY" not in found.definitions
    assert found.postings == b"/"


def test_modules_of_the_current_folder_are_not_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "re.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "reconvene").mkdir()
    (tmp_path / "reconvene/__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    workers = Workers(1)
    try:
        assert workers.analyse(b"x = 1\n", "python").state == "indexed"
    finally:
        workers.close()
    assert not (tmp_path / "ran").exists()


def test_a_worker_that_does_not_start_is_no_reason_to_mark_a_file() -> None:
    workers = Workers(1, command=(sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(ReconveneError) as e:
        workers.analyse(b"x = 1\n", "python")
    assert e.value.code == "search_failed"
    workers.close()


def test_large_files_go_through(workers: Workers) -> None:
    text = b"".join(b"def function_%d(): return %d\n" % (i, i) for i in range(20_000))
    found = workers.analyse(text, "python")
    assert (found.lines, found.symbols) == (20_000, 20_000)


def test_a_process_that_nobody_needs_ends_and_starts_again_when_somebody_does() -> None:
    workers = Workers(1, rest=0.2)
    try:
        assert workers.analyse(b"a = 1\n", "python").state == "indexed"
        (first,) = workers.pids()
        until = time.monotonic() + 20
        while workers.pids() and time.monotonic() < until:
            time.sleep(0.02)
        assert workers.pids() == [] and not Path(f"/proc/{first}").exists()
        assert workers.analyse(b"a = 1\n", "python").state == "indexed"
        assert workers.pids() != [first]
    finally:
        workers.close()
    assert workers.pids() == []


def test_one_that_is_needed_all_the_time_goes_on() -> None:
    workers = Workers(1, rest=60)
    try:
        workers.analyse(b"a = 1\n", "python")
        before = workers.pids()
        workers._end_unused()
        assert workers.analyse(b"b = 1\n", "python").state == "indexed"
        assert workers.pids() == before
    finally:
        workers.close()
