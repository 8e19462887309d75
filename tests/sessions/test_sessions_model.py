"""Sessions against a model of fifty lines: whatever people, tabs, crashes and sweeps do in whatever order, both say the same."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from house import ME, House, check_log
from proof import report
from reconvene.agents.edit_format import Create, render
from reconvene.errors import ReconveneError
from reconvene.log.port import Row, SessionRow, Tombstone
from reconvene.sessions.rows import Receipt
from reconvene.sessions.sweeper import EMPTY_KEPT, Sweeper
from scripted import turn_of

RETENTION = 10 * 3600.0
LIMITS = {"steps": 0}
"""Steps taken so far, by all examples of a test."""


async def _model(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
    """`ask …`: a question, then an answer. `edit file-n`: a change that makes that file, then an answer."""
    prompt, step = turn_of(messages)
    if "answer with edits" in (info.instructions or ""):
        name = re.search(r"file-\d+", prompt)
        yield render([Create(f"{name.group() if name else 'lost'}.txt", ("made",))])
    elif step:
        yield "Done."
    elif prompt.startswith("edit"):
        yield {
            0: DeltaToolCall(name="update_code", json_args=json.dumps({"task": prompt, "files": []}), tool_call_id="c")
        }
    else:
        yield {0: DeltaToolCall(name="ask_user", json_args=json.dumps({"question": prompt}), tool_call_id="c")}


# -- the model


@dataclass
class Prompt:
    id: str
    text: str
    run: str
    outcome: str | None = None


@dataclass
class Session:
    """The first prompt without an outcome waits for a person; those behind it are queued."""

    prompts: list[Prompt] = field(default_factory=list)
    active_at: float = 0.0
    archived: bool = False
    deleted: bool = False

    @property
    def active(self) -> Prompt | None:
        return next((p for p in self.prompts if p.outcome is None), None)


@dataclass
class World:
    now: float = 0.0
    sessions: dict[str, Session] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)

    def submit(self, id: str, prompt: str, text: str) -> str:
        session = self.sessions[id]
        session.active_at, session.archived = self.now, False
        session.prompts.append(Prompt(prompt, text, f"r{len(session.prompts) + 1}"))
        return session.prompts[-1].run

    def settle(self, id: str, outcome: str, accept: bool = False) -> None:
        session = self.sessions[id]
        session.active_at = self.now
        assert session.active
        if accept:
            self.files.add(session.active.text.split()[1] + ".txt")
        session.active.outcome = outcome

    def sweep(self) -> None:
        for session in self.sessions.values():
            idle = self.now - session.active_at
            if session.deleted or session.active:
                continue
            if not session.prompts:
                session.deleted = idle > EMPTY_KEPT
            elif idle > RETENTION:
                session.deleted, session.archived = session.archived, True


# -- both


class Both(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="reconvene-model-"))
        self.runner = asyncio.Runner()
        self.world, self.n = World(), 0
        self.tabs: dict[str, list[tuple[int, str]]] = {}
        """What a second tab of each session has applied: (seq, type)."""
        self.sent: list[tuple[str, str, str, Receipt]] = []

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        LIMITS["steps"] += 1
        return self.runner.run(work)

    @initialize()
    def start(self) -> None:
        async def opened() -> House:
            model = FunctionModel(stream_function=_model, model_name="scripted")
            house = await House.open(self.folder, model, files={"a.txt": "a\n"}, retention=RETENTION)
            house.uptime._clock = lambda: self.world.now
            house.uptime._started = house.uptime._before = 0.0
            return house

        self.house: House = self.do(opened())

    def teardown(self) -> None:
        try:
            if hasattr(self, "house"):
                self.runner.run(self.house.close())
            self.runner.close()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def living(self) -> list[str]:
        return [id for id, s in self.world.sessions.items() if not s.deleted]

    def pick(self, data: st.DataObject, waiting: bool | None = None) -> str | None:
        ids = [i for i in self.living() if waiting is None or (self.world.sessions[i].active is not None) == waiting]
        return data.draw(st.sampled_from(ids)) if ids else None

    async def refused(self, work: Coroutine[Any, Any, Any]) -> str:
        try:
            await work
        except ReconveneError as e:
            return e.code
        return "taken"

    @rule()
    def new_session(self) -> None:
        id = self.do(self.house.session())
        self.world.sessions[id] = Session(active_at=self.world.now)
        self.tabs[id] = []

    @precondition(lambda self: self.living())
    @rule(data=st.data(), kind=st.sampled_from(["ask", "ask", "edit"]))
    def submit(self, data: st.DataObject, kind: str) -> None:
        id = self.pick(data)
        assert id
        self.n += 1
        prompt, text = f"p{self.n}", f"{kind} file-{self.n}"
        receipt = self.do(self.house.sessions.submit(ME, id, id=prompt, text=text))
        assert (receipt.status, receipt.run_id) == ("accepted", self.world.submit(id, prompt, text))
        self.sent.append((id, prompt, text, receipt))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), same=st.booleans())
    def submit_again(self, data: st.DataObject, same: bool) -> None:
        """The acknowledgement was lost, or another message has an id that was used."""
        id, prompt, text, first = data.draw(st.sampled_from(self.sent))
        again = self.house.sessions.submit(ME, id, id=prompt, text=text if same else "another")
        if self.world.sessions[id].deleted:
            assert self.do(self.refused(again)) == "no_such_session"
        elif same:
            receipt = self.do(again)
            assert (receipt.status, receipt.seq, receipt.run_id) == ("duplicate", first.seq, first.run_id)
        else:
            assert self.do(self.refused(again)) == "id_conflict"

    def pending(self, id: str) -> Any:
        state = self.do(self.house.sessions.state(id))
        (found,) = state.pending.values()
        return found

    @precondition(lambda self: any(self.world.sessions[i].active for i in self.living()))
    @rule(data=st.data(), yes=st.booleans(), tabs=st.integers(1, 2))
    def reply(self, data: st.DataObject, yes: bool, tabs: int) -> None:
        """Answer or decide, from one tab or from two at once: the first wins."""
        id = self.pick(data, waiting=True)
        assert id
        pending, sessions = self.pending(id), self.house.sessions

        async def reply(tab: int) -> str:
            if pending.kind == "diff":
                verdict: Any = "accept" if yes else "reject"
                return await self.refused(
                    sessions.decide(ME, id, id=f"d{self.n}.{tab}", reply_to=pending.id, verdict=verdict)
                )
            return await self.refused(sessions.answer(ME, id, id=f"a{self.n}.{tab}", reply_to=pending.id, value="this"))

        async def replies() -> list[str]:
            return sorted(await asyncio.gather(*(reply(tab) for tab in range(tabs))))

        self.n += 1
        late = "already_decided" if pending.kind == "diff" else "already_answered"
        assert self.do(replies()) == sorted(["taken", late][:tabs])
        self.world.settle(id, "success", accept=pending.kind == "diff" and yes)

    @precondition(lambda self: self.living())
    @rule(data=st.data())
    def reply_to_nothing(self, data: st.DataObject) -> None:
        id = self.pick(data)
        assert id
        sessions = self.house.sessions
        assert self.do(self.refused(sessions.answer(ME, id, id=None, reply_to="q", value="x"))) == "no_such_question"
        decided = sessions.decide(ME, id, id=None, reply_to="d", verdict="accept")
        assert self.do(self.refused(decided)) == "no_such_diff"

    @precondition(lambda self: self.living())
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        id = self.pick(data)
        assert id
        self.n += 1
        active = self.world.sessions[id].active
        receipt = self.do(self.house.sessions.cancel(ME, id, id=f"c{self.n}"))
        assert receipt.status == ("accepted" if active else "noop")
        if active:
            self.world.settle(id, "cancelled")
        again = self.do(self.house.sessions.cancel(ME, id, id=f"c{self.n}"))
        assert again.status == "duplicate", "sent again it stops no other run"

    @precondition(lambda self: self.living())
    @rule(data=st.data())
    def second_tab_comes_back(self, data: st.DataObject) -> None:
        id = self.pick(data)
        assert id
        at = self.tabs[id][-1][0] if self.tabs[id] else 0

        async def rows() -> tuple[str, list[Row]]:
            session = await self.house.log.session(id)
            assert isinstance(session, SessionRow)
            cursor = f"{session.epoch}:{at}:{await self.house.log.tag(id, at)}"
            try:
                attached = await self.house.sessions.attach(ME, session_id=id, cursor=cursor)
            except ReconveneError:
                attached = await self.house.sessions.attach(ME, session_id=id, cursor=str(session.cursor))
            return attached.mode, await self.house.log.read(id, at)

        mode, missed = self.do(rows())
        assert mode in ("resume", "snapshot")
        self.tabs[id] += [(r.seq, r.type) for r in missed]

    @rule()
    def crash(self) -> None:
        async def again() -> None:
            await self.house.uptime.save()
            await self.house.restart()
            self.house.uptime._clock = lambda: self.world.now
            self.house.uptime._started = self.house.uptime._before = 0.0

        self.do(again())

    @rule(hours=st.sampled_from([0.1, 4, 11]))
    def time_goes_by(self, hours: float) -> None:
        self.world.now += hours * 3600

    @rule()
    def sweep(self) -> None:
        self.do(self.agreed())  # it comes once a minute, not into the middle of a commit
        self.do(Sweeper(self.house.sessions).sweep())
        self.world.sweep()

    @invariant()
    def both_say_the_same(self) -> None:
        if hasattr(self, "house"):
            self.do(self.agreed())

    async def agreed(self) -> None:
        for id, session in self.world.sessions.items():
            found = await self.house.log.session(id)
            if session.deleted:
                assert isinstance(found, Tombstone), found
                continue
            rows = await self.house.until(id, lambda rows, s=session: as_wanted(rows, s))  # type: ignore[misc]
            check_log(rows)
            found = await self.house.log.session(id)
            assert isinstance(found, SessionRow)
            active = session.active
            assert (found.status, found.run_id) == (("waiting", active.run) if active else ("idle", None))
            assert found.archived == session.archived and found.head == len(rows)
            state = await self.house.sessions.state(id)
            assert [r.id for r in state.queue] == [
                p.run for p in session.prompts if p.outcome is None and p is not active
            ]
            assert [(r.seq, r.type) for r in rows][: len(self.tabs[id])] == self.tabs[id]
        made = {p.name for p in (self.folder / "project").iterdir()} - {"a.txt"}
        assert made == self.world.files


def as_wanted(rows: list[Row], session: Session) -> bool:
    """Whether the runs have got to where they stay until somebody does something."""
    ended = [(r.run_id, json.loads(r.content)["outcome"]) for r in rows if r.type == "completed"]
    if sorted(ended) != sorted((p.run, p.outcome) for p in session.prompts if p.outcome):
        return False
    waiting = [r.run_id for r in rows if r.type == "run" and json.loads(r.content)["status"] == "waiting"]
    last = [r for r in rows if r.type == "run" and json.loads(r.content)["status"] != "queued"]
    active = session.active
    return not active or (
        active.run in waiting and json.loads(last[-1].content)["status"] == "waiting" and last[-1].run_id == active.run
    )


def machine(examples: int, steps: int, **more: Any) -> None:
    LIMITS["steps"] = 0
    run_state_machine_as_test(
        Both,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )


@pytest.mark.timeout(240)
def test_sessions_are_as_their_model() -> None:
    machine(10, 15)


def forgets_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    from reconvene.log.sqlite import SqliteLog
    from reconvene.sessions.service import Sessions

    append = SqliteLog.append

    async def known(self: Any, command: Any) -> None:
        return None

    async def forgetful(self: Any, session_id: str, events: Any, *, command: Any = None, **rest: Any) -> Any:
        return await append(self, session_id, events, **rest)

    monkeypatch.setattr(Sessions, "_known", known)
    monkeypatch.setattr(SqliteLog, "append", forgetful)


def noticed(examples: int = 30, steps: int = 12) -> int:
    """Of steps, until something is not as the model has it."""
    with pytest.raises(Exception):  # noqa: B017  # whichever of the assertions it meets first
        machine(examples, steps, phases=(Phase.generate,), report_multiple_bugs=False)
    return LIMITS["steps"]


@pytest.mark.timeout(240)
def test_control_a_command_that_is_forgotten_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    forgets_commands(monkeypatch)
    assert noticed()


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("broken", ["commands_are_forgotten", "sweeps_nothing"])
def test_control_a_broken_defence_is_caught_by_the_model(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    if broken == "commands_are_forgotten":
        forgets_commands(monkeypatch)
    else:
        monkeypatch.setattr(Sweeper, "sweep", no_sweep)
    told = f"{broken}: noticed after {noticed(500, 30)} steps"
    report("Schedules: sessions and their model", control=told, seconds=time.monotonic() - began)


async def no_sweep(_self: Sweeper) -> None:
    """Nothing is freed or ended when its time has come."""


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_thousands_of_steps_of_sessions_are_as_their_model() -> None:
    began, cpu = time.monotonic(), time.process_time()
    examples = int(os.environ.get("EXAMPLES", "300"))
    machine(examples, 40)
    figure = "{sequences:,} sequences of submit, answer, decide, stop, reconnect, crash, tabs, sweep ({steps:,} steps): as the model"
    report(
        "Schedules: sessions and their model",
        figure,
        counts={"sequences": examples, "steps": LIMITS["steps"]},
        seconds=time.monotonic() - began,
        cpu=time.process_time() - cpu,
    )
