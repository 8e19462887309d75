"""What an agent of others may settle: what it is asked about its task, and nothing that a person has to allow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from serving import Serving, serving

from reconvene.adapters.mcp.asking import Asked, Asking
from reconvene.errors import ReconveneError
from reconvene.protocol import events as ev


async def ask(server: Serving, **given: Any) -> Asked:
    async def progress(_number: int, _text: str) -> None:
        pass

    wanted = {"question": None, "session_id": None, "answer": None, "root": None, "wait": 0.0, "id": None, **given}
    return await Asking(server.services).ask("owner", progress=progress, **wanted)


async def test_it_answers_what_it_is_asked_about_its_task(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        first = await ask(server, question="What?", id="key-1-of-the-call")
        assert first.status == "working"
        again = await ask(server, question="What?", id="key-1-of-the-call")
        assert again.session_id == first.session_id  # the same call, sent once more
        question = ev.Question(id="r1.ask:1", text="Which?", schema={"type": "string", "enum": ["a", "b"]})
        await server.play(
            first.session_id, "r1", ev.Run(status="running", attempt=1), question, ev.Run(status="waiting")
        )
        asked = await ask(server, session_id=first.session_id, wait=5.0)
        assert (asked.status, asked.question, asked.choices) == ("needs_answer", "Which?", ["a", "b"])
        going = asyncio.create_task(ask(server, session_id=first.session_id, answer="b", wait=5.0))
        while "r1.ask:1" not in (await server.sessions.state(first.session_id)).settled:
            await asyncio.sleep(0.01)
        await server.play(first.session_id, "r1", ev.Message(text="It is b."), ev.Completed(outcome="success"))
        done = await going
        assert (done.status, done.answer) == ("done", "It is b.")
        assert len((await server.sessions.state(first.session_id)).runs) == 1


@pytest.mark.parametrize(
    "waiting",
    [
        pytest.param(
            ev.Question(id="r1.leave:c0", text="Run this?", schema={"type": "string", "enum": ["once", "no"]}),
            id="command",
        ),
        pytest.param(ev.Confirmation(id="r1.limit", text="Go on?"), id="confirmation"),
        pytest.param(ev.Diff(id="r1.d1", files=[ev.FileDiff(path="a.py", op="create")]), id="diff"),
    ],
)
async def test_it_can_allow_nothing(tmp_path: Path, waiting: ev.Content) -> None:
    async with serving(tmp_path) as server:
        first = await ask(server, question="Change it")
        await server.play(first.session_id, "r1", ev.Run(status="running", attempt=1), waiting)
        told = await ask(server, session_id=first.session_id, wait=5.0)
        assert told.status == "needs_person" and "person" in (told.note or "")
        for answer in ("once", "yes", "accept"):
            with pytest.raises(ReconveneError) as e:
                await ask(server, session_id=first.session_id, answer=answer)
            assert e.value.code == "no_such_question"
        assert len((await server.sessions.state(first.session_id)).pending) == 1


async def test_mutation_an_agent_that_may_answer_anything_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconvene.adapters.mcp.asking.answerable", lambda pending: pending.kind != "diff")
    waiting = ev.Question(id="r1.leave:c0", text="Run this?", schema={"type": "string", "enum": ["once", "no"]})
    with pytest.raises(AssertionError):
        await test_it_can_allow_nothing(tmp_path, waiting)


async def test_a_failed_run_says_why_and_a_long_answer_is_cut_with_a_way_to_the_rest(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        first = await ask(server, question="Explain")
        await server.play(first.session_id, "r1", ev.Message(text="x" * 20_000), ev.Completed(outcome="success"))
        long = await ask(server, session_id=first.session_id)
        assert len(long.answer or "") == 16_000 and f"reconvene://sessions/{first.session_id}" in (long.note or "")
        await ask(server, session_id=first.session_id, question="Again")
        error = ev.Error(code="provider_auth", message="The key is refused.")
        await server.play(first.session_id, "r2", error, ev.Completed(outcome="failed", reason="provider_auth"))
        failed = await ask(server, session_id=first.session_id)
        assert (failed.status, failed.note) == ("failed", "The key is refused.")
