"""The official MCP client, in both eras and over both transports, against a real server that is killed in the middle."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from real import PEERS, QUESTION, Place, node
from serving import serving

from reconvene.cli.mcp_hello import hello

MODERN, LEGACY = "2026-07-28", "legacy"


def stdio(place: Place) -> StdioServerParameters:
    command = place.command("mcp")
    return StdioServerParameters(command=command[0], args=command[1:], env=place.environ)


def text(result: Any) -> str:
    assert not result.is_error, result
    return str(result.content[0].text)


async def looks(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"search", "repo_map", "symbol", "read_file", "ask"}
    found = text(await client.call_tool("search", {"query": "remove idle sessions"}))
    assert "src/hub.py" in found
    assert "def sweep" in text(await client.call_tool("read_file", {"path": "src/hub.py"}))
    assert "is defined in 1 place" in text(await client.call_tool("symbol", {"name": "Hub"}))
    assert "sweep" in text(await client.call_tool("repo_map", {"query": "sweep sessions"}))
    outside = await client.call_tool("read_file", {"path": "../data/owner.token"})
    assert outside.is_error and "path_outside_root" in outside.content[0].text
    file = await client.read_resource("reconvene://project/file/src/hub.py")
    assert "def sweep" in file.contents[0].text
    assert "hub.py" in (await client.read_resource("reconvene://map")).contents[0].text


@pytest.mark.timeout(300)  # starts of Python under whatever else the machine does
async def test_over_stdio_a_question_outlives_the_server_in_both_eras(place: Place) -> None:
    """An agent of each era has a question under way when the server dies; who had its answer already asks again."""
    left = {MODERN, LEGACY}
    async with asyncio.timeout(240):
        while left:
            left -= await asked_through_a_kill(place, left)
    bridge_answers_what_is_no_message(place)


async def asked_through_a_kill(place: Place, eras: set[str]) -> set[str]:
    """All ask at once, and the server is killed when all were told of progress. Returns those that had no answer then."""
    told, done, under_way = set[str](), set[str](), set[str]()
    ready = asyncio.Barrier(len(eras))

    async def agent(era: str) -> None:
        async def progress(_done: float, _total: float | None, _message: str | None) -> None:
            if era not in told:
                told.add(era)
                if told == eras:
                    under_way.update(eras - done)
                    place.kill()

        async with Client(stdio(place), mode=era) as client:
            await looks(client)
            await ready.wait()
            question = f"{QUESTION} The agent of {era} {place.kills} wants to know."
            result = await client.call_tool("ask", {"question": question}, progress_callback=progress)
            done.add(era)
            asked = result.structured_content
            assert asked["status"] == "done" and "src/hub.py:2" in asked["answer"], asked
            again = (await client.call_tool("ask", {"session_id": asked["session_id"]})).structured_content
            assert again["answer"] == asked["answer"]
            session = await client.read_resource(f"reconvene://sessions/{asked['session_id']}")
            assert session.contents[0].text.count(f"> {question}") == 1
            titles = [s["title"] for s in await asyncio.to_thread(sessions, place)]
            assert titles.count(question) == 1, "asked once, however often it was sent"

    async with asyncio.TaskGroup() as agents:
        for era in eras:
            agents.create_task(agent(era))
    assert told == eras, "no progress was told, so nothing was killed"
    return under_way


def bridge_answers_what_is_no_message(place: Place) -> None:
    lines = [
        b"not json",
        b"[1]",
        b'{"jsonrpc":"2.0","id":{},"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":["ping"]}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":[1]}',
        b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{}}',
    ]
    with subprocess.Popen(
        place.command("mcp"), env=place.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"\n".join(lines) + b"\n")
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in lines]
        process.stdin.close()
        assert process.wait(60) == 0
    assert [a.get("error", {}).get("code") for a in answers] == [-32700, *[-32600] * 4, None]
    assert answers[-1]["id"] == 7 and "result" in answers[-1]


async def test_over_http_a_caller_that_died_picks_the_answer_up(place: Place) -> None:
    place.serve_if_needed()
    headers = {"Authorization": f"Bearer {place.token}"}

    def connection(era: str) -> Client:
        http = httpx2.AsyncClient(headers=headers, trust_env=False, timeout=30)
        return Client(streamable_http_client(f"{place.url}/mcp", http_client=http), mode=era)

    async with asyncio.timeout(90):
        async with connection(MODERN) as client:
            first = (await client.call_tool("ask", {"question": QUESTION, "wait": 0})).structured_content
            assert first["status"] == "working" and first["answer"] is None
        place.serve(place.kill())
        for era in (LEGACY, MODERN):
            async with connection(era) as client:
                later = (await client.call_tool("ask", {"session_id": first["session_id"]})).structured_content
                assert later["status"] == "done" and "src/hub.py:2" in later["answer"]
                unknown = await client.call_tool("ask", {"session_id": "s_0123456789012345678901"})
                assert unknown.is_error and "no_such_session" in unknown.content[0].text


def inspect(place: Place, *call: str) -> subprocess.Popen[str]:
    """The inspector's command line, whose server is `reconvene mcp`."""
    inspector = [
        node(),
        str(PEERS / "node_modules/.bin/mcp-inspector"),
        "--cli",
        *place.command("mcp"),
        "--method",
        *call,
    ]
    return subprocess.Popen(inspector, env=place.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_inspector_gets_its_answer_from_a_server_that_was_killed_meanwhile(place: Place) -> None:
    place.serve_if_needed()
    question = f"{QUESTION} Say it to the inspector."
    with inspect(place, "tools/call", "--tool-name", "ask", "--tool-arg", f"question={question}") as asking:
        deadline = time.monotonic() + 90
        while not any(s["title"] == question and s["status"] == "running" for s in sessions(place)):
            assert asking.poll() is None and time.monotonic() < deadline, asking.communicate()
            time.sleep(0.02)
        place.kill()
        said, warned = asking.communicate(timeout=90)
    assert "src/hub.py:2" in said and '"done"' in said, (said[-500:], warned[-1000:])
    assert [s["title"] for s in sessions(place)].count(question) == 1
    # By itself it speaks the old era; here the new one, to a server that is there.
    with inspect(place, "resources/read", "--uri", "reconvene://map", "--protocol-era", "modern") as reading:
        assert "hub.py" in reading.communicate(timeout=60)[0]


def sessions(place: Place) -> list[dict[str, Any]]:
    request = urllib.request.Request(f"{place.url}/api/sessions", headers={"Authorization": f"Bearer {place.token}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)["sessions"]
    return found


GREETING = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "server/discover",
    "params": {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    },
}


async def test_the_bridge_greets_as_the_server_would(tmp_path: Path) -> None:
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": "server/discover"}
    async with serving(tmp_path) as server:
        said = (await server.http("POST", "/mcp", GREETING, headers=headers)).json
    assert hello(GREETING) == said
    for other in ({**GREETING, "method": "tools/list"}, {**GREETING, "params": {}}, {**GREETING, "params": None}):
        assert hello(other) is None, "the server answers that"


def test_a_client_is_greeted_before_there_is_a_server(tmp_path: Path) -> None:
    """Else a server that takes longer to start than the client waits would be taken for one of the old era."""
    place = Place(tmp_path)
    place.data.write_text("no folder, so no server can ever start")
    asking = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    with subprocess.Popen(
        place.command("mcp"), env=place.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        for message in (GREETING, asking):
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
        greeted, refused = (json.loads(process.stdout.readline()) for _ in range(2))
        process.stdin.close()
        assert process.wait(60) == 0
    assert greeted["result"]["supportedVersions"] == [MODERN]
    assert refused["id"] == 2 and "Choose another --data-dir" in refused["error"]["message"]


async def test_without_a_credential_or_from_elsewhere_there_is_no_mcp(tmp_path: Path) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    async with serving(tmp_path) as server:
        assert (await server.http("POST", "/mcp", body, headers=accept, bearer=False)).status == 401
        foreign = await server.http("POST", "/mcp", body, headers={**accept, "Origin": "http://evil.test"})
        assert foreign.status == 403
        assert (await server.http("POST", "/mcp", body, headers=accept)).status == 200
        assert (await server.http("GET", "/mcp")).status == 405
