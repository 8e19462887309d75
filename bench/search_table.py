"""`python -m bench.search_table RESULTS`: the quality of a search over real commits, as one table with its targets.

Results are lines of JSON, one a query, as the scorer writes them with `--out`: `id`, `MRR`, `R@10`, `snip@5` and the like, `search_s`.
With `--baseline` the same of another search, of which the paired difference is told with the 95 % interval of 2,000 resamplings (seeded):
what includes zero is no difference.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

COLUMNS = ("MRR", "R@1", "R@5", "R@10", "snip@5", "snip@10")
TARGETS = {"MRR": 0.80, "R@10": 0.93, "snip@5": 0.80}
LINES = 200
"""Of the first five snippets, at most, on average."""
_RESAMPLINGS, _SEED = 2000, 7


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def mean(rows: Sequence[Row], column: str) -> float:
    return sum(float(row[column]) for row in rows) / len(rows)


def repository(row: Row) -> str:
    """The mining program names a query by its repository and the commit."""
    return re.sub(r"-[0-9a-f]+$", "", str(row["id"]))


def table(rows: Sequence[Row]) -> list[str]:
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[repository(row)].append(row)
    width = max([12, *map(len, groups)]) + 1
    lines = [
        f"{'':{width}}" + "".join(f"{c:>9}" for c in COLUMNS) + f"{'lines@5':>9}{'p50 ms':>8}{'p95 ms':>8}{'n':>6}"
    ]
    for name, some in [*groups.items(), ("all", list(rows))]:
        cells = "".join(f"{mean(some, c):9.3f}" for c in COLUMNS)
        lines.append(
            f"{name:{width}}{cells}{_lines(some):9.1f}{_at(some, 0.5):8.1f}{_at(some, 0.95):8.1f}{len(some):6}"
        )
    return lines


def verdicts(rows: Sequence[Row]) -> list[str]:
    found = [
        (column, mean(rows, column), f">= {least:.2f}", mean(rows, column) >= least)
        for column, least in TARGETS.items()
    ]
    found.append(("lines@5", _lines(rows), f"<= {LINES}", _lines(rows) <= LINES))
    return [
        f"{name:8} {value:8.3f}  target {target:8} {'met' if met else 'MISSED'}" for name, value, target, met in found
    ]


def compared(rows: Sequence[Row], baseline: Sequence[Row]) -> list[str]:
    """The paired difference to another search, of the queries that both have."""
    before = {row["id"]: row for row in baseline}
    pairs = [(row, before[row["id"]]) for row in rows if row["id"] in before]
    if not pairs:
        return ["No query of the baseline is among these."]
    lines = [f"against the baseline, {len(pairs)} queries, paired bootstrap, 95 %:"]
    for column in TARGETS:
        differences = [float(now[column]) - float(was[column]) for now, was in pairs]
        low, high = interval(differences)
        better, worse = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
        middle = sum(differences) / len(differences)
        lines.append(f"{column:8} {middle:+.3f} [{low:+.3f}, {high:+.3f}]  better {better}, worse {worse}")
    return lines


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Where the mean of 95 % of resamplings lies."""
    rng = random.Random(_SEED)
    means = sorted(sum(rng.choices(differences, k=len(differences))) / len(differences) for _ in range(_RESAMPLINGS))
    return means[int(0.025 * _RESAMPLINGS)], means[int(0.975 * _RESAMPLINGS) - 1]


def _lines(rows: Sequence[Row]) -> float:
    """Lines of the first five snippets; where the scorer did not tell, half of those of ten."""
    return sum(float(row["lines@5"] if "lines@5" in row else row["snip_lines@10"] / 2) for row in rows) / len(rows)


def _at(rows: Sequence[Row], share: float) -> float:
    times = sorted(float(row["search_s"]) * 1000 for row in rows)
    return times[min(len(times) - 1, int(share * len(times)))]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The quality of a search as one table.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--baseline", type=Path, help="results of another search on the same queries")
    parser.add_argument(
        "--lines", type=Path, help="lines of the first five snippets of each query, in the order of the results"
    )
    given = parser.parse_args(arguments)
    rows = read(given.results)
    if not rows:
        print("There are no results in the file.", file=sys.stderr)
        return 2
    if given.lines:
        for row, count in zip(rows, given.lines.read_text().split(), strict=True):
            row["lines@5"] = int(count)
    print("\n".join([*table(rows), "", *verdicts(rows)]))
    if given.baseline:
        print("\n".join(["", *compared(rows, read(given.baseline))]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
