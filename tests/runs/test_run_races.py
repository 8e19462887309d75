"""What happens to a run in the moment in which something else happens to it: a stop before its first step, an end from elsewhere,
a restart whose store refuses, questions that expire."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from house import ME, House, check_log, contents
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.runs import supervisor
from reconvene.sessions.service import Sessions
from reconvene.sessions.sweeper import Sweeper
from scripted import scripted

ASKS = [[("ask_user", {"question": "Which one?"})], "thanks"]


def once_claimed(house: House, monkeypatch: pytest.MonkeyPatch, then: Callable[[], Any]) -> None:
    """`then` is awaited when a run has been taken over and has not yet begun."""
    claim, waiting = house.log.claim, [then]

    async def claimed(name: str) -> Any:
        fence = await claim(name)
        if waiting:
            await waiting.pop()()
        return fence

    monkeypatch.setattr(house.log, "claim", claimed)


@pytest.mark.parametrize("how", ["cancel", "remove_prompt"])
async def test_a_prompt_that_is_withdrawn_before_its_first_step_never_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    house = await House.open(tmp_path, scripted(["an answer"]))
    session = await house.session()

    async def withdraw() -> None:
        if how == "cancel":
            await house.sessions.cancel(ME, session, id=None)
        else:
            await house.sessions.act(ME, session, id=None, name=how, args={"id": "p1"})

    once_claimed(house, monkeypatch, withdraw)
    await house.sessions.submit(ME, session, id="p1", text="one")
    await house.completed(session)
    await house.sessions.submit(ME, session, id="p2", text="two")
    rows = await house.completed(session, runs=2)
    check_log(rows)
    assert [c["outcome"] for c in contents(rows, "completed")] == ["cancelled", "success"]
    row = await house.sessions.get("owner", session)
    assert (row.status, row.run_id) == ("idle", None)
    await house.close()


async def test_control_a_run_that_begins_without_looking_runs_after_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def append_run(self: Sessions, session_id: str, events: Any, *, fence: Any, changes: Any = None) -> Any:
        update: dict[str, Any] = {}
        if changes:
            update["status"], update["run_id"] = (await self.state(session_id)).status_with(dict(changes))
        return await self.log.append(session_id, events, fence=fence, update=update)

    monkeypatch.setattr(Sessions, "append_run", append_run)
    house = await House.open(tmp_path, scripted(["an answer"]))
    for n in range(50):  # whether what was written is folded before the run's first step is chance
        session = await house.session()
        once_claimed(house, monkeypatch, functools.partial(house.sessions.cancel, ME, session, id=None))
        await house.sessions.submit(ME, session, id=f"p{n}", text="one")
        await house.completed(session)
        await house.rested()
        try:
            check_log(await house.rows(session))
        except AssertionError:
            break
    else:
        raise AssertionError("no run of 50 began after its end")
    await house.close()


async def test_a_stop_that_is_sent_again_stops_nothing_else(tmp_path: Path) -> None:
    """Its answer `noop` was lost; meanwhile another run began."""
    going = asyncio.Event()

    async def before(step: int) -> None:
        await going.wait()

    house = await House.open(tmp_path, scripted(["an answer"], before=before))
    session = await house.session()
    assert (await house.sessions.cancel(ME, session, id="c1")).status == "noop"
    await house.ask("q", session)
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "running")
    assert (await house.sessions.cancel(ME, session, id="c1")).status == "duplicate"
    going.set()
    rows = await house.completed(session)
    assert contents(rows, "completed")[0]["outcome"] == "success"
    await house.close()


async def test_a_question_that_expires_loses_no_prompt_that_was_steered_in(tmp_path: Path) -> None:
    house = await House.open(tmp_path, scripted(ASKS), limits=Limits(question_time=100))
    session = await house.ask("q")
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    await house.sessions.submit(ME, session, id="s1", text="and this", delivery="steer")
    house.uptime._before += 101
    assert (await Sweeper(house.sessions).sweep()).expired_questions == 1
    rows = await house.until(session, lambda rows: any(r.run_id == "r2" and r.type == "question" for r in rows))
    check_log(rows)
    assert contents(rows, "completed", "r1") == [{"outcome": "cancelled", "text": "", "reason": "question_expired"}]
    assert contents(rows, "run", "r2")[0]["prompts"] == ["s1"]
    await house.close()


async def test_an_answer_is_taken_or_the_question_expires_never_both(tmp_path: Path) -> None:
    house = await House.open(tmp_path, scripted(ASKS), limits=Limits(question_time=100))
    outcomes = set()
    for n in range(6):
        session = await house.ask("q")
        await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
        [question] = (await house.sessions.state(session)).pending
        house.uptime._before += 101
        answer = house.sessions.answer(ME, session, id=None, reply_to=question, value="this")
        expiry = house.sessions.expire_questions(session)
        first, second = (answer, expiry) if n % 2 else (expiry, answer)
        going = asyncio.ensure_future(first)
        while not house.sessions.memory._loaded[session].lock.locked():
            await asyncio.sleep(0)
        said = await asyncio.gather(going, second, return_exceptions=True)
        refused = any(isinstance(s, ReconveneError) and s.code == "question_closed" for s in said)
        rows = await house.completed(session)
        check_log(rows)
        outcome = contents(rows, "completed")[0]["outcome"]
        assert outcome == ("cancelled" if refused else "success"), said
        assert bool(contents(rows, "answered")) is not refused
        outcomes.add(outcome)
    assert outcomes == {"cancelled", "success"}
    await house.close()


async def test_a_run_of_a_code_base_that_is_gone_can_be_stopped_and_its_session_deleted(tmp_path: Path) -> None:
    house = await House.open(tmp_path, scripted(ASKS))
    session = await house.ask("q")
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    await house.crash()
    (tmp_path / "other").mkdir()
    (tmp_path / "project").rename(tmp_path / "moved")
    (tmp_path / "project").symlink_to(tmp_path / "other")
    await house.reopen()
    assert (await house.sessions.cancel(ME, session, id=None)).status == "accepted"
    rows = await house.completed(session)
    assert contents(rows, "completed")[0]["outcome"] == "cancelled"
    await house.sessions.delete(ME, session)
    await house.close()


@pytest.mark.parametrize("policy", ["auto", "ask", "never"])
async def test_a_restart_whose_store_refuses_still_asks_the_recovery_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    hang = asyncio.Event()

    async def before(step: int) -> None:
        await hang.wait()

    house = await House.open(tmp_path, scripted(["answer"], before=before))
    session = await house.session(recovery=policy)
    await house.ask("q", session)
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "running")
    hang.set()
    await house.crash()
    monkeypatch.setattr(supervisor, "STORE_PATIENCE", 0.01)
    claim, refusals = house.log.__class__.claim, [1, 1, 1]

    async def refusing(self: Any, name: str) -> Any:
        if refusals:
            refusals.pop()
            raise ReconveneError("disk_full", "Not now.")
        return await claim(self, name)

    monkeypatch.setattr(house.log.__class__, "claim", refusing)
    await house.reopen()
    if policy == "ask":
        await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
        assert not contents(await house.rows(session), "completed")
    else:
        rows = await house.completed(session)
        check_log(rows)
        assert contents(rows, "completed")[0]["reason"] == {"auto": None, "never": "interrupted"}[policy]
    assert not refusals
    await house.close()


async def test_what_waits_behind_a_run_that_breaks_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconvene.runs.journal import Journal

    load = Journal.load

    async def broken(sessions: Any, session_id: str, run_id: str) -> Journal:
        if run_id == "r1":
            raise RuntimeError("no journal")
        return await load(sessions, session_id, run_id)

    monkeypatch.setattr(Journal, "load", broken)
    monkeypatch.setattr(supervisor, "STORE_PATIENCE", 0.01)
    house = await House.open(tmp_path, scripted(["answer"]))
    session = await house.ask("one")
    await house.ask("two", session)
    rows = await house.completed(session, runs=2)
    check_log(rows)
    assert [c["outcome"] for c in contents(rows, "completed")] == ["failed", "success"]
    await house.close()


async def test_a_prompt_that_comes_before_the_supervisor_starts_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await House.open(tmp_path, scripted(["answer"]))
    await house.crash()
    with monkeypatch.context() as patch:
        patch.setattr(supervisor.Supervisor, "start", lambda self: asyncio.sleep(0))
        await house.reopen()
    session = await house.ask("q")
    await house.supervisor.start()
    check_log(await house.completed(session))
    await house.close()


async def test_the_state_that_others_wait_for_is_kept_in_step_when_the_first_reader_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await House.open(tmp_path, scripted(["answer"]))
    session = await house.ask("q")
    await house.completed(session)
    await house.rested()
    house.sessions.memory.forget(session)
    read, failures = house.log.read, [1]

    async def failing(*args: Any, **more: Any) -> Any:
        await asyncio.sleep(0)
        if failures:
            failures.pop()
            raise ReconveneError("store_busy", "Not now.")
        return await read(*args, **more)

    monkeypatch.setattr(house.log, "read", failing)
    first, second = await asyncio.gather(
        house.sessions.state(session), house.sessions.state(session), return_exceptions=True
    )
    assert isinstance(first, ReconveneError) and not isinstance(second, BaseException)
    await house.sessions.act(ME, session, id=None, name="rename", args={"title": "new"})
    assert second.title == "new"
    await house.close()


def test_json_of_a_stop_without_a_reason_is_a_stop() -> None:
    """Rows that an earlier version wrote."""
    from reconvene.log.port import Row
    from reconvene.sessions.state import CANCEL, SessionState

    def row(seq: int, type: str, content: dict[str, Any]) -> Row:
        return Row("s", seq, type, json.dumps(content), "r1", None, None, None, True, True, 0.0, "00000000")

    state = SessionState()
    state.apply(row(1, "run", {"status": "queued", "prompts": []}))
    state.apply(row(2, CANCEL, {"run_id": "r1", "by": "x"}))
    state.apply(row(3, CANCEL, {"run_id": "r1", "by": None, "reason": "question_expired"}))
    assert state.runs["r1"].cancelled and state.runs["r1"].cancel_reason == "stopped"
