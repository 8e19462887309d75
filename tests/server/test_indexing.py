"""The index of a served code base over HTTP and on the pages: how far it is, pause, resume, rebuild; and an end in the middle of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from serving import Serving, hello, receive, send, serving

from example import FILES
from reconvene.server.lifecycle import Server


def project(folder: Path, more: int = 0) -> None:
    files = FILES | {f"many/part{i:04}.py": f"def part_{i}():\n    return {i}\n" for i in range(more)}
    for name, text in files.items():
        path = folder / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def states(server: Serving) -> list[dict[str, object]]:
    async with asyncio.timeout(30):
        while True:
            answer = await server.http("GET", "/api/indexes")
            if answer.status == 200 and (found := json.loads(answer.body)["indexes"]):
                return list(found)
            await asyncio.sleep(0.05)


async def until(server: Serving, phase: str) -> dict[str, object]:
    async with asyncio.timeout(30):
        while (state := (await states(server))[0])["phase"] != phase:
            await asyncio.sleep(0.05)
    return state


async def wish(server: Serving, do: str, status: int = 200) -> dict[str, object]:
    answer = await server.http("POST", "/api/indexes", {"do": do}, headers={"Content-Type": "application/json"})
    assert answer.status == status, answer.body
    return dict(json.loads(answer.body))


async def test_the_server_builds_what_it_serves_before_anybody_asks(tmp_path: Path) -> None:
    project(tmp_path)
    async with serving(tmp_path, kind=Server) as server:
        ready = await until(server, "ready")
        assert (ready["verified"], ready["partial"]) == (True, False)
        assert len(FILES) <= int(str(ready["files"])) <= len(FILES) + 1
        paused = await wish(server, "pause")
        assert paused["phase"] == "paused" and "paused" in str(paused["sentence"])
        await wish(server, "resume")
        await until(server, "ready")
        await wish(server, "rebuild")
        assert (await until(server, "ready"))["files"] == ready["files"]
        await wish(server, "explode", 400)


async def test_a_page_is_told_after_its_session_frame(tmp_path: Path) -> None:
    project(tmp_path)
    async with serving(tmp_path, kind=Server) as server:
        await until(server, "ready")
        async with server.connect() as socket:
            await send(socket, hello())
            first = json.loads(await socket.recv())
            assert first["type"] == "session"
            await receive(socket, "snapshot")
            await wish(server, "pause")
            told = await receive(socket, "notice", until=lambda f: f["content"]["details"]["phase"] == "paused")
            assert told["content"]["code"] == "index" and "paused" in told["content"]["message"]


@pytest.mark.parametrize("again", [False, True], ids=["first", "resumed"])
async def test_the_server_ends_at_once_while_it_reads(tmp_path: Path, again: bool) -> None:
    project(tmp_path, more=1500)
    for _ in range(1 + again):
        async with serving(tmp_path, kind=Server) as server:
            async with asyncio.timeout(30):
                while not (await states(server))[0]["files"]:
                    await asyncio.sleep(0.02)
            began = asyncio.get_running_loop().time()
            server.server.stop()
            await server.task
            assert asyncio.get_running_loop().time() - began < 2.0
