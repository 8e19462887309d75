"""What a person does when a run went wrong: it is run once more, a prompt is sent anew, a limit is raised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelResponse, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from coding import agents, update
from house import ME, House, check_log, contents
from reconvene.agents.compaction import size
from reconvene.agents.edit_format import Edit, Replace, render
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.runs.journal import Journal
from reconvene.sessions import state as state_module
from scripted import scripted

FILES = {"a.py": "one = 1\n", "b.py": "two = 2\n"}


def said(messages: list[ModelMessage]) -> list[str]:
    """What people said and the model answered, in order."""
    texts = []
    for message in messages:
        for part in message.parts:
            if isinstance(part, UserPromptPart):
                texts.append(str(part.content))
            elif isinstance(message, ModelResponse) and part.part_kind == "text":
                texts.append(f"> {part.content}")
    return texts


class Listening:
    """A model that answers every prompt with `answers[n]` of its n-th request; an exception is raised instead."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers, self.heard = list(answers), list[list[str]]()

    @property
    def model(self) -> FunctionModel:
        return FunctionModel(stream_function=self._stream, model_name="listening")

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        self.heard.append(said(messages))
        answer = self.answers[min(len(self.heard), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        yield answer


UNKNOWN = ModelHTTPError(404, "m")


async def act(house: House, session: str, name: str, **args: Any) -> Any:
    return await house.sessions.act(ME, session, id=args.pop("id_", None), name=name, args=args)


@pytest.mark.parametrize("restart", [False, True])
async def test_a_failed_run_is_run_once_more(tmp_path: Path, restart: bool) -> None:
    model = Listening("first", UNKNOWN, "better", "next")
    house = await House.open(tmp_path, model.model)
    session = await house.ask("zero")
    await house.completed(session)
    await house.ask("one", session)
    rows = await house.completed(session, 2)
    assert contents(rows, "completed")[1]["outcome"] == "failed"
    if restart:
        await house.restart()
    receipt = await act(house, session, "retry", run_id="r2", id_="again")
    assert (await act(house, session, "retry", run_id="r2", id_="again")).status == "duplicate"
    rows = await house.completed(session, 3)
    check_log(rows)
    assert receipt.run_id == "r3" and contents(rows, "completed")[2] == {
        "outcome": "success", "text": "better", "reason": None,
    }  # fmt: skip
    assert model.heard[2] == ["zero", "> first", "one"]
    await house.ask("two", session)
    await house.completed(session, 4)
    assert model.heard[3] == ["zero", "> first", "one", "> better", "two"]
    with pytest.raises(ReconveneError, match="run again already"):
        await act(house, session, "retry", run_id="r2")
    with pytest.raises(ReconveneError, match="failed or was stopped"):
        await act(house, session, "retry", run_id="r3")
    with pytest.raises(ReconveneError) as e:
        await act(house, session, "retry", run_id="r99")
    assert e.value.code == "no_such_run"
    await house.close()


async def test_what_a_stopped_run_had_written_is_told_to_the_next_try(tmp_path: Path) -> None:
    answer = render([Edit("a.py", (Replace(("one = 1",), ("one = 11",)),))])
    heard: list[str] = []
    stuck = asyncio.Event()

    async def before(who: str, n: int) -> None:
        if who == "orchestrator" and n == 1 and not heard:
            stuck.set()
            await asyncio.Event().wait()

    model = agents([update("x", "a.py"), "done"], [answer], before=before)
    house = await House.open(tmp_path, model, files=dict(FILES))
    session = await house.ask("make it eleven")
    rows = await house.until(session, lambda rows: contents(rows, "diff"))
    await house.sessions.decide(ME, session, id=None, reply_to=contents(rows, "diff")[0]["id"], verdict="accept")
    await stuck.wait()
    await house.sessions.cancel(ME, session, id=None)
    await house.completed(session)
    listening = Listening("seen")
    house.resolve = lambda _name: listening.model
    await house.restart()
    await act(house, session, "retry", run_id="r1")
    check_log(await house.completed(session, 2))
    [[note_and_prompt]] = listening.heard
    assert "accepted what it wrote to a.py" in note_and_prompt and note_and_prompt.endswith("make it eleven")
    await house.close()


async def changed(tmp_path: Path) -> tuple[House, str, Listening]:
    """A session whose second prompt changed a file."""
    edit = render([Edit("a.py", (Replace(("one = 1",), ("one = 11",)),))])
    house = await House.open(tmp_path, agents(["hello"], [edit]), files=dict(FILES))
    session = await house.ask("hi", id="p1")
    await house.completed(session)
    house.resolve = lambda _name: agents([update("x", "a.py"), "done"], [edit])
    await house.restart()
    await house.ask("make it eleven", session, id="p2")
    rows = await house.until(session, lambda rows: contents(rows, "diff"))
    await house.sessions.decide(ME, session, id=None, reply_to=contents(rows, "diff")[0]["id"], verdict="accept")
    await house.completed(session, 2)
    assert (tmp_path / "project/a.py").read_text() == "one = 11\n"
    listening = Listening("seen")
    house.resolve = lambda _name: listening.model
    await house.restart()
    return house, session, listening


@pytest.mark.parametrize("files", [True, False])
async def test_a_prompt_is_edited_and_sent_anew(tmp_path: Path, files: bool) -> None:
    house, session, listening = await changed(tmp_path)
    await act(house, session, "resend", id="p2", text="make it twelve", files=files, id_="p3")
    rows = await house.completed(session, 3)
    check_log(rows)
    assert contents(rows, "completed")[-1]["outcome"] == "success"
    assert listening.heard == [["hi", "> hello", "make it twelve"]]
    assert (tmp_path / "project/a.py").read_text() == ("one = 1\n" if files else "one = 11\n")
    state = await house.sessions.state(session)
    assert state.prompts["p3"].text == "make it twelve" and bool(state.changes) is not files
    await act(house, session, "resend", id="p1", id_="p4")  # as it was, and everything after it is gone
    await house.completed(session, 4)
    assert listening.heard[-1] == ["hi"]
    await house.close()


@pytest.mark.parametrize("at", [pytest.param(n, marks=[pytest.mark.long] * (n % 4 != 1)) for n in range(16)])
async def test_a_crash_at_any_row_of_sending_anew_takes_back_once_and_answers_once(tmp_path: Path, at: int) -> None:
    house, session, listening = await changed(tmp_path)
    begun = len(await house.rows(session))
    await act(house, session, "resend", id="p2", text="make it twelve", files=True)
    await house.until(session, lambda rows: len(rows) >= begun + at or len(contents(rows, "completed")) == 3)
    await house.restart()
    rows = await house.completed(session, 3)
    check_log(rows)
    assert (tmp_path / "project/a.py").read_text() == "one = 1\n"
    assert sum(c["undo"] for c in contents(rows, "applied")) == 1
    assert [c["outcome"] for c in contents(rows, "completed")] == ["success"] * 3 and len(listening.heard) <= 2
    await house.close()


async def test_files_that_were_changed_since_stop_the_prompt_that_wanted_them_back(tmp_path: Path) -> None:
    house, session, listening = await changed(tmp_path)
    (tmp_path / "project/a.py").write_text("mine = 1\n")
    await act(house, session, "resend", id="p2", files=True)
    rows = await house.completed(session, 3)
    assert contents(rows, "completed")[-1]["reason"] == "conflict" and not listening.heard
    assert (tmp_path / "project/a.py").read_text() == "mine = 1\n"
    (tmp_path / "project/a.py").write_text("one = 11\n")  # mended: once more
    await act(house, session, "retry", run_id="r3")
    rows = await house.completed(session, 4)
    check_log(rows)
    assert contents(rows, "completed")[-1]["outcome"] == "success" and listening.heard == [
        ["hi", "> hello", "make it eleven"]
    ]
    assert (tmp_path / "project/a.py").read_text() == "one = 1\n"
    await house.close()


async def test_rewinding_the_conversation_alone_needs_no_run(tmp_path: Path) -> None:
    house, session, listening = await changed(tmp_path)
    first_end = next(r.seq for r in await house.rows(session) if r.type == "completed")
    await act(house, session, "rewind", upto=first_end, files=False)
    assert (await house.sessions.get("owner", session)).status == "idle"
    await house.ask("and now?", session)
    await house.completed(session, 3)
    assert listening.heard == [["hi", "> hello", "and now?"]]
    assert (tmp_path / "project/a.py").read_text() == "one = 11\n"
    await house.close()


async def test_what_cannot_be_sent_anew(tmp_path: Path) -> None:
    hang = asyncio.Event()

    async def before(step: int) -> None:
        await hang.wait()

    house = await House.open(tmp_path, scripted(["x"], before=before), limits=Limits(prompt=100))
    session = await house.ask("q", id="p1")
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "running")
    for args, code in (
        ({"id": "p1"}, "invalid_field"),
        ({"id": "p9"}, "invalid_field"),
        ({"id": "p1", "text": " "}, "empty_prompt"),
        ({"id": "p1", "text": "x" * 101}, "too_large"),
        ({"id": "p1", "files": "yes"}, "invalid_field"),
    ):
        with pytest.raises(ReconveneError) as e:
            await act(house, session, "resend", **args)
        assert e.value.code == code, args
    hang.set()
    check_log(await house.completed(session))
    await house.close()


@pytest.mark.parametrize("forgotten", ["retry", "resend"])
async def test_control_an_action_that_is_forgotten_tells_the_model_what_was_taken_back(
    tmp_path: Path, forgotten: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = state_module._FOLDS["action"]

    def without(state: Any, row: Any, content: dict[str, Any]) -> None:
        if content["name"] != forgotten:
            fold(state, row, content)

    monkeypatch.setitem(state_module._FOLDS, "action", without)
    with pytest.raises(AssertionError):
        if forgotten == "retry":
            await test_a_failed_run_is_run_once_more(tmp_path, False)
        else:
            await test_a_prompt_is_edited_and_sent_anew(tmp_path, False)


# -- limits


LOOKING = [[("search", {"query": f"word{n}"})] for n in range(4)]


@pytest.mark.parametrize(
    ("limit", "said"),
    [({"run_tokens": 200}, "tokens"), ({"run_cost": 0.02}, "cost $0.02"), ({"run_time": 1e-9}, "worked for")],
    ids=["tokens", "cost", "time"],
)
async def test_bad121_a_limit_pauses_and_is_raised_after_a_restart(
    tmp_path: Path, limit: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cost(response: ModelResponse) -> None:
        response.usage.cost = Decimal("0.01")

    monkeypatch.setattr("pydantic_ai._agent_graph.fill_response_cost", cost)
    if "run_time" in limit:
        limit = {"run_time": 100.0}

        real = Journal.worked

        def worked(self: Journal) -> float:
            self._loaded -= 40.0  # whoever asks for the time finds that some has gone by
            return real(self)

        monkeypatch.setattr(Journal, "worked", worked)
    house = await House.open(tmp_path, scripted([*LOOKING, "done"]), limits=Limits(**limit))
    session = await house.ask("q")
    rows = await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    assert contents(rows, "error")[0]["code"] == "budget_exceeded" and said in contents(rows, "error")[0]["message"]
    steps = sum(r.type == "model" for r in rows)
    assert 0 < steps < 5
    while not contents(rows, "completed"):
        await house.restart()
        asked = len(contents(rows, "question"))
        [pending] = (await house.sessions.state(session)).pending
        await house.sessions.answer(ME, session, id=None, reply_to=pending, value="continue")
        rows = await house.until(
            session,
            lambda rows, asked=asked: (
                contents(rows, "completed")
                or (len(contents(rows, "question")) > asked and contents(rows, "run")[-1]["status"] == "waiting")
            ),
        )
    check_log(rows)
    assert contents(rows, "completed")[0]["text"] == "done" and sum(r.type == "model" for r in rows) == 5
    await house.close()


async def test_bad122_a_request_that_is_too_long_is_shortened_then_the_person_is_asked(tmp_path: Path) -> None:
    """The provider takes less than is known of it: older results are left out until it does."""
    sizes: list[int] = []
    most = [30_000]

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        from pydantic_ai.models.function import DeltaToolCall

        n = sum(isinstance(m, ModelResponse) for m in messages)
        sizes.append(size(messages))
        if sizes[-1] > most[0]:
            raise ModelHTTPError(400, "m", {"error": {"message": "maximum context length is 20000 tokens"}})
        if n < 8:
            yield {0: DeltaToolCall(name="read_file", json_args=f'{{"path": "f{n}.txt"}}', tool_call_id="c")}
        else:
            yield "done"

    files = {f"f{n}.txt": "".join(f"line {n} {i} is here\n" for i in range(600)) for n in range(8)}
    house = await House.open(
        tmp_path, FunctionModel(stream_function=stream), files=files, limits=Limits(context=60_000)
    )
    session = await house.ask("read them")
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["outcome"] == "success" and max(sizes) > most[0] > sizes[-1]
    assert sum(r.type == "model" for r in rows) == 9
    most[0] = 10
    await house.ask("and again", session)
    rows = await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    assert contents(rows, "error")[-1]["code"] == "context_full"
    most[0] = 10**9
    question = next(iter((await house.sessions.state(session)).pending))
    await house.sessions.answer(ME, session, id=None, reply_to=question, value="retry")
    rows = await house.completed(session, 2)
    assert contents(rows, "completed")[1]["outcome"] == "success"
    await house.close()


async def test_usage_says_how_full_the_context_is(tmp_path: Path) -> None:
    house = await House.open(tmp_path, scripted([*LOOKING[:1], "done"]), limits=Limits(context=50_000))
    rows = await house.completed(await house.ask("q"))
    first, second = contents(rows, "usage")
    assert first["context_limit"] == second["context_limit"] == 50_000
    assert all(0 < u["context_used"] < 200 for u in (first, second))
    assert second["input_tokens"] == first["input_tokens"] + second["step"]["input_tokens"]
    assert first["model"] == "offline" and first["step"]["output_tokens"] == first["output_tokens"]
    await house.close()
