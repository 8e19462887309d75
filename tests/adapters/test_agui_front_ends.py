"""The official AG-UI client through a killed server; interrupts, repetitions and refusals over plain HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from real import PEERS, QUESTION, Place, node
from serving import Serving, serving

from reconvene.protocol import events as ev


def test_the_official_client_sees_one_answer_over_two_servers(place: Place) -> None:
    place.serve()
    command = [node(), str(PEERS / "agui.mjs"), f"{place.url}/agui", place.token, "thread-of-a-front-end", QUESTION]
    lines: list[dict[str, Any]] = []
    killed = False
    with subprocess.Popen(command, env=place.environ, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        for raw in peer.stdout:
            lines.append(json.loads(raw))
            if not killed and sum(line.get("type") == "TEXT_MESSAGE_CONTENT" for line in lines) == 4:
                killed = True
                place.serve(place.kill(), pause_ms=0)
        assert peer.wait(60) == 0
    assert any("broke" in line for line in lines), "the server was not killed in the middle"
    done = lines[-1]
    answers = [m for m in done["done"] if m["role"] == "assistant" and m.get("content")]
    assert "src/hub.py:2" in answers[-1]["content"]
    assert "No language model is set" in answers[-1]["content"] and answers[-1]["content"].count("Also relevant") == 1
    calls = [line["toolCallId"] for line in lines if line.get("type") == "TOOL_CALL_START"]
    assert len(calls) == len(set(calls))
    assert sum(line.get("type") == "RUN_STARTED" for line in lines) == 1


def test_the_program_of_the_how_to_runs(place: Place) -> None:
    place.serve_if_needed()
    page = (Path(__file__).parents[2] / "docs/how-to/ag-ui.md").read_text("utf-8")
    (program,) = re.findall(r"```js\n(.*?)```", page, re.S)
    assert "http://localhost:8000" in program
    script = f"const token = {json.dumps(place.token)};\n{program.replace('http://localhost:8000', place.url)}"
    script += "\nprocess.stdout.write(JSON.stringify(agent.messages));"
    run = [node(), "--input-type=module", "--eval", script]
    done = subprocess.run(run, cwd=PEERS, env=place.environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-1000:]
    assert any(m["role"] == "assistant" and "src/hub.py:2" in (m.get("content") or "") for m in json.loads(done.stdout))


def run_input(run_id: str, **more: Any) -> dict[str, Any]:
    made = {
        "threadId": "t1",
        "runId": run_id,
        "messages": [],
        "tools": [],
        "context": [],
        "state": {},
        "forwardedProps": {},
    }
    return {**made, **more}


def asking(run_id: str, text: str) -> dict[str, Any]:
    return run_input(run_id, messages=[{"id": "m1", "role": "user", "content": text}])


def outs(body: bytes) -> list[dict[str, Any]]:
    """The events, without the cursors: where a chunk ends is chance."""
    found = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]
    return [{k: v for k, v in out.items() if k != "metadata"} for out in found]


async def session_of(server: Serving) -> str:
    return (await server.sessions.list("owner"))[0].id


async def played(server: Serving, *contents: ev.Content) -> None:
    await server.play(await session_of(server), "r1", *contents)


async def test_interrupts_are_answered_by_the_next_run_and_repetitions_change_nothing(tmp_path: Any) -> None:
    async with serving(tmp_path) as server:
        first = asyncio.create_task(server.http("POST", "/agui", asking("run-1", "What?")))
        while not await server.sessions.list("owner"):
            await asyncio.sleep(0.01)
        question = ev.Question(id="r1.ask:1", text="Which?", schema={"type": "string", "enum": ["a", "b"]})
        await played(server, ev.Run(status="running", attempt=1), question, ev.Run(status="waiting"))
        end = outs((await first).body)[-1]
        assert end["outcome"]["interrupts"][0]["id"] == "r1.ask:1"
        # A prompt in between is told what is open first.
        refused = await server.http("POST", "/agui", asking("run-2", "Something else"))
        assert refused.status == 422 or refused.status == 400, refused.body
        entry = {"interruptId": "r1.ask:1", "status": "resolved", "payload": "b"}
        second = asyncio.create_task(server.http("POST", "/agui", run_input("run-3", resume=[entry])))
        session_id = await session_of(server)
        while "r1.ask:1" not in (await server.sessions.state(session_id)).settled:
            await asyncio.sleep(0.01)
        await played(
            server, ev.Run(status="running", attempt=1), ev.Message(text="It is b."), ev.Completed(outcome="success")
        )
        answered = outs((await second).body)
        assert [o["delta"] for o in answered if o["type"] == "TEXT_MESSAGE_CONTENT"] == ["It is b."]
        assert answered[-1]["outcome"] == {"type": "success"}
        # Both requests once more: the same events, and nothing happens twice.
        assert outs((await server.http("POST", "/agui", asking("run-1", "What?"))).body)[-1] == end
        again = await server.http("POST", "/agui", run_input("run-3", resume=[entry]))
        assert outs(again.body) == answered
        assert len((await server.sessions.state(session_id)).runs) == 1
        cursor = [line[4:] for line in again.body.decode().splitlines() if line.startswith("id: ")][-1]
        late = await server.http("POST", "/agui", run_input("run-3", resume=[entry]), headers={"Last-Event-ID": cursor})
        assert outs(late.body) == []
        shown = outs((await server.http("POST", "/agui", run_input("run-4"))).body)
        assert [m["role"] for m in shown[1]["messages"]] == ["user", "assistant"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"{", "invalid_json", id="bad31-truncated"),
        pytest.param(b"[]", "invalid_field", id="bad32-array"),
        pytest.param(b'{"threadId":"t","threadId":"u"}', "invalid_json", id="bad35-duplicate"),
        pytest.param({"threadId": "t"}, "invalid_field", id="bad44-missing"),
        pytest.param(run_input("../x"), "invalid_field", id="bad49-run-id"),
        pytest.param(asking("r", "a\0b"), "invalid_field", id="bad38-nul"),
        pytest.param(asking("r", "  "), "empty_prompt", id="bad45-empty"),
        pytest.param(
            run_input("r", resume=[{"interruptId": "no", "status": "resolved", "payload": 1}]),
            "no_such_question",
            id="bad65-unknown-question",
        ),
    ],
)
async def test_bad_input_is_a_problem_and_nothing_is_begun(tmp_path: Any, body: Any, code: str) -> None:
    async with serving(tmp_path) as server:
        answer = await server.http("POST", "/agui", body)
        assert answer.json["code"] == code, answer.body
        assert await server.sessions.list("owner") == []
