"""The parts of `make bench-index`: what it makes, asks, edits, counts and judges."""

from __future__ import annotations

import asyncio
import random
import selectors
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.index_commits import Checkouts, read
from bench.index_cost import Costs, Took, rows
from bench.index_loop import Watched
from bench.index_share import Shown, resampled
from bench.index_share import rows as share_rows
from bench.index_trees import _DEFINED, Tree, copied, edited, made, questions

from reconvene.index.definitions import find
from reconvene.index.languages.registry import language_of


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made(tmp_path / "made", 40, seed=3)
    return tmp_path / "made"


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_the_same_seed_makes_the_same_code_base_and_questions(tmp_path: Path, source: Path) -> None:
    made(tmp_path / "again", 40, seed=3)
    assert snapshot(source) == snapshot(tmp_path / "again")
    tree, again = Tree.of("a", source), Tree.of("b", tmp_path / "again")
    assert tree.files == len(tree.paths) == 40
    assert questions(tree, 5, 6) == questions(again, 5, 6) != questions(tree, 6, 6)


def test_all_that_is_done_is_done_in_copies(tmp_path: Path, source: Path) -> None:
    before = snapshot(source)
    tree, tenth = copied("x", source, tmp_path / "all"), copied("x", source, tmp_path / "tenth", every=10)
    assert (tree.files, tenth.files) == (40, 4)
    edited(tree, random.Random(1))
    assert snapshot(source) == before != snapshot(tree.root)


@pytest.mark.parametrize("suffix", sorted(_DEFINED))
def test_an_edit_defines_something_in_every_language(suffix: str) -> None:
    text = _DEFINED[suffix].format("xyzzy").encode()
    assert [d.name for d in find(text, language_of(f"a{suffix}"))] == ["xyzzy"]


def test_a_query_sees_its_parent_and_nothing_later(tmp_path: Path) -> None:
    mirror = tmp_path / "mirrors/owner+name"
    mirror.mkdir(parents=True)

    def git(*args: str, where: Path = mirror) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *args]
        return subprocess.run(command, cwd=where, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", "main")
    commits = []
    for n in range(3):
        (mirror / "a.py").write_text(f"n = {n}\n")
        git("add", "-A")
        git("commit", "-q", "-m", f"commit {n}")
        commits.append(git("rev-parse", "HEAD"))
    lines = [
        f'{{"id": "{n}", "repo": "owner/name", "parent": "{commits[n]}", "date": {-n}, "query": "q", "gold": ["a.py"]}}'
        for n in (0, 1)
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(lines) + "\n")
    asked = read(tmp_path / "q.jsonl", ["name"])
    assert [a.id for a in asked] == ["1", "0"], "oldest first"
    assert read(tmp_path / "q.jsonl", ["other"]) == []
    for one in asked:
        root = Checkouts(tmp_path / "mirrors", tmp_path).of(one)
        assert (root / "a.py").read_text() == f"n = {one.id}\n"
        assert git("log", "--all", "--format=%s", where=root).split("\n")[0] == f"commit {one.id}"


def test_shares_are_means_over_queries() -> None:
    found = [Shown(str(n), f"r/{n % 2}", share, 10, 1000, 1, 5.0, ()) for n, share in enumerate([1.0, 0.5, 1.0, 0.0])]
    first, second, whole = share_rows(found)
    assert (first.measured, second.measured, whole.measured) == ("1.000", "0.250", "0.625")
    assert whole.met is False
    low, high = resampled(found)
    assert low < 0.625 < high


def test_a_row_is_judged_by_what_counts_on_this_machine() -> None:
    def took(cpu: float, wall: float) -> Took:
        return Took([cpu] * 5, [wall] * 5)

    def costs() -> Costs:
        each = {
            name: took(10.0, 900.0) for name in ("restart", "overview", "prompt", "told", "found", "sweep", "pattern")
        }
        loop = {"stretches": 9, "longest": [1.0, "x"], "over": 0, "p999": 1.0, "wall": 9.0, "collection": 0.0}
        said = {"files": 100, "symbols": 9, "bytes": 9, "loop": loop}
        return Costs(
            build=[3.0], build_wall=[9.0], search=took(6.0, 90.0), warm=[100.0], building=[1.0], workers=[1.0], stretch=[9.0],
            said=said, **each,
        )  # fmt: skip

    tree, tenth = (Tree("t", Path(), ("a.py",), files, 100) for files in (100, 10))
    sides = {"ours": costs(), "tenth": costs(), "peer": Costs(), "lines": Costs()}
    by_cpu = {row.what: row for row in rows(tree, tenth, sides, "cpu")}
    by_clock = {row.what: row for row in rows(tree, tenth, sides, "wall")}
    assert all(row.met is not False for row in by_cpu.values())
    assert by_clock["t: new prompt → map"].met is False
    assert by_cpu["t: new prompt → map"].floor == "not measured"
    sides["tenth"].search = took(0.4, 0.4)
    grown = rows(tree, tenth, sides, "cpu")[-1]
    assert grown.met is False and "×15.0" in grown.measured


async def test_a_stretch_of_the_loop_is_counted() -> None:
    loop = asyncio.get_running_loop()
    real: selectors.BaseSelector = loop._selector  # type: ignore[attr-defined]
    watched = loop._selector = Watched(real)  # type: ignore[attr-defined]
    try:
        await asyncio.sleep(0)
        watched.reset()
        await asyncio.sleep(0)
        until = time.thread_time() + 0.03
        while time.thread_time() < until:
            pass
        await asyncio.sleep(0)
        assert max(watched.cpu) >= 30_000_000
    finally:
        loop._selector = real  # type: ignore[attr-defined]
