"""`python -m bench.index [FOLDER …]`: what the index costs, beside aider's map and ripgrep in the same run; one table.

Each folder is a code base; it is copied, and nothing is written into it. Without any, one of 3,000 files is made. `--aider` names the
Python of an environment that aider is installed in (`python -m venv D && D/bin/pip install aider-chat==0.86.2`: not in this tree);
ripgrep is taken from the path as `rg`. Where one is missing, its column says so. With `--queries` and `--mirrors`, what a query map
shows of the files to be edited is in the table too.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench import index_share, machine
from bench.index_commits import read
from bench.index_cost import PEER_SECONDS, measure, rows, say
from bench.index_trees import copied, made
from bench.table import Row, render

QUIET = 0.2
"""Cores that others may use on average for figures of the clock to be judged."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.index", description=__doc__)
    parser.add_argument("trees", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--aider", help="the Python of aider's environment")
    parser.add_argument("--aider-seconds", type=float, default=PEER_SECONDS, help="after which it is given up, a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the questions and edits, and of the code base that is made"
    )
    parser.add_argument("--files", type=int, default=3000, help="of the code base that is made")
    parser.add_argument("--queries", type=Path, help="real commits, JSON lines")
    parser.add_argument("--mirrors", type=Path, help="their repositories")
    parser.add_argument("--every", type=int, default=1, help="each so many-th query of a repository")
    parser.add_argument("--keep", type=Path, help="a folder for the checkouts of the queries, kept for the next time")
    args = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("The bench reads Linux's /proc; it does not run here.")
    for folder in args.trees:
        if not folder.is_dir():
            sys.exit(f"{folder} is not a folder.")
    program = shutil.which("rg")
    started, others = time.perf_counter(), machine.Others()
    with tempfile.TemporaryDirectory(prefix="reconvene-bench-", ignore_cleanup_errors=True) as place:
        folder = Path(place).resolve()
        about = machine.description(folder)
        found = []
        sources = list(args.trees)
        if not sources:
            say(f"a code base of {args.files:,} files is made")
            sources = [folder / "made"]
            made(sources[0], args.files, args.seed)
        for number, source in enumerate(sources):
            name = source.resolve().name
            say(f"{name} is copied")
            tree = copied(name, source.resolve(), folder / f"tree{number}")
            tenth = copied(name, source.resolve(), folder / f"tenth{number}", every=10)
            if not tree.paths:
                sys.exit(f"{source} has no code.")
            costs = measure(
                tree,
                tenth,
                folder,
                rounds=args.rounds,
                seed=args.seed,
                python=args.aider,
                program=program,
                peer_seconds=args.aider_seconds,
            )
            found.append((tree, tenth, costs))
            for done in (tree, tenth):
                shutil.rmtree(done.root)
        cores = others.cores()
        judged = "wall" if cores <= QUIET else "cpu"
        table = [row for tree, tenth, costs in found for row in rows(tree, tenth, costs, judged)]
        if args.queries and args.mirrors:
            table += shares(args.queries, args.mirrors.resolve(), args.every, args.keep)
    print(f"Bench of the index, {time.strftime('%Y-%m-%d %H:%M %Z')}, seed {args.seed}")
    print("\n".join(about))
    print(peers(program, [costs["peer"].said.get("version") for _, _, costs in found]))
    print(
        f"{args.rounds} rounds, all sides in turn; medians of rounds. Other programs used {cores:.1f} cores meanwhile: ms are judged by "
        f"{'the clock' if judged == 'wall' else 'CPU time of all threads and workers, the clock is in the notes'}.\n"
    )
    print(render(table, "peer"))
    print(f"\n{time.perf_counter() - started:.0f} s.")


def shares(queries: Path, mirrors: Path, every: int, keep: Path | None) -> list[Row]:
    say("maps of real commits")
    with index_share.place(keep) as folder:
        return index_share.rows(asyncio.run(index_share.measure(read(queries, every=every), mirrors, folder)))


def peers(program: str | None, versions: list[str | None]) -> str:
    aider = f"aider {versions[0]}" if any(versions) else "aider: not measured (--aider names its Python)"
    return f"{aider}; {'ripgrep from the path' if program else 'ripgrep: not measured (no rg on the path)'}"


if __name__ == "__main__":
    main()
