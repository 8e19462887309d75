"""Plain clients against a real server: the sample's ways, reconnection included."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from serving import Serving, closed, receive, send, serving

from reconvene.protocol import events as ev

PLAIN = {"session", "log", "plan", "diff", "question", "confirmation", "usage", "completed", "error"}


def sample(content: str, session_id: Any = None, **config: Any) -> dict[str, Any]:
    """What the sample sends in every `onopen`."""
    return {"type": "default", "content": content, "config": {"session_id": session_id, **config}}


async def started(socket: Any, frame: dict[str, Any]) -> dict[str, Any]:
    await send(socket, frame)
    session = await receive(socket)
    assert session["type"] == "session"
    return session["content"]  # type: ignore[no-any-return]


async def until(socket: Any, type: str) -> list[dict[str, Any]]:
    got = []
    while not got or got[-1]["type"] != type:
        got.append(await receive(socket))
        assert got[-1]["type"] in PLAIN
    return got


async def play(server: Serving, session_id: str, *args: Any, **more: Any) -> None:
    """As a run does, and so after the prompt: the session's frame comes before that is written."""
    async with asyncio.timeout(10):
        while not (await server.sessions.get("owner", session_id)).head:
            await asyncio.sleep(0)
    await server.play(session_id, *args, **more)


async def finish(server: Serving, session_id: str, run_id: str = "r1", text: str = "Done.") -> None:
    await play(server, session_id, run_id, ev.Message(text=text), item_id="i9")
    await server.sessions.log.append(session_id, server.sessions.ending(run_id, "success", text=text))


async def test_a_turn_from_beginning_to_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        content = await started(socket, sample("Hello?"))
        assert content["mode"] == "plain" and content["reason"] is None
        session_id = content["session_id"]
        await play(
            server, session_id, "r1", ev.Text(attempt=1, text="Do"), ev.Text(attempt=1, text="ne."), item_id="i9"
        )
        await play(server, session_id, "r1", ev.Plan(steps=[ev.PlanStep(title="one")]), ev.Usage(requests=1))
        await finish(server, session_id)
        got = await until(socket, "completed")
        assert [f["type"] for f in got if f["type"] != "log"] == ["plan", "usage", "completed"]
        assert [f["content"] for f in got if f["type"] == "log"][-1] == "Done."
        assert got[-1]["content"]["outcome"] == "success"


@pytest.mark.parametrize(
    "session_id", [None, "", "null", "undefined", 5, {"a": 1}, "x" * 300, "../x", "s_'; DROP TABLE sessions;--"]
)
async def test_bad49_what_is_no_id_is_no_session(tmp_path: Path, session_id: Any) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        content = await started(socket, sample("Hello?", session_id))
        assert content["session_id"].startswith("s_") and content["reason"] is None


async def test_bad50_an_unknown_session_is_replaced(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        content = await started(socket, sample("Hello?", "s_" + "A" * 22))
        assert content["reason"] == "unknown" and content["session_id"] != "s_" + "A" * 22
        assert "Hello?" in (await receive(socket))["content"]  # the prompt is not lost


async def test_coming_back_in_the_middle_attaches(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with server.connect() as socket:
            session_id = (await started(socket, sample("Hello?")))["session_id"]
            await until(socket, "log")
        await play(
            server,
            session_id,
            "r1",
            ev.ToolCall(id="t", name="search", args={"query": "x"}),
            ev.ToolResult(id="t", summary="7 places"),
        )
        async with server.connect() as socket:  # the reload: the same prompt again
            assert (await started(socket, sample("Hello?", session_id)))["session_id"] == session_id
            await finish(server, session_id)
            got = await until(socket, "completed")
            assert "Hello?" in got[0]["content"]  # replayed from its first event
            assert [f["seq"] for f in got] == sorted({f["seq"] for f in got})
        async with server.connect() as socket:  # after it ended: replayed, not run again
            await started(socket, sample("Hello?", session_id))
            assert (await until(socket, "completed"))[-1]["content"]["outcome"] == "success"
        state = await server.sessions.state(session_id)
        assert list(state.runs) == ["r1"]
        async with server.connect() as socket:  # another prompt is another turn
            await started(socket, sample("Something else", session_id))
            assert "Something else" in (await receive(socket))["content"]
        assert list(state.runs) == ["r1", "r2"]


async def test_coming_back_without_the_session_finds_it_for_two_minutes(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with server.connect() as socket:
            session_id = (await started(socket, sample("Hello?")))["session_id"]
            await until(socket, "log")
            async with server.connect() as second:  # the first is still there: two tabs, two sessions
                assert (await started(second, sample("Hello?")))["session_id"] != session_id
                await until(second, "log")
        async with server.connect() as socket:
            assert (await started(socket, sample("Hello? ")))["session_id"] != session_id
            await until(socket, "log")
        async with server.connect() as socket:
            again = (await started(socket, sample("Hello?")))["session_id"]
            assert len(await server.sessions.list("owner")) == 3, "no fourth session"
            assert again in {s.id for s in await server.sessions.list("owner")}


async def test_bad45_an_empty_first_prompt(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with server.connect() as socket:
            session_id = (await started(socket, sample("  ")))["session_id"]
            error = await receive(socket)
            assert (error["type"], error["content"]["code"]) == ("error", "empty_prompt")
            await send(socket, sample("Now then", session_id))
            assert "Now then" in (await receive(socket, "log"))["content"]
            await finish(server, session_id)
            await until(socket, "completed")
        async with server.connect() as socket:  # a known session is attached and shown whole
            await started(socket, {"type": "default", "config": {"session_id": session_id}})
            assert len(await until(socket, "completed")) > 2


async def test_questions_are_asked_one_at_a_time(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with server.connect() as socket:
            session_id = (await started(socket, sample("Hello?")))["session_id"]
            await play(
                server,
                session_id,
                "r1",
                ev.Question(id="q1", text="Which one?"),
                ev.Confirmation(id="q2", text="Sure?"),
            )
            asked = (await until(socket, "question"))[-1]
            assert asked["content"] == "Which one?"
            await send(socket, {"type": "confirmation", "content": "y"})
            assert (await receive(socket, "error"))["content"]["code"] == "no_such_question"
            await send(socket, {"type": "question", "content": "The first"})
            assert (await until(socket, "confirmation"))[-1]["content"] == "Sure?"
        async with server.connect() as socket:  # what is pending is asked again
            await started(socket, sample("Hello?", session_id))
            got = await until(socket, "confirmation")
            assert "question" not in {f["type"] for f in got}, "settled questions are shown as log"
            await send(socket, {"type": "confirmation", "content": "YES"})
            await receive(socket, "log", until=lambda f: "Sure?" in f["content"])
        settled = (await server.sessions.state(session_id)).settled
        assert settled["q1"][0] == "The first" and settled["q2"][0] is True


async def test_a_diff_is_shown_and_decided(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        session_id = (await started(socket, sample("Hello?")))["session_id"]
        hunk = ev.Hunk(id="h1", unified="@@ -1 +1 @@\n-a\n+b")
        now = server.sessions.roots.all()[0].fingerprint("main.py")
        for n, (answers, verdict) in enumerate(((["n"], "reject"), (["f", None], "feedback"), (["y"], "accept")), 1):
            await play(
                server,
                session_id,
                "r1",
                ev.Diff(id=f"d{n}", files=[ev.FileDiff(path="main.py", op="edit", base_hash=now, hunks=[hunk])]),
            )
            got = await until(socket, "confirmation")
            assert any(f["type"] == "diff" and "+b" in f["content"] for f in got)
            for answer in answers:
                if answer is None:
                    await until(socket, "question")
                    await send(socket, {"type": "question", "content": "Shorter"})
                else:
                    await send(socket, {"type": "confirmation", "content": answer})
            await receive(socket, "log", until=lambda f: "main.py" in f["content"])
            decided = (await server.sessions.state(session_id)).settled[f"d{n}"][0]
            assert decided["verdict"] == verdict


async def test_what_waits_from_an_earlier_turn_is_asked_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with server.connect() as socket:
            session_id = (await started(socket, sample("One")))["session_id"]
            await until(socket, "log")
            await play(server, session_id, "r1", ev.Question(id="q1", text="Which one?"))
        async with server.connect() as socket:
            await started(socket, sample("Two", session_id))
            assert (await until(socket, "question"))[-1]["content"] == "Which one?"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param("", "invalid_json", id="bad30-empty"),
        pytest.param("[" * 100_000, "invalid_json", id="bad36-nesting"),
        pytest.param("[]", "invalid_message", id="bad32-array"),
        pytest.param({"type": "shout"}, "unknown_type", id="bad42-type"),
        pytest.param({"type": "default", "content": 5}, "invalid_field", id="bad44-number"),
        pytest.param({"type": "default", "content": ""}, "empty_prompt", id="bad45-empty"),
        pytest.param({"type": "default", "content": "x" * 200_001}, "too_large", id="bad46-prompt"),
        pytest.param({"type": "question", "content": "x"}, "no_such_question", id="bad65-nothing-asked"),
        pytest.param(b"\x00", "unsupported_frame", id="bad23-binary"),
    ],
)
async def test_a_bad_later_frame_is_an_error_frame(tmp_path: Path, frame: Any, code: str) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        session_id = (await started(socket, sample("Hello?")))["session_id"]
        await send(socket, frame)
        error = await receive(socket, "error")
        assert error["content"]["code"] == code
        await finish(server, session_id)
        await until(socket, "completed")


async def test_bad43_unknown_keys_are_ignored(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        await started(socket, {**sample("Hello?", None, theme="dark", model=7), "extra": [1]})
        assert "Hello?" in (await receive(socket))["content"]


async def test_a_bad_first_frame_of_an_unknown_client(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        await send(socket, "{")
        assert (await receive(socket))["type"] == "error"
        await started(socket, sample("Hello?"))


async def test_several_roots_and_none_named(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        (tmp_path / "second").mkdir()
        server.sessions.roots.add(tmp_path / "second")
        await send(socket, sample("Hello?"))
        error = await receive(socket)
        assert (error["type"], error["content"]["code"]) == ("error", "root_required")
        assert (await started(socket, sample("Hello?", None, root_directory="second")))["root"].endswith("second")


async def test_drain_closes_with_1012_and_nothing_else(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        await started(socket, sample("Hello?"))
        await until(socket, "log")
        server.server.stop()
        assert (await closed(socket))[0] == 1012


async def test_the_frames_are_json_one_event_each(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, server.connect() as socket:
        session_id = (await started(socket, sample("Hello?")))["session_id"]
        await play(server, session_id, "r1", *(ev.Message(text=f"line {n}") for n in range(10)), item_id="i")
        await finish(server, session_id)
        texts = []
        while not texts or json.loads(texts[-1])["type"] != "completed":
            texts.append(await socket.recv())
        assert sum('"line ' in t or "line " in t for t in texts) == 10
