"""Runs on several nodes: each is worked on once, goes on elsewhere when its node dies, and is seen everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from coding import agents, update
from house import ME, check_log, contents
from nodes import Node
from postgres import fresh_url
from reconvene.agents.edit_format import Edit, Replace, render
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from scripted import scripted

Join = Callable[..., Awaitable[Node]]
QUIET = 600.0
"""Seconds of takeover, for tests in which nobody is to be taken for dead."""


@pytest.fixture
async def join(tmp_path: Path) -> AsyncIterator[Join]:
    url = fresh_url()
    nodes: list[Node] = []

    async def join(name: str, model: Any, **more: Any) -> Node:
        node = await Node.join(tmp_path, name, url, model, **more)
        nodes.append(node)
        return node

    yield join
    for node in nodes:
        if not node.supervisor._draining:
            await node.close()


async def test_a_run_is_worked_on_by_one_node_and_seen_at_the_other(join):
    a = await join("a", scripted(["from a"]), takeover=QUIET)
    b = await join("b", scripted(["from b"]), takeover=QUIET)
    session = await b.ask("hello")
    rows = await b.completed(session)
    check_log(rows)
    assert a.supervisor.taken + b.supervisor.taken == 1
    assert await a.rows(session) == rows
    state = await a.sessions.state(session)
    assert state.runs["r1"].outcome == "success"


async def test_prompts_to_both_nodes_at_once_are_runs_of_their_own_in_one_order(join):
    a = await join("a", scripted(["one"] * 9), takeover=QUIET)
    b = await join("b", scripted(["one"] * 9), takeover=QUIET)
    session = await a.session()
    await asyncio.gather(
        *(
            node.sessions.submit(ME, session, id=f"{n}{i}", text=f"{n} {i}")
            for i in range(4)
            for n, node in (("a", a), ("b", b))
        )
    )
    rows = await a.completed(session, runs=8)
    check_log(rows)
    assert {r.run_id for r in rows if r.type == "prompt"} == {f"r{i}" for i in range(1, 9)}
    assert (await b.sessions.state(session)).status == "idle"


async def asked_and_answered_elsewhere(join: Join) -> tuple[Node, Node, str]:
    """A proposed change that waits for a person, on the node that has the code base; the other one has none."""
    change = render([Edit("a.py", (Replace(("one = 1",), ("one = 11",)),))])
    model = agents([update("x", "a.py"), "done"], [change])
    a = await join("a", model, files={"a.py": "one = 1\n"})
    b = await join("b", model, files={"a.py": "one = 1\n"})
    session = await b.ask("change it")
    rows = await b.until(
        session, lambda rows: contents(rows, "run")[-1:] and contents(rows, "run")[-1]["status"] == "waiting"
    )
    assert contents(rows, "diff")
    return a, b, session


async def test_a_run_that_waits_holds_no_job_and_goes_on_wherever_it_is_answered(join, tmp_path):
    a, b, session = await asked_and_answered_elsewhere(join)
    async with asyncio.timeout(60):
        while a.supervisor._held or b.supervisor._held:
            await asyncio.sleep(0.01)
    # Whoever proposed is gone: the other one has the contents that it kept.
    worker, other = (a, b) if a.supervisor.taken else (b, a)
    await worker.die()
    diff = contents(await other.rows(session), "diff")[0]
    await other.sessions.decide(ME, session, id=None, reply_to=diff["id"], verdict="accept")
    check_log(await other.completed(session))
    assert (tmp_path / "project" / "a.py").read_text() == "one = 11\n"


async def test_control_without_shared_contents_the_other_node_cannot_go_on(join, tmp_path, monkeypatch):
    async def nothing(self: Any, names: Any) -> None: ...

    monkeypatch.setattr("reconvene.runs.shared_contents.SharedContents.publish", nothing)
    with pytest.raises((AssertionError, TimeoutError)):
        async with asyncio.timeout(40):
            await test_a_run_that_waits_holds_no_job_and_goes_on_wherever_it_is_answered(join, tmp_path)


def slow(gate: asyncio.Event, begun: asyncio.Event) -> Any:
    """A model that begins to answer and goes on when the gate opens."""
    from pydantic_ai.models.function import FunctionModel

    async def stream(messages: Any, info: Any) -> AsyncIterator[str]:
        yield "a beginning"
        begun.set()
        await gate.wait()
        for n in range(20):  # for longer than pieces are gathered, so that some are written before the answer is whole
            yield f" and {n}"
            await asyncio.sleep(0.01)

    return FunctionModel(stream_function=stream, model_name="slow")


async def test_a_dead_nodes_run_goes_on_at_another(join):
    begun = asyncio.Event()
    a = await join("a", slow(asyncio.Event(), begun))
    session = await a.ask("hello")
    await asyncio.wait_for(begun.wait(), 60)
    b = await join("b", scripted(["an answer"]))
    await a.die()
    rows = await b.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["text"] == "an answer"
    assert [r["status"] for r in contents(rows, "run")].count("recovering") == 1


async def test_a_zombie_writes_nothing_and_stops(join):
    await zombie(join)


async def zombie(join: Join) -> None:
    """A node that says nothing for a while, as when it is cut off, and comes back when another has taken over."""
    gate, begun = asyncio.Event(), asyncio.Event()
    a = await join("a", slow(gate, begun))
    session = await a.ask("hello")
    await asyncio.wait_for(begun.wait(), 60)
    a.supervisor._serving.cancel()  # no beats any more, and it hears nothing, though it can still write
    await a.log.follower.stop()
    a_rows = len(await a.rows(session))
    b = await join("b", scripted(["from b"]))
    rows = await b.completed(session)
    gate.set()
    async with asyncio.timeout(60):
        while a.supervisor.active:
            await asyncio.sleep(0.01)
    await a.log.put("written", "everything before this")  # also what nobody waited for
    after = await b.rows(session)
    check_log(after)
    assert after == rows and a_rows < len(rows)
    assert contents(rows, "completed")[0]["text"] == "from b"


async def test_control_without_fences_the_zombie_writes(join, monkeypatch):
    monkeypatch.setattr("reconvene.log.decisions.Decisions.check", lambda self, fence: None)
    with pytest.raises(AssertionError):
        await zombie(join)


async def test_a_node_that_ends_gives_its_runs_back_at_once(join):
    begun = asyncio.Event()
    a = await join("a", slow(asyncio.Event(), begun), takeover=QUIET)
    session = await a.ask("hello")
    await asyncio.wait_for(begun.wait(), 60)
    b = await join("b", scripted(["from b"]), takeover=QUIET)
    await a.close()
    assert contents(await b.completed(session), "completed")[0]["text"] == "from b"


async def test_a_run_goes_to_a_node_that_has_its_code_base_and_a_session_that_nobody_has_says_so(join):
    a = await join("a", scripted(["from a", "again"]), takeover=QUIET)
    b = await join("b", scripted(["from b"]), serves=False, takeover=QUIET)
    session = await b.session(root="project")
    await b.ask("hello", session)
    assert contents(await b.completed(session), "completed")[0]["text"] == "from a"
    assert (a.supervisor.taken, b.supervisor.taken) == (1, 0)
    await a.close()
    async with asyncio.timeout(60):
        while b.sessions.elsewhere("project"):
            b.supervisor._news.set()
            await asyncio.sleep(0.01)
    with pytest.raises(ReconveneError) as caught:
        await b.ask("again", session)
    assert caught.value.code == "root_not_served"


async def test_a_run_is_stopped_from_the_other_node(join):
    begun = asyncio.Event()
    a = await join("a", slow(asyncio.Event(), begun), takeover=QUIET)
    b = await join("b", scripted([]), serves=False, takeover=QUIET)
    session = await a.ask("hello")
    await asyncio.wait_for(begun.wait(), 60)
    await b.sessions.cancel(ME, session, id=None)
    rows = await b.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["outcome"] == "cancelled"


async def test_one_owner_does_not_keep_others_waiting(join):
    """Ten runs of one and then one of another, on a node that works on one at a time: the other's is not the last."""
    from dataclasses import replace

    a = await join("a", scripted(["x"] * 20), takeover=QUIET, serves=False, limits=Limits(runs_of_node=1))
    order: list[str] = []
    a.sessions.listeners.append(lambda id, rows: order.extend(id for r in rows if r.type == "completed"))
    owners: dict[str, str] = {}
    a.sessions.elsewhere = lambda _root: "/"  # so that prompts are taken before anybody serves it
    a.roots.add(a.folder / "project")
    taking = a.supervisor.queue.take

    async def nothing(*_: Any) -> list[Any]:
        return []

    a.supervisor.queue.take = nothing  # type: ignore[method-assign]
    for n in range(11):
        who = replace(ME, owner="few" if n == 10 else "many")
        session = (await a.sessions.attach(who, session_id=None)).session.id
        owners[session] = who.owner
        await a.sessions.submit(who, session, id=None, text="hello")
    a.supervisor.queue.take = taking  # type: ignore[method-assign]
    a.supervisor._news.set()
    async with asyncio.timeout(40):
        while len(order) < 11:
            a.supervisor._news.set()
            await asyncio.sleep(0.01)
    assert [owners[s] for s in order].index("few") <= 2
