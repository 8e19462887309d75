"""Commands in runs: only with leave, once, through restarts, and ended with the run that wanted them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from house import ME, House, check_log, contents
from reconvene.commands.job import Job, jobs_of
from reconvene.log.port import Row
from reconvene.workspace.permissions import Permission, Permissions
from scripted import scripted

SAY = ["sh", "-c", "echo one >> runs; echo out; until [ -e go ]; do sleep 0.02; done; echo after; exit 3"]


async def opened(
    folder: Path, *commands: list[str], more: tuple[tuple[str, Any], ...] = (), allowed: bool = True
) -> House:
    steps: list[Any] = [[("run_command", {"command": command, **dict(more)})] for command in commands]
    house = await House.open(folder, scripted([*steps, "done"]))
    if allowed:
        Permissions(house.settings.data_dir).allow(str(house.workspace.root), Permission(commands=True))
    return house


async def asked(house: House, session: str) -> Any:
    """The question that waits."""
    await house.until(session, lambda rows: len(contents(rows, "question")) > len(contents(rows, "answered")))
    state = await house.sessions.state(session)
    return next(iter(state.pending.values()))


async def answer(house: House, session: str, value: str) -> None:
    question = await asked(house, session)
    await house.sessions.answer(ME, session, id=None, reply_to=question.id, value=value)


def output(rows: list[Row]) -> str:
    pieces = contents(rows, "output")
    at = 0
    for piece in pieces:
        assert piece["offset"] == at, "a gap or a repeat"
        at += len(piece["text"].encode())
    return "".join(p["text"] for p in pieces)


async def test_it_is_not_there_unless_it_was_switched_on(tmp_path: Path) -> None:
    house = await opened(tmp_path, ["touch", "made"], allowed=False)
    rows = await house.completed(await house.ask("q"))
    assert not (tmp_path / "project" / "made").exists()
    assert contents(rows, "tool_result")[0]["ok"] is False
    await house.close()


async def test_nothing_in_the_code_base_can_switch_it_on(tmp_path: Path) -> None:
    house = await opened(tmp_path, ["touch", "made"], allowed=False)
    text = json.dumps({str(house.workspace.root): {"commands": True}})
    for name in ("permissions.json", ".reconvene/permissions.json"):
        (tmp_path / "project" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "project" / name).write_text(text)
    await house.completed(await house.ask("q"))
    assert not (tmp_path / "project" / "made").exists()
    await house.close()


async def test_it_asks_runs_and_tells_the_model(tmp_path: Path) -> None:
    house = await opened(tmp_path, SAY)
    (tmp_path / "project" / "go").touch()
    session = await house.ask("q")
    question = await asked(house, session)
    assert "echo one" in question.text and "only inside the code base" in question.text
    assert not (tmp_path / "project" / "runs").exists(), "it ran before it was allowed"
    await answer(house, session, "once")
    rows = await house.completed(session)
    check_log(rows)
    assert output(rows) == "out\nafter\n"
    told = contents(rows, "tool_return")[0]["value"]
    assert told.startswith("exit 3") and told.endswith("out\nafter\n")
    [result] = contents(rows, "tool_result")
    assert result["ok"] is False and "exit 3" in result["summary"]
    await house.close()


@pytest.mark.parametrize("value", ["no", "never"])
async def test_a_no_is_a_no(tmp_path: Path, value: str) -> None:
    house = await opened(tmp_path, ["touch", "made"], ["touch", "made"])
    session = await house.ask("q")
    await answer(house, session, value)
    if value == "no":
        await answer(house, session, "no")  # the second call asks again; after a never nobody is asked
    rows = await house.completed(session)
    assert not (tmp_path / "project" / "made").exists() and "output" not in {r.type for r in rows}
    assert len(contents(rows, "question")) == (2 if value == "no" else 1)
    await house.close()


async def test_for_this_session_asks_once_also_after_a_restart_and_only_for_this_command(tmp_path: Path) -> None:
    house = await opened(tmp_path, ["touch", "a"], ["touch", "a"], ["touch", "b"])
    session = await house.ask("q")
    await answer(house, session, "session")
    await house.until(session, lambda rows: len(contents(rows, "question")) == 2)
    assert (tmp_path / "project" / "a").exists() and not (tmp_path / "project" / "b").exists()
    await answer(house, session, "once")
    await house.completed(session)
    await house.restart()
    await house.ask("again", session)
    await house.until(session, lambda rows: len(contents(rows, "question")) == 3)
    rows = await house.rows(session)
    assert "touch b" in contents(rows, "question")[-1]["text"]
    await house.close()


async def test_it_goes_on_through_restarts_and_its_output_is_shown_once(tmp_path: Path) -> None:
    house = await opened(tmp_path, SAY)
    session = await house.ask("q")
    await answer(house, session, "once")
    await house.until(session, lambda rows: any(r.type == "output" for r in rows))
    for _ in range(3):
        await house.restart()
    (tmp_path / "project" / "go").touch()
    rows = await house.completed(session)
    check_log(rows)
    assert (tmp_path / "project" / "runs").read_text() == "one\n"
    assert output(rows) == "out\nafter\n"
    assert len(contents(rows, "tool_return")) == 1
    await house.close()


async def test_stop_ends_the_command(tmp_path: Path) -> None:
    house = await opened(tmp_path, ["sh", "-c", "echo up; sleep 60"])
    session = await house.ask("q")
    await answer(house, session, "once")
    rows = await house.until(session, lambda rows: any(r.type == "output" for r in rows))
    [call] = [r.item_id for r in rows if r.type == "tool_call"]
    job = Job(jobs_of(house.settings.data_dir, f"{session}/r1"), str(call))
    assert job.state() == "running"
    await house.sessions.cancel(ME, session, id=None)
    check_log(await house.completed(session))
    assert job.state() == "ended" and (result := job.result()) is not None and result.why == "cancelled"
    await house.close()


async def test_secrets_of_the_server_do_not_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-do-not-tell")
    house = await opened(tmp_path, ["sh", "-c", "env; cat ../data/*"])
    session = await house.ask("q")
    await answer(house, session, "once")
    rows = await house.completed(session)
    assert "PATH=" in output(rows) and "sk-do-not-tell" not in "".join(r.content for r in rows)
    await house.close()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"command": ["true"], "cwd": "../.."}, "inside the code base"),
        ({"command": ["true"], "cwd": "no-such-folder"}, "no folder"),
        ({"command": ["no-such-program-here"]}, "no program"),
        ({"command": ["two", "words"], "shell": True}, "exactly one"),
        ({"command": ["a\0b"]}, "program's name"),
    ],
)
async def test_a_call_that_makes_no_sense_asks_nobody(tmp_path: Path, args: dict[str, Any], said: str) -> None:
    house = await House.open(tmp_path, scripted([[("run_command", args)], "done"]))
    Permissions(house.settings.data_dir).allow(str(house.workspace.root), Permission(commands=True))
    rows = await house.completed(await house.ask("q"))
    assert said in contents(rows, "tool_result")[0]["summary"] and not contents(rows, "question")
    await house.close()


async def test_a_permission_file_that_is_broken_allows_nothing(tmp_path: Path) -> None:
    house = await opened(tmp_path, ["touch", "made"])
    (house.settings.data_dir / "permissions.json").write_text("{")
    session = await house.ask("q")
    rows = await house.completed(session)
    assert (
        contents(rows, "completed")[0]["outcome"] == "failed"
        and "permissions.json" in contents(rows, "error")[0]["message"]
    )
    assert not (tmp_path / "project" / "made").exists()
    await house.close()
