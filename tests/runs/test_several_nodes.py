"""Runs on several nodes: each is worked on once, goes on elsewhere when its node dies, and is seen everywhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from coding import agents, update
from house import ME, check_log, contents
from nodes import Node
from postgres import fresh_url
from reconvene.agents.edit_format import Edit, Replace, render
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.log.port import Row
from reconvene.log.postgres import PostgresLog
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
    async with asyncio.timeout(60):
        while (await b.sessions.state(session)).status != "idle":  # it may not have been told yet of what another wrote
            await asyncio.sleep(0.01)


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


def slow(gate: asyncio.Event, begun: asyncio.Event, enough: asyncio.Event | None = None) -> Any:
    """A model that begins to answer and goes on when the gate opens: for a moment, or until it is `enough`."""
    from pydantic_ai.models.function import FunctionModel

    async def stream(messages: Any, info: Any) -> AsyncIterator[str]:
        yield "a beginning"
        begun.set()
        await gate.wait()
        n = 0
        # For longer than pieces are gathered, so that some are written before the answer is whole.
        while n < 20 if enough is None else not enough.is_set():
            yield f" and {n}"
            n += 1
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


async def taken_over(join: Join, model: Any, begun: asyncio.Event) -> tuple[Node, Node, str, list[Row]]:
    """A node says nothing for a while, as when it is cut off; another one takes its run over and ends it, and it knows nothing of that."""
    a = await join("a", model)
    session = await a.ask("hello")
    await asyncio.wait_for(begun.wait(), 60)
    a.supervisor._serving.cancel()  # no beats any more, and it hears nothing, though it can still write
    await a.log.follower.stop()
    before = len(await a.rows(session))
    b = await join("b", scripted(["from b"]))
    rows = await b.completed(session)
    assert contents(rows, "completed")[0]["text"] == "from b" and before < len(rows)
    return a, b, session, rows


async def test_a_zombie_writes_nothing_and_stops(join):
    gate, begun = asyncio.Event(), asyncio.Event()
    a, b, session, rows = await taken_over(join, slow(gate, begun), begun)
    gate.set()
    async with asyncio.timeout(60):
        while a.supervisor.active:
            await asyncio.sleep(0.01)
    await a.log.put("written", "everything before this")  # also what nobody waited for
    assert await b.rows(session) == rows


async def test_control_without_fences_the_zombie_writes(join, monkeypatch):
    """It goes on with its answer until some of it is in the log, however long that takes."""
    monkeypatch.setattr("reconvene.log.decisions.Decisions.check", lambda self, fence: None)
    gate, begun, enough = asyncio.Event(), asyncio.Event(), asyncio.Event()
    _, b, session, rows = await taken_over(join, slow(gate, begun, enough), begun)
    gate.set()
    while len(after := await b.rows(session)) <= len(rows):
        await asyncio.sleep(0.01)
    enough.set()
    assert after[: len(rows)] == rows
    with pytest.raises(AssertionError):
        check_log(after)


def deaf(begun: asyncio.Event, released: asyncio.Event) -> Any:
    """A model whose first answer does not end, also when it is told to; the next one is an answer."""
    from pydantic_ai.models.function import FunctionModel

    async def stream(messages: Any, info: Any) -> AsyncIterator[str]:
        if begun.is_set():
            yield "an answer"
            return
        yield "a beginning"
        begun.set()
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    return FunctionModel(stream_function=stream, model_name="deaf")


@pytest.fixture
async def given_again(join: Join, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Node, str]]:
    """A node whose run was another's for a moment and is its own again, while its attempt of before does not end."""
    for place in ("supervisor", "node"):
        monkeypatch.setattr(f"reconvene.runs.{place}.ENDS_WITHIN", 0.1)
    begun, released = asyncio.Event(), asyncio.Event()
    a = await join("a", deaf(begun, released))
    session = await a.ask("hello")
    await asyncio.wait_for(begun.wait(), 60)
    db = await a.log.address.connect()
    await db.execute("update pgqueuer set status = 'queued', queue_manager_id = null")
    await db.close()
    yield a, session
    released.set()
    async with asyncio.timeout(60):
        while any(task.get_name().startswith("run ") for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)
    check_log(await a.rows(session))


async def test_an_attempt_that_does_not_end_is_left_to_itself_and_the_run_goes_on(given_again):
    a, session = given_again
    rows = await a.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["text"] == "an answer"


async def test_control_who_waits_for_it_waits_for_ever(given_again, monkeypatch):
    monkeypatch.setattr("reconvene.runs.node.NodeSupervisor._abandon", lambda *_: None)
    a, session = given_again
    with pytest.raises(AssertionError, match="not reached"):
        await a.until(session, lambda rows: contents(rows, "completed"), patience=1.0)
    monkeypatch.undo()


async def test_a_node_begins_though_the_database_goes_away_in_that_moment(join, monkeypatch):
    asked = PostgresLog.sessions
    failing = [asyncpg.InterfaceError("connection is closed"), OSError("reset"), ReconveneError("store_error", "away")]

    async def sessions(self: PostgresLog, **more: Any) -> Any:
        if failing and "statuses" in more:
            raise failing.pop()
        return await asked(self, **more)

    monkeypatch.setattr(PostgresLog, "sessions", sessions)
    monkeypatch.setattr("reconvene.runs.node.LONGEST_PAUSE", 0.01)
    a = await join("a", scripted(["an answer"]))
    assert contents(await a.completed(await a.ask("hello")), "completed")[0]["text"] == "an answer"
    assert not failing


async def test_nobody_waits_for_the_queue_for_ever_and_a_connection_that_does_not_listen_is_not_kept(join, monkeypatch):
    a = await join("a", scripted([]), takeover=QUIET)
    supervisor = a.supervisor
    supervisor._serving.cancel()
    await asyncio.gather(supervisor._serving, return_exceptions=True)
    monkeypatch.setattr("reconvene.runs.node.QUEUE_TIME", 0.05)
    async with supervisor._using:
        with pytest.raises(TimeoutError):
            async with supervisor._queue():
                raise AssertionError("another has it")
    monkeypatch.undo()
    if supervisor._db is not None:
        supervisor._db.terminate()
    listen = supervisor.queue.listen

    async def cut(*_: Any) -> None:
        raise asyncio.CancelledError

    supervisor.queue.listen = cut  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await supervisor._connection()
    supervisor.queue.listen = listen  # type: ignore[method-assign]
    supervisor._news.clear()
    await (await supervisor._connection()).execute("select pg_notify($1, '')", supervisor.queue.channel)
    await asyncio.wait_for(supervisor._news.wait(), 60)


async def test_a_node_that_ends_gives_its_runs_back_at_once(join):
    begun = asyncio.Event()
    a = await join("a", slow(asyncio.Event(), begun), takeover=QUIET)
    session = await a.ask("hello")
    await asyncio.wait_for(begun.wait(), 60)
    b = await join("b", scripted(["from b"]), takeover=QUIET)
    await a.close()
    assert contents(await b.completed(session), "completed")[0]["text"] == "from b"


async def test_a_run_goes_to_a_node_that_has_its_code_base_and_a_session_that_nobody_has_says_so(join, monkeypatch):
    monkeypatch.setattr(
        "reconvene.runs.node.GIVE_BACK_TIME", 60.0
    )  # else a busy machine keeps a node that has left for a minute
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


@pytest.mark.parametrize("times", [3, 1])
async def test_a_node_that_is_stopped_in_a_statement_is_gone_at_once(join, monkeypatch, times):
    """PostgreSQL may stop the next statement of a connection in place of the one whose task was stopped. Control: said but once."""
    monkeypatch.setattr("reconvene.runs.node.GIVE_BACK_TIME", 60.0)
    monkeypatch.setattr("reconvene.runs.node.LEAVING", times)
    a = await join("a", scripted([]), takeover=QUIET)
    b = await join("b", scripted([]), serves=False, takeover=QUIET)
    leave, failed = a.supervisor.queue.leave, []

    async def stopped_once(db):
        if not failed:
            failed.append(db)
            await db.execute("select pg_cancel_backend(pg_backend_pid())")
        await leave(db)

    monkeypatch.setattr(a.supervisor.queue, "leave", stopped_once)
    await a.close()
    assert failed
    async with b.supervisor._queue() as db:
        nodes = [row["id"] for row in await db.fetch("select id from node")]
    assert (a.sessions.log.node in nodes) is (times == 1)


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
