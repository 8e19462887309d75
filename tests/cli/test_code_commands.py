"""`search`, `map` and `index`, with and without a server beside them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from machine import FILES, Machine, lines
from reconvene.cli import code, indexing


def test_search_map_and_index(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    built = machine.run("index")
    assert re.fullmatch(r"2 files, \d+ symbols, 2 analysed, \d+\.\d s\.\n", built.stdout), built.stderr
    assert machine.data_dir.stat().st_mode & 0o777 == 0o700, "a server would refuse what others can reach"

    def printed(command: Callable[..., Any], *args: Any, **how: Any) -> str:
        command(machine.data_dir, machine.root, *args, **how)
        return capsys.readouterr().out

    (again,) = lines(printed(indexing.index, "refresh", as_json=True))
    assert (again["files"], again["parsed"]) == (2, 0)
    found = lines(printed(code.print_search, "idle sessions", k=10, files=False, as_json=True))
    assert {"path", "start", "end", "score", "symbol", "text"} == set(found[0])
    assert re.match(
        r"\w+\.py:\d+-\d+ \d+\.\d+\n    ", printed(code.print_search, "idle", k=1, files=False, as_json=False)
    )
    files = printed(code.print_search, "idle sessions", k=10, files=True, as_json=False)
    assert files.split() == list(dict.fromkeys(f["path"] for f in found))
    assert printed(code.print_search, "zzzzqqqq", k=1, files=False, as_json=False) == ""
    assert "hub.py" in printed(code.print_map, tokens=1024, focus=[], as_json=False)
    rows = lines(printed(code.print_map, tokens=1024, focus=["hub.py"], as_json=True))
    assert {row["path"] for row in rows} <= set(FILES)
    assert all(set(row) == {"path", "line", "name", "kind", "score", "why"} for row in rows)
    assert machine.here("search", " ").returncode == 2
    first = machine.here("search", "session", "-k", "1")
    cursor = first.stderr.split("--cursor ")[1].split()[0]
    assert "then come: " in machine.here("search", "idle session sweep", "-k", "1").stderr
    second = machine.here("search", "session", "-k", "1", "--cursor", cursor)
    assert second.returncode == 0 and second.stdout and second.stdout != first.stdout
    wrong = machine.here("map", "--cursor", cursor)
    assert wrong.returncode == 2 and "another question" in wrong.stderr


async def test_who_leaves_while_it_is_built_leaves_nothing_behind() -> None:
    """Ctrl-C: else asyncio prints what became of it, once nobody waits for it any more."""

    class Building:
        progress = (1, 2)

        def __init__(self) -> None:
            self.began = asyncio.Event()

        async def refresh(self) -> None:
            self.began.set()
            await asyncio.Event().wait()

    building = Building()
    waiting = asyncio.create_task(indexing._refresh(building))
    await building.began.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_data_folder_that_cannot_be_made_is_said(machine: Machine) -> None:
    machine.data_dir.write_text("no folder")
    for command in (["index"], ["search", "idle"], ["map"]):
        done = machine.here(*command)
        assert (done.returncode, "Choose another with --data-dir" in done.stderr) == (3, True), done.stderr
    machine.data_dir.unlink()


def test_an_index_is_paused_resumed_and_built_anew_here(machine: Machine) -> None:
    paused = machine.here("index", "--pause")
    assert paused.stdout == "The index is paused; 0 files are known so far.\n", paused.stderr
    assert machine.here("index").stdout == paused.stdout, "a pause outlasts the process"
    assert "2 files" in machine.here("index", "--resume").stdout
    assert "2 analysed" in machine.here("index", "--rebuild").stdout
    (state,) = lines(machine.here("index", "--status", "--json").stdout)
    assert (state["phase"], state["files"], state["partial"], state["parsed"]) == ("verifying", 2, False, 0)
    assert machine.here("index", "--pause", "--resume").returncode == 2


def test_beside_a_server_the_server_does_it(served: Machine) -> None:
    built = served.here("index", "--json")
    (state,) = lines(built.stdout)
    assert (state["phase"], state["verified"], state["files"] >= 2) == ("ready", True, True), built.stderr
    assert "paused" in served.here("index", "--pause").stdout
    assert "paused" in served.here("index").stdout
    assert served.here("index", "--status", "--json").stdout.count('"phase":"paused"') == 1
    assert " files, " in served.here("index", "--resume").stdout
    assert " files, " in served.here("index", "--rebuild").stdout
    assert served.loaded("index", "--status", "--json") == [], "the server knows"
    for command in (
        ["search", "idle sessions"],
        ["search", "idle", "sessions", "--json"],
        ["map"],
        ["map", "--json", "--focus", "hub.py"],
    ):
        by_it = served.here(*command)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(code, "find", lambda _: None)
            by_us = served.here(*command)
        assert by_it.stdout and (by_it.stdout, by_it.stderr) == (by_us.stdout, by_us.stderr), command
        assert served.loaded(*command) == []
    first = served.here("search", "session", "-k", "1")
    second = served.here("search", "session", "-k", "1", "--cursor", first.stderr.split("--cursor ")[1].split()[0])
    assert second.stdout and second.stdout != first.stdout
    (served.root / "new.py").write_text("def only_since_now():\n    pass\n")
    assert "new.py:1-2" in served.here("search", "only_since_now").stdout, "as the files are now"
    assert served.here("search", "re:(").returncode == 2
    assert served.loaded("model") == []
