"""How a proof tells the proof sheet what it found: `report`. `tests/proof_sheet.py` runs the suites and makes the sheet of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

ENVIRONMENT = "PROOF_REPORTS"
"""Names the file to which a suite's reports are appended, a JSON line each. Without it a report is only printed."""


def report(
    proof: str,
    figure: str = "",
    *,
    counts: Mapping[str, int] | None = None,
    control: str = "",
    seed: int | None = None,
    seconds: float = 0.0,
    cpu: float | None = None,
) -> None:
    """A row of the proof sheet, or a part of one: reports with the same `proof` become one row.

    Args:
        proof: what is proved, in a few words: "Power: the log".
        figure: what was done and what was found, with numbers. Only report it after it was asserted.
        counts: numbers that `figure` has in braces, `{deaths:,} deaths`: those of several reports of one row are added, so that a
            campaign can be run in parts.
        control: which defence was broken on purpose and how that was noticed.
        seed: with which it is done again.
        seconds: wall-clock time of this part; those of one row are added.
        cpu: processor seconds, where they were measured.
    """
    row: dict[str, Any] = {
        "proof": proof,
        "figure": figure,
        "control": control,
        "seed": seed,
        "seconds": round(seconds, 1),
    }
    if counts:
        row["counts"] = dict(counts)
    if cpu is not None:
        row["cpu"] = round(cpu, 1)
    print(f"\n· {proof}: {figure.format(**counts) if counts else figure or control}")
    if path := os.environ.get(ENVIRONMENT):
        with open(path, "a") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
