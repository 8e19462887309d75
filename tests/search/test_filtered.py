"""What is remembered of filters: each file of a view is asked once, and nothing of it holds for another filter or another view."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

import reconvene.search.answer as answer
from codebase import CodeBase
from reconvene.index import RootIndex
from reconvene.index.query import Query, parse
from reconvene.index.ranking import rank
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
    wanted_of = Query.wanted_of

    def counted(self: Query, paths: Sequence[str]) -> list[int]:
        asked.extend(paths)
        return wanted_of(self, paths)

    monkeypatch.setattr(Query, "wanted_of", counted)
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


def in_full(index: RootIndex, query: Query) -> tuple[list[str], int]:
    """All files that filters leave in, best first, and how many do not score far below the best, each of them asked."""
    score = rank(index.view, query).score
    left = [n for n in np.flatnonzero(score).tolist() if query.wants(index.view.path(n))]
    order = sorted(left, key=lambda n: (-score[n], index.view.path(n)))
    top = score[order[0]] if order else 0.0
    return [index.view.path(n) for n in order], sum(score[n] >= 0.25 * top for n in left)


@pytest.mark.parametrize(
    "filters", ["", "path:wheels/", "-path:other/", "path:/m1", "path:*1?.go", "lang:py path:m", "path:no"]
)
@pytest.mark.parametrize("step", [1, 2, 5, 100])
async def test_the_files_left_in_are_those_of_asking_each(index: RootIndex, filters: str, step: int) -> None:
    code = parse(f"{filters} spoke turn wheel m3", index.limits)
    files, worth = in_full(index, code)
    candidates = answer._Candidates(index.view, code, rank(index.view, code))
    assert candidates.worth_a_look == worth
    assert [index.view.path(n) for n in candidates.in_order(step)] == files
    assert files or filters in ("path:no", "path:/m1")


async def test_control_filters_that_are_not_asked_are_noticed(
    index: RootIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer._Candidates, "_left", lambda self, numbers: numbers)
    with pytest.raises(AssertionError):
        await test_the_files_left_in_are_those_of_asking_each(index, "path:wheels/", 2)


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
