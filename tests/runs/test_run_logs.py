"""Every line that is logged within a run has the ids of its session and run, whoever logs it and in whichever thread or task."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from house import House
from reconvene.runs import supervisor
from reconvene.server import logs
from scripted import scripted

STEPS = [[("search", {"query": "idle"}), ("read_file", {"path": "src/hub.py"})], "done"]


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Any]:
    """The lines of `server.log` so far, as the server writes them."""
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    logs.configure(tmp_path / "logs", "debug")
    yield lambda: [json.loads(line) for line in (tmp_path / "logs/server.log").read_text().splitlines()]
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level
    structlog.configure(**config)


async def two_runs(tmp_path: Path) -> tuple[str, str]:
    """Two sessions at once, whose model logs in every way there is, and whose tools break."""
    both = asyncio.Barrier(2)

    async def before(step: int) -> None:
        if step == 0:
            async with asyncio.timeout(20):
                await both.wait()
        structlog.get_logger("model").info("within", how="structlog")
        logging.getLogger("some.library").warning("within a library")
        await asyncio.to_thread(structlog.get_logger("model").info, "within", how="thread")
        await asyncio.create_task(asyncio.to_thread(logging.getLogger("some.library").info, "within a task's thread"))

    house = await House.open(tmp_path, scripted(STEPS, before=before))
    structlog.get_logger("test").info("outside")
    first, second = await house.ask("one"), await house.ask("two")
    await house.completed(first)
    await house.completed(second)
    await house.close()
    return first, second


def broken(*_: object, **__: object) -> Any:
    raise RuntimeError("a tool's fault")


async def test_lines_within_a_run_have_its_ids(tmp_path: Path, lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.agents.searching.lookup_or_search", broken)
    sessions = await two_runs(tmp_path)
    within = [line for line in lines() if line["event"].startswith("within")]
    assert len(within) == 2 * 2 * 4  # sessions, steps, ways
    for session in sessions:
        of_it = [line for line in within if line.get("session_id") == session]
        assert len(of_it) == 8 and {line.get("run_id") for line in of_it} == {"r1"}
        went = [
            line["event"]
            for line in lines()
            if line.get("session_id") == session and line["logger"].endswith("supervisor")
        ]
        assert went == ["a run goes on", "a run has ended, or waits for a person"]
        [failed] = [line for line in lines() if line.get("session_id") == session and line["event"] == "tool failed"]
        assert failed["run_id"] == "r1" and "a tool's fault" in failed["traceback"]
    for line in lines():
        assert not {"session", "run"} & set(line), f"another name for an id: {line}"
    assert [line for line in lines() if line["event"] == "outside" and "session_id" in line] == []


async def test_mutation_without_the_binding_they_have_none(
    tmp_path: Path, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_log_as", lambda **_: None)
    await two_runs(tmp_path)
    assert not [line for line in lines() if line["event"] == "within" and "session_id" in line]
