"""Runs from prompt to answer: durable steps, crashes, questions, steering, stopping, and what happens when the provider fails."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import FunctionModel

from house import ME, House, check_log, contents
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.protocol.cursor import Cursor
from scripted import scripted, turn_of

SEARCH_READ_ANSWER = [
    [("search", {"query": "idle"}), ("search", {"query": "sweep"})],
    [("read_file", {"path": "src/hub.py"})],
    "The hub sweeps them in src/hub.py:2",
]


async def test_a_run_searches_reads_and_answers(tmp_path: Path) -> None:
    house = await House.open(tmp_path, scripted(SEARCH_READ_ANSWER))
    session = await house.ask("where are idle sessions swept?")
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed") == [{"outcome": "success", "text": SEARCH_READ_ANSWER[2], "reason": None}]
    assert [c["name"] for c in contents(rows, "tool_call")] == ["search", "search", "read_file"]
    assert all(r["ok"] for r in contents(rows, "tool_result"))
    [message] = contents(rows, "message")
    assert message["text"] == SEARCH_READ_ANSWER[2] == "".join(t["text"] for t in contents(rows, "text"))
    assert contents(rows, "usage")[-1]["requests"] == 3
    assert (await house.sessions.get("owner", session)).title == "where are idle sessions swept?"
    assert (await house.sessions.get("owner", session)).status == "idle"
    await house.close()


async def test_the_next_prompt_knows_the_conversation(tmp_path: Path) -> None:
    heard: list[int] = []

    async def stream(messages: list[ModelMessage], info: Any) -> Any:
        heard.append(len(messages))
        yield f"answer {len(messages)}"

    house = await House.open(tmp_path, FunctionModel(stream_function=stream))
    session = await house.ask("one")
    await house.completed(session)
    await house.restart()
    await house.ask("two", session)
    rows = await house.completed(session, runs=2)
    assert heard == [1, 3] and [c["text"] for c in contents(rows, "completed")] == ["answer 1", "answer 3"]
    await house.close()


@pytest.mark.parametrize("at", range(0, 40, 3))
async def test_a_crash_at_any_row_loses_and_repeats_nothing(tmp_path: Path, at: int) -> None:
    """The whole process forgets everything after the `at`-th row; the run goes on by itself and no finished step is repeated."""
    calls: Counter[tuple[str, int]] = Counter()
    model = scripted(SEARCH_READ_ANSWER, asked=lambda p, n: calls.update([(p, n)]))
    house = await House.open(tmp_path, model)
    session = await house.ask("q")
    await house.until(session, lambda rows: len(rows) >= at or any(r.type == "completed" for r in rows))
    await house.crash()
    before = list(await read_offline(house, session))
    finished = {r.key for r in before if r.type in ("model", "tool_return")}
    asked_before = Counter(calls)
    await house.reopen()
    rows = await house.completed(session)
    check_log(rows)
    assert [(r.seq, r.type, r.content) for r in rows[: len(before)]] == [(r.seq, r.type, r.content) for r in before]
    repeated = [n for (p, n) in calls if calls[p, n] > asked_before[p, n] and f"model:r1.{n}" in finished]
    assert not repeated
    assert contents(rows, "completed")[0]["text"] == SEARCH_READ_ANSWER[2]
    assert sum(r.type == "model" for r in rows) == 3 and sum(r.type == "tool_return" for r in rows) == 3
    await house.close()


async def read_offline(house: House, session: str) -> list[Any]:
    from reconvene.log.sqlite import SqliteLog

    log = await SqliteLog.open(house.settings.database_file)
    rows = await log.read(session, 0)
    await log.close()
    return rows


async def test_half_streamed_text_is_struck_and_written_anew(tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def between(step: int, word: int) -> None:
        if word == 2 and not stop.is_set():
            await asyncio.Event().wait()

    house = await House.open(tmp_path, scripted(["one two three four five"], between=between))
    session = await house.ask("q")
    await house.until(session, lambda rows: "three" in "".join(t["text"] for t in contents(rows, "text")))
    stop.set()
    await house.restart()
    rows = await house.completed(session)
    check_log(rows)
    [struck] = contents(rows, "item_aborted")
    assert struck == {"attempt": 1}
    assert {t["attempt"] for t in contents(rows, "text")} == {1, 2}
    assert contents(rows, "completed")[0]["text"] == "one two three four five"
    assert [c["status"] for c in contents(rows, "run")] == ["queued", "running", "recovering", "running"]
    await house.close()


async def test_a_question_unloads_the_run_and_survives_restarts(tmp_path: Path) -> None:
    calls: Counter[int] = Counter()
    steps = [[("ask_user", {"question": "Which one?"}), ("search", {"query": "hub"})], "thanks"]
    house = await House.open(tmp_path, scripted(steps, asked=lambda p, n: calls.update([n])))
    session = await house.ask("q")
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    while house.supervisor.active:
        await asyncio.sleep(0)
    for _ in range(3):
        await house.restart()
    assert (await house.sessions.get("owner", session)).status == "waiting"
    state = await house.sessions.state(session)
    [question] = state.pending.values()
    receipt = await house.sessions.answer(ME, session, id="a1", reply_to=question.id, value="the first")
    assert receipt.status == "accepted"
    rows = await house.completed(session)
    check_log(rows)
    assert calls == {0: 1, 1: 1} and sum(r.type == "tool_return" for r in rows) == 2
    again = await house.sessions.answer(ME, session, id="a1", reply_to=question.id, value="the first")
    assert again.status == "duplicate" and again.seq == receipt.seq
    with pytest.raises(ReconveneError) as e:
        await house.sessions.answer(ME, session, id="a2", reply_to=question.id, value="another")
    assert e.value.code == "already_answered"
    await house.close()


async def test_two_questions_at_once_are_answered_in_any_order(tmp_path: Path) -> None:
    steps = [[("ask_user", {"question": "A?"}), ("ask_user", {"question": "B?"})], "done"]
    house = await House.open(tmp_path, scripted(steps))
    session = await house.ask("q")
    for _ in range(2):
        await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
        pending = list((await house.sessions.state(session)).pending.values())
        await house.sessions.answer(ME, session, id=None, reply_to=pending[-1].id, value="x")
        if len(pending) > 1:
            await house.until(session, lambda rows: [c["status"] for c in contents(rows, "run")].count("waiting") >= 2)
    rows = await house.completed(session)
    check_log(rows)
    assert len(contents(rows, "answered")) == 2 and contents(rows, "completed")[0]["outcome"] == "success"
    await house.close()


async def test_stop_keeps_what_was_said(tmp_path: Path) -> None:
    async def between(step: int, word: int) -> None:
        if word == 1:
            await asyncio.Event().wait()

    house = await House.open(tmp_path, scripted(["one two three"], between=between))
    session = await house.ask("q")
    await house.until(session, lambda rows: any(r.type == "text" for r in rows))
    receipt = await house.sessions.cancel(ME, session, id="c1")
    assert receipt.status == "accepted" and receipt.run_id == "r1"
    rows = await house.completed(session)
    check_log(rows)
    [message] = contents(rows, "message")
    assert message["interrupted"] and message["text"].startswith("one two")
    assert contents(rows, "completed")[0]["outcome"] == "cancelled"
    assert (await house.sessions.cancel(ME, session, id="c2")).status == "noop"
    await house.close()


async def test_stop_while_waiting_closes_the_question(tmp_path: Path) -> None:
    house = await House.open(tmp_path, scripted([[("ask_user", {"question": "A?"})], "done"]))
    session = await house.ask("q")
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    question = next(iter((await house.sessions.state(session)).pending))
    await house.sessions.cancel(ME, session, id=None)
    check_log(await house.completed(session))
    with pytest.raises(ReconveneError) as e:
        await house.sessions.answer(ME, session, id=None, reply_to=question, value="x")
    assert e.value.code == "question_closed"
    await house.close()


async def test_a_stop_that_was_acknowledged_survives_a_crash(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def before(step: int) -> None:
        await gate.wait()

    house = await House.open(tmp_path, scripted(["never"], before=before))
    session = await house.ask("q")
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "running")
    await house.supervisor.drain()
    await house.sessions.cancel(ME, session, id="c1")
    await house.restart()
    rows = await house.completed(session)
    assert contents(rows, "completed")[0]["outcome"] == "cancelled"
    await house.close()


async def test_prompts_queue_and_steer(tmp_path: Path) -> None:
    release, requested = asyncio.Event(), asyncio.Event()
    heard: list[str] = []

    async def before(step: int) -> None:
        requested.set()
        await release.wait()

    steps = [[("search", {"query": "hub"})], "answer"]
    house = await House.open(tmp_path, scripted(steps, before=before, asked=lambda p, n: heard.append(p)))
    session = await house.ask("first")
    await requested.wait()
    await house.ask("second", session)
    steer = await house.sessions.submit(ME, session, id="s1", text="hurry", delivery="steer")
    assert steer.run_id == "r1"
    assert contents(await house.rows(session), "run")[-1]["position"] == 1
    release.set()
    rows = await house.completed(session, runs=2)
    check_log(rows)
    assert heard[0] == "first" and "hurry" in heard and heard[-1] == "second"
    assert [json.loads(r.content)["steered"] for r in rows if r.type == "model" and r.run_id == "r1"].count(["s1"]) == 1
    await house.close()


async def test_steering_too_late_becomes_the_next_run(tmp_path: Path) -> None:
    release, heard = asyncio.Event(), []

    async def between(step: int, word: int) -> None:
        await release.wait()

    house = await House.open(tmp_path, scripted(["answer me"], between=between, asked=lambda p, n: heard.append(p)))
    session = await house.ask("first")
    await house.until(session, lambda rows: any(r.type == "text" for r in rows))
    await house.sessions.submit(ME, session, id="s1", text="late", delivery="steer")
    release.set()
    rows = await house.completed(session, runs=2)
    check_log(rows)
    assert heard == ["first", "late"]
    await house.close()


def failing(errors: list[Exception], then: str = "recovered") -> FunctionModel:
    async def stream(messages: list[ModelMessage], info: Any) -> Any:
        yield "half "
        if errors:
            raise errors.pop(0)
        yield then

    return FunctionModel(stream_function=stream)


async def test_bad114_a_provider_that_fails_is_asked_again(tmp_path: Path) -> None:
    house = await House.open(tmp_path, failing([ModelHTTPError(503, "m"), ModelHTTPError(500, "m")]))
    session = await house.ask("q")
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["text"] == "half recovered"
    assert len(house.sleeps) == 2 and len(contents(rows, "item_aborted")) == 2
    assert all("sk-" not in r.content for r in rows)
    await house.close()


@pytest.mark.parametrize(
    ("error", "code", "answer", "outcome"),
    [
        (ModelHTTPError(401, "m", {"error": "bad key sk-SECRET"}), "provider_auth", "retry", "success"),
        (ModelHTTPError(403, "m"), "provider_auth", "stop", "cancelled"),
    ],
    ids=["bad112-retry", "bad112-stop"],
)
async def test_a_refused_key_pauses_the_run(
    tmp_path: Path, error: Exception, code: str, answer: str, outcome: str
) -> None:
    house = await House.open(tmp_path, failing([error]))
    session = await house.ask("q")
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    await house.restart()
    question = next(iter((await house.sessions.state(session)).pending))
    await house.sessions.answer(ME, session, id=None, reply_to=question, value=answer)
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "error")[0]["code"] == code and contents(rows, "completed")[0]["outcome"] == outcome
    assert all("sk-SECRET" not in r.content for r in rows)
    await house.close()


async def test_bad114_a_provider_that_stays_away_pauses_the_run(tmp_path: Path) -> None:
    house = await House.open(tmp_path, failing([ModelHTTPError(502, "m")] * 9))
    session = await house.ask("q")
    rows = await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    assert contents(rows, "error")[0]["code"] == "provider_unavailable" and len(house.sleeps) == 3
    await house.close()


async def test_a_crash_loop_ends_and_says_so(tmp_path: Path) -> None:
    hang = asyncio.Event()

    async def before(step: int) -> None:
        await hang.wait()

    house = await House.open(tmp_path, scripted(["never"], before=before))
    session = await house.ask("q")
    for n in range(5):
        await house.until(
            session, lambda rows, n=n: [c["status"] for c in contents(rows, "run")].count("running") == n + 1
        )
        await house.restart()
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "error")[0]["code"] == "recovery_exhausted"
    assert contents(rows, "completed")[0]["outcome"] == "failed"
    await house.close()


@pytest.mark.parametrize("policy", ["never", "ask-yes", "ask-no"])
async def test_recovery_policies(tmp_path: Path, policy: str) -> None:
    hang = asyncio.Event()

    async def before(step: int) -> None:
        await hang.wait()

    house = await House.open(tmp_path, scripted(["answer"], before=before))
    session = await house.session(recovery=policy.split("-")[0])
    await house.ask("q", session)
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "running")
    hang.set()
    await house.restart()
    if policy != "never":
        await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
        question = next(iter((await house.sessions.state(session)).pending))
        await house.sessions.answer(ME, session, id=None, reply_to=question, value=policy.split("-")[1])
    rows = await house.completed(session)
    check_log(rows)
    assert (
        contents(rows, "completed")[0]["outcome"]
        == {"never": "failed", "ask-yes": "success", "ask-no": "cancelled"}[policy]
    )
    await house.close()


async def test_bad121_a_limit_pauses_and_the_person_extends_it(tmp_path: Path) -> None:
    calls = [[("search", {"query": f"word{n}"})] for n in range(6)]
    house = await House.open(tmp_path, scripted([*calls, "done"]), limits=Limits(model_requests=4))
    session = await house.ask("q")
    rows = await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    assert contents(rows, "error")[0]["code"] == "budget_exceeded"
    question = next(iter((await house.sessions.state(session)).pending))
    await house.sessions.answer(ME, session, id=None, reply_to=question, value="continue")
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["text"] == "done"
    await house.close()


async def test_a_stale_owner_writes_nothing(tmp_path: Path) -> None:
    hang = asyncio.Event()

    async def before(step: int) -> None:
        await hang.wait()

    house = await House.open(tmp_path, scripted(["answer"], before=before))
    session = await house.ask("q")
    await house.until(session, lambda rows: any(r.type == "repo_map" for r in rows))
    count = len(await house.rows(session))
    await house.log.claim(f"{session}/r1")  # another owner
    hang.set()
    while house.supervisor.active:
        await asyncio.sleep(0)
    assert len(await house.rows(session)) == count
    await house.restart()
    assert contents(await house.completed(session), "completed")[0]["outcome"] == "success"
    await house.close()


async def test_what_was_searched_is_known_after_a_restart(tmp_path: Path) -> None:
    house = await House.open(tmp_path, scripted([[("search", {"query": "idle"})], "ok"]))
    await (await house.indexes.get(house.workspace)).refresh()  # a map of half an index is rightly made anew
    session = await house.ask("one")
    await house.completed(session)
    built = house.indexes
    await house.ask("two", session)
    rows = await house.completed(session, runs=2)
    assert contents(rows, "tool_result")[1]["cache"] == "cached"
    assert [m["reused"] for m in contents(rows, "repo_map")][1:] == [True]
    assert built is house.indexes
    await house.restart()
    await house.ask("three", session)
    rows = await house.completed(session, runs=3)
    assert contents(rows, "tool_result")[2]["cache"] == "cached"
    assert contents(rows, "repo_map")[2]["reused"] is True
    (tmp_path / "project/src/session.py").write_text("class Session:\n    def idle(self, now):\n        return False\n")
    await house.ask("four", session)
    rows = await house.completed(session, runs=4)
    assert contents(rows, "tool_result")[3]["cache"] in ("refreshed", "fresh")
    await house.close()


async def test_reading_what_was_found_needs_no_search(tmp_path: Path) -> None:
    house = await House.open(tmp_path, lambda name: models.pop(0))
    models = [
        scripted([[("search", {"query": "idle"})], "ok"]),
        scripted([[("read_file", {"path": "session.py"})], "read"]),
    ]
    session = await house.ask("one")
    await house.completed(session)
    await house.restart()
    await house.ask("two", session)
    rows = await house.completed(session, runs=2)
    result = contents(rows, "tool_result")[1]
    assert result["ok"] and result["places"][0]["path"] == "src/session.py"
    assert sum(c["name"] == "search" for c in contents(rows, "tool_call")) == 1
    await house.close()


async def test_a_root_that_is_not_served_keeps_its_sessions(tmp_path: Path) -> None:
    house = await House.open(tmp_path, scripted(["answer"]))
    session = await house.ask("q")
    await house.completed(session)
    house.sessions.roots = type(house.roots)(data_dir=house.settings.data_dir, limits=house.settings.limits)
    attached = await house.sessions.attach(ME, session_id=session)
    assert attached.mode == "snapshot" and (await house.sessions.snapshot(session)).events
    with pytest.raises(ReconveneError) as e:
        await house.ask("again", session)
    assert e.value.code == "root_not_served"
    await house.close()


async def test_snapshot_and_resume_meet(tmp_path: Path) -> None:
    house = await House.open(tmp_path, scripted(SEARCH_READ_ANSWER))
    session = await house.ask("q")
    await house.completed(session)
    snapshot = await house.sessions.snapshot(session)
    attached = await house.sessions.attach(ME, session_id=session, cursor=str(snapshot.cursor))
    assert attached.mode == "resume" and attached.after == snapshot.cursor
    assert Cursor.parse(str(attached.after)).seq == attached.session.head
    await house.close()


async def test_a_run_that_breaks_over_and_over_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconvene.runs import supervisor
    from reconvene.runs.journal import Journal

    async def load(*args: Any) -> Any:
        raise RuntimeError("no journal")

    monkeypatch.setattr(Journal, "load", load)
    monkeypatch.setattr(supervisor, "STORE_PATIENCE", 0.0)
    house = await House.open(tmp_path, scripted(["answer"]))
    session = await house.ask("q")
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "error")[0]["code"] == "internal" and contents(rows, "completed")[0]["outcome"] == "failed"
    await house.close()


@pytest.mark.parametrize("code", ["disk_full", "store_busy"], ids=lambda c: f"bad125-{c}")
async def test_a_store_that_refuses_for_a_while_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    from reconvene.runs import supervisor

    monkeypatch.setattr(supervisor, "STORE_PATIENCE", 0.0)
    house = await House.open(tmp_path, scripted(SEARCH_READ_ANSWER))
    append, refusals = house.sessions.append_run, [4, 5, 6]

    async def refusing(*args: Any, **more: Any) -> Any:
        refusals[:] = [n - 1 for n in refusals]
        if 0 in refusals:
            raise ReconveneError(code, "Not now.")
        return await append(*args, **more)

    monkeypatch.setattr(house.sessions, "append_run", refusing)
    session = await house.ask("q")
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["outcome"] == "success"
    assert sum(r.type == "model" for r in rows) == 3
    await house.close()


def test_turn_of_reads_the_script_position() -> None:
    assert turn_of([]) == ("", 0)
