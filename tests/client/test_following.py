"""The client over real sockets, against servers that follow a script: cuts, silence, restarts, refusals."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from peer import SESSION, Peer, batch, server, session, snapshot
from reconvene.client.following import Address, Following, Lost
from reconvene.client.link import Link
from reconvene.errors import ReconveneError
from reconvene.protocol.follower import Follower


def link(**more: Any) -> Link:
    return Link(client={"id": "c1", "name": "test"}, random=lambda: 0.0, **more)


def at_once(**more: int) -> dict[str, Any]:
    return session(base_ms=1, cap_ms=1, **more)


async def test_a_prompt_whose_answer_was_lost_is_sent_again_with_its_id() -> None:
    seen: list[dict[str, Any]] = []

    async def loses(peer: Peer) -> None:
        seen.append(await peer.get())
        await peer.cut()

    async def keeps(peer: Peer) -> None:
        seen.append(frame := await peer.get())
        await peer.send(at_once(), snapshot("c0", synced=True))
        await peer.ack(frame, "duplicate")
        await peer.rest()

    async with server(loses, keeps) as where, Following(where, link()) as client:
        receipt = await client.submit({"type": "default", "content": "Why?"})
        assert receipt.status == "duplicate"
        assert seen[0] == seen[1]
        assert not client.link.outbox


async def test_it_resumes_where_it_was_after_a_cut_in_the_middle() -> None:
    async def first(peer: Peer) -> None:
        assert (await peer.get())["type"] == "hello"
        await peer.send(at_once(), snapshot("c0"), batch("c0", "c2", 1, 2))
        await peer.cut()

    async def second(peer: Peer) -> None:
        assert (await peer.get())["config"] == {"session_id": SESSION, "cursor": "c2"}
        await peer.send(at_once(), batch("c2", "c3", 3, synced=True))
        await peer.rest()

    happened: list[Any] = []
    async with server(first, second) as where, Following(where, link(), happened.append) as client:
        await client.synced()
        assert [e["seq"] for h in happened for e in getattr(h, "events", ())] == [1, 2, 3]
        assert client.connections == 2
        assert sum(isinstance(h, Lost) for h in happened) == 1


async def test_a_batch_that_does_not_join_on_is_not_applied() -> None:
    codes: list[int | None] = []

    async def skips(peer: Peer) -> None:
        await peer.get()
        await peer.send(at_once(), snapshot("c0"), batch("c5", "c6", 6))
        await peer.rest()
        codes.append(peer.socket.close_code)

    async def whole(peer: Peer) -> None:
        assert (await peer.get())["config"]["cursor"] == "c0"
        await peer.send(at_once(), batch("c0", "c6", 1, 6, synced=True))
        await peer.rest()

    async with server(skips, whole) as where, Following(where, link()) as client:
        await client.synced()
        assert [i["seq"] for i in client.link.follower.view.items.values()] == [1, 6]
        assert codes == [4002]


async def test_a_silent_server_is_left() -> None:
    codes: list[int | None] = []

    async def silent(peer: Peer) -> None:
        await peer.get()
        frame = at_once()
        frame["content"]["hb_ms"] = 10
        await peer.send(frame, snapshot("c0"))
        await peer.rest()
        codes.append(peer.socket.close_code)

    async def speaks(peer: Peer) -> None:
        await peer.get()
        await peer.send(at_once(), batch("c0", "c1", 1, synced=True))
        await peer.rest()

    async with server(silent, speaks) as where, Following(where, link(), margin=0.05) as client:
        await client.synced()
        assert codes == [4000]


async def test_a_heartbeat_keeps_it() -> None:
    enough = asyncio.Event()

    async def beats(peer: Peer) -> None:
        await peer.get()
        frame = at_once()
        frame["content"]["hb_ms"] = 10
        await peer.send(frame, snapshot("c0", synced=True))
        for _ in range(10):
            await asyncio.sleep(0.02)
            await peer.send({"type": "hb", "content": {"head": 0}})
        enough.set()
        await peer.rest()

    async with server(beats) as where, Following(where, link(), margin=0.1) as client:
        await enough.wait()
        assert client.connections == 1


async def test_held_back_frames_are_sent_again_on_the_same_connection() -> None:
    async def busy(peer: Peer) -> None:
        frame = await peer.get()
        refused = {"code": "rate_limited", "message": "Later.", "retryable": True, "details": {"retry_after": 0.01}}
        await peer.send(at_once(), snapshot("c0"), {"type": "nack", "reply_to": frame["id"], "content": refused})
        again = await peer.get()
        assert again["id"] == frame["id"]
        await peer.ack(again)
        await peer.rest()

    async with server(busy) as where, Following(where, link()) as client:
        assert (await client.submit({"type": "default", "content": "Why?"})).status == "accepted"


async def test_a_frame_is_sent_once_on_a_connection() -> None:
    got: list[str] = []

    async def counts(peer: Peer) -> None:
        got.append((await peer.get())["type"])
        await peer.send(at_once(), snapshot("c0", synced=True))
        frame = await peer.get()
        got.append(frame["type"])
        await peer.ack(frame)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.get(), 0.05)
        await peer.rest()

    async with server(counts) as where, Following(where, link()) as client:
        await client.synced()
        await client.submit({"type": "cancel", "content": {}})
        await asyncio.sleep(0.1)
    assert got == ["hello", "cancel"]


async def test_a_refusal_reaches_who_asked() -> None:
    async def refuses(peer: Peer) -> None:
        frame = await peer.get()
        content = {"code": "empty_prompt", "message": "Say something.", "retryable": False, "details": {}}
        await peer.send(at_once(), snapshot("c0"), {"type": "nack", "reply_to": frame["id"], "content": content})
        await peer.rest()

    async with server(refuses) as where, Following(where, link()) as client:
        with pytest.raises(ReconveneError, match="Say something"):
            await client.submit({"type": "default", "content": " "})


async def test_what_was_refused_can_be_submitted_again_on_the_same_connection() -> None:
    """With its id, as after an error that says that trying again may help."""

    async def not_yet(peer: Peer) -> None:
        frame = await peer.get()
        content = {"code": "root_not_served", "message": "Not yet.", "retryable": True, "details": {}}
        await peer.send(at_once(), snapshot("c0"), {"type": "nack", "reply_to": frame["id"], "content": content})
        again = await peer.get()
        assert again["id"] == frame["id"]
        await peer.ack(again)
        await peer.rest()

    async with server(not_yet) as where, Following(where, link()) as client:
        prompt = {"id": "p1", "type": "default", "content": "Why?"}
        with pytest.raises(ReconveneError, match="Not yet"):
            await client.submit(prompt)
        async with asyncio.timeout(20):
            assert (await client.submit(prompt)).status == "accepted"


async def test_after_1009_the_frame_is_failed_and_the_session_goes_on() -> None:
    async def too_big(peer: Peer) -> None:
        await peer.get()
        await peer.send(at_once(), snapshot("c0"))
        await peer.get()
        await peer.socket.close(1009)

    async def goes_on(peer: Peer) -> None:
        assert (await peer.get())["config"]["cursor"] == "c0"
        await peer.send(at_once(), batch("c0", "c1", 1, synced=True))
        await peer.rest()

    async with server(too_big, goes_on) as where, Following(where, link(follower=Follower(SESSION))) as client:
        with pytest.raises(ReconveneError, match="Shorten"):
            await client.submit({"type": "default", "content": "x" * 1000})
        await client.synced()


async def test_a_wrong_token_stops_it_and_everybody_who_waits() -> None:
    def refuse(connection: ServerConnection, request: Any) -> Any:
        assert request.headers["Authorization"] == "Bearer wrong"
        return connection.respond(HTTPStatus.UNAUTHORIZED, "no")

    async def never(_socket: ServerConnection) -> None:
        raise AssertionError

    async with serve(never, "127.0.0.1", 0, process_request=refuse) as listening:
        port = listening.sockets[0].getsockname()[1]

        async def where() -> Address:
            return Address(f"ws://127.0.0.1:{port}/ws", "wrong")

        async with Following(where, link()) as client:
            with pytest.raises(ReconveneError, match="401"):
                await client.submit({"type": "default", "content": "Why?"})
            with pytest.raises(ReconveneError, match="401"):
                await client.stopped()
            with pytest.raises(ReconveneError, match="401"):
                await client.synced()


async def test_a_refused_hello_stops_it() -> None:
    async def refuses(peer: Peer) -> None:
        await peer.get()
        content = {"code": "root_mismatch", "message": "Another root.", "retryable": False, "details": {}}
        await peer.send({"type": "nack", "reply_to": None, "content": content})
        await peer.rest()

    async with server(refuses) as where, Following(where, link(follower=Follower(SESSION))) as client:
        with pytest.raises(ReconveneError, match="Another root"):
            await client.synced()


async def test_it_waits_for_a_server_and_follows_it_to_another_port() -> None:
    asked = 0

    async def one(peer: Peer) -> None:
        await peer.get()
        await peer.send(at_once(), snapshot("c0"))
        await peer.socket.close(1012)

    async def two(peer: Peer) -> None:
        assert (await peer.get())["config"]["cursor"] == "c0"
        await peer.send(at_once(), batch("c0", "c1", 1, synced=True))
        await peer.rest()

    async with server(one) as first, server(two) as second:

        async def where() -> Address | None:
            nonlocal asked
            asked += 1
            return {1: None, 2: await first(), 3: None}.get(asked, await second())

        async with Following(where, link()) as client:
            await client.synced()
            assert client.connections == 2


async def test_drop_breaks_the_connection_and_it_resumes() -> None:
    async def life(peer: Peer) -> None:
        await peer.get()
        await peer.send(at_once(), snapshot("c0", synced=True))
        await peer.rest()

    async with server(life, life) as where, Following(where, link()) as client:
        await client.synced()
        await client.drop()
        while client.connections < 2:
            await asyncio.sleep(0.005)
        await client.synced()


async def test_mutation_without_an_outbox_the_prompt_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    opening = Link.opening

    def forgets(self: Link) -> list[dict[str, Any]]:
        frames = opening(self)
        self.outbox.clear()
        return frames

    monkeypatch.setattr(Link, "opening", forgets)
    with pytest.raises((AssertionError, TimeoutError)):
        async with asyncio.timeout(0.5):
            await test_a_prompt_whose_answer_was_lost_is_sent_again_with_its_id()
