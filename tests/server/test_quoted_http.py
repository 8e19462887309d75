"""Contents over HTTP: those that the session names, as they were, and files as they are now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from serving import Serving, prompt, serving

from reconvene.server import quoted
from reconvene.sessions.kept import HELD
from reconvene.sessions.rows import private
from reconvene.workspace.contents import Contents
from reconvene.workspace.reading import blob_id

THEIRS = b"of another\n"
OLD = b"def start() -> int:\n    return 0\n"


async def session_with(server: Serving, *contents: bytes) -> str:
    session_id = str((await server.http("POST", "/api/sessions", {})).json["session_id"])
    sent = await server.http("POST", f"/api/sessions/{session_id}/messages", prompt("p-" + session_id[-6:], "Hello?"))
    assert sent.status == 200
    store = Contents(server.data_dir / "contents")
    held = {"contents": [store.put(content) for content in contents]}
    await server.append(session_id, private(HELD, held, run_id="r1", stateful=False))
    return session_id


async def test_a_content_is_shown_as_it_was_and_as_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session_id = await session_with(server, OLD)
        path = f"/api/sessions/{session_id}"
        was = (await server.http("GET", f"{path}/blobs/{blob_id(OLD)}")).json
        assert was == {"hash": blob_id(OLD), "size": len(OLD), "text": OLD.decode(), "truncated": False}
        now = (await server.http("GET", f"{path}/file?path=main.py")).json
        assert now["text"] == (tmp_path / "project/main.py").read_text()
        assert now["hash"] == blob_id((tmp_path / "project/main.py").read_bytes()) != was["hash"]
        (tmp_path / "project/main.py").unlink()
        now = (await server.http("GET", f"{path}/file?path=main.py")).json
        assert (now["hash"], now["text"]) == (None, None)


async def test_a_hash_opens_only_what_its_session_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as server:
        mine, other = await session_with(server, OLD), await session_with(server, THEIRS)

        async def codes() -> list[Any]:
            names = (blob_id(THEIRS), blob_id(b"never kept"), "0" * 40, "x", "..%2f..%2fowner.token")
            got = [await server.http("GET", f"/api/sessions/{mine}/blobs/{name}") for name in names]
            return [answer.json.get("code") for answer in got]

        assert (await server.http("GET", f"/api/sessions/{other}/blobs/{blob_id(THEIRS)}")).status == 200
        assert await codes() == ["not_found"] * 5
        # Without the question whether the session names it, a hash would be a key to everything.
        monkeypatch.setattr(quoted, "needed", lambda rows: {blob_id(THEIRS)})
        assert (await codes())[0] is None


@pytest.mark.parametrize(
    ("path", "code"),
    [
        pytest.param("../outside.txt", "path_outside_root", id="bad74-dotdot"),
        pytest.param("%2fetc%2fpasswd", "path_outside_root", id="bad74-absolute"),
        pytest.param("link", "path_outside_root", id="link-outside"),
        pytest.param(".env", "secret_file", id="secret"),
        pytest.param("folder", "is_a_directory", id="folder"),
        pytest.param("a%00b", "invalid_path", id="nul"),
        pytest.param("", "invalid_field", id="empty"),
        pytest.param("x" * 5000, "invalid_field", id="long"),
    ],
)
async def test_files_outside_are_refused(tmp_path: Path, path: str, code: str) -> None:
    async with serving(tmp_path) as server:
        (tmp_path / "outside.txt").write_text("outside")
        root = tmp_path / "project"
        (root / "link").symlink_to(tmp_path / "outside.txt")
        (root / ".env").write_text("KEY=1")
        (root / "folder").mkdir()
        session_id = await session_with(server)
        got = await server.http("GET", f"/api/sessions/{session_id}/file?path={path}")
        assert got.json["code"] == code and b"outside\n" not in got.body


async def test_what_is_no_text_is_not_shown_as_text_and_secrets_are_hidden(tmp_path: Path) -> None:
    key = b'key = "AKIAIOSFODNN7EXAMPLE"\n'
    contents = (b"\x7fELF\0\0binary", "caf\u00e9\n".encode("latin-1"), b"a\x1b[8mb\r\n", key)
    async with serving(tmp_path) as server:
        session_id = await session_with(server, *contents)
        got = [(await server.http("GET", f"/api/sessions/{session_id}/blobs/{blob_id(c)}")).json for c in contents]
        assert [g["text"] for g in got[:3]] == [None, "caf\ufffd\n", "ab\n"]
        assert got[3]["size"] == len(key) and "AKIA" not in got[3]["text"]
