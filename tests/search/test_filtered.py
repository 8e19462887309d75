"""What is remembered of filters: each file of a view is asked once, and nothing of it holds for another filter or another view."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import reconvene.search.answer as answer
from codebase import CodeBase
from reconvene.index import RootIndex
from reconvene.index.query import Query
from reconvene.index.workers import Workers
from reconvene.search import filtered, search


@pytest.fixture
async def index(code: CodeBase, workers: Workers) -> AsyncIterator[RootIndex]:
    for i in range(12):
        code.write(f"wheels/m{i}.py", f"def wheel_{i}(spoke):\n    return spoke.turn({i})\n")
        code.write(f"other/n{i}.go", f"func wheel{i}(spoke int) int {{ return spoke }}\n")
    made = await code.index(workers)
    yield made
    await made.close()


async def found(index: RootIndex, query: str) -> set[str]:
    return {s.path.split("/")[0] for s in (await search(index, query, limit=20)).snippets}


async def test_a_file_is_asked_once_for_one_filter(index: RootIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    wants = Query.wants

    def counted(self: Query, path: str) -> bool:
        asked.append(path)
        return wants(self, path)

    monkeypatch.setattr(Query, "wants", counted)
    assert await found(index, "path:wheels/ spoke") == {"wheels"}
    once = len(asked)
    assert once and await found(index, "path:wheels/ spoke turn") == {"wheels"}
    assert len(asked) == len(set(asked))
    assert await found(index, "-path:wheels/ spoke") == {"other"} and await found(index, "lang:go spoke") == {"other"}
    assert len(asked) > once


async def test_what_is_new_is_asked_anew(index: RootIndex, code: CodeBase) -> None:
    assert await found(index, "path:new/ spoke") == set()
    code.write("new/m.py", "def wheel(spoke):\n    pass\n")
    code.remove("wheels/m0.py")
    await index.refresh()
    assert await found(index, "path:new/ spoke") == {"new"}


async def test_only_so_many_filters_are_remembered(index: RootIndex) -> None:
    for i in range(3 * filtered.KEPT):
        await search(index, f"path:wheels/m{i} spoke")
    assert len(filtered._known[index.view]) == filtered.KEPT
    assert await found(index, "path:wheels/ spoke") == {"wheels"}


async def test_control_one_memory_for_all_filters_is_noticed(index: RootIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    one = bytearray(index.view.offsets[-1])
    monkeypatch.setattr(answer, "left_in", lambda view, query: one)
    assert await found(index, "path:wheels/ spoke") == {"wheels"}
    assert await found(index, "-path:wheels/ spoke") != {"other"}
