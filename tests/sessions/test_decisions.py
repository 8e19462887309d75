"""Decisions on a diff: the first of two tabs wins, whatever the order, and after the run's end nobody does.

No agent makes diffs yet; here the event is appended to the log, as one will.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from house import ME, House, check_log, contents
from reconvene.errors import ReconveneError
from reconvene.protocol import events as ev
from reconvene.sessions import service
from reconvene.sessions.memory import Memory
from reconvene.sessions.rows import Who, event
from scripted import scripted

TABS = Who("owner", "left"), Who("owner", "right")
HUNK = ev.Hunk(id="h1", unified="@@ -1 +1 @@\n-a\n+b\n")
DIFF = ev.Diff(id="d1", files=[ev.FileDiff(path="a.py", op="edit", hunks=[HUNK])])


@pytest.fixture
async def house(tmp_path: Path) -> Any:
    house = await House.open(tmp_path, scripted([[("ask_user", {"question": "Which one?"})], "thanks"]))
    yield house
    await house.close()


async def with_a_diff(house: House) -> str:
    """A session whose waiting run has proposed a diff."""
    session = await house.ask("q")
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    await house.log.append(session, [event(DIFF, run_id="r1", item_id="d1")])
    return session


async def both(house: House, session: str, verdicts: tuple[str, str]) -> list[Any]:
    decisions = (
        house.sessions.decide(who, session, id=f"by {who.name}", reply_to="d1", verdict=verdict)  # type: ignore[arg-type]
        for who, verdict in zip(TABS, verdicts, strict=True)
    )
    return await asyncio.gather(*decisions, return_exceptions=True)


@pytest.mark.parametrize("verdicts", [("accept", "reject"), ("reject", "accept")], ids=["bad64-accept", "bad64-reject"])
async def test_bad64_two_tabs_decide_on_the_same_diff(house: House, verdicts: tuple[str, str]) -> None:
    session = await with_a_diff(house)
    said = await both(house, session, verdicts)
    [refusal] = [s for s in said if isinstance(s, BaseException)]
    first = next(n for n, s in enumerate(said) if s is not refusal)
    assert isinstance(refusal, ReconveneError) and refusal.code == "already_decided"
    assert refusal.details["by"] == TABS[first].name
    rows = await house.rows(session)
    assert contents(rows, "decided") == [
        {"id": "d1", "verdict": verdicts[first], "hunks": None, "feedback": None, "by": TABS[first].name}
    ]
    # the winner's, sent again because its answer was lost, is the same decision; the loser's is refused again
    again = await both(house, session, verdicts)
    assert again[first].status == "duplicate" and again[first].seq == said[first].seq
    assert again[1 - first].code == "already_decided"
    check_log(await house.rows(session))


async def test_control_decisions_that_are_not_held_apart_are_both_written(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lock and without the key of what is settled, both tabs are told that they won."""
    session = await with_a_diff(house)

    @contextlib.asynccontextmanager
    async def alone(self: Memory, session_id: str) -> AsyncIterator[Any]:
        yield await self.state(session_id)

    monkeypatch.setattr(Memory, "alone", alone)
    monkeypatch.setattr(service, "event", lambda content, *, key=None, **more: event(content, **more))
    said = await both(house, session, ("accept", "reject"))
    assert [s.status for s in said] == ["accepted", "accepted"]
    assert len(contents(await house.rows(session), "decided")) == 2


async def test_a_key_that_was_taken_decides_where_the_state_does_not(house: House) -> None:
    """Another process may have decided: then it is the store that refuses."""
    session = await with_a_diff(house)
    pending = (await house.sessions.state(session)).pending["d1"]
    await house.sessions.decide(TABS[0], session, id=None, reply_to="d1", verdict="accept")
    (await house.sessions.state(session)).pending["d1"] = pending
    with pytest.raises(ReconveneError) as e:
        await house.sessions.decide(TABS[1], session, id=None, reply_to="d1", verdict="reject")
    assert e.value.code == "already_decided"
    assert len(contents(await house.rows(session), "decided")) == 1


async def test_bad65_a_diff_whose_run_was_stopped_is_closed(house: House) -> None:
    session = await with_a_diff(house)
    await house.sessions.cancel(ME, session, id=None)
    await house.completed(session)
    with pytest.raises(ReconveneError) as e:
        await house.sessions.decide(ME, session, id=None, reply_to="d1", verdict="accept")
    assert e.value.code == "question_closed"


async def test_bad106_a_diff_of_another_session(house: House) -> None:
    await with_a_diff(house)
    other = await house.ask("another")
    with pytest.raises(ReconveneError) as e:
        await house.sessions.decide(ME, other, id=None, reply_to="d1", verdict="accept")
    assert e.value.code == "no_such_diff"
