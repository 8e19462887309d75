"""A remembered answer is what a new search would give, or it is not served."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reconvene.search.context as rules
from codebase import FILES, CodeBase, Repository
from reconvene.index import RootIndex
from reconvene.index.view import View
from reconvene.index.workers import Workers
from reconvene.search import SearchContext, lookup_or_search, search
from reconvene.search.context import Entry, Place
from reconvene.search.result import SEEN, SearchResult
from reconvene.search.source import Source


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about a machine that has too much to do."""
    monkeypatch.setattr(rules, "FRESH_PATIENCE", 30.0)
    monkeypatch.setattr(rules, "PATIENCE", 30.0)


@pytest.fixture
async def index(code: CodeBase, workers: Workers) -> AsyncIterator[RootIndex]:
    made = await code.index(workers)
    yield made
    await made.close()


async def test_the_same_question_is_answered_from_the_context(index: RootIndex) -> None:
    context = SearchContext()
    first = await lookup_or_search(context, index, "total price of the cart")
    again = await lookup_or_search(context, index, "the CART or total price", seen=["shop/cart.py"])
    assert (first.cache, again.cache) == ("fresh", "fresh"), "other neighbours, another question"
    again = await lookup_or_search(context, index, "total  price, the cart", seen=["shop/cart.py"])
    assert again.cache == "cached"
    assert again.entry == first.entry
    assert any(SEEN in s.why for s in again.result.snippets)
    assert [s.text for s in again.result.snippets] == [s.text for s in first.result.snippets]
    assert again.result.query == "total  price, the cart"


@pytest.mark.parametrize(
    "other", ["total", "total price of the cart item", "cart", "cart total", "total price of the cart path:shop"],
    ids=["bad111-part", "bad111-more", "bad111-word", "bad111-order", "bad111-filter"],
)  # fmt: skip
async def test_a_question_that_is_merely_alike_is_searched(index: RootIndex, other: str) -> None:
    context = SearchContext()
    await lookup_or_search(context, index, "total price of the cart")
    assert (await lookup_or_search(context, index, other)).cache == "fresh"


async def test_another_limit_is_another_question(index: RootIndex) -> None:
    context = SearchContext()
    await lookup_or_search(context, index, "cart", 3)
    found = await lookup_or_search(context, index, "cart", 2)
    assert (found.cache, len(found.result.snippets)) == ("fresh", 2)


@pytest.mark.parametrize(
    ("change", "cache"),
    [
        ("unrelated edit", "cached"),
        ("touch", "cached"),
        ("edit of a file that was shown", "refreshed"),
        ("new file with a word of it", "refreshed"),
        ("a file loses its word", "refreshed"),
        ("new file whose name has the word", "refreshed"),
        ("deletion of a file that was shown", "refreshed"),
        ("there and back", "cached"),
        ("many more files", "refreshed"),
    ],
    ids=lambda value: f"bad111-{value}".replace(" ", "-"),
)
async def test_what_makes_an_answer_void(index: RootIndex, code: CodeBase, change: str, cache: str) -> None:
    code.write("other/loser.py", "discount = 1\n")
    code.write("other/plain.py", "nothing = 1\n")
    await index.refresh()
    context = SearchContext()
    await lookup_or_search(context, index, "discount price")
    match change:
        case "unrelated edit":
            code.write("other/plain.py", "nothing = 2\nmore = 3\n")
        case "touch":
            (code.root / "shop/cart.py").touch()
        case "edit of a file that was shown":
            code.write("shop/cart.py", FILES["shop/cart.py"].replace("ValueError", "TypeError"))
        case "new file with a word of it":
            code.write("shop/sale.py", "def discount_of(x):\n    return 0\n")
        case "a file loses its word":
            code.write("other/loser.py", "nothing = 1\n")
        case "new file whose name has the word":
            code.write("shop/discount.txt", "10 %\n")
        case "deletion of a file that was shown":
            code.remove("shop/cart.py")
        case "there and back":
            code.write("shop/cart.py", "gone = 1\n")
            await index.refresh()
            code.write("shop/cart.py", FILES["shop/cart.py"])
        case "many more files":
            for i in range(60):
                code.write(f"more/m{i}.py", f"zebra_{i} = {i}\n")
    found = await lookup_or_search(context, index, "discount price")
    assert found.cache == cache
    assert found.result == await search(index, "discount price")
    assert (await lookup_or_search(context, index, "discount price")).cache == "cached"


async def test_it_survives_a_restart(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers)
    first = await lookup_or_search(SearchContext(), index, "session store")
    await index.close()
    index = await code.index(workers, fresh=False)
    found = await lookup_or_search(SearchContext.fold([first.entry.to_json()]), index, "session store")
    assert found.cache == "cached"
    assert found.result == first.result
    assert index.parsed == 0
    await index.close()


async def test_with_another_index_it_is_searched_again(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers)
    first = await lookup_or_search(SearchContext(), index, "session store")
    await index.close()
    for file in (code.data / "indexes").iterdir():
        file.unlink()
    index = await code.index(workers)
    found = await lookup_or_search(SearchContext.fold([first.entry.to_json()]), index, "session store")
    assert found.cache == "refreshed"
    await index.close()


async def test_an_answer_from_a_partial_index_is_not_kept_for_whole(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await code.index(workers, fresh=False)
    monkeypatch.setattr(rules, "FRESH_PATIENCE", 0.0)
    context = SearchContext()
    first = await lookup_or_search(context, index, "cart")
    assert first.result.partial and not first.entry.whole
    await index.refresh()
    monkeypatch.undo()
    found = await lookup_or_search(context, index, "cart")
    assert found.cache == "refreshed" and found.result.snippets
    await index.close()


async def test_a_look_at_the_disk_that_takes_long_is_not_waited_for(
    index: RootIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = SearchContext()
    await lookup_or_search(context, index, "cart")
    monkeypatch.setattr(rules, "PATIENCE", 0.0)
    found = await lookup_or_search(context, index, "cart")
    assert found.cache == "refreshed", "what was not verified is not served as if it were"
    assert found.result.snippets
    await index.refresh()


# -- what is kept


def entry(key: str, *places: tuple[str, int, int, str | None]) -> Entry:
    return Entry(
        key, key, 1, "m", True, 1, tuple(Place(p, a, b, 1.0, s, ("why",)) for p, a, b, s in places), {"a.py": "f"}
    )


def test_an_entry_is_the_same_after_its_way_through_the_log() -> None:
    one = dataclasses.replace(entry("k", ("b\\xff.py", 1, 2, None), ("ä.py", 3, 4, "A.b")), seen=("ö.py", "c.py"))
    assert Entry.from_json(one.to_json()) == one
    assert one.to_json().isascii()


@pytest.mark.parametrize("row", ["", "{}", "[]", "null", '{"key": 1}', "not json", '{"key":"k","places":[[1]]}'])
def test_what_another_version_wrote_is_left_aside(row: str) -> None:
    context = SearchContext.fold([row, entry("k").to_json(), row])
    assert len(context) == 1


def test_the_newest_answer_to_a_question_counts_and_memory_is_bounded() -> None:
    context = SearchContext.fold(entry(f"k{i}", ("a.py", i + 1, i + 2, None)).to_json() for i in range(rules.KEPT + 50))
    assert len(context) == rules.KEPT
    assert context.get("k0") is None
    context.add(dataclasses.replace(entry("k100"), total=7))
    kept = context.get("k100")
    assert kept is not None and kept.total == 7


def test_what_an_agent_is_told_newest_first_within_its_budget() -> None:
    context = SearchContext.fold(
        e.to_json()
        for e in [
            entry("a", ("a.py", 1, 9, "A")),
            entry("b", ("b.py", 2, 3, None), ("a.py", 1, 9, "A")),
            entry("c", ("c.py", 1, 2, "C.d")),
        ]
    )
    assert context.known() == "c.py:1-2 C.d\nb.py:2-3\na.py:1-9 A"
    assert context.known(tokens=4) == "c.py:1-2 C.d"
    assert SearchContext().known() == ""
    assert list(context.paths()) == ["b.py", "a.py", "c.py"]


# -- the property, and what must fail it

WORDS = ["cart", "session", "money", "price", "item", "sweep", "zebra", "total", "owner", "load", "wheel", "garden"]
PATHS = ["a.py", "b.py", "shop/c.py", "shop/d.py", "docs/e.md", "notes.txt", "src/g.go", "zebra.py"]
QUERIES = [
    "cart",
    "cart price",
    "session sweep",
    "zebra",
    "def:cart",
    '"cart price"',
    "money path:shop",
    "item lang:py",
    '"()"',
    "re:c.rt",
    "re:zebra|item money",
    "uses:cart",
]

Op = tuple[str, int, int]
ops = st.lists(
    st.one_of(
        st.tuples(st.just("search"), st.integers(0, len(QUERIES) - 1), st.just(0)),
        st.tuples(st.just("search"), st.integers(0, len(QUERIES) - 1), st.just(0)),
        st.tuples(st.just("write"), st.integers(0, len(PATHS) - 1), st.integers(0, 2**20)),
        st.tuples(st.just("remove"), st.integers(0, len(PATHS) - 1), st.just(0)),
        st.tuples(st.just("rename"), st.integers(0, len(PATHS) - 1), st.integers(0, len(PATHS) - 1)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
    ),
    min_size=4,
    max_size=16,
)


def content(seed: int) -> str:
    rng = random.Random(seed)
    some = rng.sample(WORDS, 3)
    pick = lambda: rng.choice(some)  # noqa: E731
    return "\n\n".join(f"def {pick()}():\n    return {pick()} {pick()}" for _ in range(rng.randrange(1, 4))) + "\n"


async def drive(steps: Sequence[Op], workers: Workers) -> list[str]:
    """Do them on a fresh code base; every answer must equal a new search. Returns where the answers came from."""
    caches: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        code = CodeBase(Path(folder), {path: content(i) for i, path in enumerate(PATHS[:6])})
        index = await code.index(workers)
        rows: list[str] = []
        context = SearchContext()
        for kind, a, b in steps:
            file = code.root / PATHS[a % len(PATHS)]
            if kind == "write":
                code.write(PATHS[a], content(b))
            elif kind == "remove":
                file.unlink(missing_ok=True)
            elif kind == "rename" and file.exists():
                (code.root / PATHS[b]).parent.mkdir(exist_ok=True)
                file.rename(code.root / PATHS[b])
            elif kind == "restart":
                await index.close()
                index = await code.index(workers, fresh=False)
                context = SearchContext.fold(rows)
            elif kind == "search":
                found = await lookup_or_search(context, index, QUERIES[a], 2)
                rows.append(found.entry.to_json())
                caches.append(found.cache)
                fresh = await search(index, QUERIES[a], limit=2)
                assert found.result == fresh, (QUERIES[a], found.cache)
        await index.close()
    return caches


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=ops)
def test_a_remembered_answer_always_equals_a_new_one(steps: list[Op], workers: Workers) -> None:
    asyncio.run(drive(steps, workers))


SEEDS = range(24)


def walk(seed: int) -> list[Op]:
    rng = random.Random(seed)
    kinds = rng.choices(["search", "write", "remove", "rename", "restart"], weights=[12, 5, 1, 1, 1], k=36)
    return [
        (
            k,
            rng.randrange(len(QUERIES if k == "search" else PATHS)),
            rng.randrange(len(PATHS)) if k == "rename" else rng.randrange(99),
        )
        for k in kinds
    ]


async def test_the_walks_of_the_controls_hold_and_use_the_context(workers: Workers) -> None:
    caches = [cache for seed in SEEDS for cache in await drive(walk(seed), workers)]
    assert {"cached", "refreshed", "fresh"} <= set(caches)


def read_without_comparing(index: RootIndex, path: str, fingerprint: str | None) -> Source | None:
    return Source(index.workspace.read_bytes(path, max_bytes=1 << 20).removesuffix(b"\n"))


def substring_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the origin had it: a question that is part of an earlier one, or the other way round, is the same; nothing is compared."""
    monkeypatch.setattr(rules, "key_of", lambda query, limit, at=None: query.text)

    def get(self: SearchContext, key: str) -> Entry | None:
        return next((e for known, e in self._entries.items() if key in known or known in key), None)

    monkeypatch.setattr(SearchContext, "get", get)
    monkeypatch.setattr(rules, "unconcerned", lambda index, query, entry: True)
    monkeypatch.setattr(rules, "read_as_indexed", read_without_comparing)


@pytest.mark.parametrize("broken", ["likeness", "no fingerprints", "only the files shown", "substring"])
async def test_control_a_weaker_rule_is_caught(broken: str, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    if broken == "likeness":  # one question in another counts as the same
        monkeypatch.setattr(
            rules, "key_of", lambda query, limit, at=None: query.text.strip('"').split()[0].removeprefix("def:")
        )
    elif broken == "substring":
        substring_rule(monkeypatch)
    else:
        monkeypatch.setattr(rules, "unconcerned", lambda index, query, entry: True)
    if broken == "no fingerprints":
        monkeypatch.setattr(rules, "read_as_indexed", read_without_comparing)
    for seed in SEEDS:
        try:
            await drive(walk(seed), workers)
        except AssertionError:
            return
    pytest.fail("no walk noticed")


async def test_control_the_substring_rule_serves_another_question_alone(
    index: RootIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    substring_rule(monkeypatch)
    context = SearchContext()
    await lookup_or_search(context, index, "session sweep")
    found = await lookup_or_search(context, index, "session")
    assert found.cache == "cached" and found.result != await search(index, "session")


async def test_control_without_the_statistics_a_grown_code_base_is_missed(
    index: RootIndex, code: CodeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = SearchContext()
    first = await lookup_or_search(context, index, "cart price")
    for i in range(60):
        code.write(f"more/m{i}.py", f"zebra_{i} = {i}\n")
    await index.refresh()
    same = dataclasses.replace(first.entry, mark=index.view.mark)
    context.add(same)
    found = await lookup_or_search(context, index, "cart price")
    assert found.cache == "cached"
    assert found.result != await search(index, "cart price")


def unmarked(result: SearchResult) -> SearchResult:
    """Without what says of each place whether the session has seen its file by now."""
    return dataclasses.replace(
        result,
        snippets=tuple(dataclasses.replace(s, why=tuple(w for w in s.why if w != SEEN)) for s in result.snippets),
    )


async def commits(seed: int, workers: Workers) -> list[str]:
    """As `drive`, in a repository whose commits speak of its files."""
    rng = random.Random(seed)
    caches: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        code = Repository(Path(folder))
        index = await code.index(workers)
        await index.take_in_history()
        context = SearchContext()
        seen: list[str] = []
        for step in range(16):
            kind = rng.choice(["search", "search", "search", "commit", "reset", "write"])
            if kind == "commit":
                file = rng.choice(["shop/cart.py", "shop/money.py", "shop/session_store.py"])
                code.write(file, (code.root / file).read_text() + f"# {step}\n")
                code.commit(f"{rng.choice(WORDS)} {rng.choice(WORDS)}")
                await index.take_in_history()
            elif kind == "reset" and code.git("rev-list", "--count", "HEAD") != "1\n":
                code.git("reset", "-q", "--soft", "HEAD~1")
                await index.take_in_history()
            elif kind == "write":
                code.write("other/plain.py", f"nothing = {step}\n")
            elif kind == "search":
                query = rng.choice(["cart price", "session sweep", "money owner item"])
                found = await lookup_or_search(context, index, query, 3, seen)
                caches.append(found.cache)
                same = await search(index, query, limit=3, seen=found.entry.seen)
                assert unmarked(found.result) == unmarked(same), (query, found.cache)
                seen = [*seen, rng.choice(found.result.snippets).path]
        await index.close()
    return caches


async def test_a_remembered_answer_equals_a_new_one_while_people_commit(workers: Workers) -> None:
    caches = [cache for seed in range(6) for cache in await commits(seed, workers)]
    assert {"cached", "refreshed", "fresh"} <= set(caches)


@pytest.mark.parametrize("forgets", [False, True], ids=["as-it-is", "control-forgets"])
async def test_the_next_page_goes_on_though_the_first_is_seen_by_now(
    forgets: bool, workers: Workers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if forgets:
        monkeypatch.setattr(SearchContext, "before", lambda self, cursor: None)
    code = Repository(tmp_path)
    for name in ("alpha", "beta", "gamma"):
        rest = "plate = spoon + knife\n" * (3 if name == "gamma" else 1)
        code.write(f"{name}.py", f"def wheel_{name}():\n    return {len(name)}\n\n\n{rest}")
    code.commit("three")
    for paths in [["gamma.py", "shop/money.py"], ["alpha.py"], ["beta.py"], ["alpha.py"], ["beta.py"]]:
        for path in paths:
            code.write(path, (code.root / path).read_text() + "# more\n")
        code.commit("again")
    index = await code.index(workers)
    await index.take_in_history()
    context = SearchContext()
    first = await lookup_or_search(context, index, "wheel", 2)
    shown = [s.path for s in first.result.snippets]
    assert "gamma.py" not in shown
    context = SearchContext.fold([first.entry.to_json()])
    # What was changed with the third is seen by now, so it would go before the two that were shown.
    seen = [*shown, "shop/money.py"]
    second = await lookup_or_search(context, index, "wheel", 2, seen, first.result.next)
    assert second.result.moved == forgets
    if not forgets:
        assert not {s.path for s in second.result.snippets} & set(shown)
    await index.close()


async def test_control_without_the_commits_in_the_mark_an_old_order_is_served(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(View, "mark", property(lambda view: view.statistics.mark))
    with tempfile.TemporaryDirectory() as folder:
        code = Repository(Path(folder))
        index = await code.index(workers)
        await index.take_in_history()
        context = SearchContext()
        await lookup_or_search(context, index, "owner price")
        (code.root / "shop/cart.py").chmod(0o755)  # a commit of a file whose content stays what it was
        code.commit("owner price")
        await index.take_in_history()
        found = await lookup_or_search(context, index, "owner price")
        assert found.cache == "cached"
        assert found.result != await search(index, "owner price")
        await index.close()
