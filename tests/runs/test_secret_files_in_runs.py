"""Files that look like secrets: read, changed and made only when the person says so, each by itself, through crashes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from coding import agents, update
from house import ME, House, check_log, contents
from reconvene.agents.edit_format import Create, Edit, Replace, render
from scripted import scripted

FILES = {"a.py": "one = 1\n", ".env": "PASSWORD=hunter2\nPORT=1\n", "keys/id_rsa": "private\n"}
READ: Any = [[("read_file", {"path": ".env"})], [("read_file", {"path": "./.env"})], "done"]
CHANGE = render(
    [
        Edit("a.py", (Replace(("one = 1",), ("one = 11",)),)),
        Edit(".env", (Replace(("PORT=1",), ("PORT=2",)),)),
        Create("sub/.env.local", ("X=1",)),
    ]
)


class Person:
    """Answers questions with `answers` in turn, and accepts every diff."""

    def __init__(self, house: House, session: str, answers: list[str]) -> None:
        self.house, self.session, self.answers = house, session, answers

    async def until_over(self) -> list[Any]:
        sessions = self.house.sessions
        async with asyncio.timeout(30):
            while not contents(rows := await self.house.rows(self.session), "completed"):
                for waiting in list((await sessions.state(self.session)).pending.values()):
                    if waiting.kind == "diff":
                        await sessions.decide(ME, self.session, id=None, reply_to=waiting.id, verdict="accept")
                    else:
                        n = sum(q["id"] != waiting.id for q in contents(rows, "question"))
                        answer = self.answers[min(n, len(self.answers) - 1)]
                        await sessions.answer(ME, self.session, id=None, reply_to=waiting.id, value=answer)
                await asyncio.sleep(0.01)
        return rows


@pytest.mark.parametrize("answer", ["once", "session", "no"])
async def test_bad90_a_secret_is_read_when_the_person_says_so(tmp_path: Path, answer: str) -> None:
    house = await House.open(tmp_path, scripted(READ), files=dict(FILES))
    session = await house.ask("q")
    rows = await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    assert not any("hunter2" in r.content for r in rows)
    [question] = contents(rows, "question")
    assert ".env" in question["text"] and "provider" in question["text"] and question["schema"]["enum"][-1] == "no"
    await house.restart()
    rows = await Person(house, session, [answer]).until_over()
    check_log(rows)
    assert any("hunter2" in r.content for r in rows) is (answer != "no")
    assert len(contents(rows, "question")) == (1 if answer == "session" else 2)
    await house.restart()
    await house.ask("again", session)
    if answer == "session":  # kept with the session
        rows = await house.completed(session, 2)
        assert len(contents(rows, "question")) == 1
    else:
        await house.until(session, lambda rows: len(contents(rows, "question")) == 3)
    other = await house.ask("q")
    await house.until(other, lambda rows: contents(rows, "question"))  # another session asks anew
    await house.close()


async def opened(tmp_path: Path, answers: str | list[str] = CHANGE, files: tuple[str, ...] = ("a.py", ".env")) -> Any:
    coder = [answers] if isinstance(answers, str) else answers
    heard: list[tuple[str, str]] = []
    house = await House.open(tmp_path, agents([update("x", *files), "done"], coder, heard=heard), files=dict(FILES))
    return house, await house.ask("q"), heard


def tree(house: House) -> dict[str, str]:
    root = house.folder / "project"
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


WRITTEN = FILES | {"a.py": "one = 11\n", ".env": "PASSWORD=hunter2\nPORT=2\n", "sub/.env.local": "X=1\n"}


@pytest.mark.parametrize("named", [True, False])
async def test_bad90_a_secret_is_changed_by_itself_and_asked_for(tmp_path: Path, named: bool) -> None:
    house, session, heard = await opened(tmp_path, files=("a.py", ".env") if named else ("a.py",))
    await house.sessions.act(ME, session, id=None, name="edit_mode", args={"mode": "accept"})
    rows = await Person(house, session, ["once"]).until_over()
    check_log(rows)
    assert tree(house) == WRITTEN and len(contents(rows, "question")) == 1
    diffs = contents(rows, "diff")
    assert [[f["path"] for f in d["files"]] for d in diffs] == [["a.py"], [".env"], ["sub/.env.local"]]
    assert [d["risky"] for d in diffs] == [False, True, True]
    assert "looks like a secret" in diffs[1]["files"][0]["risk"]
    assert ("hunter2" in heard[0][1]) is named and len(heard) == 1
    await house.close()


async def test_who_says_no_gets_the_rest(tmp_path: Path) -> None:
    rest = render([Edit("a.py", (Replace(("one = 1",), ("one = 11",)),))])
    house, session, heard = await opened(tmp_path, [CHANGE, rest], files=("a.py",))
    rows = await Person(house, session, ["no"]).until_over()
    check_log(rows)
    assert tree(house) == FILES | {"a.py": "one = 11\n"}
    assert "does not want .env" in heard[1][1] and not any("hunter2" in text for _, text in heard)
    await house.close()


@pytest.mark.parametrize("at", [pytest.param(n, marks=[pytest.mark.long] * (n % 9 != 5)) for n in range(5, 50)])
async def test_a_crash_at_any_row_asks_once_and_writes_once(tmp_path: Path, at: int) -> None:
    house, session, _ = await opened(tmp_path, files=("a.py",))
    person = asyncio.create_task(Person(house, session, ["once"]).until_over())
    await house.until(session, lambda rows: len(rows) >= at or contents(rows, "completed"))
    person.cancel()
    await asyncio.gather(person, return_exceptions=True)
    await house.restart()
    rows = await Person(house, session, ["once"]).until_over()
    check_log(rows)
    assert tree(house) == WRITTEN
    assert len(contents(rows, "question")) == 1 and len(contents(rows, "applied")) == 3
    await house.close()


@pytest.mark.parametrize("path", [".git/config", "link", ".GIT/hooks/pre-commit"], ids=["bad96", "bad76", "bad104"])
async def test_version_control_is_not_even_asked_about(tmp_path: Path, path: str) -> None:
    files = FILES | {".git/config": "[core]\n"}
    house = await House.open(tmp_path, scripted([[("read_file", {"path": path})], "done"]), files=files)
    (tmp_path / "project/link").symlink_to(".git/config")
    rows = await house.completed(await house.ask("q"))
    assert not contents(rows, "question") and [c["ok"] for c in contents(rows, "tool_result")] == [False]
    await house.close()


async def test_a_link_says_where_it_leads(tmp_path: Path) -> None:
    house = await House.open(tmp_path, scripted([[("read_file", {"path": "README"})], "done"]), files=dict(FILES))
    (tmp_path / "project/README").symlink_to(".env")
    rows = await house.until(await house.ask("q"), lambda rows: contents(rows, "question"))
    assert "README (which leads to .env)" in contents(rows, "question")[0]["text"]
    await house.close()


async def test_a_sub_agent_cannot_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its coder looks for the key itself: it is refused, and nobody is asked."""
    looked: list[Any] = [[("read_file", {"path": ".env"})], render([Create("b.py", ("x = 1",))])]
    house = await House.open(tmp_path, agents([update("x", "a.py"), "done"], looked), files=dict(FILES))
    rows = await Person(house, await house.ask("q"), ["once"]).until_over()
    assert not contents(rows, "question") and not any("hunter2" in r.content for r in rows)
    assert [json.loads(r.content)["ok"] for r in rows if r.type == "tool_result" and r.parent_id] == [False]
    await house.close()


async def test_control_without_the_question_a_secret_reaches_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(*_: Any, **__: Any) -> tuple[()]:
        return ()

    monkeypatch.setattr("reconvene.agents.reading.asked", nobody)
    house = await House.open(tmp_path, scripted(READ), files=dict(FILES))
    rows = await house.completed(await house.ask("q"))
    assert any("hunter2" in r.content for r in rows)
    await house.close()
