"""Quality of search: the table of it is right, and on a small repository with commits the order and the places are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.search_jsonl import Answers
from bench.search_table import compared, interval, main, table, verdicts

FILES = {
    "shop/cart.py": """class Cart:
    def add(self, item):
        self.items.append(item)

    def total(self):
        return sum(self.items)
""",
    "shop/stock.py": """def reserve(item, count):
    return store.take(item, count)


def release(item):
    store.give(item)
""",
    "shop/mail.py": "def send_receipt(cart):\n    post(render(cart))\n",
    "tests/test_cart.py": "def test_total():\n    assert Cart().total() == 0\n",
    "docs/cart.md": "# The cart\n\nIts total is the sum of its items.\n",
}


def row(name: str, mrr: float, **more: float) -> dict[str, object]:
    base = {"R@1": mrr, "R@5": 1.0, "R@10": 1.0, "snip@5": mrr, "snip@10": 1.0, "snip_lines@10": 300, "search_s": 0.004}
    return {"id": name, "MRR": mrr, **base, **more}


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "A shop")
    for path, message in [
        ("shop/stock.py", "Warehouse pallets are counted"),
        ("shop/mail.py", "Receipts reach people with umlauts in their names"),
        ("shop/cart.py", "Rounding of prices"),
    ]:
        (root / path).write_text((root / path).read_text() + f"# {len(message)}\n")
        git(root, "commit", "-q", "-a", "-m", message)
    return root


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("total of the cart", "shop/cart.py"),
        ("reserve an item", "shop/stock.py"),
        ("warehouse pallets of an item", "shop/stock.py"),
        ("test of the total", "tests/test_cart.py"),
        ("Cart", "shop/cart.py"),
    ],
    ids=["words", "name", "history", "asked-for-tests", "symbol"],
)
async def test_the_order_on_a_small_repository(repository: Path, tmp_path: Path, query: str, first: str) -> None:
    lines = tmp_path / "lines"
    answers = Answers(tmp_path / "data", lines)
    (tmp_path / "data").mkdir()
    try:
        indexed = await answers.to({"op": "index", "root": str(repository)})
        found = await answers.to({"op": "search", "root": str(repository), "query": query, "k": 5})
    finally:
        await answers.close()
    assert indexed["files"] == len(FILES)
    assert found["files"][0] == first
    shown = found["snippets"]
    assert all(1 <= s["start"] <= s["end"] <= len((repository / s["file"]).read_text().split("\n")) for s in shown)
    assert int(lines.read_text()) == sum(s["end"] - s["start"] + 1 for s in shown[:5]) <= 200


def test_the_table_has_a_line_for_each_repository_and_one_for_all() -> None:
    rows = [row("zoo-0a1b", 1.0), row("zoo-0a1c", 0.5), row("big-farm-0f", 0.0)]
    head, *lines = table(rows)
    assert head.split()[:2] == ["MRR", "R@1"]
    assert [line.split()[0] for line in lines] == ["zoo", "big-farm", "all"]
    assert [line.split()[1] for line in lines] == ["0.750", "0.000", "0.500"]
    assert lines[-1].split()[-1] == "3"


def test_each_target_is_met_or_missed() -> None:
    said = verdicts([row("a-1", 0.8, **{"lines@5": 201})])
    assert [line.rsplit(" ", 1)[1] for line in said] == ["met", "met", "met", "MISSED"]
    assert verdicts([row("a-1", 0.79)])[0].endswith("MISSED")


def test_a_difference_is_told_with_its_interval_of_the_same_queries() -> None:
    before = [row(f"a-{i}", 0.5) for i in range(40)]
    now = [row(f"a-{i}", 0.7) for i in range(30)]
    said = "\n".join(compared(now, before))
    assert "30 queries" in said
    assert "MRR      +0.200 [+0.200, +0.200]  better 30, worse 0" in said
    low, high = interval([0.0, 1.0] * 50)
    assert low < 0.5 < high and interval([0.0, 1.0] * 50) == (low, high), "seeded"
    assert compared(now, [row("b-1", 1.0)]) == ["No query of the baseline is among these."]


def test_the_command_reads_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, lines = tmp_path / "r.jsonl", tmp_path / "lines"
    results.write_text("\n".join(json.dumps(row(f"zoo-{i}", 1.0)) for i in range(3)))
    lines.write_text("120\n130\n140\n")
    assert main([str(results), "--lines", str(lines), "--baseline", str(results)]) == 0
    said = capsys.readouterr().out
    assert "130.0" in said and "MISSED" not in said and "+0.000" in said
    (tmp_path / "none").write_text("")
    assert main([str(tmp_path / "none")]) == 2
