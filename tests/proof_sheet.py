"""Run the long proofs, a suite at a time, and make one sheet of what they found.

    python tests/proof_sheet.py faults              every suite of this half
    python tests/proof_sheet.py faults power        one suite alone
    python tests/proof_sheet.py faults --page       only the page, from the rows that are kept

A suite is a few test files. Its tests marked `long` run in a pytest of their own; what they `report` (tests/proof.py) are its rows. A test
that fails makes the sheet fail, and leaves the page as it was. The rows of each suite are kept in `docs/explanation/proof.json` with the
day and the commit, and the page `docs/explanation/proof.md` is made from all that are there: so one suite can be run alone.

A new suite: add a line to `SUITES`, mark its tests `long`, and `report` after the last assertion. Until then they run among the `others`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proof import ENVIRONMENT

TREE = Path(__file__).parents[1]
KEPT = TREE / "docs" / "explanation" / "proof.json"
PAGE = TREE / "docs" / "explanation" / "proof.md"
Row = dict[str, Any]


@dataclass(frozen=True)
class Suite:
    """Test files of one kind of proof. `title` names it where its tests report no rows of their own; `marks` chooses among their tests."""

    title: str
    files: Sequence[str]
    marks: str = "long and not browser"


SUITES: dict[str, dict[str, Suite]] = {
    "faults": {
        "deaths": Suite("Crash: deaths of a server without its sockets", ["tests/faults/test_deaths.py"]),
        "calls": Suite("Crash: the list of calls", ["tests/faults/test_system_calls.py"]),
        "server": Suite(
            "Crash: a whole server and its client over WebSocket",
            ["tests/faults/test_kills.py", "tests/faults/test_change_kills.py"],
        ),
        "apply": Suite(
            "Crash and races: files that are written",
            ["tests/faults/test_apply_kills.py", "tests/faults/test_apply_races.py"],
            "long or not long",
        ),
        "power": Suite("Power cuts", ["tests/faults/test_power.py", "tests/log/test_power_cut.py"]),
        "io": Suite("I/O faults", ["tests/faults/test_io_faults.py"]),
        "schedules": Suite("Schedules", ["tests/faults/test_schedules.py", "tests/sessions/test_sessions_model.py"]),
        "network": Suite("Network", ["tests/faults/test_network.py", "tests/faults/test_network_load.py"]),
        "index": Suite(
            "Index: equal to one built anew",
            ["tests/faults/test_index_equivalence.py", "tests/index/test_equivalence.py"],
            "long or not long",
        ),
        "nodes": Suite(
            "Several nodes on one PostgreSQL",
            [
                *(
                    f"tests/faults/test_{name}.py"
                    for name in ("node_deaths", "cut_off_nodes", "rolling", "stopped_node")
                ),
                "tests/e2e/test_page_of_another_node.py",
            ],
            "long",
        ),
        "others": Suite("Long tests of no other suite", []),
    },
    "security": {
        "model": Suite("A model that does its worst", ["tests/faults/test_hostile_model.py"], "long or not long"),
        "jail": Suite("Opened while it is swapped", ["tests/security/test_jail_swaps.py"]),
        "trees": Suite(
            "Code bases that do their worst",
            ["tests/search/test_hostile_trees.py", "tests/security/test_hostile_tree_served.py"],
        ),
        "doors": Suite(
            "Hostile pages, hostile answers in the page, secrets",
            [f"tests/security/test_{name}.py" for name in ("browser_attacks", "page_payloads", "secrets_stay")],
            "long or not long",
        ),
        "fuzz": Suite("Fuzz", ["tests/security/test_fuzz.py"]),
        "http": Suite("Requests made up", ["tests/security/test_openapi_fuzz.py"], "long or not long"),
        "people": Suite("Two people on one server", ["tests/security/test_two_people.py"], "long or not long"),
        "websocket": Suite("WebSocket conformance", ["tests/security/test_ws_conformance.py"]),
    },
    "soak": {
        "soak": Suite("Sessions come and go", ["tests/soak/test_soak.py"]),
    },
}
HEAD = """\
# Proof

What breaks it, and the numbers that nothing does. Made by `make faults`, `make security` and `make soak`; do not edit. Each figure is of
the day and the commit beside it, and each can be had again: `SEED=… .venv/bin/python tests/proof_sheet.py faults power` runs one suite
with a seed. A *control* is a defence that was broken on purpose: a proof that does not notice it proves nothing.

All of `make faults` is 20,000 deaths, each call of a run killed and failed, 5,000 power cuts in each of three ways for the log and for
whole sessions, 5,000 schedules, and a network that is cut at each byte: about an hour of two idle cores. `DEATHS`, `CUTS`, `EVERY` (each
n-th call or byte), `SCHEDULES`, `CONVERSATIONS` and `EXAMPLES` in the environment make it smaller, `SHARE=3/16` runs the third sixteenth
of the calls; the figures say what was run, in one part or in several that were added. Times are of the machine that ran it; CPU seconds
can be compared. The list of calls needs strace(1). Of several nodes, `KILLS`, `TAKEOVERS`, `DATABASE_KILLS`, `CUT_OFFS`, `ROUNDS` and
`PAGE_ROUNDS` are how often.
`make security` fuzzes each reader for ten minutes; `FUZZ_SECONDS`, `HTTP_SECONDS`, `OPENS` and `DEEP` make it smaller. `make soak` takes
`MINUTES` (10) and `SESSIONS` (1,000).
"""
HALVES = {
    "faults": "Nothing is lost: `make faults`",
    "security": "Nobody gets in: `make security`",
    "soak": "Nothing piles up: `make soak`",
}


def long_tests(root: Path = TREE / "tests") -> set[str]:
    """Test files with a test that only the long proofs run."""
    marked = re.compile(r"^\s*@?(pytest\.mark\.long|pytestmark = .*long)\b", re.M)
    files = [p for p in root.rglob("test_*.py") if "e2e" not in p.parts and "model" not in p.parts]
    return {str(path.relative_to(TREE)) for path in files if marked.search(path.read_text())}


def others(tests: set[str]) -> list[str]:
    """Those that no suite names."""
    named = [file for half in SUITES.values() for suite in half.values() for file in suite.files]
    return sorted(test for test in tests if not any(test == name or test.startswith(f"{name}/") for name in named))


def run(half: str, name: str) -> tuple[list[Row], bool]:
    """One suite: its rows, and whether every test passed."""
    suite = SUITES[half][name]
    files = suite.files or others(long_tests())
    with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as reports:
        program = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-s",
            "--timeout",
            "7200",
            "-m",
            suite.marks,
            *files,
        ]
        print(f"\n── {half}/{name}: {suite.title}", flush=True)
        began = time.monotonic()
        done = subprocess.run(program, cwd=TREE, env=os.environ | {ENVIRONMENT: reports.name}, check=False)
        seconds = time.monotonic() - began
        rows = merged([json.loads(line) for line in reports.read().splitlines()])
    if not rows:
        rows = [{"proof": suite.title, "figure": "all of its tests pass", "controls": [], "seeds": []}]
    rows[0]["suite_seconds"] = round(seconds)
    return rows, done.returncode == 0


def merged(reports: Sequence[Row]) -> list[Row]:
    """One row for each `proof`: counts and seconds are added, controls and seeds collected."""
    rows: dict[str, Row] = {}
    for report in reports:
        new = {"proof": report["proof"], "figure": "", "controls": [], "seeds": [], "seconds": 0.0, "cpu": 0.0}
        row = rows.setdefault(report["proof"], new | {"counts": {}})
        row["figure"] = report["figure"] or row["figure"]
        for count, n in report.get("counts", {}).items():
            row["counts"][count] = row["counts"].get(count, 0) + n
        if report["control"] and report["control"] not in row["controls"]:
            row["controls"].append(report["control"])
        if report["seed"] is not None and report["seed"] not in row["seeds"]:
            row["seeds"].append(report["seed"])
        row["seconds"] = round(row["seconds"] + report["seconds"], 1)
        row["cpu"] = round(row["cpu"] + report.get("cpu", 0.0), 1)
    return list(rows.values())


def figure(row: Row) -> str:
    return str(row["figure"].format(**row["counts"]) if row.get("counts") else row["figure"])


def cells(row: Row) -> list[str]:
    seeds = [str(seed) for seed in row["seeds"]]
    shown = ", ".join(seeds[:3]) + (f" and {len(seeds) - 3} more" if len(seeds) > 3 else "")
    spent = f"{row.get('seconds') or row.get('suite_seconds', 0):,.0f} s"
    if row.get("cpu"):
        spent += f" ({row['cpu']:,.0f} s of CPU)"
    return [row["proof"], figure(row), "; ".join(row["controls"]) or "—", shown or "—", spent]


def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return found


def head() -> str:
    """The commit that is checked out."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=TREE, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "?"


def keep(half: str, name: str, rows: list[Row], commit: str) -> None:
    """Put a suite's rows in the place of its earlier ones."""
    sheet = kept()
    sheet.setdefault(half, {})[name] = {"day": today(), "commit": commit, "rows": rows}
    KEPT.write_text(json.dumps(sheet, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def added(old: dict[str, Any], new: list[Row], commit: str) -> list[Row]:
    """A suite's kept rows with those of a further part: what was counted in the same way is added up, the rest replaces its row."""
    rows = {row["proof"]: {"day": old["day"], "commit": old["commit"], **row} for row in old["rows"]}
    for row in new:
        before = rows.get(row["proof"])
        known = {"day": today(), "commit": commit}
        # A control may have been run alone.
        if before and row["figure"] in ("", before["figure"]) and (row.get("counts") or not row["figure"]):
            counts = {
                n: before["counts"].get(n, 0) + row["counts"].get(n, 0) for n in {**before["counts"], **row["counts"]}
            }
            first = before["commit"].partition(" to ")[0]
            for name in ("controls", "seeds"):
                row[name] = list(dict.fromkeys([*before[name], *row[name]]))
            for name in ("seconds", "cpu"):
                row[name] = round(before.get(name, 0.0) + row[name], 1)
            known["commit"] = commit if first == commit else f"{first} to {commit}"
            row |= {"counts": counts, "figure": before["figure"]}
        rows[row["proof"]] = row | known
    return list(rows.values())


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def page(sheet: dict[str, Any]) -> str:
    """The page of all rows that are kept."""
    text = [HEAD]
    for half, title in HALVES.items():
        suites = sheet.get(half, {})
        text.append(f"\n## {title}\n")
        if not suites:
            text.append("Not run yet.\n")
            continue
        text += ["| proof | found | controls | seed | time | day, commit |", "|---|---|---|---|---|---|"]
        for name in [n for n in SUITES[half] if n in suites]:
            suite = suites[name]
            for row in suite["rows"]:
                of = {**suite, **row}
                text.append(f"| {' | '.join(c.replace('|', '/') for c in cells(row))} | {of['day']}, {of['commit']} |")
        text.append("")
    return "\n".join(text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run the long proofs and make the sheet of them.")
    parser.add_argument("half", choices=SUITES)
    parser.add_argument("suite", nargs="*", help="those alone")
    parser.add_argument("--page", action="store_true", help="run nothing; make the page")
    parser.add_argument("--reports", type=Path, help="take a suite's reports from this file instead of running it")
    parser.add_argument("--commit", help="that those reports are of")
    parser.add_argument("--add", action="store_true", help="add the rows to those that are kept of the suite")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.suite) - set(SUITES[asked.half]):
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are: {', '.join(SUITES[asked.half])}")
    failed = []
    for name in [] if asked.page else asked.suite or SUITES[asked.half]:
        if asked.reports:
            rows, well = merged([json.loads(line) for line in asked.reports.read_text().splitlines()]), True
        else:
            rows, well = run(asked.half, name)
        if well:
            commit = asked.commit or head()
            if asked.add and (old := kept().get(asked.half, {}).get(name)):
                rows = added(old, rows, commit)
            keep(asked.half, name, rows, commit)
        else:
            failed.append(name)
        for row in rows:
            print("  " + "  ·  ".join(cells(row)))
    if failed:
        print(f"\nfailed: {', '.join(failed)}; the page is as it was", file=sys.stderr)
        return 1
    PAGE.write_text(page(kept()))
    print(f"\n{PAGE.relative_to(TREE)} is made")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
