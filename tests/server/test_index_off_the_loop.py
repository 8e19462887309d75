"""While a code base is indexed, searched and mapped, the server's event loop does none of it: every call in its thread is looked at.

How long the loop runs at a stretch is measured by `make bench-index`; here no clock is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from serving import hello, prompt, receive, send, serving

import reconvene
from example import FILES
from reconvene.index import RootIndex
from reconvene.index.looks import Refresh
from reconvene.server.lifecycle import Server

HOME = str(Path(reconvene.__file__).parent) + "/"
HEAVY = {
    f"{HOME}{room}/{module}.py"
    for room, modules in {
        "index": "analysis arrays definitions history history_reader literals order ranking reader runs segment settled snapshot store "
        "stored usage",
        "search": "atoms density extent files likeliest looking matching places symbols texts windows",
        "repomap": "importance likeness overview places",
        "workspace": "git_files git_history ignore_rules jail listing reading walk",
    }.items()
    for module in modules.split()
}
"""What reads, parses, sorts or counts a code base. Asking an index for its state is none of it."""
CHEAP = {"index/settled.py:exists", "index/settled.py:is_due"}
"""They compare a few numbers."""


@contextlib.contextmanager
def calls_in_this_thread() -> Iterator[set[str]]:
    """`module.py:function` of every call into HEAVY from now on, in this thread: the loop's."""
    seen: set[str] = set()

    def look(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename in HEAVY:
            seen.add(f"{frame.f_code.co_filename.removeprefix(HOME)}:{frame.f_code.co_name}")

    sys.setprofile(look)
    try:
        yield seen
    finally:
        sys.setprofile(None)


async def a_prompt_while_it_is_built(tmp_path: Path) -> set[str]:
    project = tmp_path / "project"
    for n in range(60):
        for name, text in FILES.items():
            path = project / f"part{n}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("idle", f"idle{n}"))
    async with serving(tmp_path, kind=Server) as server:
        await asyncio.gather(*(t for t in asyncio.all_tasks() if t.get_name() == "start runs"))  # imports are not it
        with calls_in_this_thread() as seen:
            async with server.connect() as socket:
                await send(socket, hello(client="c"))
                await receive(socket, "session")
                await send(socket, prompt("p", "Where are idle sessions swept?"))
                await receive(
                    socket, "batch", until=lambda f: any(e["type"] == "completed" for e in f["content"]["events"])
                )
            assert server.server._indexes is not None
            index = await server.server._indexes.get(server.sessions.roots.all()[0])
            (project / "part3/new.py").write_text("def brand_new():\n    return 1\n")
            await index.refresh()
            await index.take_in_history()
        assert index.builds == 1 and index.fingerprint("part3/new.py")
    return seen


async def test_the_loop_reads_and_ranks_nothing(tmp_path: Path) -> None:
    assert await a_prompt_while_it_is_built(tmp_path) <= CHEAP


async def test_control_a_look_in_the_loop_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def here(self: RootIndex) -> Refresh:
        return self._look()

    monkeypatch.setattr(RootIndex, "refresh", here)
    assert "index/reader.py:read_all" in await a_prompt_while_it_is_built(tmp_path)
