from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from codebase import FILES, CodeBase, Repository
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.index import RootIndex
from reconvene.index.workers import Workers
from reconvene.search import SearchResult, likeliest, search
from reconvene.search.answer import LATELY
from reconvene.search.places import LINES, PLACES
from reconvene.search.result import SEEN, TOGETHER
from reconvene.search.texts import KnownTexts
from reconvene.workspace import Workspace


@pytest.fixture
async def index(code: CodeBase, workers: Workers) -> AsyncIterator[RootIndex]:
    made = await code.index(workers)
    yield made
    await made.close()


def places(result: SearchResult) -> list[str]:
    return [f"{s.path} {s.symbol}" for s in result.snippets]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("Cart", "shop/cart.py Cart"),
        ("Cart.total_price", "shop/cart.py Cart"),
        ("expire_old_carts", "shop/cart.py expire_old_carts"),
        ("how are amounts of money parsed", "shop/money.py parse_amount"),
        ("sweep expired sessions", "shop/session_store.py SessionStore"),
        ("session store", "shop/session_store.py SessionStore"),
        ("render items in the web page", "web/app.js renderItem"),
        ("def:Money", "shop/money.py Money"),
        ("def:Money currency", "shop/money.py Money"),
        ('"idle for too long"', "shop/session_store.py SessionStore"),
        ("path:tests add_item", "tests/test_cart.py test_add_item"),
        ("cart lang:js", "web/app.js renderCart"),
        ("sessions expire path:docs", "docs/guide.md Sessions"),
        ("test of the cart", "tests/test_cart.py test_add_item"),
    ],
)
async def test_the_best_place_comes_first(index: RootIndex, query: str, first: str) -> None:
    assert places(await search(index, query))[0] == first


async def test_sources_come_before_tests_and_documentation(index: RootIndex) -> None:
    found = [s.path for s in (await search(index, "add_item cart")).snippets]
    assert found[0] == "shop/cart.py"
    assert {"tests/test_cart.py", "docs/guide.md"} <= set(found)


@pytest.mark.parametrize(
    ("name", "place"),
    [("brandnew0b99c5f319e", 0), ("sort_by_brand", 0), ("BrandSorter", 0), ("Sorting.sort_by_brand", 0), ("brand", 1)],
)
@pytest.mark.parametrize("others", [3, 30])
async def test_a_name_that_only_a_test_defines_is_found_before_what_has_parts_of_it(
    tmp_path: Path, workers: Workers, name: str, place: int, others: int
) -> None:
    defined = name.rpartition(".")[2]
    files = {
        f"shop/brand_{i}.py": f"""
class Brand{i}:
    def new_brand_sorter(self, brand):
        return brand.new(sort_by=brand.brand, number=brand.c, sorting=[0, 99, 5, "b", "f319e", "brandnew"])
"""
        for i in range(others)
    }
    files["tests/shop/deep/test_all.py"] = f"""
import shop

{chr(10).join(["def other(): pass"] * 40)}


def {defined}(x):
    return 1
"""
    index = await CodeBase(tmp_path, files).index(workers)
    found = places(await search(index, name))
    await index.close()
    assert f"tests/shop/deep/test_all.py {defined}" in found[: place + 1], found


async def test_a_heading_of_the_documentation_is_no_definition(tmp_path: Path, workers: Workers) -> None:
    files = {"docs/guide.md": "# Carts\n\nCarts hold things.\n", "shop/cart.py": "class Cart:\n    carts = 1\n"}
    index = await CodeBase(tmp_path, files).index(workers)
    found = [s.path for s in (await search(index, "Carts")).snippets]
    await index.close()
    assert found == ["shop/cart.py", "docs/guide.md"]


async def test_a_snippet_is_what_stands_in_the_file(index: RootIndex, code: CodeBase) -> None:
    for query in ("cart total price", "money", "README running", "session"):
        for s in (await search(index, query)).snippets:
            lines = (code.root / s.path).read_text().split("\n")
            assert s.text == "\n".join(lines[s.start - 1 : s.end])
            assert 1 <= s.start <= s.end <= s.start + 39
            assert s.why
            assert s.text.strip()


async def test_snippets_of_a_file_do_not_overlap_and_each_says_why(index: RootIndex, code: CodeBase) -> None:
    animals = ["zebra" if i % 20 == 0 else "horse" for i in range(100)]
    code.write(
        "long.py",
        "\n\n".join(
            f"def {name}_{i}(x):\n    coat = {name}(x)\n    return coat * {i}\n" for i, name in enumerate(animals)
        ),
    )
    await index.refresh()
    result = await search(index, "zebra", limit=5)
    spans = sorted((s.start, s.end) for s in result.snippets)
    assert len(spans) > 1
    assert all(a[1] < b[0] for a, b in pairwise(spans))
    assert result.fingerprints == {"long.py": index.workspace.fingerprint("long.py")}
    assert any("words: " in w for w in result.snippets[0].why)


@pytest.mark.parametrize("kept", [True, False], ids=["", "control-without-leaving-lines"])
async def test_the_first_five_places_have_200_lines(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    """Where one place has all there is to say, those after it have what it leaves them."""
    if not kept:
        monkeypatch.setattr(likeliest, "_SHORT", 0)
        monkeypatch.setattr(likeliest, "ATOM", LINES)
    for i in range(9):
        body = "".join(f"    whistle = kettle.whistle({n})\n" for n in range(250 if i == 0 else 60))
        code.write(f"tea/kettle{i}.py", f"def whistle_{i}(kettle):\n{body}")
    index = await code.index(workers)
    found = (await search(index, "why does the kettle whistle", limit=8)).snippets
    await index.close()
    sizes = [s.end - s.start + 1 for s in found]
    assert len(found) == 8
    assert (sum(sizes[:PLACES]) <= LINES) == kept, sizes


async def test_an_answer_names_the_files_that_come_next_until_they_are_ten(code: CodeBase, workers: Workers) -> None:
    for i in range(15):
        code.write(f"tea/kettle{i}.py", f"def whistle_{i}(kettle):\n    kettle.whistle()\n" + "# steam\n" * i)
    index = await code.index(workers)
    found = await search(index, "kettle whistle")
    whole = await search(index, "kettle whistle", limit=50)
    following = await search(index, "kettle whistle", cursor=found.next)
    exact = await search(index, "def:whistle_3")
    await index.close()
    order = list(dict.fromkeys(s.path for s in whole.snippets))
    shown = list(dict.fromkeys(s.path for s in found.snippets))
    assert [*shown, *found.further] == order[:10] and len(shown) < 10
    assert set(found.fingerprints) == set(shown), "nothing is told of what is in them"
    assert [s.path for s in following.snippets][: len(found.further)] == list(found.further)
    assert (whole.further, exact.further) == ((), ())


async def test_a_result_says_what_it_is_of(index: RootIndex) -> None:
    result = await search(index, "cart", limit=2)
    assert len(result.snippets) == 2
    assert result.total > 2
    assert (result.epoch, result.skipped, result.truncated, result.partial) == (index.epoch, 0, False, False)
    assert set(result.fingerprints) == {s.path for s in result.snippets}


async def test_what_the_session_has_seen_is_pointed_out_and_stays_in_its_place(index: RootIndex) -> None:
    plain = await search(index, "cart")
    marked = await search(index, "cart", seen=["shop/cart.py"])
    assert places(plain) == places(marked)
    assert {s.path for s in marked.snippets if SEEN in s.why} == {"shop/cart.py"}


async def test_what_was_changed_together_with_what_was_seen_comes_sooner(tmp_path: Path, workers: Workers) -> None:
    code = Repository(tmp_path)
    for name in ("alpha", "beta", "gamma"):
        code.write(f"{name}.py", f"def wheel_{name}():\n    return {len(name)}\n")
    code.commit("three")
    for step in range(3):
        for path in ("shop/money.py", "gamma.py"):
            code.write(path, (code.root / path).read_text() + f"# {step}\n")
        code.commit(f"both {step}")
    for step in range(3):
        code.write("alpha.py", (code.root / "alpha.py").read_text() + f"# {step}\n")
        code.commit(f"alone {step}")
    index = await code.index(workers)
    await index.take_in_history()
    plain = await search(index, "wheel")
    assert plain.snippets[0].path != "gamma.py"
    for seen in (["shop/money.py"], ["README.md", "shop/money.py", "nowhere.py"]):
        found = await search(index, "wheel", seen=seen)
        assert found.snippets[0].path == "gamma.py"
        assert {s.path for s in found.snippets if TOGETHER in s.why} == {"gamma.py"}
        assert {s.path for s in found.snippets} == {s.path for s in plain.snippets}, "what has no word stays away"
    long_ago = ["shop/money.py", *(f"seen/{n}.py" for n in range(LATELY))]
    assert places(await search(index, "wheel", seen=long_ago)) == places(plain), "what was seen long ago moves nothing"
    assert not any(TOGETHER in s.why for s in plain.snippets)
    await index.close()


async def test_nothing_found_is_an_answer(index: RootIndex) -> None:
    result = await search(index, "xylophone quartz")
    assert (result.snippets, result.total) == ((), 0)
    assert (await search(index, "def:Xylophone")).snippets == ()
    assert (await search(index, '"cart then nothing"')).snippets == ()


@pytest.mark.parametrize(
    "query",
    [
        "--pre=./p.sh",
        "-f/etc/passwd",
        '"--pre=./p.sh"',
        "$(touch ran)",
        "`touch ran`",
        "'; drop table blob; --",
        "* NEAR/3 (",
    ],
    ids=["bad107-pre", "bad107-file", "bad107-phrase", "bad107-shell", "bad107-ticks", "bad107-sql", "bad107-fts"],
)
async def test_a_query_is_data(index: RootIndex, code: CodeBase, query: str) -> None:
    code.write("p.sh", f"#!/bin/sh\ntouch {code.root}/ran\n# --pre=./p.sh\n# -f/etc/passwd\n")
    os.chmod(code.root / "p.sh", 0o755)
    await index.refresh()
    result = await search(index, query)
    assert not (code.root / "ran").exists()
    assert all(not s.path.startswith("/") for s in result.snippets)
    if "p.sh" in query or "passwd" in query:
        assert result.snippets[0].path == "p.sh"
    assert index.files == len(FILES) + 1


@pytest.mark.parametrize("phrase", ["(a+)+$", "(x|x)*y" * 20], ids=["bad108-nested", "bad108-alternatives"])
async def test_no_query_makes_a_pattern_explode(index: RootIndex, code: CodeBase, phrase: str) -> None:
    code.write("hostile.txt", ("a" * 5000 + "!\n") * 20)
    await index.refresh()
    began = time.process_time()
    await search(index, f'"{phrase}" a')
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        (r"re:def\s+test_", {"tests/test_cart.py"}),
        (r're:"return self\.\w+\.get"', {"shop/session_store.py"}),
        ("re:DEFAULT_[A-Z]+ path:shop", {"shop/money.py"}),
        ("re:^class.*:$ money", {"shop/money.py", "shop/cart.py"}),
        ("re:default_[a-z]+", set()),
        ("re:(?i)default_[a-z]+", {"shop/money.py"}),
        ("uses:Money", {"shop/cart.py", "shop/money.py"}),
        ("uses:expire_old_carts", set()),
        ("uses:Cart -path:tests", set()),
    ],
)
async def test_lines_by_expression_and_by_use(index: RootIndex, code: CodeBase, query: str, paths: set[str]) -> None:
    result = await search(index, query)
    assert {s.path for s in result.snippets} == paths
    assert result.total == len(paths)
    assert all(any(w.startswith(("matches ", "uses ")) for w in s.why) for s in result.snippets)


async def test_an_expression_alone_finds_sources_first(index: RootIndex) -> None:
    found = [s.path for s in (await search(index, "re:[Cc]art", limit=20)).snippets]
    assert found[-1] in ("tests/test_cart.py", "docs/guide.md", "README.md")
    assert found[0] == "shop/cart.py"


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", "(.*)*x"], ids=["bad108-re", "bad108-re-alternatives", "bad108-re-stars"]
)
async def test_no_expression_explodes(index: RootIndex, code: CodeBase, pattern: str) -> None:
    code.write("hostile.txt", ("a" * 5000 + "!\n") * 20)
    await index.refresh()
    began = time.process_time()
    await search(index, f"re:{pattern}")
    assert time.process_time() - began < 2


async def test_a_phrase_without_words_is_looked_for_in_all_files(index: RootIndex, code: CodeBase) -> None:
    code.write("arrow.js", "const f = x => x;\n")
    await index.refresh()
    result = await search(index, '"=>"')
    assert {s.path for s in result.snippets} == {"arrow.js"}


async def test_a_search_over_its_time_says_so(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers, search_time=0)
    result = await search(index, '"=>"')
    assert result.truncated
    await index.close()


@pytest.mark.parametrize("limit", [0, -1, 201])
async def test_a_limit_out_of_range(index: RootIndex, limit: int) -> None:
    with pytest.raises(ReconveneError) as e:
        await search(index, "cart", limit=limit)
    assert e.value.code == "invalid_field"


async def test_a_file_that_changed_since_is_indexed_again_before_it_is_shown(index: RootIndex, code: CodeBase) -> None:
    code.write("shop/cart.py", "\n\n\nclass Cart:\n    moved = True\n")
    result = await search(index, "Cart")
    (first, *_) = result.snippets
    assert (first.path, first.start, first.text) == ("shop/cart.py", 4, "class Cart:\n    moved = True")
    code.remove("shop/cart.py")
    assert "shop/cart.py" not in {s.path for s in (await search(index, "Cart")).snippets}


async def test_control_without_comparing_fingerprints_old_lines_are_shown(
    index: RootIndex, code: CodeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    code.write("shop/cart.py", "\n\n\n" + FILES["shop/cart.py"])
    monkeypatch.setattr("reconvene.search.files.blob_id", lambda data: index.fingerprint("shop/cart.py"))
    monkeypatch.setattr("reconvene.search.files.texts", KnownTexts())
    (first, *_) = (await search(index, "Cart")).snippets
    assert not first.text.startswith("class Cart")


async def test_a_file_that_is_written_all_the_time_is_left_out(
    index: RootIndex, code: CodeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Workspace.read_bytes
    count = 0

    def restless(self: Workspace, path: str, *, max_bytes: int) -> bytes:
        nonlocal count
        if path == "shop/cart.py":
            count += 1
            code.write(path, f"class Cart:\n    n = {count}\n")
        return real(self, path, max_bytes=max_bytes)

    monkeypatch.setattr(Workspace, "read_bytes", restless)
    result = await search(index, "Cart")
    assert "shop/cart.py" not in {s.path for s in result.snippets}
    assert result.truncated


@pytest.mark.parametrize("path", ["shop/cart.py"], ids=["bad89-denied"])
async def test_a_file_that_cannot_be_read_is_left_out_and_counted(
    index: RootIndex, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    real = Workspace.read_bytes

    def refuse(self: Workspace, asked: str, *, max_bytes: int) -> bytes:
        if asked == path:
            raise ReconveneError("permission_denied", "No.")
        return real(self, asked, max_bytes=max_bytes)

    monkeypatch.setattr(Workspace, "read_bytes", refuse)
    result = await search(index, "cart")
    assert result.snippets and path not in {s.path for s in result.snippets}
    assert result.truncated
    os.utime(index.workspace.root / path)
    await index.refresh()
    assert (await search(index, "cart")).skipped == 1


async def test_a_cold_root_answers_from_what_is_there(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers, fresh=False)
    result = await search(index, "cart")
    assert (result.snippets, result.partial) == ((), True)
    await index.refresh()
    assert not (await search(index, "cart")).partial
    await index.close()


async def test_a_root_that_is_gone_says_so(index: RootIndex, code: CodeBase) -> None:
    code.root.rename(code.root.with_name("moved"))
    with pytest.raises(ReconveneError) as e:
        await search(index, "cart")
    assert e.value.code == "workspace_gone"


@pytest.mark.parametrize("name", [b"b\xffd_zebra.py", "\u202ezebra.py".encode()], ids=["bad82-bytes", "bad83-bidi"])
async def test_odd_names_are_shown_escaped_and_read_back(code: CodeBase, workers: Workers, name: bytes) -> None:
    with open(os.fsencode(code.root) + b"/" + name, "wb") as file:
        file.write(b"def zebra():\n    pass\n")
    index = await code.index(workers)
    (found,) = (await search(index, "zebra")).snippets
    assert found.path.isascii() and found.path.isprintable()
    assert index.workspace.read(found.path).text == found.text
    await index.close()


async def test_windows_line_ends_other_encodings_and_long_lines(code: CodeBase, workers: Workers) -> None:
    code.write("dos.py", b"def zebra():\r\n    return 1\r\n")
    code.write("wide.py", "def zebra_wide():\n    return 'größe'\n".encode("utf-16"))
    code.write("latin.py", "def zebra_latin():\n    return 'größe'\n".encode("latin-1"))
    code.write("long.py", "zebra_long = 1\n" * 100 + "zebra_line = '" + "x" * 5000 + "'\n")
    index = await code.index(workers)
    found = {s.path: s for s in (await search(index, "zebra", limit=20)).snippets}
    assert set(found) == {"dos.py", "wide.py", "latin.py", "long.py"}
    assert found["dos.py"].text == "def zebra():\n    return 1"
    assert "größe" in found["wide.py"].text
    assert all(len(line) <= 301 for s in found.values() for line in s.text.split("\n"))
    await index.close()


async def test_an_empty_code_base(tmp_path: object, workers: Workers) -> None:
    index = await CodeBase(tmp_path / "empty", {}).index(workers)  # type: ignore[operator]
    assert (await search(index, "anything at all")).snippets == ()
    assert Limits().search_hits == 200
    await index.close()


@pytest.mark.parametrize("name", ["cart-total", "cart_total", '"cart.total"'], ids=["hyphen", "underscore", "dot"])
async def test_a_use_may_stand_in_quotes(code: CodeBase, workers: Workers, name: str) -> None:
    bare = name.strip('"')
    code.write("routes.py", f"route('/total', name='{bare}')\n")
    code.write("pages.py", f"def link():\n    return url_for('{bare}')\n")
    code.write("other.py", f"link = '{bare}s'\n")
    index = await code.index(workers)
    found = await search(index, f"uses:{name}")
    assert {s.path for s in found.snippets} == {"routes.py", "pages.py"}
    await index.close()
