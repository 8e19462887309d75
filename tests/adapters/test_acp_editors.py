"""The official ACP clients against `reconvene acp`, and one written by hand against `/acp`: each sees its server die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import threading
from typing import Any

import pytest
from acp import spawn_agent_process, text_block
from acp.schema import Implementation
from acp_editor import Editor as EditorByHand
from acp_editor import text
from real import PEERS, QUESTION, Place, node
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


class Editor:
    """Keeps what it is shown; `at_chunk` is called when the answer has so many pieces."""

    def __init__(self, at_chunk: int, then: Any) -> None:
        self.updates: list[Any] = []
        self._at, self._then = at_chunk, then

    def kinds(self, kind: str) -> list[Any]:
        return [u for u in self.updates if u.session_update == kind]

    @property
    def answer(self) -> str:
        return "".join(u.content.text for u in self.kinds("agent_message_chunk"))

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        self.updates.append(update)
        if self._then and len(self.kinds("agent_message_chunk")) == self._at:
            then, self._then = self._then, None
            then()

    def on_connect(self, connection: Any) -> None:
        pass


@pytest.mark.timeout(240)
async def test_the_python_library_talks_on_through_a_killed_server(place: Place) -> None:
    """The bridge sees nothing of how the answer ends: it has to ask for what it missed."""
    editor = Editor(4, lambda: place.finish_unseen(process.pid))
    command = place.command("acp")
    async with (
        asyncio.timeout(200),
        spawn_agent_process(editor, *command, env=place.environ) as (connection, process),
    ):
        hello = await connection.initialize(1, client_info=Implementation(name="test", version="1"))
        can = hello.agent_capabilities.session_capabilities
        assert hello.agent_capabilities.load_session and all((can.list, can.resume, can.close, can.delete, can.fork))
        session = await connection.new_session(cwd=str(place.root), mcp_servers=[])
        done = await connection.prompt(session_id=session.session_id, prompt=[text_block(QUESTION)])
        assert done.stop_reason == "end_turn" and editor._then is None
        assert "src/hub.py:2" in editor.answer and editor.answer.count("Also relevant") == 1
        calls = [u.tool_call_id for u in editor.kinds("tool_call")]
        assert calls and len(calls) == len(set(calls))
        assert not editor.kinds("user_message_chunk")  # an editor shows its own prompts itself

        # Everything again, as another editor that never saw it.
        seen = len(editor.updates)
        await connection.load_session(cwd=str(place.root), session_id=session.session_id, mcp_servers=[])
        again = editor.updates[seen:]
        assert [u.content.text for u in again if u.session_update == "user_message_chunk"] == [QUESTION]
        loaded = "".join(u.content.text for u in again if u.session_update == "agent_message_chunk")
        assert loaded.startswith("In **`Hub.sweep`**") and "broken off" not in loaded

        listed = await connection.list_sessions(cwd=str(place.root))
        assert session.session_id in [s.session_id for s in listed.sessions]
        forked = await connection.fork_session(session_id=session.session_id, cwd=str(place.root))
        await connection.set_session_mode(session_id=forked.session_id, mode_id="accept")
        resumed = await connection.resume_session(session_id=forked.session_id, cwd=str(place.root))
        assert resumed.modes.current_mode_id == "accept"
        await connection.close_session(session_id=forked.session_id)
        await connection._conn.send_request("session/delete", {"sessionId": forked.session_id})
        assert forked.session_id not in [s.session_id for s in (await connection.list_sessions()).sessions]
    assert process.returncode == 0


@pytest.mark.timeout(240)
def test_the_typescript_library_talks_on_through_a_killed_server_and_another_loads_it(place: Place) -> None:
    place.end()
    command = [node(), str(PEERS / "acp.mjs"), str(place.root), QUESTION, *place.command("acp")]
    lines: list[dict[str, Any]] = []
    killed = False
    with subprocess.Popen(command, env=place.environ, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        giving_up = threading.Timer(200, peer.kill)  # else a peer that hangs would hang us
        giving_up.start()
        for raw in peer.stdout:
            lines.append(json.loads(raw))
            if not killed and sum(u.get("sessionUpdate") == "agent_message_chunk" for u in lines) == 4:
                killed = True
                place.finish_unseen(lines[0]["bridge"])
        giving_up.cancel()
        assert peer.wait(60) == 0, lines[-3:]
    (at,) = [n for n, line in enumerate(lines) if "done" in line]
    (loaded,) = [n for n, line in enumerate(lines) if "loaded" in line]
    done = lines[at]
    assert killed and done["done"]["stopReason"] == "end_turn" and done["loadSession"]
    live, again = said(lines[:at]), said(lines[at:loaded])
    assert "src/hub.py:2" in live and live.count("Also relevant") == 1
    assert again and again in live  # what was struck when the server died is not in what is loaded
    prompts = [line for line in lines[at:loaded] if line.get("sessionUpdate") == "user_message_chunk"]
    assert [p["content"]["text"] for p in prompts] == [QUESTION]
    last = lines[-1]
    assert done["sessionId"] in last["listed"] and last["forked"] not in last["listed"]
    assert last["resumed"]["modes"]["currentModeId"] == "ask"


def said(updates: list[dict[str, Any]]) -> str:
    return "".join(u["content"]["text"] for u in updates if u.get("sessionUpdate") == "agent_message_chunk")


@pytest.mark.timeout(300)
async def test_an_editor_at_the_socket_goes_on_behind_its_cursor_when_the_server_comes_back(place: Place) -> None:
    """Nothing stands between: no bridge that would remember anything."""
    place.end()
    place.serve()
    me, cwd = "an-editor-by-hand", str(place.root)
    told: list[str] = []
    """What was shown up to the last cursor: what came after it comes again."""
    held: list[str] = []
    cursor = ""

    def show(updates: list[dict[str, Any]]) -> None:
        nonlocal cursor
        for update in updates:
            if update["sessionUpdate"] == "agent_message_chunk":
                held.append(update["content"]["text"])
            if at := (update.get("_meta") or {}).get("_reconvene/cursor"):
                cursor = at
                told.extend(held)
                held.clear()

    async def greeted(editor: EditorByHand) -> None:
        meta = {"_reconvene/client": me}
        await editor.call("initialize", protocolVersion=1, clientCapabilities={}, _meta=meta)

    def socket() -> connect:
        url, bearer = f"ws{place.url.removeprefix('http')}/acp", {"Authorization": f"Bearer {place.token}"}
        return connect(url, additional_headers=bearer, compression=None, proxy=None, close_timeout=1)

    async with asyncio.timeout(90), socket() as first:
        editor = EditorByHand(first)
        await greeted(editor)
        session = (await editor.call("session/new", cwd=cwd, mcpServers=[]))["sessionId"]
        asking = {"sessionId": session, "prompt": text(QUESTION), "_meta": {"_reconvene/id": f"{me}.1"}}
        await editor.send("session/prompt", **asking)
        await editor.next(lambda _: sum(u["sessionUpdate"] == "agent_message_chunk" for u in editor.updates) == 4)
        await asyncio.to_thread(place.finish_elsewhere)
        with contextlib.suppress(ConnectionClosed):  # on a machine that stood still meanwhile, all of it has come
            await editor.next(lambda m: "stopReason" in (m.get("result") or ()))
        show(editor.updates)
    assert cursor, "nothing was shown before the server died"
    async with asyncio.timeout(90), socket() as second:
        editor = EditorByHand(second)
        await greeted(editor)
        meta = {"_reconvene/replayFrom": cursor}
        await editor.call("session/resume", sessionId=session, cwd=cwd, mcpServers=[], _meta=meta)
        done = await editor.call("session/prompt", **asking)  # once more, and done once
        assert done["stopReason"] == "end_turn"
        held.clear()
        show(editor.updates)
        before = len(editor.seen)
        await editor.call("session/load", sessionId=session, cwd=cwd, mcpServers=[])
        again = [m["params"]["update"] for m in editor.seen[before:] if m.get("method") == "session/update"]
    live, loaded = "".join(told + held), said(again)
    assert "src/hub.py:2" in loaded and loaded in live and live.count("Also relevant") == 1
    prompts = [u["content"]["text"] for u in again if u["sessionUpdate"] == "user_message_chunk"]
    assert prompts == [QUESTION]
