"""The measure of questions about code bases: right by hand, and asked of a repository as it was."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.search_semble import Question, Scored, main, measure, ndcg, read, table

from bench import search_semble


@pytest.mark.parametrize(
    ("files", "wanted", "value"),
    [
        (["src/a.py", "b.py"], ["a.py"], 1.0),
        (["b.py", "src/a.py"], ["a.py"], 1 / math.log2(3)),
        (["b.py", "a.py"], ["a.py", "b.py"], 1.0),
        (["a.py"], ["a.py", "b.py"], 1 / (1 + 1 / math.log2(3))),
        (["ba.py", "aa.py"], ["a.py"], 0.0),
        (["a.py"], ["src/a.py"], 1.0),
        ([*(f"{n}.py" for n in range(10)), "a.py"], ["a.py"], 0.0),
        ([], ["a.py"], 0.0),
        (["x/a.py"], ["a.py", "x/a.py"], 1 / (1 + 1 / math.log2(3))),
    ],
    ids=["first", "second", "any-order", "one-of-two", "end-of-a-name", "above-the-folder", "eleventh", "none", "once"],
)
def test_ndcg_by_hand(files: list[str], wanted: list[str], value: float) -> None:
    assert ndcg(files, wanted) == pytest.approx(value)


def test_a_table_says_whether_the_target_is_met() -> None:
    good = [Scored(Question("gin", kind, ("a.go",), "q"), 0.9) for kind in "asy"]
    assert table(good)[-1].endswith("met") and "0.900 [0.900, 0.900]" in table(good)[-1]
    assert table([*good, Scored(Question("zod", "a", ("b.ts",), "q"), 0.1)])[-1].endswith("MISSED")


@pytest.mark.parametrize("line", ["gin\ta\ttree.go\thow", "nobody\ta\ttree.go\t\thow", "gin\tx\ttree.go\t\thow"])
def test_what_is_no_question_is_refused(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "questions.tsv").write_text(f"{line}\n")
    assert main(["--queries", str(tmp_path / "questions.tsv"), "--mirrors", str(tmp_path)]) == 2
    assert "line 1: not a question" in capsys.readouterr().err


async def test_questions_are_asked_of_the_folder_at_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = tmp_path / "owner+shop"

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", "-C", str(mirror), *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout

    (mirror / "lib").mkdir(parents=True)
    (mirror / "lib/cart.py").write_text("def total(prices):\n    return sum(prices)\n")
    (mirror / "lib/mail.py").write_text("def post(letter):\n    wire.send(letter)\n")
    (mirror / "total.py").write_text("total = 'the total of prices, outside of the folder'\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "A shop")
    then = git("rev-parse", "HEAD").strip()
    git("mv", "lib/cart.py", "lib/basket.py")
    git("commit", "-q", "-m", "Baskets")
    monkeypatch.setitem(search_semble.PINNED, "shop", ("owner/shop", then, "lib"))
    (tmp_path / "questions.tsv").write_text("shop\ts\tcart.py\t\ttotal of prices\n\nshop\ta\tcart.py\t\tletter\n")
    found = await measure(read(tmp_path / "questions.tsv"), tmp_path, tmp_path / "work")
    assert [s.ndcg for s in found] == [1.0, 0.0], "the second is of another file"
