"""`/acp` itself: permission, questions, cancel, other clients' answers, and what is no message."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from acp_editor import Editor, text
from serving import Serving, serving
from websockets.asyncio.client import connect

from reconvene.protocol import events as ev
from reconvene.sessions.rows import Who

HUNK = "@@ -1,2 +1,2 @@\n def start() -> int:\n-    return 1\n+    return 2\n"


@contextlib.asynccontextmanager
async def editor(server: Serving, **capabilities: Any) -> AsyncIterator[tuple[Editor, str]]:
    url = f"ws://localhost:{server.port}/acp"
    async with connect(url, additional_headers=server.bearer, compression=None, proxy=None, close_timeout=1) as socket:
        made = Editor(socket)
        await made.call("initialize", protocolVersion=1, clientCapabilities=capabilities)
        new = await made.call("session/new", cwd=str(server.data_dir.parent / "project"), mcpServers=[])
        yield made, new["sessionId"]


def diff(server: Serving, *paths: str) -> ev.Diff:
    from reconvene.workspace.reading import blob_id

    base = blob_id((server.data_dir.parent / "project" / "main.py").read_bytes())
    files = [
        ev.FileDiff(
            path=path,
            op="edit" if path == "main.py" else "create",
            base_hash=base if path == "main.py" else None,
            new_hash="n",
            hunks=[ev.Hunk(id=f"h{n}", unified=HUNK if path == "main.py" else "@@ -0,0 +1 @@\n+x\n")],
        )
        for n, path in enumerate(paths)
    ]
    return ev.Diff(id="r1.d1", files=files)


async def begun(server: Serving, ed: Editor, session: str) -> int:
    id = await ed.send("session/prompt", sessionId=session, prompt=text("Change it"))
    while not (await server.sessions.state(session)).runs:
        await asyncio.sleep(0.01)
    await server.play(session, "r1", ev.Run(status="running", attempt=1))
    return id


async def settled(server: Serving, session: str, id: str) -> Any:
    async with asyncio.timeout(60):
        while id not in (await server.sessions.state(session)).settled:
            await asyncio.sleep(0.01)
    return (await server.sessions.state(session)).settled[id][0]


async def test_files_of_a_change_are_allowed_one_by_one_and_decided_together(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, editor(server) as (ed, session):
        prompt = await begun(server, ed, session)
        await server.play(session, "r1", diff(server, "main.py", "new.py"))
        first = await ed.asked("session/request_permission")
        second = await ed.asked("session/request_permission")
        assert first["params"]["toolCall"]["content"][0]["newText"] == "def start() -> int:\n    return 2\n"
        await ed.choose(first, "accept")
        assert "r1.d1" not in (await server.sessions.state(session)).settled
        await ed.choose(second, "reject")
        decided = await settled(server, session, "r1.d1")
        assert (decided["verdict"], decided["hunks"]) == ("accept", ["h0"])
        await server.play(session, "r1", ev.Completed(outcome="success"))
        done = await ed.next(lambda m: m.get("id") == prompt)
        assert done["result"]["stopReason"] == "end_turn"


async def test_accept_all_turns_the_mode_and_the_editor_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, editor(server) as (ed, session):
        await begun(server, ed, session)
        await server.play(session, "r1", diff(server, "main.py"))
        await ed.choose(await ed.asked("session/request_permission"), "accept_all")
        await ed.next(lambda m: (m.get("params") or {}).get("update", {}).get("sessionUpdate") == "current_mode_update")
        assert (await server.sessions.state(session)).edit_mode == "accept"
        assert (await settled(server, session, "r1.d1"))["verdict"] == "accept"


async def test_a_cancelled_permission_decides_nothing_and_another_client_may(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, editor(server) as (ed, session):
        await begun(server, ed, session)
        await server.play(session, "r1", diff(server, "main.py"))
        await ed.answer(await ed.asked("session/request_permission"), outcome={"outcome": "cancelled"})
        await ed.call("session/list")  # a round trip: the answer was taken
        assert "r1.d1" in (await server.sessions.state(session)).pending
        await server.sessions.decide(Who("owner", "page"), session, id=None, reply_to="r1.d1", verdict="reject")
        await ed.next(lambda m: (m.get("params") or {}).get("update", {}).get("status") == "failed")


@pytest.mark.parametrize("choice", ["once", "session", "no", "never"])
async def test_a_command_is_allowed_or_not_as_the_editors_person_says(tmp_path: Path, choice: str) -> None:
    async with serving(tmp_path) as server, editor(server, elicitation={"form": {}}) as (ed, session):
        await begun(server, ed, session)
        answers = {"type": "string", "enum": ["once", "session", "no", "never"]}
        await server.play(session, "r1", ev.Question(id="r1.leave:r1.1.c0", text="Run `make test`?", schema=answers))
        asked = await ed.asked("session/request_permission")
        assert asked["params"]["toolCall"]["toolCallId"] == "r1.1.c0", "it is the call itself that permission is for"
        assert [o["optionId"] for o in asked["params"]["options"]] == answers["enum"]
        await ed.choose(asked, choice)
        assert await settled(server, session, "r1.leave:r1.1.c0") == choice


async def test_a_question_is_a_form_where_there_are_forms(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, editor(server, elicitation={"form": {}}) as (ed, session):
        await begun(server, ed, session)
        await server.play(session, "r1", ev.Question(id="r1.ask:1", text="How many?", schema={"type": "integer"}))
        form = await ed.asked("elicitation/create")
        assert form["params"]["requestedSchema"]["properties"]["answer"]["type"] == "integer"
        await ed.answer(form, action="accept", content={"answer": 3})
        assert await settled(server, session, "r1.ask:1") == 3


async def test_without_forms_a_question_ends_the_turn_and_the_next_prompt_answers_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, editor(server) as (ed, session):
        prompt = await begun(server, ed, session)
        await server.play(session, "r1", ev.Question(id="r1.ask:1", text="What is it called?"))
        done = await ed.next(lambda m: m.get("id") == prompt)
        assert done["result"]["_meta"]["_reconvene/outcome"] == "waiting"
        assert any("What is it called?" in json.dumps(m) for m in ed.seen)
        second = await ed.send("session/prompt", sessionId=session, prompt=text("Hub"))
        assert await settled(server, session, "r1.ask:1") == "Hub"
        await server.play(session, "r1", ev.Completed(outcome="success"))
        assert (await ed.next(lambda m: m.get("id") == second))["result"]["stopReason"] == "end_turn"
        assert len((await server.sessions.state(session)).runs) == 1


async def test_cancel_ends_a_queued_turn_as_cancelled(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, editor(server) as (ed, session):
        prompt = await ed.send("session/prompt", sessionId=session, prompt=text("Never mind"))
        while not (await server.sessions.state(session)).runs:
            await asyncio.sleep(0.01)
        await ed.socket.send(
            json.dumps({"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": session}})
        )
        assert (await ed.next(lambda m: m.get("id") == prompt))["result"]["stopReason"] == "cancelled"


async def test_an_editor_that_comes_back_gets_what_it_missed_and_is_asked_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with editor(server) as (ed, session):
            await begun(server, ed, session)
            await server.play(session, "r1", ev.Text(attempt=1, text="One"), item_id="r1.1.0")
            one = await ed.next(lambda m: "One" in json.dumps(m))
            cursor = one["params"]["update"]["_meta"]["_reconvene/cursor"]
        await server.play(session, "r1", ev.Message(text="One two"), item_id="r1.1.0")
        await server.play(session, "r1", diff(server, "main.py"))
        async with editor(server) as (ed, _):
            root = str(tmp_path / "project")
            meta = {"_reconvene/replayFrom": cursor}
            await ed.call("session/resume", sessionId=session, cwd=root, mcpServers=[], _meta=meta)
            assert [c["content"]["text"] for c in ed.updates if c["sessionUpdate"] == "agent_message_chunk"] == [" two"]
            asked = [m for m in ed.seen if m.get("method") == "session/request_permission"]
            await ed.choose(asked[0] if asked else await ed.asked("session/request_permission"), "accept")
            assert (await settled(server, session, "r1.d1"))["verdict"] == "accept"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        pytest.param("{", -32700, id="bad31-truncated"),
        pytest.param("[]", -32600, id="bad32-array"),
        pytest.param('{"a":1,"a":2}', -32700, id="bad35-duplicate"),
        pytest.param('{"jsonrpc":"2.0","id":9,"method":"session/nothing"}', -32601, id="bad42-unknown-method"),
        pytest.param('{"jsonrpc":"2.0","id":9,"method":"session/prompt","params":{}}', -32602, id="bad44-missing"),
        pytest.param(
            '{"jsonrpc":"2.0","id":9,"method":"session/load","params":{"sessionId":"s_x","cwd":"/","mcpServers":[]}}',
            -32002,
            id="bad50-unknown-session",
        ),
        pytest.param(
            '{"jsonrpc":"2.0","id":9,"method":"session/new","params":{"cwd":"/etc","mcpServers":[]}}',
            -32603,
            id="bad71-root-not-served",
        ),
    ],
)
async def test_what_cannot_be_taken_is_answered_and_the_connection_goes_on(
    tmp_path: Path, message: str, code: int
) -> None:
    async with serving(tmp_path) as server, editor(server) as (ed, session):
        await ed.socket.send(message)
        refused = await ed.next(lambda m: "error" in m)
        assert refused["error"]["code"] == code, refused
        empty = await ed.call("session/prompt", sessionId=session, prompt=text(" "))
        assert empty["data"]["code"] == "empty_prompt"
        assert "sessions" in await ed.call("session/list")


async def test_before_initialize_nothing_is_done(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        url = f"ws://localhost:{server.port}/acp"
        async with connect(url, additional_headers=server.bearer, compression=None, proxy=None) as socket:
            refused = await Editor(socket).call("session/list")
            assert refused["code"] == -32600
