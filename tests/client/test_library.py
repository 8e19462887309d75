"""The library against a real server that is killed in the middle: nothing is lost, nothing comes twice, nobody is told of it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine import Machine
from reconvene.client import AsyncReconvene, Event, Reconvene, ReconveneError
from reconvene.client.local import find
from reconvene.protocol.view import reduce


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.clean()


def kill(machine: Machine) -> None:
    server = find(machine.data_dir)
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    machine.until(lambda: find(machine.data_dir) is None)
    machine.speak_at_once()


DELTAS = ("text", "reasoning", "item_aborted")
"""Who was away while a text was written gets the finished one alone."""


def whole(events: list[Event]) -> list[tuple[int, str]]:
    return [(e.seq, e.type) for e in events if e.type not in DELTAS]


def logged(reconvene: Reconvene, session_id: str, *runs: str | None) -> list[tuple[int, str]]:
    page = reconvene.call("GET", f"/api/sessions/{session_id}/events?limit=1000")
    return [
        (e["seq"], e["type"]) for e in page["events"] if e["type"] not in DELTAS and (not runs or e["run_id"] in runs)
    ]


def test_an_answer_through_a_kill_of_the_server(machine: Machine) -> None:
    machine.speak_slowly()
    machine.serve()
    seen: list[Event] = []
    back = threading.Event()

    def begin_again() -> None:
        kill(machine)
        machine.serve()
        back.set()

    def on_event(event: Event) -> None:
        seen.append(event)
        if event.type == "tool_call" and not killer.is_alive() and not back.is_set():
            killer.start()

    killer = threading.Thread(target=begin_again)
    with Reconvene.local(machine.data_dir) as reconvene:
        session = reconvene.create(title="Killed")
        answer = session.ask("how are idle sessions removed?", on_event=on_event)
        killer.join()
        assert back.is_set()
        assert answer.outcome == "success", answer.reason
        assert "hub.py" in answer.text
        assert whole(seen) == logged(reconvene, session.id, answer.run_id)
        assert len({e.seq for e in seen}) == len(seen)
        assert seen[-1].type == "completed"
        again: list[Event] = []
        for event in (events := session.events()):
            again.append(event)
            if event.type == "completed":
                break
        events.close()
        log = reconvene.call("GET", f"/api/sessions/{session.id}/events?limit=1000")["events"]
        assert reduce(e.to_json() for e in again).to_json() == reduce(log).to_json()
        assert session.info().title == "Killed"


async def test_events_go_on_in_another_program(machine: Machine) -> None:
    machine.speak_slowly()
    await asyncio.to_thread(machine.serve)
    async with AsyncReconvene.local(machine.data_dir) as reconvene:
        session = await reconvene.create()
        asking = asyncio.create_task(session.ask("how are idle sessions removed?"))
        first: list[Event] = []
        async for event in session.events():
            first.append(event)
            if event.type == "tool_result":
                break
        killed = asyncio.to_thread(kill, machine)
        await killed
        await asyncio.to_thread(machine.serve)
        rest: list[Event] = []
        async for event in session.events(after=first[-1]):
            rest.append(event)
            if event.type == "completed":
                break
        answer = await asking
        assert answer.outcome == "success"
        page = await reconvene.call("GET", f"/api/sessions/{session.id}/events?limit=1000")
        log = [(e["seq"], e["type"]) for e in page["events"] if e["type"] not in DELTAS]
        assert whole([*first, *rest]) == log


def test_everything_else_that_can_be_done(machine: Machine) -> None:
    machine.serve()
    with Reconvene.local(machine.data_dir) as reconvene:
        me = reconvene.me()
        assert (me.model, [root.root for root in me.roots]) == ("offline", [str(machine.root)])
        session = reconvene.create(me.roots[0].name)
        receipt = session.prompt("what is a hub?")
        assert receipt.status == "accepted"
        answer = session.wait(receipt.run_id)
        assert answer.outcome == "success"
        assert session.cancel().status == "noop"
        assert session.change(title="About hubs", pinned=True).pinned
        fork = session.fork()
        assert fork.info().title == "About hubs (fork)"
        assert {s.session_id for s in reconvene.sessions()} == {session.id, fork.id}
        assert {hit.session_id for hit in reconvene.find("hub")} == {session.id, fork.id}
        fork.delete()
        assert [s.session_id for s in reconvene.sessions(archived=False)] == [session.id]
        with pytest.raises(ReconveneError) as gone:
            next(fork.events())
        assert gone.value.code == "no_such_session"
        with pytest.raises(ReconveneError) as refused:
            session.prompt(" ")
        assert refused.value.code == "empty_prompt"
        with pytest.raises(ReconveneError) as unknown:
            session.wait("r99")
        assert unknown.value.code == "no_such_run"


def test_a_server_that_stays_away_is_given_up_when_asked_to(tmp_path: Path) -> None:
    with Reconvene.local(tmp_path, patience=0.0) as reconvene:
        with pytest.raises(ReconveneError) as away:
            reconvene.me()
        assert away.value.code == "starting"
        with pytest.raises(ReconveneError):
            next(reconvene.session("s_" + "a" * 22).events())


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "http://x:port", ""])
def test_an_address_that_is_none_is_said(url: str) -> None:
    with pytest.raises(ReconveneError) as wrong:
        Reconvene(url, "secret")
    assert wrong.value.code == "invalid_field"
