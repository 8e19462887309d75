"""Sessions found by what was said in them, taken along as documents, and how long they stay."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from serving import Answer, Serving, prompt, serving

from reconvene.protocol import events as ev
from reconvene.sessions import finding


async def said(server: Serving, text: str, *more: ev.Content) -> str:
    made = await server.http("POST", "/api/sessions", {})
    session_id = str(made.json["session_id"])
    sent = await server.http("POST", f"/api/sessions/{session_id}/messages", prompt(f"p-{session_id[-8:]}", text))
    assert sent.status == 200, sent.body
    await server.play(session_id, "r1", *more, item_id="m1")
    return session_id


async def search(server: Serving, q: str, **more: Any) -> Answer:
    rest = "".join(f"&{name}={value}" for name, value in more.items())
    return await server.http("GET", f"/api/sessions/search?q={quote(q)}{rest}")


async def found(server: Serving, q: str) -> list[str]:
    answer = (await search(server, q)).json
    assert answer["searched"] == answer["of"]
    return [session["session_id"] for session in answer["sessions"]]


async def test_a_session_is_found_by_what_was_said(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        one = await said(
            server, "Where are idle sessions swept?", ev.Message(text="In `SessionHub.sweep_all`, hourly.")
        )
        two = await said(server, "Rename the thing", ev.Question(id="q1", text="To which Ägyptian name?"))
        assert await found(server, "idle swept") == [one]
        assert await found(server, "IDLE") == [one] == await found(server, "hourly")
        assert (
            await found(server, "hub") == [one] == await found(server, "sweep_a")
        )  # inside of names, and their beginnings
        assert await found(server, "agyptian") == [two]
        assert await found(server, "idle rename") == []
        answer = (await search(server, "swept")).json
        [hit] = [h for h in answer["sessions"][0]["hits"] if h["kind"] == "prompt"]
        assert hit["seq"] == 1 and hit["pieces"] == ["Where are idle sessions ", "swept", "?"]
        # What is said later is found too, a new title as well, and the old one no more.
        await server.play(one, "r1", ev.Message(text="And a postscript."), item_id="m2")
        assert await found(server, "postscript") == [one]
        await server.http("PATCH", f"/api/sessions/{one}", {"title": "Broomstick"})
        assert await found(server, "broom") == [one]
        await server.http("PATCH", f"/api/sessions/{one}", {"title": "Something else"})
        assert await found(server, "broom") == []


async def test_what_was_deleted_is_not_found_and_not_in_the_file(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        one = await said(server, "A veryparticularsecret word")
        assert await found(server, "veryparticularsecret") == [one]
        server.sessions.forget(one, "deleted")
        assert await server.sessions.log.delete(one, reason="deleted", at=0.0)
        while b"veryparticularsecret" in _bytes(tmp_path / "data"):
            await asyncio.sleep(0)
        assert await found(server, "veryparticularsecret") == []


def _bytes(folder: Path) -> bytes:
    with sqlite3.connect(folder / "finding.db") as db:
        db.execute("pragma wal_checkpoint(truncate)")
    return b"".join(p.read_bytes() for p in folder.glob("finding.db*"))


async def test_a_file_that_is_damaged_is_made_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        one = await said(server, "found again and again")
        assert await found(server, "again") == [one]
    for garbage in (b"not a database" * 500, b""):
        for path in (tmp_path / "data").glob("finding.db*"):
            path.unlink()
        (tmp_path / "data" / "finding.db").write_bytes(garbage)
        async with serving(tmp_path) as server:
            assert await found(server, "again") == [one]


async def test_a_fork_says_what_its_source_said(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        one = await said(server, "before the fork", ev.Message(text="after the fork"))
        two = (await server.http("POST", f"/api/sessions/{one}/fork", {"upto": 2})).json["session_id"]
        assert set(await found(server, "before")) == {one, two} and await found(server, "after") == [one]


async def test_many_sessions_are_taken_in_behind_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "_AT_ONCE", 0.0)
    async with serving(tmp_path) as server:
        made = {await said(server, f"one of many, number{n}") for n in range(5)}
        first = (await search(server, "many")).json
        assert first["searched"] < first["of"] == 5
        while (await search(server, "many")).json["searched"] < 5:
            pass
        assert set(await found(server, "many")) == made
        assert len((await search(server, "many", limit=2)).json["sessions"]) == 2


QUERIES = [
    '"',
    "a OR b",
    "a NEAR(b, 5)",
    "body:x",
    "x*",
    "^x",
    "-x",
    "x' or 1=1 --",
    "NOT",
    "{",
    "(",
    "'; drop table said",
]


@pytest.mark.parametrize("q", QUERIES, ids=lambda q: f"query-{QUERIES.index(q)}")
async def test_what_is_looked_for_is_data(tmp_path: Path, q: str) -> None:
    async with serving(tmp_path) as server:
        one = await said(server, "nothing of all that: or b near x drop table not")
        answer = await search(server, q)
        assert answer.status == 200 or answer.json["code"] == "invalid_field"
        assert await found(server, "nothing") == [one]


@pytest.mark.parametrize(
    ("q", "more"),
    [("", {}), ("   ", {}), ("!!", {}), ("a\0b", {}), ("w " * 150, {}), ("ok", {"limit": 0}), ("ok", {"limit": 51})],
    ids=["empty", "blank", "no-word", "nul", "long", "limit-none", "limit-high"],
)
async def test_what_cannot_be_looked_for_is_refused(tmp_path: Path, q: str, more: dict[str, int]) -> None:
    async with serving(tmp_path) as server:
        answer = await search(server, q, **more)
        assert (answer.status in (400, 422), answer.json["code"]) == (True, "invalid_field")


async def test_a_session_is_taken_along(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        one = await said(server, "Where?", ev.Message(text="In `a.py`. <script>alert(1)</script>\u2028Not a new line."))
        kinds = {"jsonl": "application/x-ndjson", "markdown": "text/markdown", "html": "text/html"}
        texts = {}
        for format, kind in kinds.items():
            answer = await server.http("GET", f"/api/sessions/{one}/export?format={format}")
            assert answer.status == 200 and (answer.header("content-type") or "").startswith(kind)
            assert (answer.header("content-disposition") or "").startswith(f'attachment; filename="{one}.')
            texts[format] = answer.body.decode()
        assert [json.loads(line)["seq"] for line in texts["jsonl"].split("\n") if line] == [1, 2, 4]
        assert texts["markdown"].startswith("# Where?\n\n> Where?\n\nIn `a.py`.")
        assert "&lt;script&gt;" in texts["html"] and "<script>" not in texts["html"]
        refused = await server.http("GET", f"/api/sessions/{one}/export?format=exe")
        assert refused.json["code"] == "invalid_field"


async def test_how_long_a_session_stays(tmp_path: Path) -> None:
    async with serving(tmp_path, retention=86400.0) as server:
        one = await said(server, "stay")

        async def stay() -> tuple[str, float | None]:
            told = (await server.http("GET", f"/api/sessions/{one}")).json["stay"]
            assert told["sentence"].endswith(".")
            return told["reason"], told["left"]

        assert await stay() == ("running", None)
        await server.play(one, "r1", ev.Completed(outcome="success", text=""))
        await server.sessions.log.append(one, (), update={"status": "idle"})
        reason, left = await stay()
        assert reason == "idle" and left is not None and 86000 < left <= 86400
        await server.http("PATCH", f"/api/sessions/{one}", {"pinned": True})
        assert await stay() == ("pinned", None)
        await server.http("PATCH", f"/api/sessions/{one}", {"pinned": False, "archived": True})
        assert (await stay())[0] == "archived"
        with server.sessions.connected(one):
            assert await stay() == ("open", None)
