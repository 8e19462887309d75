"""A long `ask` as a task of MCP's extension, with the official client: through a killed server, with questions, and refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_tasks import NAME, Tasks, cancel, get, update
from real import PEERS, QUESTION, Place, node
from serving import Serving, serving

from reconvene.adapters.mcp import tasks as ours
from reconvene.protocol import events as ev

MODERN = "2026-07-28"


async def unused(*_: Any) -> Any:
    raise AssertionError("asked through another way")


@contextlib.asynccontextmanager
async def connected(
    url: str, token: str, *tasks: Tasks, forms: bool = True, mode: str = MODERN
) -> AsyncIterator[Client]:
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30)
    shown = {"elicitation_callback": unused} if forms else {}
    made = Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode, extensions=tasks, **shown)
    async with asyncio.timeout(120), made as client:
        yield client


def to(server: Serving, *tasks: Tasks, **more: Any) -> contextlib.AbstractAsyncContextManager[Client]:
    return connected(f"http://localhost:{server.port}", server.token, *tasks, **more)


@pytest.mark.timeout(300)  # starts of Python under whatever else the machine does
async def test_over_stdio_a_task_outlives_the_server(place: Place) -> None:
    killed: list[int] = []

    async def kill(polls: int, _task: str) -> None:
        if polls == 1:
            killed.append(place.kill())

    peer = Tasks(kill)
    command = place.command("mcp")
    params = StdioServerParameters(command=command[0], args=command[1:], env=place.environ)
    made = Client(params, mode=MODERN, extensions=[peer], elicitation_callback=unused)
    async with asyncio.timeout(240), made as client:
        asked = (await client.call_tool("ask", {"question": QUESTION, "wait": 0})).structured_content
    assert killed and {t["taskId"] for t in peer.seen} == {peer.task}
    assert asked["status"] == "done" and "src/hub.py:2" in asked["answer"], asked
    # A caller that died: another one, over the other transport, with the task's id alone.
    async with connected(place.url, place.token, Tasks(), mode="auto") as client:
        assert NAME in (client.server_capabilities.extensions or {})
        again = await get(client.session, peer.task or "")
    assert again["status"] == "completed" and again["result"]["structuredContent"] == asked


@pytest.mark.timeout(300)
def test_the_typescript_packages_follow_a_task_through_a_killed_server_and_find_it_again(place: Place) -> None:
    command = [node(), str(PEERS / "tasks.mjs"), QUESTION, *place.command("mcp")]
    lines: list[dict[str, Any]] = []
    killed = False
    with subprocess.Popen(command, env=place.environ, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        giving_up = threading.Timer(240, peer.kill)  # else a peer that hangs would hang us
        giving_up.start()
        for raw in peer.stdout:
            lines.append(json.loads(raw))
            if not killed and lines[-1].get("status") == "working":
                killed = bool(place.kill())
        giving_up.cancel()
        assert peer.wait(60) == 0, lines
    assert killed and lines[0]["kind"] == "task" and lines[-3] == {"status": "completed"}, lines
    asked, again = lines[-2]["result"], lines[-1]["again"]
    assert asked["status"] == "done" and "src/hub.py:2" in asked["answer"], asked
    assert again == asked and lines[0]["task"] == f"{asked['session_id']}.r1"


async def playing(server: Serving, session: str, *contents: ev.Content) -> None:
    await server.play(session, "r1", *contents)


def session_of(task: str) -> str:
    session, _, run = task.rpartition(".")
    assert run == "r1"
    return session


async def test_a_question_of_ours_is_a_form_of_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.adapters.mcp.endpoint.SOON", 0.0)
    question = ev.Question(id="r1.ask:1", text="Which?", schema={"type": "string", "enum": ["a", "b"]})
    async with serving(tmp_path) as server:

        async def play(polls: int, task: str) -> None:
            session = session_of(task)
            if polls == 0:
                await playing(server, session, ev.Run(status="running", attempt=1), question, ev.Run(status="waiting"))
            if "r1.ask:1" in (await server.sessions.state(session)).settled and not done.is_set():
                done.set()
                await playing(server, session, ev.Message(text="It is b."), ev.Completed(outcome="success"))

        def answer(requests: dict[str, Any]) -> dict[str, Any]:
            [(key, request)] = requests.items()
            asked.append(request)
            return {key: {"action": "accept", "content": {"answer": "b"}}, "never-asked": {"action": "accept"}}

        done, asked = asyncio.Event(), list[Any]()
        peer = Tasks(play, answer)
        async with to(server, peer) as client:
            result = (await client.call_tool("ask", {"question": "What?"})).structured_content
            assert await update(
                client.session, peer.task or "", **{"r1.ask:1": {"action": "decline"}}
            )  # too late, and said nothing
        assert (result["status"], result["answer"]) == ("done", "It is b.")
        assert [t["status"] for t in peer.seen][:1] == ["input_required"] and peer.seen[-1]["status"] == "completed"
        assert asked[0]["method"] == "elicitation/create" and asked[0]["params"]["message"] == "Which?"
        assert asked[0]["params"]["requestedSchema"]["properties"]["answer"]["enum"] == ["a", "b"]
        assert peer.seen[-1]["ttlMs"] is None and peer.seen[-1]["createdAt"].endswith("Z")
        assert (await server.sessions.state(session_of(peer.task or ""))).settled["r1.ask:1"][0] == "b"


@pytest.mark.parametrize(
    "waiting",
    [
        pytest.param(ev.Confirmation(id="r1.limit", text="Go on?"), id="confirmation"),
        pytest.param(ev.Diff(id="r1.d1", files=[ev.FileDiff(path="a.py", op="create")]), id="diff"),
        pytest.param(ev.Question(id="r1.leave:c0", text="Run this?", schema={"type": "string"}), id="command"),
    ],
)
async def test_what_a_person_decides_is_no_form_and_cannot_be_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: Any
) -> None:
    monkeypatch.setattr("reconvene.adapters.mcp.endpoint.SOON", 0.0)
    async with serving(tmp_path) as server, to(server, Tasks()) as client:
        handle = await client.session.call_tool("ask", {"question": "Change it"}, allow_claimed=True)
        task: str = handle.task_id  # type: ignore[union-attr]
        session = session_of(task)
        await playing(server, session, ev.Run(status="running", attempt=1), waiting, ev.Run(status="waiting"))
        told = await get(client.session, task)
        # The official client opens links and shows forms at once: a link to the page, where a person is.
        [request] = told["inputRequests"].values()
        assert told["status"] == "input_required" and request["params"]["mode"] == "url"
        assert request["params"]["url"].endswith(f"/s/{session}")
        for value in ("once", True, "y", {"verdict": "accept"}):
            await update(client.session, task, **{waiting.id: {"action": "accept", "content": {"answer": value}}})
        assert waiting.id in (await server.sessions.state(session)).pending
        monkeypatch.setattr(ours, "answerable", lambda _pending: True)  # control: without the rule it would be answered
        if not isinstance(waiting, ev.Diff):
            value = True if isinstance(waiting, ev.Confirmation) else "once"
            await update(client.session, task, **{waiting.id: {"action": "accept", "content": {"answer": value}}})
            assert waiting.id not in (await server.sessions.state(session)).pending


async def test_who_did_not_ask_for_tasks_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.adapters.mcp.endpoint.SOON", 0.0)
    async with serving(tmp_path) as server:
        async with to(server) as client:
            plain = (await client.call_tool("ask", {"question": "What?", "wait": 0})).structured_content
            assert plain["status"] == "working"
            with pytest.raises(MCPError) as refused:
                await get(client.session, f"{plain['session_id']}.r1")
            assert refused.value.error.code == -32021
        async with to(server, Tasks(), forms=False) as client:  # could not be asked anything
            again = await client.call_tool("ask", {"session_id": plain["session_id"], "wait": 0})
            assert again.structured_content == plain
        async with to(server, Tasks()) as client:
            assert (await get(client.session, f"{plain['session_id']}.r1"))["status"] == "working"
            for task in (
                "",
                "r1",
                f"{plain['session_id']}.r9",
                "s_0123456789012345678901.r1",
                "x" * 300,
                f"{plain['session_id']}.",
            ):
                for call in (get, update, cancel):
                    with pytest.raises(MCPError) as unknown:
                        await call(client.session, task)
                    assert unknown.value.error.code == -32602, task
            await cancel(client.session, f"{plain['session_id']}.r1")
            assert (await get(client.session, f"{plain['session_id']}.r1"))["status"] == "cancelled"
            await cancel(client.session, f"{plain['session_id']}.r1")  # once more is no error
