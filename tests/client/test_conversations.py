"""The recorded conversations of `tests/conformance` over real sockets: the whole client follows them to the recorded view."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from peer import Life, Peer, server
from reconvene.client.following import Following
from reconvene.client.link import Link
from reconvene.protocol.follower import Follower

FILES = sorted((Path(__file__).parents[1] / "conformance").glob("*.jsonl"))


def lives(path: Path) -> tuple[list[Life], dict[str, Any], list[Any]]:
    """One life of the server for each connection; the view at the end; what clients were seen to say."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    connections: list[list[dict[str, Any]]] = []
    for line in lines:
        if "connect" in line:
            connections.append([])
        if connections:
            connections[-1].append(line)
    said: list[Any] = []

    def life(script: list[dict[str, Any]], *, last: bool) -> Life:
        async def play(peer: Peer) -> None:
            hello = await peer.get()
            config = {"session_id": None, "cursor": None, **hello["config"]}
            said.append((config, script[0]["connect"]))
            for line in script[1:]:
                if frame := line.get("receive"):
                    if frame["type"] == "session":
                        quick = {"base_ms": 1, "cap_ms": 1, "spread_ms": 0}
                        frame = {**frame, "content": {**frame["content"], "retry": quick}}
                    await peer.send(frame)
            if last or any(line.get("outcome") == "gap" for line in script):
                await peer.rest()
            else:
                await peer.socket.close(4100)

        return play

    made = [life(script, last=script is connections[-1]) for script in connections]
    return made, next(line for line in reversed(lines) if "view" in line), said


async def follow(path: Path, follower: Follower) -> None:
    made, end, said = lives(path)
    news = asyncio.Event()
    link = Link(client={"id": "c1", "name": "test"}, follower=follower, random=lambda: 0.0)
    async with server(*made) as where, Following(where, link, lambda _: news.set()) as following:
        while len(said) < len(made) or follower.cursor != end["cursor"]:
            news.clear()
            if len(said) == len(made) and follower.cursor == end["cursor"]:
                break
            await following.until(news.wait())
    assert [config for config, _ in said] == [recorded for _, recorded in said]
    assert follower.view.to_json() == end["view"]


@pytest.mark.parametrize("path", FILES, ids=[p.stem for p in FILES])
async def test_a_recorded_conversation_over_sockets(path: Path) -> None:
    await asyncio.wait_for(follow(path, Follower()), 20)


class GoesOnAfterAGap(Follower):
    def receive(self, frame: Any) -> Any:
        outcome = super().receive(frame)
        self._gap = False
        return "dropped" if outcome == "gap" else outcome


async def test_mutation_a_client_that_does_not_close_at_a_gap_never_arrives() -> None:
    gaps = next(p for p in FILES if p.stem == "06-missing")
    with pytest.raises((TimeoutError, AssertionError)):
        await asyncio.wait_for(follow(gaps, GoesOnAfterAGap()), 0.5)
