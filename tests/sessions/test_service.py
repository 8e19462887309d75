"""Attaching, commands and their ids, plain clients, forking, deleting, and the sweeper."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from house import ME, House, check_log, contents
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.log.port import Row, Tombstone
from reconvene.log.uptime import Uptime
from reconvene.protocol import events as ev
from reconvene.protocol.cursor import Cursor
from reconvene.protocol.parsing import parse_plain
from reconvene.sessions import sweeper as sweeper_module
from reconvene.sessions.attach import decide, new_session_id
from reconvene.sessions.beginning import title_of
from reconvene.sessions.rows import Who, event
from reconvene.sessions.sweeper import Sweeper
from reconvene.workspace.roots import Roots
from scripted import scripted

OTHER = Who("somebody else")


@pytest.fixture
async def house(tmp_path: Path) -> Any:
    house = await House.open(tmp_path, scripted(["an answer"]))
    yield house
    await house.close()


def refused(e: pytest.ExceptionInfo[ReconveneError]) -> str:
    return e.value.code


# -- attaching


async def test_bad50_a_well_formed_unknown_id_is_never_adopted(house: House) -> None:
    unknown = new_session_id()
    attached = await house.sessions.attach(ME, session_id=unknown)
    assert (attached.mode, attached.reason) == ("fresh", "unknown") and attached.session.id != unknown


async def test_bad51_another_owners_session_is_as_unknown(house: House) -> None:
    session = await house.ask("q")
    attached = await house.sessions.attach(OTHER, session_id=session)
    assert (attached.mode, attached.reason) == ("fresh", "unknown") and attached.session.id != session
    with pytest.raises(ReconveneError) as e:
        await house.sessions.submit(OTHER, session, id=None, text="mine")
    assert refused(e) == "no_such_session"


async def test_bad69_a_session_keeps_its_root(house: House, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = house.roots.add(tmp_path / "second")
    with pytest.raises(ReconveneError) as e:
        await house.session()
    assert refused(e) == "root_required" and second.name in e.value.message
    session = await house.session(root="project")
    for same in (None, "project", str(house.workspace.root)):
        assert (await house.sessions.attach(ME, session_id=session, root=same)).session.id == session
    with pytest.raises(ReconveneError) as e:
        await house.sessions.attach(ME, session_id=session, root=second.name)
    assert refused(e) == "root_mismatch"


async def test_a_session_whose_root_is_not_served_any_more_is_found_by_its_name(house: House) -> None:
    session = await house.session(root="project")
    house.sessions.roots = Roots(data_dir=house.settings.data_dir, limits=house.settings.limits)
    for same in (None, "project", str(house.workspace.root)):
        assert (await house.sessions.attach(ME, session_id=session, root=same)).session.id == session
    with pytest.raises(ReconveneError) as e:
        await house.sessions.attach(ME, session_id=session, root="other")
    assert refused(e) == "root_mismatch"
    with pytest.raises(ReconveneError) as e:
        await house.sessions.submit(ME, session, id=None, text="q")
    assert refused(e) == "root_not_served"


@pytest.mark.parametrize(
    "root", ["/etc", "/nowhere", "../project"], ids=["bad71-other", "bad71-missing", "bad71-relative"]
)
async def test_only_served_roots(house: House, root: str) -> None:
    with pytest.raises(ReconveneError) as e:
        await house.session(root=root)
    assert refused(e) == "root_not_allowed"
    assert root not in e.value.message


async def test_bad59_a_cursor_of_wrong_shape(house: House) -> None:
    with pytest.raises(ReconveneError) as e:
        await house.sessions.attach(ME, session_id=None, cursor="!!")
    assert refused(e) == "invalid_field"


async def test_where_a_connection_begins(house: House) -> None:
    session = await house.ask("q")
    await house.completed(session)
    row = await house.sessions.get("owner", session)
    half = Cursor(row.epoch, 3, await house.log.tag(session, 3) or "")
    for cursor, expected in [
        (None, ("snapshot", None)),
        (str(half), ("resume", None)),
        (str(row.cursor), ("resume", None)),
        (str(Cursor("other", 3, half.tag)), ("snapshot", "epoch")),
        (str(Cursor(row.epoch, row.head + 1, half.tag)), ("snapshot", "rollback")),
        (str(Cursor(row.epoch, 3, "ffffffff")), ("snapshot", "diverged")),
    ]:
        attached = await house.sessions.attach(ME, session_id=session, cursor=cursor)
        assert (attached.mode, attached.reason) == expected
    assert decide(row, half, half.tag, (2001, 0), 2000, 1 << 20) == ("snapshot", "lag")
    assert decide(row, half, half.tag, (5, (1 << 20) + 1), 2000, 1 << 20) == ("snapshot", "lag")


async def test_attaching_reads_no_more_of_a_long_session_than_was_missed(house: House) -> None:
    """Attaching does not fold the log: it costs the same whether a session has ten events or ten thousand."""
    session = await house.ask("q")
    await house.completed(session)
    await house.rested()
    row = await house.sessions.get("owner", session)
    house.sessions.memory.forget(session)
    folds = house.sessions.memory.folds
    await house.sessions.attach(ME, session_id=session, cursor=str(row.cursor))
    assert house.sessions.memory.folds == folds


# -- commands


async def test_bad56_a_repeated_prompt_is_the_same_prompt(house: House) -> None:
    session = await house.session()
    first = await house.sessions.submit(ME, session, id="m1", text="q")
    await house.completed(session)
    again = await house.sessions.submit(ME, session, id="m1", text="q")
    assert (again.status, again.seq, again.run_id) == ("duplicate", first.seq, first.run_id)
    await house.restart()
    again = await house.sessions.submit(ME, session, id="m1", text="q")
    assert (again.status, again.seq) == ("duplicate", first.seq)
    assert len(contents(await house.rows(session), "prompt")) == 1


async def test_bad57_the_same_id_with_another_body(house: House) -> None:
    session = await house.ask("q", id="m1")
    with pytest.raises(ReconveneError) as e:
        await house.sessions.submit(ME, session, id="m1", text="something else")
    assert refused(e) == "id_conflict"


async def test_bad58_a_prompt_without_an_id_gets_one(house: House) -> None:
    rows = await house.completed(await house.ask("q"))
    assert contents(rows, "prompt")[0]["id"]


async def test_bad45_an_empty_prompt(house: House) -> None:
    session = await house.session()
    with pytest.raises(ReconveneError) as e:
        await house.sessions.submit(ME, session, id=None, text=" \n ")
    assert refused(e) == "empty_prompt"


async def test_a_known_prompt_id_leads_to_its_session(house: House) -> None:
    session = await house.ask("q", id="m1")
    for told in (None, new_session_id()):
        assert (await house.sessions.attach(ME, session_id=told, prompt_id="m1")).session.id == session


async def test_the_same_prompt_sent_at_once_by_ten_is_one(house: House) -> None:
    session = await house.session()
    receipts = await asyncio.gather(*(house.sessions.submit(ME, session, id="m1", text="q") for _ in range(10)))
    assert sorted(r.status for r in receipts) == ["accepted"] + ["duplicate"] * 9
    check_log(await house.completed(session))


async def test_control_without_the_idempotency_key_the_same_prompt_runs_twice(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks the defence: no memory of command ids. The test above must then see two prompts."""

    async def forgetful(self: Any, command: Any) -> None:
        return None

    append = house.log.append
    monkeypatch.setattr(type(house.sessions), "_known", forgetful)
    monkeypatch.setattr(house.log, "append", lambda *a, command=None, **k: append(*a, **k))
    session = await house.session()
    await asyncio.gather(*(house.sessions.submit(ME, session, id="m1", text="q") for _ in range(2)))
    assert len(contents(await house.rows(session), "prompt")) == 2


async def test_bad63_two_tabs_send_prompts_at_once(house: House) -> None:
    session = await house.session()
    await asyncio.gather(*(house.sessions.submit(ME, session, id=f"m{n}", text=f"q{n}") for n in range(2)))
    rows = await house.completed(session, runs=2)
    check_log(rows)
    positions = [c["position"] for c in contents(rows, "run") if c["status"] == "queued"]
    assert positions == [0, 1]
    ended = next(r.seq for r in rows if r.type == "completed")
    started = next(r.seq for r in rows if r.run_id == "r2" and r.type == "run" and '"running"' in r.content)
    assert started > ended


async def test_bad65_answers_to_nothing(house: House) -> None:
    session = await house.ask("q")
    with pytest.raises(ReconveneError) as e:
        await house.sessions.answer(ME, session, id=None, reply_to="nope", value="x")
    assert refused(e) == "no_such_question"


@pytest.mark.parametrize("catches_up", [True, False], ids=["as-it-is", "control"])
async def test_an_answer_to_what_was_committed_but_not_told_yet(
    house: House, monkeypatch: pytest.MonkeyPatch, catches_up: bool
) -> None:
    """Found by killing servers on a loaded machine: the writer's thread stood still between its commit and the telling, a client read
    the question from the disk and answered it, and was told that there is no such question."""
    session = await house.session()
    fence = await house.log.claim(f"{session}/r1")
    await house.sessions.state(session)
    held: list[tuple[str, tuple[Row, ...]]] = []
    tell = house.log.on_commit
    house.log.on_commit = lambda id, rows: held.append((id, rows))
    question = event(ev.Question(id="r1.q", text="Which?"), run_id="r1", item_id="r1.q", key="asked:r1.q")
    await house.log.append(session, [question], fence=fence)
    if not catches_up:
        monkeypatch.setattr(house.sessions.memory, "catch_up", AsyncMock())
        with pytest.raises(ReconveneError) as e:
            await house.sessions.answer(ME, session, id="a", reply_to="r1.q", value="this")
        assert refused(e) == "no_such_question"
        return
    assert (await house.sessions.answer(ME, session, id="a", reply_to="r1.q", value="this")).status == "accepted"
    house.log.on_commit = tell
    for id, rows in held:
        tell(id, rows)
    state = await house.sessions.state(session)
    assert not state.pending and state.settled["r1.q"][0] == "this"
    with pytest.raises(ReconveneError) as e:
        await house.sessions.answer(ME, session, id="b", reply_to="r1.q", value="that")
    assert refused(e) == "already_answered"
    with pytest.raises(ReconveneError) as e:
        await house.sessions.decide(ME, session, id=None, reply_to="nope", verdict="accept")
    assert refused(e) == "no_such_diff"


async def test_bad67_stop_on_an_idle_session(house: House) -> None:
    session = await house.session()
    assert (await house.sessions.cancel(ME, session, id="c")).status == "noop"
    with pytest.raises(ReconveneError) as e:
        await house.sessions.cancel(ME, session, id=None, run_id="r9")
    assert refused(e) == "no_such_run"


async def test_actions_change_the_session_and_its_row(house: House) -> None:
    session = await house.ask("q")
    await house.completed(session)
    await house.sessions.act(ME, session, id="a1", name="rename", args={"title": "  New   name "})
    await house.sessions.act(ME, session, id="a2", name="pin", args={"pinned": True})
    await house.sessions.act(ME, session, id="a3", name="archive", args={"archived": True})
    row = await house.sessions.get("owner", session)
    assert (row.title, row.pinned, row.archived) == ("New name", True, True)
    assert (
        await house.sessions.act(ME, session, id="a1", name="rename", args={"title": "  New   name "})
    ).status == "duplicate"
    await house.ask("wakes it", session)
    assert not (await house.sessions.get("owner", session)).archived


async def test_a_removed_prompt_never_runs(house: House) -> None:
    await house.supervisor.drain()
    session = await house.ask("one", id="m1")
    await house.ask("two", session, id="m2")
    await house.sessions.act(ME, session, id=None, name="remove_prompt", args={"id": "m2"})
    await house.restart()
    rows = await house.completed(session, runs=2)
    check_log(rows)
    assert contents(rows, "completed", "r2")[0]["reason"] == "removed" and len(contents(rows, "message")) == 1


async def test_a_fork_has_the_past_and_its_own_future(house: House) -> None:
    session = await house.ask("q")
    rows = await house.completed(session)
    await house.ask("second", session)
    await house.completed(session, runs=2)
    fork = await house.sessions.fork(ME, session, upto=rows[-1].seq, id="f1")
    assert (await house.sessions.fork(ME, session, upto=rows[-1].seq, id="f1")).id == fork.id
    await house.ask("another second", fork.id)
    copied = await house.completed(fork.id, runs=2)
    check_log(copied)
    assert [(r.type, r.content) for r in copied[: len(rows)]] == [(r.type, r.content) for r in rows]
    assert fork.epoch != (await house.sessions.get("owner", session)).epoch
    with pytest.raises(ReconveneError) as e:
        await house.sessions.fork(ME, session, upto=10_000)
    assert refused(e) == "invalid_field"


async def test_a_fork_of_a_running_session_is_idle(house: House) -> None:
    await house.supervisor.drain()
    session = await house.ask("q")
    fork = await house.sessions.fork(ME, session)
    assert fork.status == "idle" and contents(await house.rows(fork.id), "completed")[0]["reason"] == "forked"


async def test_delete_leaves_a_tombstone(house: House) -> None:
    session = await house.ask("q")
    gone: list[tuple[str, str]] = []
    house.sessions.on_gone.append(lambda i, why: gone.append((i, why)))
    await house.sessions.delete(ME, session)
    assert gone == [(session, "deleted")]
    attached = await house.sessions.attach(ME, session_id=session)
    assert (attached.mode, attached.reason) == ("fresh", "expired")
    with pytest.raises(ReconveneError) as e:
        await house.sessions.get("owner", session)
    assert refused(e) == "no_such_session"


# -- plain clients (PROTOCOL §1)


def plain(content: Any = "fix it", **config: Any) -> Any:
    return parse_plain(json.dumps({"type": "default", "content": content, "config": config}), first=True)


async def first_frame(house: House, frame: Any) -> Any:
    """What the server does with a plain client's first frame."""
    from reconvene.protocol.parsing import plain_key

    attached = await house.sessions.attach_plain(ME, frame)
    if attached.submit:
        await house.sessions.submit(
            ME, attached.session.id, id=None, text=frame.content, turn=frame.turn, plain_key=plain_key(frame)
        )
    return attached


async def test_the_sample_that_reloads_attaches_instead_of_running_again(house: House) -> None:
    first = await first_frame(house, plain())
    session = first.session.id
    await house.completed(session)
    again = await first_frame(house, plain(session_id=session))
    assert not again.submit and again.session.id == session and again.replay_from == 0 and again.run_id == "r1"
    other = await first_frame(house, plain(session_id=session, model="offline"))
    assert other.submit
    new = await first_frame(house, plain("something else", session_id=session))
    assert new.submit and new.session.id == session
    rows = await house.completed(session, runs=3)
    check_log(rows)
    assert len(contents(rows, "prompt")) == 3


async def test_a_completed_turn_is_attached_to_for_ten_minutes(house: House) -> None:
    session = (await first_frame(house, plain())).session.id
    await house.completed(session)
    house.uptime._clock = lambda start=house.uptime._started: start + 601.0 + 3600
    assert (await first_frame(house, plain(session_id=session))).submit


async def test_a_cancelled_turn_runs_again(house: House) -> None:
    await house.supervisor.drain()
    session = (await first_frame(house, plain())).session.id
    await house.sessions.cancel(ME, session, id=None)
    assert (await first_frame(house, plain(session_id=session))).submit


async def test_a_sample_that_lost_the_session_frame_finds_its_session(house: House) -> None:
    first = await house.sessions.attach_plain(ME, plain())
    with house.sessions.connected(first.session.id, plain=True):
        await first_frame(house, plain(session_id=first.session.id))
        second = await house.sessions.attach_plain(ME, plain())
        assert second.session.id != first.session.id  # a second tab is a second session
    third = await house.sessions.attach_plain(ME, plain())
    assert third.session.id == first.session.id and not third.submit


@pytest.mark.parametrize("told", [None, "", "null", "undefined", 5, "x" * 257, "../x", "'; drop table", [], {}])
async def test_bad49_no_session_for_a_plain_client(house: House, told: Any) -> None:
    attached = await house.sessions.attach_plain(ME, plain(session_id=told))
    assert attached.submit and attached.reason is None


async def test_an_empty_first_frame_attaches_or_is_refused(house: House) -> None:
    session = (await first_frame(house, plain())).session.id
    attached = await house.sessions.attach_plain(ME, plain("", session_id=session))
    assert attached.whole and not attached.submit and attached.replay_from == 0
    assert (await house.sessions.attach_plain(ME, plain("  "))).error == "empty_prompt"


# -- the sweeper


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def swept_house(tmp_path: Path, **settings: Any) -> tuple[House, Clock, Sweeper]:
    house = await House.open(tmp_path, scripted(["an answer"]), **settings)
    clock = Clock()
    house.sessions.uptime = house.uptime = Uptime(house.log, 0.0, clock)
    house.sessions.memory._now = house.uptime.now
    completed = house.completed

    async def and_rested(session_id: str, runs: int = 1) -> list[Row]:
        """The clock of these tests moves only when nothing is under way that would count as use of the session."""
        rows = await completed(session_id, runs)
        await house.rested()
        return rows

    house.completed = and_rested  # type: ignore[method-assign]
    return house, clock, Sweeper(house.sessions)


async def test_idle_sessions_leave_memory_and_come_back(tmp_path: Path) -> None:
    house, clock, sweeper = await swept_house(tmp_path, idle_unload=3600)
    session = await house.ask("q")
    await house.completed(session)
    clock.now += 3599
    assert (await sweeper.sweep()).unloaded == 0 and len(house.sessions.memory) == 1
    clock.now += 2
    assert (await sweeper.sweep()).unloaded == 1 and len(house.sessions.memory) == 0
    await house.ask("again", session)
    check_log(await house.completed(session, runs=2))
    await house.close()


async def test_what_a_sweep_freed_goes_back_to_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The C library keeps freed memory for itself: after a thousand sessions 22 of 154 MB."""
    given: list[None] = []
    monkeypatch.setattr(sweeper_module, "give_back", lambda: given.append(None))
    house, clock, sweeper = await swept_house(tmp_path, idle_unload=3600)
    await house.completed(await house.ask("q"))
    await sweeper.sweep()
    assert given == []
    clock.now += 3601
    assert (await sweeper.sweep()).unloaded == 1 and len(given) == 1
    await house.close()


async def test_retention_archives_then_deletes_oldest_first(tmp_path: Path) -> None:
    house, clock, sweeper = await swept_house(tmp_path, retention=3600)
    old = await house.ask("old")
    await house.completed(old)
    clock.now += 3000
    young = await house.ask("young")
    await house.completed(young)
    clock.now += 700
    assert (await sweeper.sweep()).archived == 1
    assert (await house.sessions.get("owner", old)).archived and not (await house.sessions.get("owner", young)).archived
    attached = await house.sessions.attach(ME, session_id=old)
    assert attached.session.id == old  # archived sessions resume
    clock.now += 600
    assert (await sweeper.sweep()).deleted == 1
    assert isinstance(await house.log.session(old), Tombstone)
    assert (await house.sessions.attach(ME, session_id=old)).reason == "expired"
    await house.close()


@pytest.mark.parametrize("alive", ["running", "waiting", "connected", "pinned"], ids=lambda a: f"bad54-{a}")
async def test_nothing_alive_is_swept(tmp_path: Path, alive: str) -> None:
    hang = asyncio.Event()

    async def before(step: int) -> None:
        if alive == "running":
            await hang.wait()

    steps: list[Any] = [[("ask_user", {"question": "?"})], "x"] if alive == "waiting" else ["x"]
    house = await House.open(
        tmp_path,
        scripted(steps, before=before),
        retention=10,
        idle_unload=10,
        disk_budget=1,
        limits=Limits(question_time=1e9),
    )
    clock = Clock()
    house.sessions.uptime = house.uptime = Uptime(house.log, 0.0, clock)
    house.sessions.memory._now = house.uptime.now
    sweeper = Sweeper(house.sessions)
    session = await house.ask("q")
    status = {"running": "running", "waiting": "waiting"}.get(alive)
    await house.until(
        session,
        lambda rows: (
            contents(rows, "run")[-1]["status"] == status if status else any(r.type == "completed" for r in rows)
        ),
    )
    if alive == "pinned":
        await house.sessions.act(ME, session, id=None, name="pin", args={"pinned": True})
    with house.sessions.connected(session if alive == "connected" else "nobody"):
        for _ in range(3):
            clock.now += 1e6
            await sweeper.sweep()
        row = await house.sessions.get("owner", session)
        assert not row.archived
        if alive != "waiting":
            assert session in house.sessions.memory._loaded or alive == "pinned"
    hang.set()
    await house.close()


async def test_control_a_sweeper_that_ignores_connections_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, clock, sweeper = await swept_house(tmp_path, retention=10)
    session = await house.ask("q")
    await house.completed(session)
    monkeypatch.setattr(type(house.sessions.memory), "is_connected", lambda *a, **k: False)
    with house.sessions.connected(session):
        for _ in range(2):
            clock.now += 100
            await sweeper.sweep()
    assert isinstance(await house.log.session(session), Tombstone)
    await house.close()


async def test_bad55_a_session_that_comes_alive_while_it_is_swept_lives(tmp_path: Path) -> None:
    house, clock, sweeper = await swept_house(tmp_path, retention=10)
    session = await house.ask("q")
    await house.completed(session)
    clock.now += 100
    row = await house.sessions.get("owner", session)
    await house.ask("just in time", session)
    assert not await sweeper._delete(row, house.uptime.now())
    check_log(await house.completed(session, runs=2))
    await house.close()


async def test_the_disk_budget_takes_the_oldest_idle(tmp_path: Path) -> None:
    house, clock, sweeper = await swept_house(tmp_path, disk_budget=1)
    first = await house.ask("q")
    await house.completed(first)
    clock.now += 1
    assert (await sweeper.sweep()).deleted == 1 and isinstance(await house.log.session(first), Tombstone)
    await house.close()


async def test_sessions_in_which_nothing_was_asked_go(tmp_path: Path) -> None:
    house, clock, sweeper = await swept_house(tmp_path)
    session = await house.session()
    clock.now += 601
    assert (await sweeper.sweep()).deleted == 1 and isinstance(await house.log.session(session), Tombstone)
    await house.close()


async def test_a_question_expires_by_uptime_and_ends_its_run(tmp_path: Path) -> None:
    house = await House.open(
        tmp_path, scripted([[("ask_user", {"question": "?"})], "x"]), limits=Limits(question_time=100)
    )
    session = await house.ask("q")
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    question = next(iter((await house.sessions.state(session)).pending))
    sweeper = Sweeper(house.sessions)
    assert (await sweeper.sweep()).expired_questions == 0
    house.uptime._before += 101
    assert (await sweeper.sweep()).expired_questions == 1
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0] == {"outcome": "cancelled", "text": "", "reason": "question_expired"}
    with pytest.raises(ReconveneError) as e:
        await house.sessions.answer(ME, session, id=None, reply_to=question, value="late")
    assert refused(e) == "question_closed"
    await house.close()


def test_titles() -> None:
    assert title_of("  one   two\nthree") == "one two"
    assert len(title_of("word " * 50)) <= 80 and title_of("word " * 50).endswith("…")
