"""The daily cap and the model that takes over: said, shown, and the same after a crash at any row."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.exceptions import ModelHTTPError, ModelQuotaExceededError
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel

from house import ME, House, check_log, contents
from reconvene.agents.providers import Providers
from reconvene.agents.spending import Spending
from reconvene.runs import daily_cap
from reconvene.runs.attempt import Attempt
from reconvene.runs.fallback import Failing
from reconvene.runs.journal import Journal
from scripted import scripted

STEPS: list[Any] = [[("search", {"query": "one"})], [("search", {"query": "two"})], "done"]


@pytest.fixture(autouse=True)
def _prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every response costs a dollar."""

    def cost(response: ModelResponse) -> None:
        response.usage.cost = Decimal(1)

    monkeypatch.setattr("pydantic_ai._agent_graph.fill_response_cost", cost)
    monkeypatch.setattr(daily_cap, "LOOK", 0.01)


async def waiting(house: House, session: str) -> Any:
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    while house.supervisor.active:
        await asyncio.sleep(0)
    [question] = (await house.sessions.state(session)).pending.values()
    return question


def providers(house: House) -> Providers:
    return Providers.of(house.settings)


# -- the cap


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("how", ["raised", "day", "off"])
async def test_a_capped_run_goes_on_by_itself(
    tmp_path: Path, how: str, restart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    house = await House.open(tmp_path, scripted(STEPS, asked=lambda _, n: asked.append(n)), daily_cap=2.0)
    session = await house.ask("q")
    question = await waiting(house, session)
    assert "$2.00" in question.text and "midnight" in question.text and question.id == "r1.cap-1"
    assert asked == [0, 1]
    if restart:
        await house.restart()
    await asyncio.sleep(0.05)  # several looks, that find nothing new
    assert (await house.sessions.get("owner", session)).status == "waiting"
    match how:
        case "raised":
            providers(house).cap(5.0)
        case "off":
            providers(house).cap(None)
        case "day":
            monkeypatch.setattr("reconvene.agents.spending.Spending.today", lambda self: 0.0)
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["outcome"] == "success" and asked == [0, 1, 2]
    assert contents(rows, "answered")[0]["by"] == daily_cap.BY_CAP
    await house.close()


@pytest.mark.parametrize("answer", ["continue", "stop"])
async def test_a_person_lets_one_run_go_on_over_the_cap(tmp_path: Path, answer: str) -> None:
    house = await House.open(tmp_path, scripted(STEPS), daily_cap=1.0)
    session = await house.ask("q")
    question = await waiting(house, session)
    await house.restart()
    await house.sessions.answer(ME, session, id=None, reply_to=question.id, value=answer)
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["outcome"] == ("success" if answer == "continue" else "cancelled")
    assert len(contents(rows, "question")) == 1
    other = await house.ask("another")  # it is not let over the cap
    await waiting(house, other)
    await house.close()


async def test_what_a_session_cost_counts_when_the_session_is_gone(tmp_path: Path) -> None:
    house = await House.open(tmp_path, scripted(STEPS), daily_cap=3.0)
    session = await house.ask("q")
    await house.completed(session)
    await house.sessions.delete(ME, session)
    await house.restart()
    await waiting(house, await house.ask("another"))
    await house.close()


@pytest.mark.parametrize("is_whole", [True, False], ids=["as-it-is", "control"])
async def test_what_was_spent_is_written_before_a_server_has_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    begun, go_on, written = threading.Event(), threading.Event(), threading.Event()
    note = Spending.note

    def slow(self: Spending, run: str, cost: float) -> None:
        begun.set()
        go_on.wait(20)
        note(self, run, cost)
        written.set()

    async def anyhow(work: Any) -> Any:
        return await work

    monkeypatch.setattr(Spending, "note", slow)
    if not is_whole:
        monkeypatch.setattr("reconvene.runs.attempt.whole", anyhow)
    house = await House.open(tmp_path, scripted(STEPS), daily_cap=20.0)
    await house.ask("q")
    assert await asyncio.to_thread(begun.wait, 20)
    stopping = asyncio.create_task(house.supervisor.drain())
    # Without a thread that is waited for, this ends whether it writes or not.
    done, _ = await asyncio.wait({stopping}, timeout=20.0 if not is_whole else 0.3)
    assert bool(done) is not is_whole
    go_on.set()
    await stopping
    assert not is_whole or written.is_set()
    await asyncio.to_thread(written.wait, 20)
    await house.close()


@pytest.mark.parametrize("at", [pytest.param(n, marks=[pytest.mark.long] * (n % 5 != 2)) for n in range(4, 34)])
async def test_a_crash_at_any_row_of_a_capped_run(tmp_path: Path, at: int) -> None:
    asked: list[int] = []
    house = await House.open(tmp_path, scripted(STEPS, asked=lambda _, n: asked.append(n)), daily_cap=2.0)
    session = await house.ask("q")
    cut = lambda rows: len(rows) >= at or contents(rows, "question")  # noqa: E731
    await house.until(session, cut)
    if len(await house.rows(session)) >= at:
        await house.restart()
    await waiting(house, session)
    providers(house).cap(10.0)
    await house.until(session, lambda rows: len(rows) >= at or contents(rows, "completed"))
    await house.restart()
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["text"] == "done" and sum(r.type == "model" for r in rows) == 3
    assert len(asked) <= 3 + 2  # what was in flight at a crash is asked again
    assert house.supervisor.around is not None and house.supervisor.around.spending.today() == 3.0
    await house.close()


async def test_what_the_last_response_cost_counts_when_the_crash_came_before_it_was_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noting, noted = asyncio.Event(), Attempt._note

    async def note(attempt: Attempt, journal: Journal) -> None:
        if journal.steps == 3:
            noting.set()
            await asyncio.Event().wait()
        await noted(attempt, journal)

    house = await House.open(tmp_path, scripted(STEPS))
    with monkeypatch.context() as patched:
        patched.setattr(Attempt, "_note", note)
        session = await house.ask("q")
        await asyncio.wait_for(noting.wait(), 30)
        await house.restart()
    await house.restart()
    await house.completed(session)
    assert house.supervisor.around is not None and house.supervisor.around.spending.today() == 3.0
    await house.close()


async def test_control_without_the_watch_nothing_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily_cap.Capped, "add", lambda self, session_id: None)
    house = await House.open(tmp_path, scripted(STEPS), daily_cap=2.0)
    session = await house.ask("q")
    await waiting(house, session)
    providers(house).cap(5.0)
    await asyncio.sleep(0.1)
    assert (await house.sessions.get("owner", session)).status == "waiting"
    await house.close()


# -- the model that takes over


class Two:
    """Models by name: `first` raises, `second` answers."""

    def __init__(self, error: Exception, *, steps_before: int = 0) -> None:
        self.error, self.steps_before = error, steps_before
        self.asked: list[str] = []
        self.mended = False

    def resolve(self, name: str) -> FunctionModel:
        async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
            n = sum(isinstance(m, ModelResponse) for m in messages)
            self.asked.append(name)
            if name != "second" and not self.mended and n >= self.steps_before:
                yield "half a sen"
                raise self.error
            if n < 2:
                from pydantic_ai.models.function import DeltaToolCall

                yield {0: DeltaToolCall(name="search", json_args=json.dumps({"query": f"w{n}"}), tool_call_id="c")}
            else:
                yield f"from {name}"

        return FunctionModel(stream_function=stream, model_name=name)


async def begun(tmp_path: Path, two: Two, fallback: str) -> House:
    house = await House.open(tmp_path, two.resolve, fallback=fallback)
    providers(house).choose("first")
    return house


DOWN = ModelHTTPError(503, "first", {"message": "overloaded"})


@pytest.mark.parametrize(
    ("error", "tries"),
    [(DOWN, 4), (ModelHTTPError(429, "first"), 4), (ModelQuotaExceededError("first", "no credit left"), 1)],
    ids=["bad114-down", "bad113-overloaded", "quota"],
)
async def test_another_model_takes_over(tmp_path: Path, error: Exception, tries: int) -> None:
    two = Two(error, steps_before=1)
    house = await begun(tmp_path, two, "second")
    session = await house.ask("q")
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["text"] == "from second"
    assert two.asked == ["first"] * (1 + tries) + ["second"] * 2  # what the first one had done is not done again
    [call] = [c for c in contents(rows, "tool_call") if c["name"] == "fallback"]
    assert call["args"] == {"from": "first", "to": "second"}
    [result] = [c for c in contents(rows, "tool_result") if c["id"] == call["id"]]
    assert "Going on with second." in result["summary"] and "sk-" not in result["summary"]
    assert [u["model"] for u in contents(rows, "usage")] == ["first", "second", "second"]
    asked = len(two.asked)
    other = await house.ask("next")  # it need not find out for itself
    rows = await house.completed(other)
    check_log(rows)
    assert (
        two.asked[asked:] == ["second"] * 3 and [c["name"] for c in contents(rows, "tool_call")].count("fallback") == 1
    )
    await house.close()


@pytest.mark.parametrize("fallback", ["session", "none", "same"])
async def test_a_session_has_a_fallback_of_its_own(tmp_path: Path, fallback: str) -> None:
    two = Two(DOWN)
    house = await begun(tmp_path, two, "third" if fallback == "session" else "second")
    session = await house.session()
    named = {"session": "second", "none": None, "same": "first"}[fallback]
    await house.sessions.act(ME, session, id=None, name="fallback", args={"model": named})
    await house.ask("q", session)
    if fallback == "session":
        rows = await house.completed(session)
        assert contents(rows, "completed")[0]["text"] == "from second" and "third" not in two.asked
    else:
        question = await waiting(house, session)
        two.mended = True
        await house.sessions.answer(ME, session, id=None, reply_to=question.id, value="retry")
        rows = await house.completed(session)
        assert contents(rows, "completed")[0]["text"] == "from first"
    check_log(rows)
    await house.close()


@pytest.mark.parametrize("restart", [False, True])
async def test_a_session_goes_back_to_what_the_server_has(tmp_path: Path, restart: bool) -> None:
    house = await begun(tmp_path, Two(DOWN), "second")
    session = await house.session()
    for args in ({"model": None}, {}):
        await house.sessions.act(ME, session, id=None, name="fallback", args=args)
    if restart:
        await house.restart()
    await house.ask("q", session)
    rows = await house.completed(session)
    assert contents(rows, "completed")[0]["text"] == "from second"
    assert [c["args"] for c in contents(rows, "action")] == [{"model": None}, {}]
    check_log(rows)
    await house.close()


async def test_when_both_fail_retry_begins_with_the_first(tmp_path: Path) -> None:
    two = Two(DOWN)
    house = await begun(tmp_path, two, "also down")
    session = await house.ask("q")
    question = await waiting(house, session)
    assert set(two.asked) == {"first", "also down"}
    two.mended = True
    await house.restart()
    await house.sessions.answer(ME, session, id=None, reply_to=question.id, value="retry")
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["text"] == "from first"
    await house.close()


async def test_a_key_that_is_refused_is_for_the_person_to_mend(tmp_path: Path) -> None:
    two = Two(ModelHTTPError(401, "first"))
    house = await begun(tmp_path, two, "second")
    await waiting(house, await house.ask("q"))
    assert set(two.asked) == {"first"}
    await house.close()


@pytest.mark.parametrize("at", [pytest.param(n, marks=[pytest.mark.long] * (n % 5 != 2)) for n in range(4, 44)])
async def test_a_crash_at_any_row_of_a_change_of_models(tmp_path: Path, at: int) -> None:
    two = Two(DOWN, steps_before=1)
    house = await begun(tmp_path, two, "second")
    session = await house.ask("q")
    await house.until(session, lambda rows: len(rows) >= at or contents(rows, "completed"))
    await house.restart()
    asked = len(two.asked)
    took_over = any(r.type == "once" for r in await house.rows(session))
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["text"] == "from second" and sum(r.type == "model" for r in rows) == 3
    assert [c["name"] for c in contents(rows, "tool_call")].count("fallback") == 1
    if took_over:
        assert set(two.asked[asked:]) <= {"second"}
    await house.close()


async def test_a_crash_between_two_tries_is_no_crash_loop(tmp_path: Path) -> None:
    """A provider that is down, and a server that is restarted a few times while it is: tries of a provider are not counted as crashes."""
    two = Two(DOWN)
    house = await begun(tmp_path, two, "second")
    session = await house.ask("q")
    for tries in (1, 3, 5):
        rows = await house.until(
            session,
            lambda rows, tries=tries: (
                contents(rows, "completed") or [c["status"] for c in contents(rows, "run")].count("recovering") >= tries
            ),
        )
        if contents(rows, "completed"):
            break
        await house.restart()
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["text"] == "from second"
    await house.close()


async def test_control_without_its_record_the_first_model_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconvene.runs.attempt.taken_over", lambda journal, state: None)
    monkeypatch.setattr(Failing, "why", lambda self, model: None)
    with pytest.raises(AssertionError):
        await test_another_model_takes_over(tmp_path, DOWN, 4)
