"""`python -m bench.index_share --queries FILE.jsonl --mirrors FOLDER [--repo starlette …]`: what share of the files to be edited a query
map of 1,024 tokens (characters / 4) shows, over real commits. `--misses` names what it did not show.

For each commit the tree is its exact parent and the query its message. The share of a query is that of its files which have a row in
the map; a repository's, and that of all, is the mean over its queries, with the middle 95 % of 2,000 resamplings beside it. With
`--keep FOLDER` the trees and indexes stay for the next time, which is then several times as fast.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.index_commits import Asked, Checkouts, read
from bench.table import Row, percentile, render
from reconvene.config import Limits
from reconvene.index import Indexes
from reconvene.repomap import repo_map
from reconvene.workspace import Workspace
from reconvene.workspace.names import parse_path

TOKENS, TARGET, PEER = 1024, 0.85, 0.32
"""`PEER`: aider's order of the same files with two definitions each, on 150 commits of six repositories: notes of the measurement."""


@dataclass(frozen=True, slots=True)
class Shown:
    """`share` of the gold files; `files` in the map; `place` of the first gold file in it, from 1, 0 for none; `ms` to make it."""

    id: str
    repo: str
    share: float
    files: int
    tokens: int
    place: int
    ms: float
    missed: tuple[str, ...]


async def measure(queries: Sequence[Asked], mirrors: Path, folder: Path, tokens: int = TOKENS) -> list[Shown]:
    """Make each query's map. Says on stderr how far it is.

    Args:
        folder: keeps the trees and the indexes.
    """
    (folder / "trees").mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(mode=0o700, exist_ok=True)
    limits = Limits()
    indexes = Indexes(folder / "data", limits)
    found: list[Shown] = []
    try:
        for asked, root in Checkouts(mirrors, folder / "trees").each(queries):
            index = await indexes.get(Workspace.open(root, data_dir=folder / "data", limits=limits))
            await index.refresh()
            await index.take_in_history()
            began = time.perf_counter()
            made = await repo_map(index, tokens=tokens, query=asked.query)
            ms = 1000 * (time.perf_counter() - began)
            files = list(dict.fromkeys(parse_path(row.path) for row in made.rows))
            there = [files.index(path) + 1 for path in asked.gold if path in files]
            missed = tuple(path for path in asked.gold if path not in files)
            share = len(there) / len(asked.gold)
            found.append(Shown(asked.id, asked.repo, share, len(files), made.tokens, min(there, default=0), ms, missed))
            if sys.stderr.isatty():
                print(f"\r{len(found)} of {len(queries)} maps\r", end="", file=sys.stderr, flush=True)
    finally:
        await indexes.close()
    return found


def rows(found: Sequence[Shown], tokens: int = TOKENS) -> list[Row]:
    """A row for each repository, when there are several, and the one of all with its target."""
    repos = list(dict.fromkeys(shown.repo for shown in found))
    made = [_row(repo, [s for s in found if s.repo == repo]) for repo in repos] if len(repos) > 1 else []
    share = mean(found)
    about = f"files to be edited that a query map of {tokens:,} tokens shows"
    low, high = resampled(found)
    whole = _row(about, found)
    note = f"{len(found)} queries; 95 % of resamplings {low:.3f} to {high:.3f}; floor: aider's order, measured on 150 other commits"
    return [
        *made,
        Row(about, whole.measured, f"{PEER:.2f}", f"{share / PEER:.1f}", f"≥ {TARGET:.2f}", share >= TARGET, note),
    ]


def _row(what: str, found: Sequence[Shown]) -> Row:
    times = [s.ms for s in found]
    return Row(
        what,
        f"{mean(found):.3f}",
        note=f"{len(found)} queries, {sum(s.share == 1 for s in found)} with all files; {sum(s.files for s in found) / len(found):.1f} "
        f"files a map; {percentile(times, 0.5):.0f} ms a map (p95 {percentile(times, 0.95):.0f})",
    )


def mean(found: Sequence[Shown]) -> float:
    return sum(shown.share for shown in found) / len(found)


def resampled(found: Sequence[Shown], seed: int = 1) -> tuple[float, float]:
    """Between what values the middle 95 % of the means of resampled queries lie."""
    rng = random.Random(seed)
    means = sorted(mean(rng.choices(found, k=len(found))) for _ in range(2000))
    return means[50], means[-51]


@contextlib.contextmanager
def place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="reconvene-share-", ignore_cleanup_errors=True) as made:
        yield Path(made)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.index_share", description=__doc__)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--mirrors", type=Path, required=True)
    parser.add_argument(
        "--repo", action="append", default=[], help="only this one: owner/name or name; may be repeated"
    )
    parser.add_argument("--every", type=int, default=1, help="each so many-th query of a repository")
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--keep", type=Path, help="a folder outside of any code base, kept for the next time")
    parser.add_argument("--misses", action="store_true", help="name the files that were not shown")
    parser.add_argument("--out", type=Path, help="each query's figures, JSON lines")
    args = parser.parse_args()
    queries = read(args.queries, args.repo, args.every)
    if not queries:
        sys.exit("There are no such queries.")
    began = time.process_time()
    with place(args.keep) as folder:
        found = asyncio.run(measure(queries, args.mirrors.resolve(), folder, args.tokens))
    if args.out:
        args.out.write_text("".join(json.dumps(asdict(shown)) + "\n" for shown in found))
    if args.misses:
        for shown in found:
            if shown.missed:
                print(f"{shown.id}: {', '.join(shown.missed)} not among {shown.files}")
    print(render(rows(found, args.tokens)))
    print(f"{time.process_time() - began:.0f} CPU-s in this process.")


if __name__ == "__main__":
    main()
