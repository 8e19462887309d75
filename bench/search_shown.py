"""`python -m bench.search_shown --queries FILE.jsonl --mirrors FOLDER`: what of a commit's changes the tool `search` shows a model that
is given its message.

The tree is the commit's exact parent. A query counts when a line that its commit changed is among those that the tool's text has, and
its files by the share that the text shows lines of, or names. What one call costs is the characters of its text.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.eval.evidence import Asked as Base
from bench.index_commits import Asked, Checkouts, read
from bench.search_table import interval
from reconvene.agents import searching
from reconvene.workspace.names import display_path

Lines = dict[str, list[list[int]]]

_PLACE = re.compile(r"^## (.+?):\d+-\d+(?: |$)", re.M)
_NUMBERED = re.compile(r"^(\d+)\| ", re.M)
_NAMES = re.compile(r"^Then come: (.*)\.$", re.M)


@dataclass(frozen=True, slots=True)
class Shown:
    """`line`: whether a changed line is shown. `lines_of`, `named`: shares of the files to change. `chars`: of the text."""

    line: bool
    lines_of: float
    named: float
    chars: int


def shown(text: str, gold: Sequence[str], lines: Lines) -> Shown:
    """What a text of the tool has of some files and their lines."""
    wanted = {display_path(path): lines.get(path, []) for path in gold}
    seen: set[str] = set()
    hit = False
    # Between two headers are the lines of the first; what comes before the first header is about all.
    _, *rest = _PLACE.split(text)
    for path, body in zip(rest[::2], rest[1::2], strict=True):
        seen.add(path)
        numbers = list(map(int, _NUMBERED.findall(body)))
        hit = hit or any(first <= n <= last for first, last in wanted.get(path, []) for n in numbers)
    names = {name for found in _NAMES.findall(text) for name in found.split(", ")}
    return Shown(hit, len(seen & set(wanted)) / len(wanted), len((seen | names) & set(wanted)) / len(wanted), len(text))


async def measure(queries: Sequence[Asked], lines: dict[str, Lines], mirrors: Path, folder: Path) -> list[Shown]:
    """
    Args:
        lines: by a query's id, the lines that its commit changed.
        folder: for trees and indexes.
    """
    (folder / "trees").mkdir()
    found = []
    for asked, root in Checkouts(mirrors, folder / "trees").each(queries):
        data = folder / "data" / asked.repo.replace("/", "+")
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with Base(root, data) as base:
            await base.index.take_in_history()
            ctx: Any = SimpleNamespace(deps=base.deps())
            text = str((await searching.search(ctx, asked.query)).value)
        found.append(shown(text, asked.gold, lines[asked.id]))
    return found


def table(found: Sequence[Shown]) -> list[str]:
    def row(name: str, values: Sequence[float]) -> str:
        low, high = interval(values)
        return f"{name:34} {sum(values) / len(values):.3f} [{low:.3f}, {high:.3f}]"

    return [
        f"{len(found)} commits, one call of the tool each",
        row("a changed line is shown", [float(f.line) for f in found]),
        row("files to change: lines of them", [f.lines_of for f in found]),
        row("files to change: lines or names", [f.named for f in found]),
        f"{'characters':34} {sum(f.chars for f in found) / len(found):,.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.search_shown", description=__doc__)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--mirrors", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="each so many-th query of a repository")
    given = parser.parse_args()
    try:
        queries = read(given.queries, every=given.every)
        with given.queries.open() as file:
            lines: dict[str, Lines] = {q["id"]: q["gold_lines"] for q in map(json.loads, file)}
    except (OSError, ValueError, KeyError) as e:
        sys.exit(f"{given.queries} is not a file of queries: {e!r}")
    with tempfile.TemporaryDirectory(prefix="reconvene-bench-") as folder:
        print("\n".join(table(asyncio.run(measure(queries, lines, given.mirrors.resolve(), Path(folder))))))


if __name__ == "__main__":
    main()
