"""The official ACP clients, Python's and TypeScript's, against `reconvene acp`, whose server is killed in the middle."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from typing import Any

import pytest
from acp import spawn_agent_process, text_block
from acp.schema import Implementation
from real import PEERS, QUESTION, Place, node


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


async def test_the_python_library_talks_on_through_a_killed_server(place: Place) -> None:
    editor = Editor(4, place.kill)
    command = place.command("acp")
    async with (
        asyncio.timeout(90),
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
                killed = bool(place.kill())
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
