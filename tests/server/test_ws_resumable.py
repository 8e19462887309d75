"""Resumable clients against a real server: attach, resume, acknowledge, deliver, refuse."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from pathlib import Path
from typing import Any

import pytest
from serving import Serving, closed, hello, prompt, receive, send, serving

from reconvene.protocol import events as ev
from reconvene.protocol.cursor import Cursor
from reconvene.protocol.follower import Follower
from reconvene.protocol.frames import SERVER_FRAMES
from reconvene.server import resumable_client
from reconvene.sessions.rows import Who

MODELS = {model.model_fields["type"].default: model for model in SERVER_FRAMES}


def checked(frame: dict[str, Any]) -> dict[str, Any]:
    """Every frame the server sends is what its model says."""
    MODELS[frame["type"]].model_validate(frame)
    return frame


async def opened(socket: Any, frame: dict[str, Any]) -> dict[str, Any]:
    await send(socket, frame)
    session = checked(await receive(socket))
    assert session["type"] == "session", session
    return session["content"]  # type: ignore[no-any-return]


async def both(socket: Any, *types: str) -> dict[str, dict[str, Any]]:
    """The next frame of each type."""
    got: dict[str, dict[str, Any]] = {}
    while len(got) < len(types):
        frame = checked(await receive(socket, *(t for t in types if t not in got)))
        got[frame["type"]] = frame
    return got


async def follow(socket: Any, follower: Follower, until: Any) -> None:
    """Feed frames to a follower until `until(follower)`."""
    async with asyncio.timeout(10):
        while not until(follower):
            outcome = follower.receive(checked(json.loads(await socket.recv())))
            assert outcome != "gap"


async def test_a_first_prompt_in_one_round_trip(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        content = await opened(socket, prompt("p1", "Hello?", proto=1, client={"id": "c1"}, config={}))
        assert (content["mode"], content["reason"], content["head"], content["state"]) == ("fresh", None, 0, "idle")
        assert content["retry"]["base_ms"] == 300
        snapshot = checked(await receive(socket, "snapshot"))["content"]
        assert snapshot["events"] == [] and snapshot["synced"] is True
        got = await both(socket, "ack", "batch")  # in either order
        assert got["ack"] == {
            "type": "ack",
            "reply_to": "p1",
            "content": {"status": "accepted", "seq": 1, "run_id": "r1"},
        }
        batch = got["batch"]["content"]
        assert batch["after"] == snapshot["cursor"]
        assert [e["type"] for e in batch["events"]] == ["prompt", "run"]
        assert batch["events"][0]["content"]["id"] == "p1"


async def test_resume_sends_what_was_missed_and_nothing_else(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        follower = Follower()
        async with server.connect() as socket:
            content = await opened(socket, prompt("p1", "Hello?", proto=1, client={"id": "c1"}, config={}))
            session_id = content["session_id"]
            follower.receive({"type": "session", "content": content})
            await follow(socket, follower, lambda f: f.applied >= 2)
        await server.play(session_id, "r1", *(ev.Text(attempt=1, text=f"w{n} ") for n in range(200)), item_id="i1")
        async with server.connect() as socket:
            follower.connect()
            content = await opened(socket, hello(session_id, follower.cursor, "c1"))
            assert (content["mode"], content["reason"]) == ("resume", None)
            follower.receive({"type": "session", "content": content})
            batches = []
            while not follower.synced:
                frame = checked(await receive(socket, "batch"))
                assert follower.receive(frame) == "applied"
                batches.append(frame["content"])
            seqs = [e["seq"] for b in batches for e in b["events"]]
            assert len(seqs) == 200 and seqs == sorted(seqs)
            assert len(batches) >= 4, "at most 64 events in each"
            assert [b.get("synced") for b in batches][-1] is True
            assert not any(b.get("synced") for b in batches[:-1])
            # live goes on in the same stream
            await server.play(session_id, "r1", ev.Text(attempt=1, text="more"), item_id="i1")
            live = checked(await receive(socket, "batch"))
            assert follower.receive(live) == "applied"
        # nothing missed: one empty batch says so
        async with server.connect() as socket:
            await opened(socket, hello(session_id, follower.cursor, "c1"))
            batch = checked(await receive(socket, "batch"))["content"]
            assert (
                batch["events"] == [] and batch["synced"] is True and batch["after"] == batch["upto"] == follower.cursor
            )


async def test_without_a_cursor_a_snapshot_of_the_folded_events(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with server.connect() as socket:
            session_id = (await opened(socket, prompt("p1", "Hello?", proto=1, config={})))["session_id"]
            await receive(socket, "ack")
        await server.play(
            session_id,
            "r1",
            *(ev.Text(attempt=1, text="x") for _ in range(50)),
            ev.Message(text="x" * 50),
            item_id="i1",
        )
        async with server.connect() as socket:
            content = await opened(socket, hello(session_id))
            assert content["mode"] == "snapshot"
            snapshot = checked(await receive(socket, "snapshot"))["content"]
            assert snapshot["synced"] is True
            assert [e["type"] for e in snapshot["events"]] == ["prompt", "run", "message"]
            await server.play(session_id, "r1", ev.Completed(outcome="success", text="x" * 50))
            batch = checked(await receive(socket, "batch"))["content"]
            assert batch["after"] == snapshot["cursor"]


async def _session(server: Serving, text: str = "Hello?") -> str:
    async with server.connect() as socket:
        content = await opened(socket, prompt("p1", text, proto=1, config={}))
        await receive(socket, "ack")
        return str(content["session_id"])


async def test_a_large_session_comes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made or buffered for one connection that grows with its session."""
    async with serving(tmp_path) as server:
        session_id = await _session(server)
        for n in range(40):
            await server.play(session_id, "r1", ev.Text(attempt=1, text=f"{n} " * 500), item_id="i1")
        await server.play(session_id, "r1", ev.Message(text="whole"), item_id="i1")
        views = []
        for most in (resumable_client.SNAPSHOT_BYTES, 1000):
            monkeypatch.setattr(resumable_client, "SNAPSHOT_BYTES", most)
            follower = Follower()
            async with server.connect() as socket:
                content = await opened(socket, hello(session_id))
                follower.receive({"type": "session", "content": content})
                first = checked(await receive(socket, "snapshot"))
                assert bool(first["content"]["events"]) == (most > 1000)
                follower.receive(first)
                await follow(socket, follower, lambda f: f.synced)
            views.append(follower.view.to_json())
        assert views[0] == views[1] and views[0]["items"][-1]["text"] == "whole"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda c: Cursor("other", c.seq, c.tag), "epoch", id="bad60-epoch"),
        pytest.param(lambda c: Cursor(c.epoch, c.seq + 5, c.tag), "rollback", id="bad60-rollback"),
        pytest.param(lambda c: Cursor(c.epoch, c.seq, "ffffffff"), "diverged", id="bad60-diverged"),
    ],
)
async def test_a_cursor_that_is_no_prefix_gets_a_snapshot(tmp_path: Path, change: Any, reason: str) -> None:
    async with serving(tmp_path) as server:
        session_id = await _session(server)
        row = await server.sessions.get("owner", session_id)
        async with server.connect() as socket:
            content = await opened(socket, hello(session_id, str(change(row.cursor))))
            assert (content["mode"], content["reason"]) == ("snapshot", reason)
            assert len(checked(await receive(socket, "snapshot"))["content"]["events"]) == 2


async def test_bad61_far_behind_gets_a_snapshot_and_the_live_tail(tmp_path: Path) -> None:
    async with serving(tmp_path, limits={"lag_events": 20}) as server:
        session_id = await _session(server)
        before = (await server.sessions.get("owner", session_id)).cursor
        await server.play(session_id, "r1", *(ev.Text(attempt=1, text="x") for _ in range(30)), item_id="i1")
        async with server.connect() as socket:
            content = await opened(socket, hello(session_id, str(before)))
            assert (content["mode"], content["reason"]) == ("snapshot", "lag")
            follower = Follower(session_id)
            follower.receive({"type": "session", "content": content})
            await follow(socket, follower, lambda f: f.synced)
            await server.play(session_id, "r1", ev.Text(attempt=1, text="tail"), item_id="i1")
            await follow(socket, follower, lambda f: f.applied >= 4)


async def test_bad62_replay_cut_at_every_batch_goes_on_from_the_last_one_applied(tmp_path: Path) -> None:
    async with serving(tmp_path, limits={"batch_events": 4}) as server:
        session_id = await _session(server)
        follower = Follower(session_id)
        await server.play(session_id, "r1", *(ev.Text(attempt=1, text=f"{n} ") for n in range(40)), item_id="i1")
        row = await server.sessions.get("owner", session_id)
        follower.receive({"type": "snapshot", "content": {"cursor": str(Cursor(row.epoch, 0)), "events": []}})
        seqs: list[int] = []
        for _ in range(100):
            async with server.connect() as socket:
                await opened(socket, hello(session_id, follower.cursor))
                frame = checked(await receive(socket, "batch"))
                assert follower.receive(frame) == "applied"
                seqs += [e["seq"] for e in frame["content"]["events"]]
                if frame["content"].get("synced"):
                    break
        assert seqs == [1, 2, *range(4, 44)]  # 3 is private


async def test_private_rows_are_in_the_range_and_never_sent(tmp_path: Path) -> None:
    from reconvene.sessions.rows import private

    async with serving(tmp_path, limits={"heartbeat": 0.4}) as server:
        session_id = await _session(server)
        async with server.connect() as socket:
            await opened(socket, hello(session_id))
            cursor = checked(await receive(socket, "snapshot"))["content"]["cursor"]
            await server.append(session_id, private("journal", {"secret": 1}, run_id="r1"))
            frame = checked(await receive(socket))  # while it is quiet, the cursor moves over what is private
            assert frame["type"] == "batch" and frame["content"]["after"] == cursor
            assert frame["content"]["events"] == [] and Cursor.parse(frame["content"]["upto"]).seq == 4
            hb = checked(await receive(socket))
            assert hb == {"type": "hb", "content": {"head": 4}}
            await server.append(session_id, private("journal", {"secret": 2}, run_id="r1"))
            await server.play(session_id, "r1", ev.Completed(outcome="success"))
            batch = checked(await receive(socket, "batch"))["content"]
            assert batch["after"] == frame["content"]["upto"] and [e["seq"] for e in batch["events"]] == [6]


async def test_bad50_bad51_bad52_an_unknown_id_gets_a_fresh_session(tmp_path: Path) -> None:
    unknown = "s_" + "A" * 22
    async with serving(tmp_path) as server:
        other = await server.sessions.attach(Who("somebody-else"), session_id=None)
        for session_id in (unknown, other.session.id):  # bad51: another's is as unknown as one that never was
            async with server.connect() as socket:
                content = await opened(socket, hello(session_id))
                assert (content["mode"], content["reason"]) == ("fresh", "unknown")
                assert content["session_id"] != session_id  # bad52: never adopted
                assert checked(await receive(socket, "snapshot"))["content"]["events"] == []


async def test_bad53_an_expired_session_is_said_to_be_expired(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session_id = await _session(server)
        async with server.connect() as socket:
            await opened(socket, hello(session_id))
            await receive(socket, "snapshot")
            await server.sessions.log.delete(session_id, reason="expired", at=server.sessions.uptime.now())
            server.sessions.forget(session_id, "expired")
            assert (await closed(socket))[0] == 4301
        async with server.connect() as socket:
            content = await opened(socket, hello(session_id))
            assert (content["mode"], content["reason"]) == ("fresh", "expired")


# --- commands


async def test_bad56_57_ids(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with server.connect() as socket:
            session_id = (await opened(socket, prompt("p1", "Hello?", proto=1, config={})))["session_id"]
            await receive(socket, "ack")
            await send(socket, prompt("p1", "Hello?"))
            ack = await receive(socket, "ack")
            assert ack["content"] == {"status": "duplicate", "seq": 1, "run_id": "r1"}
            await send(socket, prompt("p1", "Something else"))
            nack = checked(await receive(socket, "nack"))
            assert (nack["reply_to"], nack["content"]["code"]) == ("p1", "id_conflict")
            await send(socket, {"type": "default", "content": "No id"})  # bad58
            ack = await receive(socket, "ack")
            assert ack["reply_to"] is None and ack["content"]["status"] == "accepted"
        # the ack was lost, the page knows no session yet: its id leads back
        async with server.connect() as socket:
            content = await opened(socket, prompt("p1", "Hello?", proto=1, config={}))
            assert content["session_id"] == session_id
            assert (await receive(socket, "ack"))["content"]["status"] == "duplicate"
        assert len(await server.sessions.list("owner")) == 1


@pytest.mark.parametrize("named", ["unknown", "expired"])
async def test_a_first_prompt_for_a_session_that_is_no_more_is_taken_once(tmp_path: Path, named: str) -> None:
    """Its acknowledgement is lost: sent again as it was, naming the session that is gone, it is the same prompt."""
    async with serving(tmp_path) as server:
        gone = "s_" + "A" * 22
        if named == "expired":
            gone = await _session(server)
            await server.sessions.log.delete(gone, reason="expired", at=server.sessions.uptime.now())
            server.sessions.forget(gone, "expired")
        frame = prompt("p2", "Hello?", proto=1, client={"id": "c1"}, config={"session_id": gone})
        async with server.connect() as socket:
            content = await opened(socket, frame)
            assert (content["mode"], content["reason"]) == ("fresh", named)
            assert checked(await receive(socket, "ack"))["content"]["status"] == "accepted"
        async with server.connect() as socket:
            again = await opened(socket, frame)
            assert again["session_id"] == content["session_id"]
            assert checked(await receive(socket, "ack"))["content"]["status"] == "duplicate"


async def test_bad65_bad66_questions_cancel_actions_and_pings(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        session_id = (
            await opened(socket, prompt("p1", "Hello?", proto=1, client={"id": "c", "name": "Ann"}, config={}))
        )["session_id"]
        await receive(socket, "ack")
        await server.play(session_id, "r1", ev.Question(id="q1", text="Which?"))
        await send(socket, {"type": "answer", "id": "a1", "reply_to": "q1", "content": "this"})
        seen: list[dict[str, Any]] = []
        while not any(f["type"] == "ack" and f["reply_to"] == "a1" for f in seen) or seen[-1]["type"] not in (
            "batch",
            "ack",
        ):
            seen.append(await receive(socket))
        events = [e for f in seen if f["type"] == "batch" for e in f["content"]["events"]]
        if events[-1]["type"] != "answered":
            events += (await receive(socket, "batch"))["content"]["events"]
        assert events[-1]["content"] == {"id": "q1", "answer": "this", "by": "Ann"}
        for frame, code in (
            ({"type": "answer", "id": "a2", "reply_to": "q1", "content": "that"}, "already_answered"),  # bad66
            ({"type": "answer", "id": "a3", "reply_to": "q9", "content": "that"}, "no_such_question"),  # bad65
            ({"type": "decision", "id": "d1", "reply_to": "x", "content": {"verdict": "accept"}}, "no_such_diff"),
            ({"type": "action", "id": "x1", "content": {"name": "fly", "args": {}}}, "unknown_action"),
            ({"type": "cancel", "id": "k1", "content": {"run_id": "r99"}}, "no_such_run"),
        ):
            await send(socket, frame)
            nack = checked(await receive(socket, "nack"))
            assert (nack["reply_to"], nack["content"]["code"]) == (frame["id"], code)
        await send(socket, {"type": "ping", "content": {"t": 12.5}})
        assert checked(await receive(socket, "pong"))["content"] == {"t": 12.5}
        await send(socket, {"type": "action", "id": "x2", "content": {"name": "rename", "args": {"title": "New name"}}})
        assert (await receive(socket, "ack"))["reply_to"] == "x2"
        assert (await server.sessions.get("owner", session_id)).title == "New name"
        await server.play(session_id, "r1", ev.Completed(outcome="success"))
        await send(socket, {"type": "cancel", "id": "k2", "content": {}})  # bad67
        assert (await receive(socket, "ack"))["content"]["status"] == "noop"


async def test_bad63_64_two_tabs(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as one, server.connect() as two:
        session_id = (await opened(one, prompt("p1", "One", proto=1, client={"id": "t1"}, config={})))["session_id"]
        await opened(two, hello(session_id, client="t2"))
        await send(two, prompt("p2", "Two"))
        queued = await receive(two, "batch", until=lambda f: any(e["run_id"] == "r2" for e in f["content"]["events"]))
        position = [
            e["content"]["position"] for e in queued["content"]["events"] if e["type"] == "run" and e["run_id"] == "r2"
        ]
        assert position == [1]
        diff = ev.Diff(id="d1", files=[ev.FileDiff(path="a", op="create", hunks=[ev.Hunk(id="h1", unified="+x")])])
        await server.play(session_id, "r1", diff)
        decision = {"type": "decision", "reply_to": "d1", "content": {"verdict": "accept"}}
        await asyncio.gather(
            send(one, {**decision, "id": "a"}), send(two, {**decision, "id": "b", "content": {"verdict": "reject"}})
        )
        got = await asyncio.gather(
            receive(one, "ack", "nack", until=lambda f: f["reply_to"] == "a"),
            receive(two, "ack", "nack", until=lambda f: f["reply_to"] == "b"),
        )
        assert sorted(f["type"] for f in got) == ["ack", "nack"]
        assert [f["content"]["code"] for f in got if f["type"] == "nack"] == ["already_decided"]


async def test_a_second_connection_of_the_same_client_replaces_the_first(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as older, server.connect() as other:
        session_id = (await opened(older, hello(client="c1")))["session_id"]
        await opened(other, hello(session_id, client="c2"))
        async with server.connect() as newer:
            await opened(newer, hello(session_id, client="c1"))
            assert (await closed(older))[0] == 4410
            await (await other.ping())
            await send(newer, {"type": "ping", "content": {"t": 1}})
            await receive(newer, "pong")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(b"\x00\x01", "unsupported_frame", id="bad23-binary"),
        pytest.param("", "invalid_json", id="bad30-empty"),
        pytest.param('{"type":"def', "invalid_json", id="bad31-truncated"),
        pytest.param("[1]", "invalid_message", id="bad32-array"),
        pytest.param('{"type":"ping","content":{"t":NaN}}', "invalid_json", id="bad33-nan"),
        pytest.param('{"type":"ping","content":{"t":1e999}}', {"invalid_json", "invalid_field"}, id="bad34-1e999"),
        pytest.param('{"type":"ping","type":"ping","content":{"t":1}}', "invalid_json", id="bad35-duplicate"),
        pytest.param("[" * 100_000, "invalid_json", id="bad36-nesting"),
        pytest.param('{"type":"default","content":"\\ud800"}', "invalid_json", id="bad37-surrogate"),
        pytest.param('{"type":"default","content":"a\\u0000b"}', "invalid_field", id="bad38-nul"),
        pytest.param("\ufeff{}", "invalid_json", id="bad39-bom"),
        pytest.param('{"type":"ping","content":{"t":1}} x', "invalid_json", id="bad40-garbage"),
        pytest.param("{}", "invalid_message", id="bad41-no-type"),
        pytest.param({"type": "shout"}, "unknown_type", id="bad42-type"),
        pytest.param({"type": "default", "content": "x", "extra": 1}, "invalid_field", id="bad43-extra"),
        pytest.param({"type": "default", "content": 5}, "invalid_field", id="bad44-number"),
        pytest.param({"type": "default", "content": "x", "config": []}, "invalid_field", id="bad44-config"),
        pytest.param({"type": "default", "content": "  \n"}, "empty_prompt", id="bad45-white"),
        pytest.param({"type": "default", "content": "x" * 200_001}, "too_large", id="bad46-prompt"),
        pytest.param(
            {"type": "default", "content": "x", "config": {"session_id": "../x"}}, "invalid_field", id="bad49-shape"
        ),
        pytest.param(
            {"type": "default", "content": "x", "config": {"session_id": "s_" + "B" * 22}},
            "session_mismatch",
            id="session-mismatch",
        ),
        pytest.param(
            {"type": "default", "content": "x", "config": {"root_directory": "/elsewhere"}},
            "root_mismatch",
            id="bad69-root",
        ),
    ],
)
async def test_a_bad_later_frame_costs_nothing(tmp_path: Path, frame: Any, code: str | set[str]) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        session_id = (await opened(socket, hello(client="c1")))["session_id"]
        await receive(socket, "snapshot")
        await send(socket, frame)
        nack = checked(await receive(socket))
        assert nack["type"] == "nack"
        assert nack["content"]["code"] in ({code} if isinstance(code, str) else code)
        await send(socket, prompt("p1", "Still here?"))
        assert (await receive(socket, "ack"))["content"]["status"] == "accepted"
        assert (await server.sessions.get("owner", session_id)).head == 3
        assert sum(server.services.metrics.bad_inputs.values()) == 1
        assert "Traceback" not in (server.data_dir / "logs" / "server.log").read_text()


@pytest.mark.parametrize(
    ("config", "code"),
    [
        pytest.param({"session_id": "../x"}, "invalid_field", id="bad49-first"),
        pytest.param({"cursor": "nonsense"}, "invalid_field", id="bad59-cursor"),
        pytest.param({"root_directory": "/elsewhere"}, "root_not_allowed", id="bad71-root"),
    ],
)
async def test_a_bad_first_frame_can_be_mended(tmp_path: Path, config: dict[str, Any], code: str) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        await send(socket, {"type": "hello", "proto": 1, "config": config})
        nack = checked(await receive(socket))
        assert (nack["type"], nack["content"]["code"]) == ("nack", code)
        assert (await opened(socket, hello()))["mode"] == "fresh"


async def test_a_refused_first_prompt_is_named(tmp_path: Path) -> None:
    """The client has it in its outbox; a refusal of nothing in particular would leave it there."""
    async with serving(tmp_path) as server, server.connect() as socket:
        await send(socket, prompt("p1", "Hello?", proto=1, config={"root_directory": "/elsewhere"}))
        nack = checked(await receive(socket))
        assert (nack["type"], nack["reply_to"], nack["content"]["code"]) == ("nack", "p1", "root_not_allowed")
        assert (await opened(socket, hello()))["mode"] == "fresh"


async def test_bad70_another_version(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        await send(socket, {"type": "hello", "proto": 2})
        assert checked(await receive(socket, "nack"))["content"]["code"] == "upgrade_required"
        assert (await closed(socket))[0] == 4400


async def test_bad69_the_root_of_an_existing_session(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        (tmp_path / "second").mkdir()
        session_id = await _session(server)
        server.sessions.roots.add(tmp_path / "second")
        await send(socket, hello(session_id, root_directory="second"))
        assert (await receive(socket, "nack"))["content"]["code"] == "root_mismatch"
        await send(socket, hello())
        nack = (await receive(socket, "nack"))["content"]
        assert nack["code"] == "root_required" and nack["details"]["roots"] == ["project", "second"]
        assert (await opened(socket, hello(root_directory="second")))["root"] == str(tmp_path / "second")


async def test_bad48_a_burst_is_cut_off_clean(tmp_path: Path) -> None:
    limits = {"messages_per_second": 5, "message_burst": 20}
    async with serving(tmp_path, limits=limits) as server, server.connect() as socket:
        session_id = (await opened(socket, hello(client="c1")))["session_id"]
        await receive(socket, "snapshot")
        for n in range(100):
            await send(socket, prompt(f"p{n}", f"Prompt {n}"))
        answers = [await receive(socket, "ack", "nack") for _ in range(100)]
        acks = [a["reply_to"] for a in answers if a["type"] == "ack"]
        nacks = [a for a in answers if a["type"] == "nack"]
        assert acks == [f"p{n}" for n in range(len(acks))] and 19 <= len(acks) <= 25
        assert {n["content"]["code"] for n in nacks} == {"rate_limited"}
        assert all(0 < n["content"]["details"]["retry_after"] < 5 and n["content"]["retryable"] for n in nacks)
        assert len(server.sessions.log and (await server.sessions.state(session_id)).prompts) == len(acks)
        await asyncio.sleep(max(n["content"]["details"]["retry_after"] for n in nacks))
        await send(socket, prompt(nacks[0]["reply_to"], f"Prompt {nacks[0]['reply_to'][1:]}"))
        assert (await receive(socket, "ack"))["content"]["status"] == "accepted"


async def test_the_bucket_is_what_cuts_it_off(tmp_path: Path) -> None:
    """Mutation control: with a wide bucket the same burst is taken whole."""
    async with serving(tmp_path, limits={"message_burst": 1000}) as server, server.connect() as socket:
        await opened(socket, hello(client="c1"))
        for n in range(100):
            await send(socket, prompt(f"p{n}", f"Prompt {n}"))
        assert {(await receive(socket, "ack", "nack"))["type"] for _ in range(100)} == {"ack"}


async def test_a_client_that_never_stops_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconvene.server.connection.REFUSED_BURST", 50)
    async with serving(tmp_path) as server, server.connect() as socket:
        await opened(socket, hello())

        async def flood() -> None:
            for _ in range(300):
                await send(socket, {"type": "ping", "content": {"t": 1}})

        flooding = asyncio.create_task(flood())
        assert (await closed(socket))[0] == 4100
        await asyncio.gather(flooding, return_exceptions=True)


# --- time


async def test_the_first_frame_has_a_deadline(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, limits={"first_frame_time": 0.2}) as server,
        server.connect() as silent,
        server.connect() as talking,
    ):
        await opened(talking, hello())
        assert (await closed(silent))[0] == 4408
        await (await talking.ping())


async def test_a_heartbeat_after_silence(tmp_path: Path) -> None:
    async with serving(tmp_path, limits={"heartbeat": 0.2}) as server, server.connect() as socket:
        content = await opened(socket, hello())
        assert content["hb_ms"] == 200
        await receive(socket, "snapshot")
        assert checked(await receive(socket)) == {"type": "hb", "content": {"head": 0}}


async def test_a_heartbeat_says_anew_how_to_come_back_once_many_more_came(tmp_path: Path) -> None:
    async with serving(tmp_path, limits={"heartbeat": 0.1}) as server, server.connect() as socket:
        content = await opened(socket, hello())
        assert content["retry"]["spread_ms"] == 1
        server.services.connections.capacity._of["others"] += 999
        hb = checked(await receive(socket, "hb", until=lambda f: "retry" in f["content"]))
        assert hb["content"]["retry"] == {"base_ms": 300, "cap_ms": 2000, "spread_ms": 1000}
        assert checked(await receive(socket)) == {"type": "hb", "content": {"head": 0}}  # once
        del server.services.connections.capacity._of["others"]


async def test_a_client_that_does_not_read_is_dropped_and_resumes(tmp_path: Path) -> None:  # bad131
    async with serving(tmp_path, limits={"send_time": 0.6, "lag_events": 100_000, "lag_bytes": 10**9}) as server:
        session_id = await _session(server)
        quick = sockets.socket()
        quick.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        quick.connect(("127.0.0.1", server.port))
        slow = await server.connect(sock=quick, max_queue=1)
        await opened(slow, hello(session_id, client="slow"))
        first = (await receive(slow, "snapshot"))["content"]["cursor"]
        async with server.connect() as live:
            await opened(live, hello(session_id, client="live"))
            follower = Follower(session_id)
            await follow(
                live, follower, lambda f: f.synced
            )  # in a snapshot that is made later pieces of a text are one
            before = follower.applied
            connection = next(c for c in server.services.connections._all if c.client_id == "slow")
            for _ in range(60):
                await server.play(session_id, "r1", ev.Text(attempt=1, text="x" * 20_000), item_id="i1")
            await follow(live, follower, lambda f: f.applied >= before + 60)  # the others do not wait for it
            assert connection.wire.buffered < 300_000, "back-pressure, not a queue"
            async with asyncio.timeout(8):
                while len(server.services.connections) > 1:
                    await asyncio.sleep(0.02)
            assert server.services.metrics.slow_clients == 1
            with pytest.raises(Exception):  # noqa: B017
                while True:
                    await slow.recv()
        async with server.connect() as again:
            content = await opened(again, hello(session_id, first, "slow"))
            assert content["mode"] == "resume"
            late = Follower(session_id)
            late.cursor = first
            late.receive({"type": "session", "content": content})
            await follow(again, late, lambda f: f.synced)
            assert late.applied == 60


async def test_the_send_deadline_is_what_drops_it(tmp_path: Path) -> None:
    """Mutation control: with a long deadline the same client keeps its place, and its memory stays what it was."""
    async with serving(tmp_path, limits={"send_time": 60, "lag_events": 100_000, "lag_bytes": 10**9}) as server:
        session_id = await _session(server)
        narrow = sockets.socket()
        narrow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        narrow.connect(("127.0.0.1", server.port))
        slow = await server.connect(sock=narrow, max_queue=1)
        await opened(slow, hello(session_id, client="slow"))
        connection = next(iter(server.services.connections._all))
        for _ in range(60):
            await server.play(session_id, "r1", ev.Text(attempt=1, text="x" * 20_000), item_id="i1")
        await asyncio.sleep(0.8)
        assert len(server.services.connections) == 1 and server.services.metrics.slow_clients == 0
        assert connection.wire.blocked and connection.wire.buffered < 300_000
        slow.transport.abort()


async def test_a_slow_reader_that_makes_progress_is_kept(tmp_path: Path) -> None:
    async with serving(tmp_path, limits={"send_time": 0.5, "lag_events": 100_000, "lag_bytes": 10**9}) as server:
        session_id = await _session(server)
        async with server.connect(max_queue=1) as socket:
            await opened(socket, hello(session_id, client="slow"))
            follower = Follower(session_id)
            await follow(socket, follower, lambda f: f.synced)
            before = follower.applied
            for _ in range(60):
                await server.play(session_id, "r1", ev.Text(attempt=1, text="x" * 20_000), item_id="i1")
            while follower.applied < before + 60:
                follower.receive(json.loads(await socket.recv()))
                await asyncio.sleep(0.02)
        assert server.services.metrics.slow_clients == 0


async def test_a_client_that_answers_no_ping_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_transport import Raw

    monkeypatch.setattr("reconvene.server.web.PING", 0.2)
    async with serving(tmp_path) as server:
        raw = await Raw.open(server)
        assert await raw.close_code() == 1011
        raw.writer.close()


async def test_drain_says_goodbye_and_1012(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with server.connect() as socket, server.connect() as silent:
            session_id = (await opened(socket, hello()))["session_id"]
            server.server.stop()
            goodbye = checked(await receive(socket, "goodbye"))["content"]
            assert goodbye["reason"] == "restart" and goodbye["retry_ms"] >= 300
            assert (await closed(socket))[0] == 1012
            assert (await closed(silent))[0] == 1012
        async with asyncio.timeout(5):
            ended = await server.task
        assert not ended.restart
    async with serving(tmp_path) as server, server.connect() as socket:
        assert (await opened(socket, hello(session_id)))["session_id"] == session_id
