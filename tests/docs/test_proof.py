"""The proof sheet is made from what is kept, every long test is in one of its suites, and every bad input has a case."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import proof_sheet
from proof import ENVIRONMENT, report

TREE = Path(__file__).parents[2]
BAD_INPUTS = TREE / "docs" / "reference" / "bad-inputs.md"


def test_every_file_of_a_suite_is_there() -> None:
    named = [file for half in proof_sheet.SUITES.values() for suite in half.values() for file in suite.files]
    assert len(named) > 8 and not [file for file in named if not (TREE / file).is_file()]


def test_a_long_test_that_no_suite_names_is_run_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tests/faults/test_deaths.py" not in proof_sheet.others(proof_sheet.long_tests())
    faults = {name: suite for name, suite in proof_sheet.SUITES["faults"].items() if name != "deaths"}
    monkeypatch.setitem(proof_sheet.SUITES, "faults", faults)
    assert "tests/faults/test_deaths.py" in proof_sheet.others(proof_sheet.long_tests())


def test_the_page_is_what_is_kept() -> None:
    assert proof_sheet.PAGE.read_text() == proof_sheet.page(proof_sheet.kept())


def test_reports_of_one_proof_are_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "reports"
    monkeypatch.setenv(ENVIRONMENT, str(path))
    report("A", "{n:,} things, 0 wrong", counts={"n": 1500}, seed=1, seconds=2, cpu=1)
    report("A", "{n:,} things, 0 wrong", counts={"n": 2500}, seed=2, seconds=3)
    report("A", control="broken: noticed", seed=2)
    report("B", "fine")
    rows = proof_sheet.merged([json.loads(line) for line in path.read_text().splitlines()])
    assert [proof_sheet.cells(row) for row in rows] == [
        ["A", "4,000 things, 0 wrong", "broken: noticed", "1, 2", "5 s (1 s of CPU)"],
        ["B", "fine", "—", "—", "0 s"],
    ]


def test_parts_of_a_campaign_add_up_and_other_figures_are_replaced() -> None:
    def row(proof: str, figure: str, control: str = "", **counts: int) -> dict[str, object]:
        more = {"control": control, "seed": None, "seconds": 2.0, "cpu": 1.0, "counts": counts}
        (made,) = proof_sheet.merged([{"proof": proof, "figure": figure, **more}])
        return made

    old = {
        "day": "d",
        "commit": "a to b",
        "rows": [row("A", "{n:,} deaths", n=900), row("B", "once"), row("C", "as ever")],
    }
    new = [row("A", "{n:,} deaths", n=1000), row("A", "", "broken: noticed"), row("B", "twice"), row("D", "new")]
    rows = {found["proof"]: found for found in proof_sheet.added(old, new, "c")}
    told = {name: (proof_sheet.cells(found)[1:3], found["commit"]) for name, found in rows.items()}
    assert told == {
        "A": (["1,900 deaths", "broken: noticed"], "a to c"),
        "B": (["twice", "—"], "c"),
        "C": (["as ever", "—"], "a to b"),
        "D": (["new", "—"], "c"),
    }
    assert rows["A"]["cpu"] == 3.0 and rows["C"]["day"] == "d"


# -- bad inputs


def numbers(page: str) -> set[int]:
    return {int(n) for n in re.findall(r"^(\d+)\. ", page, re.M)}


def cases(tests: Path, page_tests: Path) -> set[int]:
    """The numbers that are in the name or the id of a test."""
    found: set[int] = set()
    for path in sorted(tests.rglob("test_*.py")):
        text = path.read_text()
        named = re.findall(r"def test_\w*", text) + re.findall(r"""["'](bad\d+[^"']*)["']""", text)
        found |= {int(n) for name in named for n in re.findall(r"bad(\d+)", name)}
    for path in sorted(page_tests.rglob("*.test.ts")):
        titles = re.findall(r"""(?:test|it)(?:\.each)?\(\s*["'`]([^"'`]*)""", path.read_text())
        found |= {int(n) for title in titles for n in re.findall(r"bad(\d+)", title)}
    return found


def test_every_bad_input_has_a_case() -> None:
    known = numbers(BAD_INPUTS.read_text())
    assert known == set(range(1, len(known) + 1)) and len(known) >= 131
    assert not known - cases(TREE / "tests", TREE / "web"), "these have no test with their number in its name or id"


def test_control_a_bad_input_without_a_case_is_seen() -> None:
    known = numbers(BAD_INPUTS.read_text() + "\n999. Something new → an error.\n")
    assert known - cases(TREE / "tests", TREE / "web") == {999}
