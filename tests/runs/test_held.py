"""What nobody waits for is in the log before anything that is made of it, and everything else before it is acted on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel

from house import House, check_log, contents
from reconvene.errors import ReconveneError
from reconvene.log.port import NewEvent, Row
from reconvene.runs.held import Held
from reconvene.runs.journal import Journal

READ = {"read_file": '{"path": "src/hub.py"}'}
PLAN = {"create_plan": '{"title": "The work", "steps": ["one", "two"]}'}
Step = dict[str, str] | str | None
"""Tool calls (name: arguments), an answer, or (None) a thought and nothing else, which is no answer."""


@pytest.fixture(autouse=True)
def _nothing_is_written_because_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.runs.held.PATIENCE", 3600.0)


class Watched:
    """A model that follows a script, and the keys that were in the log whenever it was asked."""

    def __init__(self, *script: Step) -> None:
        self.script = script
        self.committed: set[str] = set()
        self.seen: list[set[str]] = []
        self.model = FunctionModel(stream_function=self._stream, model_name="watched")

    def heard(self, _session: str, rows: tuple[Row, ...]) -> None:
        self.committed.update(r.key for r in rows if r.key)

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        step = sum(isinstance(m, ModelResponse) for m in messages)
        self.seen.append(set(self.committed))
        match self.script[step]:
            case str(text):
                yield text
            case None:
                yield {0: DeltaThinkingPart(content="Hm.")}
            case calls:
                for n, (name, args) in enumerate(calls.items()):
                    yield {n: DeltaToolCall(name=name, json_args=args, tool_call_id=f"call_{step}_{n}")}


async def played(folder: Path, watched: Watched) -> list[Row]:
    house = await House.open(folder, watched.model)
    try:
        house.sessions.listeners.append(watched.heard)
        return await house.completed(await house.ask("Look."))
    finally:
        await house.close()


def promises_kept(watched: Watched, rows: list[Row]) -> None:
    """The log has everything, in the order in which it was made; and had, whenever the model was asked, what must not be made twice."""
    check_log(rows)
    at = {r.key: r.seq for r in rows if r.key}
    for step, said in enumerate(watched.script):
        response = f"model:r1.{step}"
        before = [f"model:r1.{step - 1}"] if step else [next(k for k in at if k.startswith("map:"))]
        if step and isinstance(calls := watched.script[step - 1], dict):
            before += [f"return:r1.{step - 1}:call_{step - 1}_{n}" for n in range(len(calls))]
            before += [f"result:r1.{step - 1}.{n}" for n in range(len(calls))]
        assert all(at[key] < at[response] for key in before), (step, before)
        assert {f"model:r1.{n}" for n in range(step)} <= watched.seen[step], (
            f"asked for {step} before the log had {step - 1}"
        )
        if isinstance(said, dict) and "create_plan" in said:
            number = list(said).index("create_plan")
            assert f"return:r1.{step}:call_{step}_{number}" in watched.seen[step + 1], "a tool that does something"
    assert at[f"message:r1.{len(watched.script) - 1}.0"] < at["completed:r1"]
    assert contents(rows, "completed")[0]["outcome"] == "success"


SCRIPT: tuple[Step, ...] = (READ, {**READ, "search": '{"query": "idle"}'}, PLAN, {**READ, **PLAN}, None, "The answer.")


async def test_the_order_of_a_run(tmp_path: Path) -> None:
    watched = Watched(*SCRIPT)
    promises_kept(watched, await played(tmp_path, watched))
    assert "return:r1.0:call_0_0" not in watched.seen[1], "what was only looked up waits for what the model makes of it"


async def lost(self: Journal, events: Any, *, answer: bool = False) -> None:
    self._has(events)


def forgotten(self: Held, rows: Any, *, answer: bool = False, _add: Any = Held.add) -> None:
    _add(self, rows)


async def all_held(self: Journal, events: Any, *, changes: Any = None, _write: Any = Journal.write) -> None:
    await (_write(self, events, changes=changes) if changes else self.hold(events))


@pytest.mark.parametrize(
    ("what", "broken"),
    [
        ("reconvene.runs.journal.Journal.hold", lost),
        ("reconvene.runs.held.Held.add", forgotten),
        ("reconvene.runs.journal.Journal.write", all_held),
        ("reconvene.runs.durability.LOOKING", frozenset({"create_plan"})),
    ],
    ids=["held-rows-are-lost", "answers-are-held-too-long", "responses-are-held", "a-tool-that-does-something-is-held"],
)
async def test_control_a_broken_promise_is_noticed(
    what: str, broken: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what, broken)
    watched = Watched(*SCRIPT)
    with pytest.raises((AssertionError, KeyError, StopIteration)):
        promises_kept(watched, await played(tmp_path, watched))


async def test_what_is_held_is_shown_while_the_model_thinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.runs.held.PATIENCE", 0.0)
    go = asyncio.Event()

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        if not any(isinstance(m, ModelResponse) for m in messages):
            yield {0: DeltaToolCall(name="read_file", json_args=READ["read_file"], tool_call_id="call")}
            return
        await go.wait()
        yield "The answer."

    house = await House.open(tmp_path, FunctionModel(stream_function=stream))
    session = await house.ask("Look.")
    await house.until(session, lambda rows: any(r.type == "tool_result" for r in rows))
    go.set()
    check_log(await house.completed(session))
    await house.close()


async def test_what_the_store_refuses_for_now_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.runs.held.PATIENCE", 0.0)
    tried = asyncio.Event()

    def refuse(rows: list[NewEvent]) -> None:
        tried.set()
        raise ReconveneError("store_busy", "Not now.")

    held, rows = Held(refuse), [NewEvent("text", "{}"), NewEvent("message", "{}")]
    held.add(rows, answer=True)
    await tried.wait()
    assert held.take() == rows
    assert held.take() == []
    assert held.answer, "nobody has waited for the disk yet"


async def test_what_is_held_is_written_also_with_a_row_that_is_there_already(tmp_path: Path) -> None:
    """A write that was stopped after the log had taken it: the journal does not know of it, and writes it once more."""
    house = await House.open(tmp_path, Watched("Done.").model)
    session = await house.ask("Look.")
    await house.completed(session)
    journal = await Journal.load(house.sessions, session, "r1")
    row = {
        name: NewEvent("tool_return", "{}", "r1", key=name, public=False) for name in ("stopped", "looked up", "next")
    }
    await house.sessions.append_run(session, [row["stopped"]], fence=journal.fence)
    await journal.hold([row["looked up"]])
    await journal.write([row["stopped"], row["next"]])
    written = [r.key for r in await house.rows(session) if r.key in row]
    await house.close()
    assert written == ["stopped", "looked up", "next"]
