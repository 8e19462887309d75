"""What is known of a code base, over HTTP: the map, the picture, completion, the first minute."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from serving import Answer, Serving, serving

from reconvene.index import Indexes
from reconvene.index.root import RootIndex
from reconvene.log.port import NewEvent
from reconvene.repomap import names
from reconvene.search.context import SearchContext, lookup_or_search
from reconvene.server.indexing import Indexing

FILES = {
    "src/hub.py": """\
from session import Session


class SessionHub:
    def sweep(self) -> None:
        Session().close()
""",
    "src/session.py": """\
class Session:
    def close(self) -> None:
        pass


def make_session() -> Session:
    return Session()
""",
    "src/use.py": """\
from session import Session, make_session


def use() -> Session:
    return make_session()
""",
    "docs/guide.md": "# Guide\n\nA Session is made by make_session.\n",
    "tests/test_hub.py": """\
from hub import SessionHub


def test_sweep() -> None:
    SessionHub().sweep()
""",
}


@asynccontextmanager
async def coded(tmp_path: Path) -> AsyncIterator[Serving]:
    """A server that serves FILES, indexed."""
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    async with serving(tmp_path) as server:
        indexes = Indexes(tmp_path / "data", server.services.settings.limits, kept=True, alive=lambda root: False)
        server.services.indexing = Indexing(server.services, indexes)
        try:
            workspace = server.services.sessions.roots.all()[0]
            await (await indexes.get(workspace)).refresh()
            yield server
        finally:
            await indexes.close()


async def get(server: Serving, path: str, **headers: str) -> Answer:
    return await server.http("GET", path, headers=headers)


async def test_the_map_says_what_matters_and_why(tmp_path: Path) -> None:
    async with coded(tmp_path) as server:
        whole = (await get(server, "/api/code/map")).json
        assert whole["files"] == 6 and whole["symbols"] >= 6 and whole["partial"] is False
        assert {row["path"] for row in whole["rows"]} <= {*FILES, "main.py"}
        session = next(row for row in whole["rows"] if row["name"] == "Session")
        assert (session["path"], session["line"], session["kind"], session["seen"]) == (
            "src/session.py",
            1,
            "class",
            False,
        )
        assert session["used"] >= 3 and session["why"] == ["used by many files"]
        small = (await get(server, "/api/code/map?tokens=64")).json
        assert len(small["rows"]) < len(whole["rows"]) and small["tokens"] <= 64
        asked = (await get(server, "/api/code/map?query=sweep")).json
        assert (asked["rows"][0]["path"], asked["rows"][0]["name"]) == ("src/hub.py", "SessionHub.sweep")
        assert asked["rows"][0]["why"] == ["definitions"] or "exact name" in asked["rows"][0]["why"]
        inside = (await get(server, "/api/code/map?focus=docs")).json
        assert {row["path"] for row in inside["rows"]} == {"docs/guide.md"}


async def test_what_a_session_has_seen_is_marked(tmp_path: Path) -> None:
    async with coded(tmp_path) as server:
        made = (await server.http("POST", "/api/sessions", {})).json["session_id"]
        before = (await get(server, f"/api/code/map?session_id={made}")).json
        assert not any(row["seen"] for row in before["rows"])
        indexing = server.services.indexing
        assert indexing is not None
        index = await indexing.indexes.get(server.sessions.roots.all()[0])
        found = await lookup_or_search(SearchContext(), index, "make_session", 8, ())
        assert found.entry.places
        await server.append(made, NewEvent("searched", found.entry.to_json(), public=False))
        rows = (await get(server, f"/api/code/map?session_id={made}")).json["rows"]
        seen = {place.path for place in found.entry.places}
        assert {row["path"] for row in rows if row["seen"]} == seen & {row["path"] for row in rows} != set()
        files = (await get(server, f"/api/code/files?most=1&session_id={made}")).json
        assert {file["path"] for file in files["files"] if file["seen"]} == seen
        assert len(files["files"]) + files["others"] == 6


async def test_nothing_is_sent_again_until_the_code_changes(tmp_path: Path) -> None:
    async with coded(tmp_path) as server:
        for path in ("/api/code/map", "/api/code/files"):
            first = await get(server, path)
            mark = first.header("etag")
            assert mark is not None
            again = await get(server, path, **{"If-None-Match": mark})
            assert (again.status, again.body) == (304, b"")
            assert (await get(server, f"{path}?session_id=s_{'A' * 22}", **{"If-None-Match": mark})).status == 404
            (tmp_path / "project" / "src" / f"more{len(path)}.py").write_text("class More:\n    pass\n")
            assert (await server.http("POST", "/api/indexes", {"do": "refresh"})).status == 200
            changed = await get(server, path, **{"If-None-Match": mark})
            assert changed.status == 200 and changed.json["epoch"] > first.json["epoch"]


async def test_a_symbol_is_defined_somewhere_and_used_elsewhere(tmp_path: Path) -> None:
    async with coded(tmp_path) as server:
        found = (await get(server, "/api/code/symbol?name=make_session")).json
        [definition] = found["definitions"]
        assert (definition["path"], definition["start"], definition["symbol"]) == ("src/session.py", 6, "make_session")
        assert "return Session()" in definition["text"]
        assert {(use["path"], use["line"], use["symbol"]) for use in found["uses"]} >= {("src/use.py", 5, "use")}
        nothing = (await get(server, "/api/code/symbol?name=Nothing")).json
        assert (nothing["definitions"], nothing["uses"]) == ([], [])
        for name in ("", "a b", "../x", "x" * 250, "re:("):
            assert (await get(server, f"/api/code/symbol?name={quote(name)}")).json["code"] == "invalid_field"


async def test_places_are_searched_page_by_page(tmp_path: Path) -> None:
    async with coded(tmp_path) as server:
        first = (await get(server, "/api/code/search?q=session&limit=1")).json
        [place] = first["places"]
        assert set(place) == {"path", "start", "end", "score", "symbol", "text", "why"} and place["why"]
        assert (first["truncated"], first["partial"], first["moved"]) == (False, False, False)
        named = (await get(server, "/api/code/search?q=make+session+use&limit=1")).json
        assert {named["places"][0]["path"], *named["further"]} >= {"src/session.py", "src/use.py"}
        second = (await get(server, f"/api/code/search?q=session&limit=1&cursor={first['next']}")).json
        assert second["places"] and second["places"] != first["places"]
        (tmp_path / "project" / "src" / "later.py").write_text(
            "def only_since_now():\n    key = 'AKIAIOSFODNN7EXAMPLE'\n"
        )
        [found] = (await get(server, "/api/code/search?q=only_since_now")).json["places"]
        assert found["path"] == "src/later.py" and "[redacted]" in found["text"] and "AKIA" not in found["text"]
        text = (await get(server, "/api/code/map?tokens=64&text=true")).json
        assert text["text"] and text["next"]
        more = (await get(server, f"/api/code/map?tokens=64&cursor={text['next']}")).json
        assert more["rows"] and more["rows"] != text["rows"] and more["text"] is None


async def complete(server: Serving, q: str) -> list[str]:
    while True:
        answer = (await get(server, f"/api/code/names?q={quote(q)}")).json
        if not answer["partial"]:
            return [item["name"] or item["path"] for item in answer["items"]]
        await asyncio.sleep(0)


async def test_names_are_completed(tmp_path: Path) -> None:
    async with coded(tmp_path) as server:
        assert (await complete(server, ""))[0] == "src/session.py"
        assert (await complete(server, "Session"))[:1] == ["Session"]
        assert "SessionHub" in await complete(server, "sess")
        assert (await complete(server, "hub"))[:1] == ["src/hub.py"] and "SessionHub" in await complete(server, "hub")
        assert (await complete(server, "src/u"))[0] == "src/use.py"
        assert (await complete(server, "doc"))[0] == "docs/"
        assert await complete(server, "shub") == ["src/hub.py", "tests/test_hub.py"]
        assert await complete(server, "nothing at all") == []
        assert await complete(server, "\\x03") == [] == await complete(server, "[a-z]+")
        (tmp_path / "project" / "src" / "use.py").write_text("def employ() -> None:\n    pass\n")
        (tmp_path / "project" / "docs" / "guide.md").unlink()
        assert (await server.http("POST", "/api/indexes", {"do": "refresh"})).status == 200
        assert await complete(server, "employ") == ["employ"]
        assert "use" not in await complete(server, "use") and await complete(server, "guide") == []
        assert await complete(server, "make_session") == ["make_session"]


async def test_of_names_that_are_everywhere_those_that_are_meant_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few places are weighed: the name itself, a file of that name, and names of the files that matter."""
    async with coded(tmp_path) as server:
        many = tmp_path / "project" / "session_parts"
        many.mkdir()
        for n in range(60):
            (many / f"a_{n}.py").write_text(f"def in_session_{n}() -> None: ...\ndef session_{n}() -> None: ...\n")
        (many / "z.py").write_text("def session() -> None: ...\n")
        assert (await server.http("POST", "/api/indexes", {"do": "refresh"})).status == 200
        wanted = {q: (await complete(server, q))[:2] for q in ("session", "Session", "make")}
        assert set(wanted["session"]) == {"session", "src/session.py"} and wanted["Session"][0] == "Session"
        monkeypatch.setattr(names, "_WEIGHED", 4)
        for q, first in wanted.items():
            assert (await complete(server, q))[:2] == first, q
        # What is edited keeps its place among the names.
        (tmp_path / "project" / "src" / "session.py").write_text(FILES["src/session.py"] + "\n\nclass Sessional: ...\n")
        assert (await server.http("POST", "/api/indexes", {"do": "refresh"})).status == 200
        assert {"Session", "Sessional"} <= set(await complete(server, "Session"))


async def test_names_that_were_not_gathered_yet_are_there_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "_AT_ONCE", 0.0)
    async with coded(tmp_path) as server:
        first = (await get(server, "/api/code/names?q=use")).json
        assert first["partial"] and "src/use.py" in {item["path"] for item in first["items"]}
        assert "use" in await complete(server, "use")


async def test_who_types_while_names_are_gathered_is_answered_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: gathering lets go of the names after every slice."""
    monkeypatch.setattr(names, "_SLICE", 0.0)
    monkeypatch.setattr(names, "_AT_ONCE", 0.0)
    async with coded(tmp_path) as server:
        indexing = server.services.indexing
        assert indexing is not None
        known = names.CodeNames(await indexing.indexes.get(indexing.served(None)))
        taken = 0

        class Counted:
            lock = threading.Lock()

            def __enter__(self) -> None:
                nonlocal taken
                taken += 1
                self.lock.acquire()

            def __exit__(self, *_: object) -> None:
                self.lock.release()

        monkeypatch.setattr(known, "_lock", Counted())
        await asyncio.to_thread(known.catch_up)
        assert taken >= len(FILES)
        assert known.complete("use", 8).items and not known.complete("use", 8).partial


async def test_names_of_a_code_base_that_is_being_read_are_not_all_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who types meanwhile asks again."""
    async with coded(tmp_path) as server:
        await complete(server, "")
        monkeypatch.setattr(RootIndex, "partial", True)
        answer = (await get(server, "/api/code/names?q=use")).json
        assert answer["partial"] and answer["items"]


async def test_the_first_minute_knows_the_code_base(tmp_path: Path) -> None:
    async with coded(tmp_path) as server:
        told = (await get(server, "/api/code")).json
        assert (told["name"], told["files"], told["index"]["phase"]) == ("project", 6, "ready")
        assert told["languages"][0] == {"name": "python", "files": 5}
        assert {"name": "src/", "files": 3} in told["folders"]
        assert len(told["questions"]) == 3
        assert "`src/`" in told["questions"][0] and "`Session`" in told["questions"][1]


async def test_of_an_empty_folder_something_can_be_asked_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        (tmp_path / "project" / "main.py").unlink()
        indexes = Indexes(tmp_path / "data", server.services.settings.limits, kept=True, alive=lambda root: False)
        server.services.indexing = Indexing(server.services, indexes)
        try:
            told = (await get(server, "/api/code")).json
            assert told["files"] == 0 and len(set(told["questions"])) == 3
            assert (await get(server, "/api/code/map")).json["rows"] == []
            assert (await get(server, "/api/code/files")).json["files"] == []
            assert await complete(server, "x") == []
        finally:
            await indexes.close()


BAD: list[tuple[str, str, str]] = [
    ("unserved-root", "/api/code/map?root=%2Fetc", "root_not_served"),
    ("unserved-root-names", "/api/code/names?root=..%2F", "root_not_served"),
    ("tokens-low", "/api/code/map?tokens=1", "invalid_field"),
    ("tokens-high", "/api/code/map?tokens=99999999", "invalid_field"),
    ("tokens-word", "/api/code/map?tokens=many", "invalid_field"),
    ("limit-none", "/api/code/names?limit=0", "invalid_field"),
    ("limit-high", "/api/code/names?limit=51", "invalid_field"),
    ("long-name", "/api/code/names?q=" + "a" * 101, "invalid_field"),
    ("query-nul", "/api/code/map?query=a%00b", "invalid_field"),
    ("query-pattern", "/api/code/map?query=re%3A(", "invalid_field"),
    ("session-other", "/api/code/map?session_id=nothing", "no_such_session"),
    ("most-none", "/api/code/files?most=0", "invalid_field"),
    ("search-missing", "/api/code/search", "invalid_field"),
    ("search-nothing", "/api/code/search?q=%20", "invalid_field"),
    ("search-cursor", "/api/code/search?q=a&cursor=zz", "invalid_field"),
    ("search-other", f"/api/code/search?q=a&session_id=s_{'A' * 22}", "no_such_session"),
    ("symbol-missing", "/api/code/symbol", "invalid_field"),
]


@pytest.mark.parametrize(("path", "code"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
async def test_what_cannot_be_used_is_refused(tmp_path: Path, path: str, code: str) -> None:
    async with coded(tmp_path) as server:
        answer = await get(server, path)
        assert (answer.status >= 400, answer.json["code"]) == (True, code)


async def test_before_the_indexes_are_there_it_is_said(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for path in (
            "/api/code",
            "/api/code/map",
            "/api/code/files",
            "/api/code/names",
            "/api/code/symbol?name=x",
            "/api/code/search?q=x",
        ):
            answer: Any = await get(server, path)
            assert (answer.status, json.loads(answer.body)["code"]) == (503, "starting")
