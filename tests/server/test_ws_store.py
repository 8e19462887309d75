"""When the store cannot say or take something: nothing is claimed about sessions, nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from serving import closed, hello, prompt, receive, send, serving

from reconvene.errors import ReconveneError
from reconvene.protocol import events as ev


def failing(code: str) -> Any:
    async def fail(*_: Any, **__: Any) -> Any:
        raise ReconveneError(code, "The disk said no.")

    return fail


@pytest.mark.parametrize("code", ["store_error", "store_busy", "store_lost", "starting"])
@pytest.mark.parametrize(
    "first",
    [hello("s_" + "A" * 22), {"type": "default", "content": "x", "config": {"session_id": "s_" + "A" * 22}}],
    ids=["resumable", "plain"],
)
async def test_no_session_frame_while_the_server_cannot_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, first: dict[str, Any]
) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        monkeypatch.setattr(server.sessions.log, "session", failing(code))
        await send(socket, first)
        with pytest.raises(Exception, match="1013"):
            await receive(socket)
        assert socket.close_code == 1013


async def test_bad125_a_full_disk_refuses_prompts_and_reads_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as server:
        async with server.connect() as socket:
            await send(socket, prompt("p1", "Hello?", proto=1, config={}))
            session_id = (await receive(socket, "session"))["content"]["session_id"]
            await receive(socket, "ack")
        with monkeypatch.context() as full:
            full.setattr(server.sessions.log, "append", failing("disk_full"))
            async with server.connect() as socket:
                await send(socket, hello(session_id))
                assert len((await receive(socket, "snapshot"))["content"]["events"]) == 2
                await send(socket, prompt("p2", "More?"))
                nack = await receive(socket, "nack")
                assert (nack["reply_to"], nack["content"]["code"], nack["content"]["retryable"]) == (
                    "p2",
                    "disk_full",
                    True,
                )
                sent = await server.http("POST", f"/api/sessions/{session_id}/messages", prompt("p3", "More?"))
                assert (sent.status, sent.json["code"]) == (507, "disk_full")
                full.undo()  # it heals by itself
                await send(socket, prompt("p2", "More?"))
                assert (await receive(socket, "ack"))["reply_to"] == "p2"


async def test_a_command_that_meets_a_store_error_is_sent_again_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        await send(socket, hello())
        await receive(socket, "snapshot")
        monkeypatch.setattr(server.sessions.log, "append", failing("store_error"))
        await send(socket, prompt("p1", "Hello?"))
        with pytest.raises(Exception, match="1013"):  # no nack: the client keeps it and comes back
            await receive(socket)


async def test_what_cannot_be_read_ends_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as server:
        made = await server.http("POST", "/api/sessions", {})
        session_id = made.json["session_id"]
        await server.play(session_id, "r1", *(ev.Message(text=str(n)) for n in range(5)))
        for code, close in (("store_error", 1013), ("internal", 1011), ("no_such_session", 4300)):
            with monkeypatch.context() as broken:
                broken.setattr(server.sessions.feed, "read", failing(code))
                broken.setattr(server.sessions.feed, "at_hand", lambda *_: None)
                async with server.connect() as socket:
                    await send(socket, hello(session_id))
                    assert (await closed(socket))[0] == close


async def test_a_stuck_store_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"messages_per_second": 1000, "message_burst": 40}
    async with serving(tmp_path, limits=limits) as server, server.connect(max_queue=None) as socket:
        await send(socket, hello())
        await receive(socket, "snapshot")
        free = asyncio.Event()
        append = server.sessions.log.append

        async def stuck(*args: Any, **more: Any) -> Any:
            await free.wait()
            return await append(*args, **more)

        monkeypatch.setattr(server.sessions.log, "append", stuck)
        for n in range(80):
            await send(socket, prompt(f"p{n}", f"Prompt {n}"))
            await asyncio.sleep(0.002)
        assert (await receive(socket, "nack"))["content"]["code"] == "rate_limited"
        await (await socket.ping())  # the socket is read all the time
        connection = next(iter(server.services.connections._all))
        assert len(connection._inbox) <= 40
        free.set()
        acks = [(await receive(socket, "ack"))["reply_to"] for _ in range(41)]
        assert acks == [f"p{n}" for n in range(41)]


async def test_bad55_connecting_in_the_moment_of_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as server:
        session_id = (await server.http("POST", "/api/sessions", {})).json["session_id"]
        attach = server.sessions.attach
        once = [True]

        async def swept_meanwhile(*args: Any, **more: Any) -> Any:
            attached = await attach(*args, **more)
            if once and once.pop():
                assert await server.sessions.log.delete(session_id, reason="expired", at=1.0)
                server.sessions.forget(session_id, "expired")
            return attached

        monkeypatch.setattr(server.sessions, "attach", swept_meanwhile)
        async with server.connect() as socket:
            await send(socket, hello(session_id))
            content = (await receive(socket, "session"))["content"]
            assert (content["mode"], content["reason"]) == ("fresh", "expired")
            assert not server.sessions.memory.is_connected(session_id) and server.sessions.memory.is_connected(
                content["session_id"]
            )
            await send(socket, prompt("p1", "Hello?"))
            await receive(socket, "ack")
        async with asyncio.timeout(5):
            while server.sessions.memory.is_connected(content["session_id"]):
                await asyncio.sleep(0.01)


async def test_two_connections_with_one_first_prompt(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as one, server.connect() as two:
        first = prompt("p1", "Hello?", proto=1, config={})
        await asyncio.gather(send(one, first), send(two, first))
        ids = [(await receive(s, "session"))["content"]["session_id"] for s in (one, two)]
        acks = [await receive(s, "ack") for s in (one, two)]
        assert sorted(a["content"]["status"] for a in acks) == ["accepted", "duplicate"]
        if ids[0] != ids[1]:
            loser = (one, two)[[a["content"]["status"] for a in acks].index("duplicate")]
            assert (await closed(loser))[0] == 4200
        assert len(await server.sessions.list("owner")) == 1
