"""SECURITY.md names proofs that are there, and the number of attacks that there are."""

from __future__ import annotations

import re
from pathlib import Path

TREE = Path(__file__).parents[2]
PAGE = (TREE / "SECURITY.md").read_text("utf-8")


def test_what_it_names_is_there() -> None:
    named = re.findall(r"`((?:tests|server)/[\w./-]*)`", PAGE) + re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert len(named) > 25
    missing = [n for n in named if not any((place / n).exists() for place in (TREE, TREE / "src" / "reconvene"))]
    assert missing == []


def test_each_row_has_a_control_and_a_proof() -> None:
    [table] = re.findall(r"(?m)^\| who \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE)
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()]
    assert len(rows) >= 15
    for _who, attack, control, behind, proof in rows:
        assert attack and control and behind and ("tests/" in proof or "make " in proof), attack


def test_its_numbers_are_those_of_the_proofs() -> None:
    attacks = (TREE / "tests/security/test_browser_attacks.py").read_text("utf-8")
    ways = len(re.findall(r"^    Attack\(", attacks, re.M))
    assert f"{ways} ways in a real Chromium" in PAGE
