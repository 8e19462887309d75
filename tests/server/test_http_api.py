"""The HTTP API against a real server: the same log, the same refusals, as problems."""

from __future__ import annotations

import asyncio
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from serving import Serving, closed, hello, prompt, receive, send, serving

from reconvene.errors import ReconveneError
from reconvene.protocol import events as ev
from reconvene.protocol.cursor import Cursor
from reconvene.workspace.contents import Contents


async def new_session(server: Serving, text: str = "Hello?") -> str:
    made = await server.http("POST", "/api/sessions", {})
    assert made.status == 201, made.body
    session_id = str(made.json["session_id"])
    sent = await server.http("POST", f"/api/sessions/{session_id}/messages", prompt("p1-" + session_id[-6:], text))
    assert sent.status == 200, sent.body
    return session_id


async def test_me_and_roots(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        me = (await server.http("GET", "/api/me")).json
        root = {"root": str(tmp_path / "project"), "name": "project"}
        assert me["roots"] == [root] and me["model"] == "offline" and me["sample"] is True
        assert me["version"] and me["boot"] == server.services.boot
        (tmp_path / "second").mkdir()
        added = await server.http("POST", "/api/roots", {"path": str(tmp_path / "second")})
        assert (added.status, added.json) == (201, {"root": str(tmp_path / "second"), "name": "second"})
        assert len((await server.http("GET", "/api/roots")).json["roots"]) == 2
        bad72 = [("/", "root_not_allowed"), (".", "invalid_field"), ("../x", "invalid_field"), ("", "invalid_field")]
        for path, code in ((str(tmp_path / "none"), "root_not_found"), *bad72):
            refused = await server.http("POST", "/api/roots", {"path": path})
            assert refused.json["code"] == code and refused.status >= 400


async def test_a_session_from_beginning_to_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session_id = await new_session(server)
        shown = (await server.http("GET", f"/api/sessions/{session_id}")).json
        assert set(shown) == {
            "session_id", "title", "root", "status", "run_id", "pinned", "archived", "head", "created_at", "active_at", "cursor", "pending",
            "stay",
        }  # fmt: skip
        assert (shown["title"], shown["status"], shown["run_id"], shown["pending"]) == ("Hello?", "running", "r1", 0)
        await server.play(session_id, "r1", ev.Question(id="q1", text="Which?"))
        assert (await server.http("GET", f"/api/sessions/{session_id}")).json["pending"] == 1
        changed = await server.http("PATCH", f"/api/sessions/{session_id}", {"title": "Named", "pinned": True})
        assert (changed.status, changed.json["title"], changed.json["pinned"]) == (200, "Named", True)
        listed = (await server.http("GET", "/api/sessions")).json["sessions"]
        assert [s["session_id"] for s in listed] == [session_id]
        assert (await server.http("GET", "/api/sessions?archived=true")).json["sessions"] == []
        forked = await server.http("POST", f"/api/sessions/{session_id}/fork", {"upto": 2})
        assert forked.status == 201 and forked.json["session_id"] != session_id
        await server.sessions.log.append(
            session_id, server.sessions.ending("r1", "success"), update={"status": "idle", "run_id": None}
        )
        async with server.connect() as socket:
            await send(socket, hello(session_id))
            await receive(socket, "snapshot")
            assert (await server.http("DELETE", f"/api/sessions/{session_id}")).status == 204
            assert (await closed(socket))[0] == 4302
        gone = await server.http("GET", f"/api/sessions/{session_id}")
        assert (gone.status, gone.json["code"]) == (404, "no_such_session")


async def test_messages_are_idempotent_by_their_id(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session_id = (await server.http("POST", "/api/sessions", {"title": "T"})).json["session_id"]
        path = f"/api/sessions/{session_id}/messages"
        first = await server.http("POST", path, prompt("p1", "Hello?"))
        assert first.json == {"status": "accepted", "seq": 2, "run_id": "r1", "session_id": session_id}
        assert (await server.http("POST", path, prompt("p1", "Hello?"))).json["status"] == "duplicate"
        refused = await server.http("POST", path, prompt("p1", "Else"))
        assert (refused.status, refused.json["code"]) == (409, "id_conflict")
        async with server.connect() as socket:  # over the WebSocket it is the same message too
            await send(socket, {**prompt("p1", "Hello?"), "proto": 1, "config": {}})
            assert (await receive(socket, "session"))["content"]["session_id"] == session_id
            assert (await receive(socket, "ack"))["content"]["status"] == "duplicate"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/api/nothing", None, 404, "not_found"),
        ("GET", "/api", None, 404, "not_found"),
        ("PATCH", "/api/me", {}, 405, "method_not_allowed"),
        ("POST", "/metrics", {}, 405, "method_not_allowed"),
        ("POST", "/", {}, 405, "method_not_allowed"),
        ("GET", "/api/sessions/x", None, 404, "no_such_session"),
        ("GET", "/api/sessions/..%2f..%2fetc", None, 404, "not_found"),
        ("GET", "/api/sessions/S/events?limit=0", None, 422, "invalid_field"),
        ("GET", "/api/sessions/S/events?limit=1001", None, 422, "invalid_field"),
        ("GET", "/api/sessions/S/events?after=nonsense", None, 400, "invalid_field"),
        ("GET", "/api/sessions?archived=maybe", None, 422, "invalid_field"),
        ("POST", "/api/sessions", b"{", 400, "invalid_json"),
        ("POST", "/api/sessions", b'{"title":"a","title":"b"}', 400, "invalid_json"),
        ("POST", "/api/sessions", b"\xff", 400, "invalid_json"),
        ("POST", "/api/sessions", b"[" * 5000, 400, "invalid_json"),
        ("POST", "/api/sessions", [], 400, "invalid_message"),
        ("POST", "/api/sessions", {"extra": 1}, 400, "invalid_field"),
        ("POST", "/api/sessions", {"title": 5}, 400, "invalid_field"),
        ("POST", "/api/sessions", {"root_directory": "/elsewhere"}, 403, "root_not_allowed"),
        ("PATCH", "/api/sessions/S", {"pinned": "yes"}, 400, "invalid_field"),
        ("POST", "/api/sessions/S/fork", {"upto": 10**9}, 400, "invalid_field"),
        ("POST", "/api/sessions/S/fork", {"upto": 10**40}, 400, None),
        ("POST", "/api/sessions/S/messages", {"type": "hello", "proto": 1}, 400, "invalid_field"),
        ("POST", "/api/sessions/S/messages", {"type": "ping", "content": {"t": 1}}, 400, "invalid_field"),
        ("POST", "/api/sessions/S/messages", {"type": "shout"}, 400, "unknown_type"),
        ("POST", "/api/sessions/S/messages", {"type": "default", "content": " "}, 400, "empty_prompt"),
        ("POST", "/api/sessions/S/messages", {"type": "default", "content": "x" * 200_001}, 413, "too_large"),
        ("POST", "/api/sessions/s_AAAAAAAAAAAAAAAAAAAAAA/messages", {"type": "default", "content": "x"}, 404, "no_such_session"),
    ],
)  # fmt: skip
async def test_refusals_are_problems(
    tmp_path: Path, method: str, path: str, body: Any, status: int, code: str | None
) -> None:
    async with serving(tmp_path) as server:
        session_id = await new_session(server)
        before = (await server.sessions.get("owner", session_id)).head
        answer = await server.http(method, path.replace("/S", f"/{session_id}"), body)
        assert answer.status == status, answer.body
        assert answer.header("content-type") == "application/problem+json"
        problem = answer.json
        assert set(problem) == {"type", "title", "status", "code", "detail", "retryable", "details"}
        assert problem["status"] == status and problem["detail"]
        if code is not None:
            assert problem["code"] == code
        assert (await server.sessions.get("owner", session_id)).head == before
        assert server.services.metrics.bad_inputs[problem["code"]] == 1
        assert "Traceback" not in (server.data_dir / "logs" / "server.log").read_text()


async def test_a_bug_is_a_problem_with_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as server:

        async def broken(*_: Any, **__: Any) -> None:
            raise ZeroDivisionError("secret detail")

        monkeypatch.setattr(server.sessions, "list", broken)
        answer = await server.http("GET", "/api/sessions")
        assert (answer.status, answer.json["code"]) == (500, "internal") and b"secret" not in answer.body
        assert answer.json["details"]["id"] in (server.data_dir / "logs" / "server.log").read_text()


async def test_events_by_pages_tile_the_log(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session_id = await new_session(server)
        await server.play(session_id, "r1", *(ev.Message(text=f"{n}") for n in range(25)))
        path, after, events = f"/api/sessions/{session_id}/events?limit=10", "", []
        while True:
            page = (await server.http("GET", f"{path}&after={after}")).json
            assert page["snapshot"] is None and page["head"] == 28 and len(page["events"]) <= 10
            events += page["events"]
            if page["next"] == after or Cursor.parse(page["next"]).seq == page["head"]:
                break
            after = page["next"]
        assert [e["seq"] for e in events] == [1, 2, *range(4, 29)]
        by_seq = (await server.http("GET", f"{path}&after=20")).json
        assert [e["seq"] for e in by_seq["events"]] == list(range(21, 29))
        done = (await server.http("GET", f"{path}&after={by_seq['next']}")).json
        assert done["events"] == [] and done["next"] == by_seq["next"]
        stale = str(Cursor("other", 3, "00000000"))
        page = (await server.http("GET", f"{path}&after={stale}")).json
        assert page["snapshot"] == "epoch" and len(page["events"]) == 27
        export = await server.http("GET", f"/api/sessions/{session_id}/export")
        assert [json.loads(line)["seq"] for line in export.body.splitlines()] == [1, 2, *range(4, 29)]


async def test_what_a_session_changed_as_one_patch(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session_id = await new_session(server)
        path = f"/api/sessions/{session_id}/patch"
        assert (await server.http("GET", path)).body == b""
        kept = Contents(server.data_dir / "contents")
        hashes = [kept.put(text) for text in (b"one\n", b"two\n", b"three\n")]
        for before, after in pairwise(hashes):
            file = ev.AppliedFile(path="a.txt", base_hash=before, new_hash=after)
            await server.play(session_id, "r1", ev.Applied(diff_id="d1", files=[file]))
        got = await server.http("GET", path)
        assert got.header("content-type") == "text/x-diff; charset=utf-8"
        assert got.body.startswith(b"diff --git a/a.txt b/a.txt\n") and got.body.endswith(b"-one\n+three\n")
        file = ev.AppliedFile(path="a.txt", base_hash=hashes[2], new_hash="0" * 40)
        await server.play(session_id, "r1", ev.Applied(diff_id="d2", files=[file]))
        gone = await server.http("GET", path)
        assert gone.status == 404 and "not kept" in gone.json["detail"]


class Stream:
    """Server-sent events by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.text = ""

    @classmethod
    async def open(cls, server: Serving, path: str, **headers: str) -> Stream:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        lines = {"Host": f"localhost:{server.port}", "Accept": "text/event-stream", **server.bearer, **headers}
        writer.write(
            f"GET {path} HTTP/1.1\r\n".encode()
            + "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in lines.items()).encode()
            + b"\r\n"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head and b"text/event-stream" in head, head
        return cls(reader, writer)

    async def event(self) -> dict[str, str]:
        """The next event; its fields."""
        async with asyncio.timeout(10):
            while True:
                block, found, rest = self.text.partition("\n\n")
                if not found:
                    size = int(await self.reader.readuntil(b"\r\n"), 16)
                    if not size:
                        raise EOFError
                    self.text += (await self.reader.readexactly(size + 2))[:-2].decode()
                    continue
                self.text = rest
                fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
                if "data" in fields:
                    return fields


async def test_events_as_a_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session_id = await new_session(server)
        path = f"/api/sessions/{session_id}/events"
        stream = await Stream.open(server, path)
        assert server.services.capacity.connections == 1
        first, second = await stream.event(), await stream.event()
        assert (first["event"], second["event"]) == ("prompt", "run")
        await server.play(session_id, "r1", ev.Message(text="live"))
        live = await stream.event()
        assert json.loads(live["data"])["content"]["text"] == "live"
        stream.writer.close()
        await server.play(session_id, "r1", ev.Message(text="missed"))
        stream = await Stream.open(server, path, Last_Event_ID=live["id"])
        assert json.loads((await stream.event())["data"])["content"]["text"] == "missed"
        stream.writer.close()
        stream = await Stream.open(server, path, Last_Event_ID=str(Cursor("other", 3, "00000000")))
        snapshot = await stream.event()
        assert snapshot["event"] == "snapshot" and len(json.loads(snapshot["data"])["events"]) == 4
        server.server.stop()  # a drain ends it, the browser comes back by itself
        with pytest.raises((EOFError, asyncio.IncompleteReadError)):
            await stream.event()


async def test_a_stream_from_nowhere_is_refused_and_a_store_that_fails_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as server:
        path = f"/api/sessions/{await new_session(server)}/events"
        for headers, more in (({"Last-Event-ID": "junk"}, ""), ({}, "?after=junk")):
            refused = await server.http("GET", path + more, headers={"Accept": "text/event-stream", **headers})
            assert (refused.status, refused.json["code"]) == (400, "invalid_field")
        stream = await Stream.open(server, path)
        await stream.event()

        async def fails(*_: Any) -> None:
            raise ReconveneError("store_busy", "Not now.")

        monkeypatch.setattr(server.sessions.feed, "read", fails)
        await server.play(path.split("/")[3], "r1", ev.Message(text="live"))
        with pytest.raises((EOFError, asyncio.IncompleteReadError)):
            while True:
                await stream.event()
        assert "Traceback" not in (server.data_dir / "logs" / "server.log").read_text()


async def test_a_body_that_breaks_off_is_no_news(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"POST /api/sessions HTTP/1.1\r\nHost: localhost:{server.port}\r\nContent-Length: 10\r\n"
        writer.write((head + f"Authorization: Bearer {server.token}\r\n\r\n{{").encode())
        await writer.drain()
        await server.http("GET", "/api/me")
        writer.transport.abort()
        async with asyncio.timeout(5):
            while not server.services.metrics.bad_inputs["invalid_message"]:
                await asyncio.sleep(0.01)
        assert "Traceback" not in (server.data_dir / "logs" / "server.log").read_text()


async def test_streams_end_with_their_session_and_give_back_their_place(tmp_path: Path) -> None:
    async with serving(tmp_path, limits={"connections": 2, "connections_per_user": 2}) as server:
        session_id = await new_session(server)
        path = f"/api/sessions/{session_id}/events"
        streams = [await Stream.open(server, path) for _ in range(2)]
        full = await server.http("GET", path, headers={"Accept": "text/event-stream"})
        assert full.status == 503 and full.header("retry-after")
        streams[0].writer.close()
        async with asyncio.timeout(5):
            while server.services.capacity.connections > 1:
                await asyncio.sleep(0.01)
        await server.sessions.log.append(
            session_id, server.sessions.ending("r1", "success"), update={"status": "idle", "run_id": None}
        )
        await server.http("DELETE", f"/api/sessions/{session_id}")
        with pytest.raises((EOFError, asyncio.IncompleteReadError)):
            while True:
                await streams[1].event()


async def test_health_and_metrics(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await new_session(server)
        health = await server.http("GET", "/healthz", bearer=False)
        assert (health.status, set(health.json)) == (200, {"status", "version", "sessions", "runs"})
        assert health.json["status"] == "ok"
        await server.http("GET", "/api/nothing")
        async with server.connect() as socket:
            await send(socket, hello())
            await receive(socket, "snapshot")
            text = (await server.http("GET", "/metrics")).body.decode()
        samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        assert float(samples["reconvene_connections"]) == 1
        assert float(samples["reconvene_sessions_loaded"]) == 1
        assert float(samples['reconvene_bad_inputs_total{code="not_found"}']) == 1
        assert float(samples["reconvene_appends_total"]) >= 3
        assert {"reconvene_runs", "reconvene_handshakes_total", "reconvene_slow_clients_total"} <= set(samples)


async def test_the_description(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        described = (await server.http("GET", "/api/openapi.json")).json
        assert described["openapi"].startswith("3.1")
        assert "/api/sessions/{session_id}/messages" in described["paths"]
        body = described["paths"]["/api/sessions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert set(body["properties"]) == {"root_directory", "recovery", "title"}
        named = re.findall(r'"\$ref": ?"([^"]+)"', json.dumps(described))
        known = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
        assert named and not set(named) - known, "a description that refers to what is elsewhere is none for most tools"
        protocol = (await server.http("GET", "/api/protocol.json")).json
        assert {"ClientFrame", "ServerFrame", "PlainFrame", "Event"} <= set(protocol["$defs"])
        assert (await server.http("GET", "/docs")).status == 404
