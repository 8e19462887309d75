"""What a node tells of what others have: their code bases, and the contents that they wrote."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from serving import Serving, hello, prompt, receive, send, serving

from postgres import fresh_url
from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.protocol import events as ev
from reconvene.runs.node import NodeSupervisor
from reconvene.runs.shared_contents import SharedContents
from reconvene.server.lifecycle import Ready, Server
from reconvene.sessions.kept import HELD
from reconvene.sessions.rows import private
from reconvene.workspace.contents import Contents


class _WithoutTaking(Server):
    """It says what it has, and takes no run."""

    async def _start_runs(self, services: Any, supervisor: Any, app: Any) -> None:
        async def nothing(*_: Any) -> list[Any]:
            return []

        supervisor.queue.take = nothing
        await supervisor.start()


@contextlib.asynccontextmanager
async def two_nodes(tmp_path: Path) -> AsyncIterator[tuple[Serving, Serving]]:
    """One with the code base `project`, and one without any."""
    url = SecretStr(fresh_url())
    for name in "ab":
        (tmp_path / name).mkdir()
    async with serving(tmp_path / "a", kind=_WithoutTaking, database=url) as a:
        ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        settings = Settings(data_dir=tmp_path / "b" / "data", port=0, database=url)
        server = _WithoutTaking(settings, [], on_ready=ready.set_result)
        task = asyncio.create_task(server.run())
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        b = Serving(settings.data_dir, server, ready.result(), task)
        async with asyncio.timeout(30):
            while not b.sessions.all_elsewhere():
                b.services.runs._news.set()  # type: ignore[attr-defined]
                await asyncio.sleep(0.01)
        try:
            yield a, b
        finally:
            server.stop()
            await task


async def test_a_node_tells_what_others_serve_and_takes_prompts_for_it(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (a, b):
        root = str(tmp_path / "a" / "project")
        there = (await b.http("GET", "/api/roots")).json
        assert there["roots"] == [] and len(there["elsewhere"]) == 1
        (found,) = there["elsewhere"]
        assert (found["root"], found["name"]) == (root, "project") and len(found["nodes"]) == 1
        assert (await a.http("GET", "/api/roots")).json == {
            "roots": [{"root": root, "name": "project"}],
            "elsewhere": [],
        }
        assert (await b.http("GET", "/api/me")).json["roots"][0]["root"] == root
        for n, name in enumerate((None, "project", root)):
            async with b.connect() as socket:
                await send(socket, hello(root_directory=name) if name else hello())
                session = (await receive(socket, "session"))["content"]
                assert session["root"] in (root, "project")
                first = prompt(f"p{n}", "Where?")
                await send(socket, first | {"config": {"root_directory": name}} if name else first)
                await receive(socket, "ack")
            assert (await a.sessions.log.session(session["session_id"])).root == root  # type: ignore[union-attr]


async def patched_elsewhere(tmp_path: Path) -> tuple[Any, Any]:
    """The answers of both nodes about a change that one of them wrote: (patch, blob) of each."""
    async with two_nodes(tmp_path) as (a, b):
        session = (await a.http("POST", "/api/sessions", {})).json["session_id"]
        contents = Contents(a.data_dir / "contents")
        base, new = (contents.put(text) for text in (b"one = 1\n", b"one = 11\n"))
        await a.sessions.contents.publish([base, new])  # type: ignore[union-attr]
        await a.sessions.log.append(session, [private(HELD, {"contents": [base, new]}, run_id="r1")])
        file = ev.AppliedFile(path="a.py", base_hash=base, new_hash=new)
        await a.play(session, "r1", ev.Applied(diff_id="d1", files=[file]))
        paths = [f"/api/sessions/{session}/{what}" for what in ("patch", f"blobs/{new}")]
        answers = [[await node.http("GET", path) for path in paths] for node in (a, b)]
        at_a, at_b = ([(answer.status, answer.body) for answer in of_node] for of_node in answers)
        return at_a, at_b


async def test_a_patch_and_its_contents_can_be_had_at_a_node_that_did_not_write_them(tmp_path: Path) -> None:
    at_a, at_b = await patched_elsewhere(tmp_path)
    assert at_a == at_b and [status for status, _ in at_a] == [200, 200]
    assert b"+one = 11" in at_a[0][1] and b"one = 11" in at_a[1][1]


async def test_control_without_fetching_they_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetch(self: SharedContents, session_id: str) -> None: ...

    monkeypatch.setattr(SharedContents, "fetch", fetch)
    at_a, at_b = await patched_elsewhere(tmp_path)
    assert [status for status, _ in at_a] == [200, 200] and [status for status, _ in at_b] == [404, 404]


async def test_what_a_node_has_is_known_through_an_outage(tmp_path: Path) -> None:
    """When the database was away for a while every node was silent, and none of them is gone."""
    async with two_nodes(tmp_path) as (a, b):
        silent, other = a.services.runs, b.services.runs
        assert isinstance(silent, NodeSupervisor) and isinstance(other, NodeSupervisor) and silent._serving is not None
        silent._serving.cancel()
        await asyncio.gather(silent._serving, return_exceptions=True)
        db = await other.log.address.connect()
        try:
            await db.execute("update node set seen = now() - interval '40 seconds' where id = $1", silent.log.node)
            known = await other.queue.roots_elsewhere(db, other._remembered)
            control = await other.queue.roots_elsewhere(db, other.sessions.settings.takeover)
        finally:
            await db.close()
        assert (list(known), control) == ([str(tmp_path / "a" / "project")], {})


async def test_a_node_whose_database_went_back_begins_again(tmp_path: Path) -> None:
    async with serving(tmp_path, kind=_WithoutTaking, database=SecretStr(fresh_url())) as node:
        log: Any = node.sessions.log
        log.follower.on_gone_back(ReconveneError("draining", "The database is of an earlier moment."))
        with pytest.raises(ReconveneError, match="earlier moment"):
            await log.put("name", "value")
        async with asyncio.timeout(30):
            assert (await node.task).restart
