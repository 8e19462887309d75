"""Pages: together they are the answer, each place once; a cursor that does not hold is refused or says so."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reconvene.search.answer as answers
from codebase import CodeBase
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.index import RootIndex, paging
from reconvene.index.query import parse
from reconvene.index.workers import Workers
from reconvene.search import SearchContext, SearchResult, Snippet, lookup_or_search, search
from reconvene.search.answer import question

QUERIES = ["wheel", "spoke wheel turn", '"return spoke"', r"re:turn\(\d", "def:wheel_3", "uses:spoke", "cart path:shop"]


@pytest.fixture
async def index(code: CodeBase, workers: Workers) -> AsyncIterator[RootIndex]:
    for i in range(30):
        code.write(f"many/m{i}.py", f"def wheel_{i % 7}(spoke):\n    return spoke.turn({i})\n" * (1 + i % 3))
    made = await code.index(workers)
    yield made
    await made.close()


async def pages(index: RootIndex, query: str, limit: int) -> list[SearchResult]:
    found = [await search(index, query, limit=limit)]
    while found[-1].next is not None:
        found.append(await search(index, query, limit=limit, cursor=found[-1].next))
    return found


def place(snippet: Snippet) -> tuple[str, int, int]:
    return snippet.path, snippet.start, snippet.end


@pytest.mark.parametrize("limit", [1, 3, 8])
@pytest.mark.parametrize("query", QUERIES)
async def test_all_pages_are_the_whole_answer(index: RootIndex, query: str, limit: int) -> None:
    whole = await search(index, query, limit=200)
    found = await pages(index, query, limit)
    assert [s for page in found for s in page.snippets] == list(whole.snippets)
    assert whole.next is None and not any(page.moved for page in found)
    assert all(len(page.snippets) == limit for page in found[:-1])
    assert all(set(page.fingerprints) == {s.path for s in page.snippets} for page in found)


async def test_a_page_may_have_another_size(index: RootIndex) -> None:
    whole = await search(index, "wheel", limit=20)
    first = await search(index, "wheel", limit=3)
    second = await search(index, "wheel", limit=5, cursor=first.next)
    assert [*first.snippets, *second.snippets] == list(whole.snippets[:8])


async def test_the_last_place_is_that_of_the_limit(code: CodeBase, workers: Workers) -> None:
    for i in range(9):
        code.write(f"many/m{i}.py", f"wheel = {i}\n")
    index = await code.index(workers, search_hits=7)
    assert [len(page.snippets) for page in await pages(index, "wheel", 3)] == [3, 3, 1]
    await index.close()


async def test_a_change_that_does_not_touch_what_was_shown_moves_nothing(index: RootIndex, code: CodeBase) -> None:
    first = await search(index, "wheel", limit=3)
    code.write("other.py", "nothing = 1\n")
    await index.refresh()
    second = await search(index, "wheel", limit=3, cursor=first.next)
    assert not second.moved
    assert {place(s) for s in first.snippets}.isdisjoint(map(place, second.snippets))


@pytest.mark.parametrize("change", ["edit", "delete", "better"])
async def test_a_change_of_what_was_shown_begins_again_and_says_so(
    index: RootIndex, code: CodeBase, change: str
) -> None:
    first = await search(index, "wheel", limit=3)
    match change:
        case "edit":
            file = code.root / first.snippets[1].path
            file.write_text(f"# new\n{file.read_text()}")
        case "delete":
            code.remove(first.snippets[0].path)
        case "better":
            code.write("wheel.py", "class Wheel:\n    wheel = wheel_wheel = 1\n")
    await index.refresh()
    second = await search(index, "wheel", limit=3, cursor=first.next)
    now = await search(index, "wheel", limit=3)
    assert second.moved and not now.moved
    assert (second.snippets, second.next) == (now.snippets, now.next)
    assert not (await search(index, "wheel", limit=3, cursor=second.next)).moved


async def test_control_without_the_digest_places_are_missed(
    index: RootIndex, code: CodeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers.paging, "digest_of", lambda places: b"123456")
    whole = {place(s) for s in (await search(index, "wheel", limit=200)).snippets}
    first = await search(index, "wheel", limit=3)
    code.remove(first.snippets[0].path)
    await index.refresh()
    got = set(map(place, first.snippets))
    cursor = first.next
    while cursor:
        found = await search(index, "wheel", limit=3, cursor=cursor)
        got |= set(map(place, found.snippets))
        cursor = found.next
    assert whole - got


@pytest.mark.parametrize("query", ["wheels spoke", "wheel path:many", "def:wheel"])
async def test_a_cursor_of_another_question_is_refused(index: RootIndex, query: str) -> None:
    first = await search(index, "wheel", limit=3)
    with pytest.raises(ReconveneError, match="of another question") as e:
        await search(index, query, limit=3, cursor=first.next)
    assert (e.value.code, e.value.details["field"]) == ("invalid_field", "cursor")


async def test_a_cursor_of_another_code_base_is_refused(
    index: RootIndex, tmp_path_factory: pytest.TempPathFactory, workers: Workers
) -> None:
    other = await CodeBase(tmp_path_factory.mktemp("other")).index(workers)
    first = await search(index, "cart", limit=1)
    with pytest.raises(ReconveneError, match="of another question"):
        await search(other, "cart", limit=1, cursor=first.next)
    await other.close()


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(
        st.text(max_size=60),
        st.binary(max_size=40).map(lambda b: base64.urlsafe_b64encode(b).decode()),
        st.binary(min_size=15, max_size=15).map(
            lambda b: base64.urlsafe_b64encode(b + crc32(b).to_bytes(4, "big")).decode()
        ),
    )
)
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(ReconveneError) as e:
        paging.read(text, "any")
    assert e.value.code == "invalid_field"


@pytest.mark.parametrize("text", ["", "=", "AQAD", "a" * 100_000, "\ud800", "é" * 26])
def test_more_garbage(text: str) -> None:
    with pytest.raises(ReconveneError, match="no cursor"):
        paging.read(text, "any")


async def test_a_cursor_is_short_enough_for_a_model_to_copy(index: RootIndex) -> None:
    found = await search(index, "spoke of wheels", limit=3)
    assert found.next is not None and len(found.next) <= 28
    assert paging.read(found.next, question(index, parse("a spoke, the wheel", Limits()))).shown == 3, (
        "a question that reads alike"
    )


async def test_each_page_is_remembered(index: RootIndex, code: CodeBase) -> None:
    context = SearchContext()
    first = await lookup_or_search(context, index, "wheel", 3)
    second = await lookup_or_search(context, index, "wheel", 3, cursor=first.result.next)
    again = SearchContext.fold([first.entry.to_json(), second.entry.to_json()])
    for found, cursor in ((first, None), (second, first.result.next)):
        cached = await lookup_or_search(again, index, "wheel", 3, cursor=cursor)
        assert (cached.cache, cached.result) == ("cached", found.result)
    code.write(second.result.snippets[0].path, "wheel = 1\n")
    moved = await lookup_or_search(again, index, "wheel", 3, cursor=first.result.next)
    assert moved.cache == "refreshed"
    assert moved.result == await search(index, "wheel", limit=3, cursor=first.result.next)
