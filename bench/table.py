"""The one table: what was measured, the floor beside it, their ratio, the target, and whether it was met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Row:
    """`met` is None where no target was set. `note` is printed below the table."""

    what: str
    measured: str
    floor: str = ""
    ratio: str = ""
    target: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        return {True: "met", False: "MISSED", None: ""}[self.met]


def render(rows: Sequence[Row], beside: str = "floor") -> str:
    """The table as text, its notes below it. `beside`: what the second column of figures is."""
    head = ("", "measured", beside, "ratio", "target", "")
    lines = [head] + [(row.what, row.measured, row.floor, row.ratio, row.target, row.verdict) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [_line(line, widths) for line in lines]
    text.insert(1, "-" * max(len(line) for line in text))
    targets = [row for row in rows if row.met is not None]
    missed = [row.what for row in targets if not row.met]
    text.append("")
    text.append(
        f"{len(targets) - len(missed)} of {len(targets)} targets met."
        + (f" Missed: {'; '.join(missed)}." if missed else "")
    )
    return "\n".join([*text, *(f"* {row.what}: {row.note}" for row in rows if row.note)])


def _line(columns: Sequence[str], widths: Sequence[int]) -> str:
    sides = (str.ljust, str.rjust, str.rjust, str.rjust, str.ljust, str.ljust)
    return "  ".join(side(column, width) for side, column, width in zip(sides, columns, widths, strict=True)).rstrip()


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank.

    >>> percentile([4, 1, 3, 2], 0.5), percentile([1], 0.99)
    (2, 1)
    """
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


def ratio(ours: Sequence[float], floor: Sequence[float]) -> float:
    """The median of the ratios of rounds: what disturbed one round disturbed both of its halves."""
    return median(a / b for a, b in zip(ours, floor, strict=True))
