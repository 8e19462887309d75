"""Changes of code from the prompt to the files: proposed, reviewed, decided on, written, told, taken back; and none of it twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

import threefiles
from coding import Asked, agents, update
from house import ME, House, check_log, contents
from reconvene.agents.edit_format import Edit, Replace, render
from reconvene.errors import ReconveneError
from reconvene.log.sqlite import SqliteLog

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


class Person:
    """Decides on whatever waits, as `threefiles` says, also after restarts; until the run is over."""

    def __init__(self, house: House, session: str) -> None:
        self.house, self.session = house, session

    async def until_over(self) -> list[Any]:
        house, session = self.house, self.session
        while True:
            rows = await house.until(session, self._has_work)
            if any(r.type == "completed" for r in rows):
                return rows
            diffs = contents(rows, "diff")
            said = threefiles.decision(diffs[-1], len(diffs) - 1)
            with contextlib.suppress(ReconveneError):  # it was decided a moment ago
                await house.sessions.decide(ME, session, id=f"d{len(diffs)}", reply_to=diffs[-1]["id"], **said)

    def _has_work(self, rows: list[Any]) -> bool:
        return any(r.type == "completed" for r in rows) or len(contents(rows, "diff")) > len(contents(rows, "decided"))


def three(asked: Asked | None = None, **more: Any) -> Any:
    return agents(threefiles.ORCHESTRATOR, threefiles.CODER, threefiles.REVIEWER, asked=asked, **more)


async def begun(tmp_path: Path, asked: Asked | None = None, **more: Any) -> tuple[House, str]:
    house = await House.open(tmp_path, three(asked, **more), files=dict(threefiles.FILES))
    (house.folder / "project/sub/keep.txt").write_bytes(threefiles.WANTED["sub/keep.txt"])
    return house, await house.ask(threefiles.PROMPT, turn={"review": True, "max_iterations": 3})


def check_three(house: House, rows: list[Any]) -> None:
    check_log(rows)
    assert tree(house) == threefiles.WANTED
    assert [d["verdict"] for d in contents(rows, "decided")] == ["feedback", "accept"]
    [applied] = contents(rows, "applied")
    assert {f["path"] for f in applied["files"]} == {"a.py", "b.py", "sub/new.py"} and not applied["conflicts"]
    assert contents(rows, "completed")[0]["outcome"] == "success"
    finished = sum(r.type in ("model", "sub_model") for r in rows)
    assert finished == len(threefiles.CALLS)


async def test_three_files_a_review_feedback_and_a_rejected_hunk(tmp_path: Path) -> None:
    asked, heard = Asked(), list[tuple[str, str]]()
    house, session = await begun(tmp_path, asked, heard=heard)
    rows = await Person(house, session).until_over()
    check_three(house, rows)
    assert asked == dict.fromkeys(threefiles.CALLS, 1)
    told = [text for who, text in heard if who == "coder"]
    assert "line_3 = 3" in told[0] and "line_2 = 2\nline_3 = 3\nline_4 = 4" in told[1]
    assert "Not yet." in told[2] and threefiles.FEEDBACK in told[3]
    said = [json.loads(r.content)["text"] for r in rows if r.type == "message" and r.parent_id]
    assert said == [
        "This is review 0.", "SEND BACK\n\nNot yet.", "This is review 1.", "APPROVE\n\nGood.", "This is review 2.", "APPROVE\n\nBetter.",
    ]  # fmt: skip
    value = [json.loads(r.content)["value"] for r in rows if r.type == "tool_return"][-1]
    assert value["written"] == {"a.py": "changed", "sub/new.py": "created", "b.py": "deleted"}
    assert "+line_25 = 'no'" in value["rejected_by_the_person"] and "review 2" not in value["rejected_by_the_person"]
    assert contents(rows, "usage")[-1]["requests"] == len(threefiles.CALLS)
    await house.close()


@pytest.mark.parametrize("at", [pytest.param(n, marks=[pytest.mark.long] * (n % 9 != 8)) for n in range(90)])
async def test_a_crash_at_any_row_writes_once_and_repeats_no_finished_call(tmp_path: Path, at: int) -> None:
    asked = Asked()
    house, session = await begun(tmp_path, asked)
    person = asyncio.create_task(Person(house, session).until_over())
    await house.until(session, lambda rows: len(rows) >= at or any(r.type == "completed" for r in rows))
    person.cancel()
    await asyncio.gather(person, return_exceptions=True)
    await house.crash()
    log = await SqliteLog.open(house.settings.database_file)
    before = await log.read(session, 0)
    await log.close()
    finished = sum(r.type in ("model", "sub_model") for r in before)
    await house.reopen()
    rows = await Person(house, session).until_over()
    check_three(house, rows)
    assert [r.content for r in rows[: len(before)]] == [r.content for r in before]
    # at most the one that was in flight is asked again
    assert sum(asked.values()) <= len(threefiles.CALLS) + 1, (finished, asked)
    await house.close()


async def test_a_decision_two_days_and_three_restarts_later_applies(tmp_path: Path) -> None:
    house = await opened(tmp_path, agents([update("x", "a.py"), "done"], [EDIT]))
    session = await house.ask("make one eleven")
    diff = await pending(house, session)
    for _ in range(3):
        house.uptime._before += 16 * 3600.0
        await house.uptime.save()
        await house.restart()
        assert (await house.sessions.get("owner", session)).status == "waiting" and not house.supervisor.active
    assert house.uptime.now() > 2 * 86400
    await house.sessions.decide(ME, session, id=None, reply_to=diff.id, verdict="accept")
    check_log(await house.completed(session))
    assert tree(house)["a.py"].startswith(b"one = 11\n")
    await house.close()
