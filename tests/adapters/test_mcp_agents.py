"""The official MCP client, in both eras and over both transports, against a real server that is killed in the middle."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from real import QUESTION, Place

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


@pytest.mark.parametrize("era", [MODERN, LEGACY])
async def test_over_stdio_a_question_outlives_the_server(place: Place, era: str) -> None:
    told: list[str] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(message or "")
        if len(told) == 1:
            place.kill()

    async with asyncio.timeout(60), Client(stdio(place), mode=era) as client:
        await looks(client)
        result = await client.call_tool("ask", {"question": QUESTION}, progress_callback=progress)
        asked = result.structured_content
        assert asked["status"] == "done" and "src/hub.py:2" in asked["answer"], asked
        assert told, "no progress was told, so nothing was killed"
        again = (await client.call_tool("ask", {"session_id": asked["session_id"]})).structured_content
        assert again["answer"] == asked["answer"]
        session = await client.read_resource(f"reconvene://sessions/{asked['session_id']}")
        assert session.contents[0].text.count(f"> {QUESTION}") == 1  # asked once, however often it was sent


@pytest.mark.parametrize("era", [MODERN, LEGACY])
async def test_over_http_a_caller_that_died_picks_the_answer_up(place: Place, era: str) -> None:
    place.serve()
    headers = {"Authorization": f"Bearer {place.token}"}

    def connection() -> Client:
        http = httpx2.AsyncClient(headers=headers, trust_env=False, timeout=30)
        return Client(streamable_http_client(f"{place.url}/mcp", http_client=http), mode=era)

    async with asyncio.timeout(60):
        async with connection() as client:
            first = (await client.call_tool("ask", {"question": QUESTION, "wait": 0})).structured_content
            assert first["status"] == "working" and first["answer"] is None
        place.serve(port=place.kill())
        async with connection() as client:
            later = (await client.call_tool("ask", {"session_id": first["session_id"]})).structured_content
            assert later["status"] == "done" and "src/hub.py:2" in later["answer"]
            unknown = await client.call_tool("ask", {"session_id": "s_0123456789012345678901"})
            assert unknown.is_error and "no_such_session" in unknown.content[0].text


async def test_without_a_credential_or_from_elsewhere_there_is_no_mcp(place: Place) -> None:
    place.serve()
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    bearer = {"Authorization": f"Bearer {place.token}", "Accept": "application/json, text/event-stream"}
    async with httpx2.AsyncClient(trust_env=False) as http:
        assert (await http.post(f"{place.url}/mcp", json=body)).status_code == 401
        foreign = await http.post(f"{place.url}/mcp", json=body, headers={**bearer, "Origin": "http://evil.test"})
        assert foreign.status_code == 403
        assert (await http.post(f"{place.url}/mcp", json=body, headers=bearer)).status_code == 200
        assert (await http.get(f"{place.url}/mcp", headers=bearer)).status_code == 405


def test_lines_that_are_no_messages_are_answered_and_the_bridge_goes_on(place: Place) -> None:
    lines = [b"not json", b"[1]", b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{}}']
    with subprocess.Popen(
        place.command("mcp"), env=place.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"\n".join(lines) + b"\n")
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in lines]
        process.stdin.close()
        assert process.wait(10) == 0
    assert [a.get("error", {}).get("code") for a in answers] == [-32700, -32600, None]
    assert answers[2]["id"] == 7 and "result" in answers[2]
