"""Changes of code from the prompt to the files: proposed, reviewed, decided on, written, told, taken back; and none of it twice."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from coding import Asked, agents, update
from house import ME, House, check_log, contents
from reconvene.agents.edit_format import Create, Delete, Edit, Rename, Replace, render
from reconvene.errors import ReconveneError
from reconvene.sessions.rows import Who

FILES = {"a.py": "one = 1\ntwo = 2\nthree = 3\n", "b.py": "old = True\n", "c.txt": "keep\n"}
ONE = Edit("a.py", (Replace(("one = 1",), ("one = 11",)),))
EDIT = f"I change one.\n{render([ONE])}"


def tree(house: House) -> dict[str, bytes]:
    root = house.folder / "project"
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


async def opened(tmp_path: Path, model: Any, **more: Any) -> House:
    return await House.open(tmp_path, model, files=dict(FILES), **more)


async def pending(house: House, session: str) -> Any:
    """The open diff of a run that has been unloaded."""
    await house.until(session, lambda rows: contents(rows, "run") and contents(rows, "run")[-1]["status"] == "waiting")
    while house.supervisor.active:
        await asyncio.sleep(0)
    [waiting] = (await house.sessions.state(session)).pending.values()
    return waiting


async def decide(house: House, session: str, verdict: Any = "accept", **more: Any) -> Any:
    diff = await pending(house, session)
    return await house.sessions.decide(ME, session, id=None, reply_to=diff.id, verdict=verdict, **more)


async def test_one_edit_is_proposed_accepted_written_and_told(tmp_path: Path) -> None:
    house = await opened(tmp_path, agents([update("one is eleven", "a.py"), "done"], [EDIT]))
    session = await house.ask("make one eleven")
    diff = await pending(house, session)
    [shown] = contents(await house.rows(session), "diff")
    assert (
        shown["files"][0]["hunks"][0]["unified"].splitlines()[1:3] == ["-one = 1", "+one = 11"] and not shown["risky"]
    )
    assert tree(house) == {k: v.encode() for k, v in FILES.items()}
    await house.sessions.decide(ME, session, id="d", reply_to=diff.id, verdict="accept")
    rows = await house.completed(session)
    check_log(rows)
    assert tree(house)["a.py"] == b"one = 11\ntwo = 2\nthree = 3\n"
    [applied] = contents(rows, "applied")
    assert [f["path"] for f in applied["files"]] == ["a.py"] and not applied["conflicts"]
    assert applied["files"][0]["new_hash"] == shown["files"][0]["new_hash"]
    [told] = [json.loads(r.content)["value"] for r in rows if r.type == "tool_return"]
    assert told == {"written": {"a.py": "changed"}}
    assert contents(rows, "completed")[0] == {"outcome": "success", "text": "done", "reason": None}
    assert contents(rows, "decided")[0]["by"] == ME.name
    index = await house.indexes.get(house.workspace)
    assert index.fingerprint("a.py") == applied["files"][0]["new_hash"]
    await house.close()
