"""Fifty sessions of one root hold one index in memory, and a client that comes back sets no index work off. All of it counted."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Serving, hello, prompt, receive, send, serving

from example import FILES
from reconvene.index import Indexes, RootIndex
from reconvene.index.reader import FileReader
from reconvene.index.store import Store
from reconvene.server.lifecycle import Server
from reconvene.workspace import Workspace

SESSIONS = 50


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """What indexes did, counted where it is done; nothing is replaced."""
    counted: Counter[str] = Counter()

    def count(kind: type[Any], method: str, what: str) -> None:
        real = getattr(kind, method)

        def counting(self: Any, *args: Any, **more: Any) -> Any:
            counted[what] += 1
            return real(self, *args, **more)

        monkeypatch.setattr(kind, method, counting)

    count(RootIndex, "__init__", "indexes")
    count(RootIndex, "_load", "loads")
    count(RootIndex, "_look", "looks")
    count(FileReader, "_read", "files read")
    count(Workspace, "listing", "listings")
    count(Store, "commit", "commits")
    yield counted


def project(folder: Path) -> None:
    for name, text in FILES.items():
        path = folder / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def asked(server: Serving, number: int) -> tuple[str, str]:
    """A new session with one answered prompt; its id, and the cursor at its end."""
    async with server.connect() as socket:
        await send(socket, hello(client=f"c{number}"))
        session = (await receive(socket, "session"))["content"]["session_id"]
        await send(socket, prompt(f"p{number}", "Where are idle sessions swept?"))
        batch = await receive(
            socket, "batch", until=lambda f: any(e["type"] == "completed" for e in f["content"]["events"])
        )
        ended = next(e for e in batch["content"]["events"] if e["type"] == "completed")
        assert ended["content"]["outcome"] == "success", ended
        return session, batch["content"]["upto"]


async def test_fifty_sessions_hold_one_index_and_coming_back_is_no_work(tmp_path: Path, work: Counter[str]) -> None:
    project(tmp_path)
    async with serving(tmp_path, kind=Server) as server:
        first = await asked(server, 0)
        indexes = server.server._indexes
        assert isinstance(indexes, Indexes)
        index = await indexes.get(server.sessions.roots.all()[0])
        parsed, texts = index.parsed, {text for text in FILES.values() if text.strip()}
        assert work["files read"] > len(FILES) and parsed > len(texts), "the count counts"

        others = []
        for n in range(1, SESSIONS, 7):
            others += await asyncio.gather(*(asked(server, n + i) for i in range(7)))
        assert len(others) == SESSIONS - 1
        assert (work["indexes"], work["loads"], indexes.open_count) == (1, 1, 1), (
            "49 more sessions made no further index"
        )
        assert (index.builds, index.parsed) == (1, parsed), "nor was anything built or analysed again"
        gc.unfreeze()  # what a server's start froze is not in the list of objects
        gc.collect()
        held = [o for o in gc.get_objects() if isinstance(o, RootIndex) and o.workspace.root == index.workspace.root]
        assert held == [index]

        before = Counter(work)
        for session, cursor in [first, *others]:
            for place in (cursor, None):  # a network that was away, and a page that was loaded again
                async with server.connect() as socket:
                    await send(socket, hello(session, place, "again"))
                    assert (await receive(socket, "session"))["content"]["session_id"] == session
        assert Counter(work) == before, "a hundred reconnects looked at nothing, read nothing, and wrote nothing"


async def test_control_an_index_for_each_session_is_noticed(
    tmp_path: Path, work: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    get = Indexes.get

    async def own(self: Indexes, workspace: Workspace) -> RootIndex:
        self._open.pop(str(workspace.root), None)
        return await get(self, workspace)

    monkeypatch.setattr(Indexes, "get", own)
    project(tmp_path)
    async with serving(tmp_path, kind=Server) as server:
        await asked(server, 0)
        await asked(server, 1)
    assert work["indexes"] == 3, "the one that the server begins with, and one for each"
