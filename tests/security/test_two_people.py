"""Two people on one server: over every route, every frame and every other protocol, neither learns a word of the other's or changes it."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

from serving import Serving, hello, prompt, receive, send, serving

from postgres import fresh_url
from proof import report
from reconvene.log.port import NewEvent, SessionRow
from reconvene.log.postgres.statements import STATEMENTS
from reconvene.protocol import events as ev
from reconvene.protocol.frames import CLIENT_FRAMES
from reconvene.server.app import App
from reconvene.sessions.entrance import Entrance

PROOF = "Two people: every route and every frame"
MARK = "kumquat"
"""A word that only Ann says: in prompts, titles, searches, file contents and questions. Bob must never be sent it."""


class Town:
    """A server with Ann, who has a session full of the mark, and Bob, who wants it."""

    def __init__(self, server: Serving, ann: str, bob: str, session: str, forked: str) -> None:
        self.server, self.ann, self.bob, self.session, self.forked = server, ann, bob, session, forked

    @classmethod
    async def of(cls, server: Serving) -> Town:
        tokens = [(await server.http("POST", "/api/users", {"name": n})).json["token"] for n in ("Ann", "Bob")]
        ann = {"Authorization": f"Bearer {tokens[0]}"}
        async with server.connect(headers=ann) as socket:
            await send(socket, hello(client="page"))
            session = (await receive(socket, "session"))["content"]["session_id"]
            await send(socket, prompt("p-ann", f"Where is the {MARK}?"))
            await receive(socket, "ack")
        await server.play(session, "r1", ev.Question(id="q-ann", text=f"Which {MARK}?"))
        await server.append(session, NewEvent("searched", json.dumps({"query": MARK}), "r1", public=False))
        town = cls(server, tokens[0], tokens[1], session, "")
        town.forked = (await town.asked(tokens[0], "POST", f"/api/sessions/{session}/fork", {})).json["session_id"]
        await town.asked(tokens[0], "POST", f"/api/sessions/{session}/links", {})
        return town

    async def asked(self, token: str, method: str, path: str, body: object = None, **headers: str) -> Any:
        given = {"Authorization": f"Bearer {token}", **headers}
        return await self.server.http(method, path, body, headers=given, bearer=False)

    async def state(self) -> list[tuple[Any, ...]]:
        """What of Ann's may not change."""
        rows = [await self.server.sessions.log.session(id) for id in (self.session, self.forked)]
        return [(r.head, r.title, r.status, r.archived, r.pinned) if isinstance(r, SessionRow) else (r,) for r in rows]

    def leaks(self, what: object) -> Iterator[str]:
        text = what.decode("utf-8", "replace") if isinstance(what, bytes) else json.dumps(what)
        if MARK in text:
            yield text[:300]

    # -- the ways in

    async def over_http(self) -> tuple[int, list[str]]:
        """Every operation of the API's description, with each of Ann's sessions; (how many, what leaked)."""
        described = (await self.asked(self.bob, "GET", "/api/openapi.json")).json
        count, found = 0, []
        bodies = [
            None,
            {},
            {"title": "mine"},
            {"upto": 1},
            prompt("p-bob", "mine"),
            {"type": "answer", "id": "a-bob", "reply_to": "q-ann", "content": "x"},
        ]
        for path, operations in described["paths"].items():
            for method, operation in operations.items():
                for session in (self.session, self.forked):
                    at = path.replace("{session_id}", session)
                    at = re.sub(r"\{(\w+)\}", lambda m: {"name": "Ann", "hash": "0" * 40}.get(m[1], "1"), at)
                    asks = {
                        p["name"]: {
                            "session_id": session,
                            "q": MARK,
                            "name": MARK,
                            "query": "where",
                            "path": "main.py",
                        }.get(p["name"])
                        for p in operation.get("parameters", ())
                        if p["in"] == "query"
                    }
                    query = "&".join(f"{k}={quote(v)}" for k, v in asks.items() if v)
                    for body in bodies if method in ("post", "patch") else [None]:
                        if at in ("/api/stop", "/api/sign-out"):
                            continue
                        answer = await self.asked(self.bob, method.upper(), f"{at}?{query}" if query else at, body)
                        count += 1
                        said = answer.body.replace(quote(MARK).encode(), b"") if "/code/" in at else answer.body
                        echo = json.dumps(MARK)[1:-1].encode()
                        if "/code/" in at or "/find" in at:
                            said = said.replace(b'"name":"' + echo + b'"', b"").replace(b'"query":"' + echo + b'"', b"")
                        found += [f"{method} {at}: {leak}" for leak in self.leaks(said)]
                        if session in at and answer.status < 400:
                            found.append(f"{method} {at}: {answer.status}")
        return count, found

    async def over_the_socket(self) -> tuple[int, list[str]]:
        """Every frame there is, on a connection that asks for Ann's session and on one of Bob's own with Ann's ids in it."""
        frames: dict[str, dict[str, Any]] = {
            "default": prompt("p-ann", f"Where is the {'x' * 3}?"),
            "answer": {"type": "answer", "id": "n1", "reply_to": "q-ann", "content": "x"},
            "decision": {"type": "decision", "id": "n2", "reply_to": "q-ann", "content": {"verdict": "accept"}},
            "cancel": {"type": "cancel", "id": "n3", "content": {"run_id": "r1"}},
            "action": {"type": "action", "id": "n4", "content": {"name": "fork", "args": {"session_id": self.session}}},
            "ping": {"type": "ping", "content": {"t": 1}},
            "hello": hello(self.session),
        }
        assert set(frames) == set(CLIENT_FRAMES), "every frame is tried"
        count, found = 0, []
        head = await self.server.http("GET", "/api/protocol.json")
        assert head.status == 200
        cursor = str((await self.server.sessions.log.session(self.session)).cursor)  # type: ignore[union-attr]
        firsts: list[dict[str, Any]] = [
            hello(self.session, client="page"),
            hello(self.session, cursor),
            hello(self.forked, cursor),
            {"type": "default", "session_id": self.session, "content": ""},
            {"type": "question", "session_id": self.session, "content": "x"},
        ]
        for first in firsts:
            async with self.server.connect(headers={"Authorization": f"Bearer {self.bob}"}) as socket:
                await send(socket, first)
                said: list[dict[str, Any]] = []
                with contextlib.suppress(ConnectionClosed):
                    for frame in frames.values():
                        await send(
                            socket, frame if frame.get("id") in (None, "p-ann") else {**frame, "id": f"b{count}"}
                        )
                        count += 1
                    await send(socket, {"type": "ping", "content": {"t": 99}})
                    while not said or (said[-1]["type"], said[-1].get("content")) != ("pong", {"t": 99}):
                        said.append(await receive(socket))
                        if first["type"] in ("default", "question") and said[-1]["type"] == "error":
                            break  # a plain client is told so, and has no ping
                for frame in said:
                    found += [f"{first}: {leak}" for leak in self.leaks(frame)]
                    if frame.get("type") == "session" and frame["content"]["session_id"] in (self.session, self.forked):
                        found.append(f"{first}: attached")
        return count, found

    async def over_other_protocols(self) -> tuple[int, list[str]]:
        found, count = [], 0
        accept = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        calls: list[tuple[str, dict[str, Any]]] = [
            ("tools/call", {"name": "ask", "arguments": {"session_id": self.session, "wait": 0}}),
            ("tools/call", {"name": "ask", "arguments": {"session_id": self.session, "answer": "x", "wait": 0}}),
            ("tools/call", {"name": "ask", "arguments": {"session_id": self.session, "question": "x", "wait": 0}}),
            ("resources/read", {"uri": f"reconvene://sessions/{self.session}"}),
        ]
        for method, params in calls:
            answer = await self.asked(
                self.bob, "POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, **accept
            )
            count += 1
            found += [f"mcp {params}: {leak}" for leak in self.leaks(answer.body)]
        for thread in (self.session, self.forked):
            run = {
                "threadId": thread,
                "runId": f"run-{thread}",
                "messages": [],
                "tools": [],
                "context": [],
                "state": {},
                "forwardedProps": {},
            }
            answer = await self.asked(self.bob, "POST", "/agui", run, **accept)
            count += 1
            found += [f"agui: {leak}" for leak in self.leaks(answer.body)]
        url = f"ws://localhost:{self.server.port}/acp"
        async with connect(url, additional_headers={"Authorization": f"Bearer {self.bob}"}, proxy=None) as socket:
            requests: list[tuple[str, dict[str, Any]]] = [
                ("initialize", {"protocolVersion": 1}),
                ("session/list", {}),
                *(
                    (
                        name,
                        {
                            "sessionId": self.session,
                            "cwd": str(self.server.services.sessions.roots.all()[0].root),
                            "mcpServers": [],
                            **more,
                        },
                    )
                    for name, more in (
                        ("session/load", {}),
                        ("session/resume", {}),
                        ("session/fork", {}),
                        ("session/prompt", {"prompt": [{"type": "text", "text": "mine"}]}),
                        ("session/delete", {}),
                    )
                ),
            ]
            for id, (method, params) in enumerate(requests):
                await socket.send(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
                count += 1
                if method == "session/prompt":
                    continue  # answered when the run has ended, and here none is run: what counts is that nothing changes
                said: dict[str, Any] = {}
                while said.get("id") != id:
                    said = json.loads(await socket.recv())
                    found += [f"acp {method}: {leak}" for leak in self.leaks(said)]
                if params.get("sessionId") == self.session and "error" not in said:
                    found.append(f"acp {method}: done")
        return count, found


async def everything(tmp_path: Path, store: str = "sqlite") -> tuple[int, list[str]]:
    settings = {"database": SecretStr(fresh_url())} if store == "postgres" else {}
    async with serving(tmp_path, **settings) as server:
        town = await Town.of(server)
        before = await town.state()
        walks = [await town.over_the_socket(), await town.over_other_protocols(), await town.over_http()]
        found = [leak for _, leaks in walks for leak in leaks]
        if await town.state() != before:
            found.append(f"changed: {before} -> {await town.state()}")
        mine = (await town.asked(town.bob, "GET", "/api/sessions")).body
        found += [f"list: {leak}" for leak in town.leaks(mine)]
        kept = await server.sessions.log.read(town.session, 0)
        assert not kept or any(MARK in row.content for row in kept), "there was something to learn"
        assert len(await App(server.services).routes()) > 40
        return sum(count for count, _ in walks), found


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_neither_learns_or_changes_anything_of_the_other(tmp_path: Path, store: str) -> None:
    began = time.monotonic()
    count, found = await everything(tmp_path, store)
    assert count > 150, "the walk sees the whole API"
    assert not found, "\n".join(found[:20])
    figure = (
        "{count:,} requests and frames of one person about another's sessions, over every route, every frame, MCP, ACP and AG-UI, with "
        "the log in SQLite and in PostgreSQL: {leaks:,} words learnt or things changed"
    )
    report(PROOF, figure, counts={"count": count, "leaks": len(found)}, seconds=time.monotonic() - began)


async def test_control_a_search_for_sessions_that_forgets_whose_they_are_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find(self: Entrance, owner: str, session_id: str | None) -> Any:
        found = await self.log.session(session_id) if session_id is not None else None
        return (found, None) if isinstance(found, SessionRow) else (None, "unknown")

    monkeypatch.setattr(Entrance, "find", find)
    _, found = await everything(tmp_path)
    seen = len(found)
    assert {entry.split(" ")[0] for entry in found} >= {"get", "acp", "mcp"}, found
    assert any("attached" in entry for entry in found) and any(entry.startswith("changed") for entry in found)
    report(PROOF, control=f"a search for sessions that forgets whose they are: {seen:,} leaks and changes noticed")


async def test_control_a_list_in_postgresql_that_forgets_whose_they_are_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybodys = STATEMENTS["sessions"].replace("owner = $1", "true")
    assert everybodys != STATEMENTS["sessions"]
    monkeypatch.setitem(STATEMENTS, "sessions", everybodys)
    _, found = await everything(tmp_path, "postgres")
    assert any(entry.startswith("list: ") for entry in found), found
    report(PROOF, control=f"a list in PostgreSQL that forgets whose the sessions are: {len(found):,} leaks noticed")
