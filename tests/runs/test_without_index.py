"""A run whose code base cannot be read for the index, as no worker starts: it says so, and goes on with what it can do without."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from house import House, check_log, contents
from reconvene.index.workers import Workers
from scripted import scripted


@pytest.fixture(autouse=True)
def _no_worker_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    command = (sys.executable, "-c", "raise SystemExit(3)")
    monkeypatch.setattr("reconvene.index.registry.Workers", lambda: Workers(1, command=command))
    # However busy the machine is, it is found out while the run waits for its index.
    monkeypatch.setattr("reconvene.runs.deps.INDEX_PATIENCE", 60.0)
    monkeypatch.setattr("reconvene.search.context.FRESH_PATIENCE", 60.0)


async def asked(tmp_path: Path) -> list[dict[str, Any]]:
    steps = [[("search", {"query": "idle"})], [("read_file", {"path": "src/hub.py"})], "an answer"]
    house = await House.open(tmp_path, scripted(steps))
    try:
        session = await house.ask("Where is idle?")
        rows = await house.completed(session)
        check_log(rows)
        assert [r.type for r in rows].index("error") < [r.type for r in rows].index("tool_call")
        assert [c["outcome"] for c in contents(rows, "completed")] == ["success"]
        assert [r["ok"] for r in contents(rows, "tool_result")] == [False, True], (
            "only what needs the index is without it"
        )
        return contents(rows, "error")
    finally:
        await house.close()


async def test_the_run_says_so_once_and_goes_on(tmp_path: Path) -> None:
    errors = await asked(tmp_path)
    assert {(e["code"], e["retryable"]) for e in errors} == {("search_failed", True)}
    assert len(errors) == 2, "one for the run, one for its search"
    assert "does not start" in errors[0]["message"]


async def test_control_without_going_on_the_run_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(journal: Any, index: Any) -> None:
        await index.refresh_within(60.0)

    monkeypatch.setattr("reconvene.runs.deps._look", look)
    with pytest.raises((AssertionError, ValueError)):
        await asked(tmp_path)
