"""Read-only links: what they show, what they do not open, and how they end."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving import Answer, Serving, closed, hello, prompt, receive, send, serving
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from reconvene.protocol import events as ev
from reconvene.server.app import App
from reconvene.server.credentials import MOST_VIEWS
from reconvene.server.gate import Gate
from reconvene.server.views import MOST_OF_A_SESSION, open_to_viewers

SECRET = "what only its owner and viewers read"


async def begun(server: Serving, said: str = SECRET) -> str:
    """A session in which something was said."""
    async with server.connect() as socket:
        await send(socket, hello())
        session = (await receive(socket, "session"))["content"]["session_id"]
        await send(socket, prompt("p" + session, said))
        await receive(socket, "ack")
    return str(session)


async def shared(server: Serving, session: str, **wish: object) -> tuple[str, str]:
    """(id, path) of a new link."""
    answer = await server.http("POST", f"/api/sessions/{session}/links", wish)
    assert answer.status == 201, answer.body
    return answer.json["id"], answer.json["url"].partition(str(server.port))[2]


async def opened(server: Serving, path: str, cookie: str | None = None) -> Answer:
    headers = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site", **({"Cookie": cookie} if cookie else {})}
    return await server.http("GET", path, headers=headers, bearer=False)


def cookie_of(answer: Answer) -> str:
    return (answer.header("set-cookie") or "").partition(";")[0]


def looking(server: Serving, cookie: str) -> connect:
    own = f"http://localhost:{server.port}"
    return _socket(server, "/ws", {"Cookie": cookie, "Origin": own})


async def test_a_viewer_sees_the_session_live_and_changes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session = await begun(server)
        _, path = await shared(server, session)
        answer = await opened(server, path)
        assert answer.status == 200 and f"/s/{session}".encode() in answer.body, "goes on from a page of ours"
        cookie = cookie_of(answer)
        head = (await server.http("GET", f"/api/sessions/{session}")).json["head"]
        async with looking(server, cookie) as socket:
            await send(socket, hello(session, client="v"))
            assert (await receive(socket, "session"))["content"]["session_id"] == session
            await receive(socket, "batch", "snapshot", until=lambda f: SECRET in str(f))
            for frame in (
                prompt("p2", "mine"),
                {"type": "cancel", "id": "c1", "content": {}},
                {"type": "action", "id": "a1", "content": {"name": "rename", "args": {"title": "x"}}},
                {"type": "answer", "id": "n1", "reply_to": "q1", "content": "yes"},
                {"type": "decision", "id": "d1", "reply_to": "q1", "content": {"verdict": "accept"}},
            ):
                await send(socket, frame)
                refused = await receive(socket, "nack")
                assert refused["content"]["code"] == "read_only", frame
            await server.play(session, "r1", ev.Action(name="note", args={"text": "it goes on"}, by="x"))
            await receive(socket, "batch", until=lambda f: "it goes on" in str(f))
        after = (await server.http("GET", f"/api/sessions/{session}")).json
        assert after["head"] == head + 1 and after["title"] == SECRET
        for first in (
            prompt("p3", "x", proto=1, config={"session_id": session}),
            hello(),
            {"type": "default", "content": "x"},
        ):
            async with looking(server, cookie) as socket:
                await send(socket, first)
                told = str(await receive(socket)) if first["type"] == "default" else str(await closed(socket))
                assert "read_only" in told or "4403" in told, first
        assert len((await server.http("GET", "/api/sessions")).json["sessions"]) == 1


async def test_a_viewer_reads_over_http_and_nothing_else_is_there(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session, other = await begun(server), await begun(server, "another matter")
        _, path = await shared(server, session)
        cookie = {"Cookie": cookie_of(await opened(server, path))}

        async def asked(path: str, method: str = "GET", body: object = None) -> Answer:
            own = (
                {"Origin": f"http://localhost:{server.port}", "Sec-Fetch-Site": "same-origin"}
                if method != "GET"
                else {}
            )
            return await server.http(method, path, body, headers={**cookie, **own}, bearer=False)

        me = (await asked("/api/me")).json
        assert (me["role"], me["views"], me["roots"]) == ("viewer", [session], [])
        assert [s["session_id"] for s in (await asked("/api/sessions")).json["sessions"]] == [session]
        assert SECRET.encode() in (await asked(f"/api/sessions/{session}/events")).body
        assert (await asked(f"/api/sessions/{session}")).status == 200
        assert (await asked(f"/api/sessions/{other}")).status == 403
        routes = await walk(server)
        refused = 0
        for method, route in routes:
            route = (
                route.replace("{session_id}", session)
                .replace("{hash}", "0" * 40)
                .replace("{id}", "1")
                .replace("{name}", "a")
            )
            if open_to_viewers(method, route, frozenset({session})) or route in (
                "/sign-in",
                "/healthz",
                "/readyz",
                "/shared",
                "/ws",
            ):
                continue
            if route.startswith("/sign-in"):
                continue
            answer = await asked(route, method, {} if method != "GET" else None)
            assert answer.status == 403, (method, route, answer.status)
            refused += 1
        assert refused > 25, "the walk sees the whole API"
        for path in ("/acp", "/other"):
            with pytest.raises(InvalidStatus) as stopped:
                async with _socket(server, path, cookie):
                    pass
            assert stopped.value.response.status_code == 403


def _socket(server: Serving, path: str, headers: dict[str, str]) -> connect:
    return connect(f"ws://localhost:{server.port}{path}", additional_headers=headers, proxy=None)


async def walk(server: Serving) -> list[tuple[str, str]]:
    return [(method, path) for kind, method, path in await App(server.services).routes() if kind == "http"]


async def test_a_revoked_link_ends_what_is_open_and_opens_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session = await begun(server)
        id, path = await shared(server, session, days=None)
        cookie = cookie_of(await opened(server, path))
        links = (await server.http("GET", f"/api/sessions/{session}/links")).json["links"]
        assert [(one["id"], one["left"]) for one in links] == [(id, None)] and "t=" not in str(links)
        async with looking(server, cookie) as socket:
            await send(socket, hello(session, client="v"))
            await receive(socket, "session")
            assert (await server.http("DELETE", f"/api/sessions/{session}/links/{id}")).status == 204
            assert (await closed(socket))[0] == 4401
        assert (await server.http("GET", "/api/me", headers={"Cookie": cookie}, bearer=False)).status == 401
        again = await opened(server, path)
        assert again.status == 403 and b"revoked" in again.body
        assert (await server.http("DELETE", f"/api/sessions/{session}/links/{id}")).status == 404


async def test_a_link_ends_with_its_time_and_with_its_session(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session = await begun(server)
        _, short = await shared(server, session, days=1)
        _, long = await shared(server, session, days=None)
        views = server.services.credentials.views
        now = server.sessions.uptime.now()
        views._uptime = lambda: now + 86401
        assert (await opened(server, short)).status == 403 and (await opened(server, long)).status == 200
        await server.http("DELETE", f"/api/sessions/{session}")
        assert (await opened(server, long)).status == 403
        await server.services.credentials.views.settled()
        assert not await server.sessions.log.scan("view:")


async def test_who_signed_in_and_has_a_link_keeps_both(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session = await begun(server)
        paths = [(await shared(server, session))[1] for _ in range(MOST_VIEWS + 1)]
        token = (await server.http("POST", "/api/users", {"name": "Ann"})).json["token"]
        own = {"Origin": f"http://localhost:{server.port}"}
        ann = cookie_of(await server.http("POST", "/sign-in", f"token={token}".encode(), headers=own, bearer=False))
        cookie = ann
        for path in paths:
            cookie = f"{ann}; {cookie_of(await opened(server, path, cookie))}"
        assert cookie.count(".") == MOST_VIEWS - 1, "of more links the oldest is forgotten"
        me = (await server.http("GET", "/api/me", headers={"Cookie": cookie}, bearer=False)).json
        assert me["role"] == "user" and session in me["views"]
        assert (
            await server.http("GET", f"/api/sessions/{session}", headers={"Cookie": cookie}, bearer=False)
        ).status == 200
        change = {"Cookie": cookie, **own, "Sec-Fetch-Site": "same-origin"}
        for method, body in (("PATCH", {"title": "mine"}), ("DELETE", None)):
            assert (
                await server.http(method, f"/api/sessions/{session}", body, headers=change, bearer=False)
            ).status == 404
        async with looking(server, cookie) as socket:
            await send(socket, hello(session))
            await receive(socket, "session")
            await send(socket, prompt("p9", "x"))
            assert (await receive(socket, "nack"))["content"]["code"] == "read_only"


async def test_bad_wishes(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session = await begun(server)
        for wish in ({"days": 0}, {"days": -1}, {"days": "x"}, {"days": 4000}, {"more": 1}):
            assert (await server.http("POST", f"/api/sessions/{session}/links", wish)).json[
                "code"
            ] == "invalid_field", wish
        for _ in range(MOST_OF_A_SESSION):
            await shared(server, session)
        refused = await server.http("POST", f"/api/sessions/{session}/links", {})
        assert refused.status == 400 and "Revoke" in refused.json["detail"]
        for path in ("/shared", "/shared?t=", "/shared?t=%ff", f"/shared?t={'x' * 9000}"):
            assert (await opened(server, path)).status == 403, path
        unknown = "/api/sessions/s_0123456789012345678901/links"
        assert (await server.http("POST", unknown, {})).status == 404 == (await server.http("GET", unknown)).status


async def test_control_a_gate_that_forgets_to_ask_lets_viewers_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gate, "check_view", lambda self, scope, principal: None)
    with pytest.raises(AssertionError):
        await test_a_viewer_reads_over_http_and_nothing_else_is_there(tmp_path)
