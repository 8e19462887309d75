"""`python -m bench.search_semble --queries FILE.tsv --mirrors FOLDER`: how well questions are answered that people wrote about code bases.

The questions are semble's (MinishLab/semble, its `benchmarks`), a line each: `repository, kind, files, further files, question`, between
tabs; files by the end of their paths, between commas; the kinds are `a`rchitecture, `s`emantic and s`y`mbol. Each is asked at the commit
and in the folder that semble's benchmark asks it in. The measure is NDCG@10 of the files in the order of the answer's first places, all
relevant ones worth the same: the ranks are of files, where semble's are of chunks. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.index_commits import Asked, Checkouts
from bench.search_jsonl import Answers
from bench.search_table import interval

TARGET = 0.84
_DEEP = 10
_PLACES = 20
_KINDS = {"a": "architecture", "s": "semantic", "y": "symbol"}
# Where semble's benchmark asks: the repository, its commit, the folder.
PINNED = {
    "axum": ("tokio-rs/axum", "309d1bd9530eec2217134cb262760af1df42ee3b", "axum/src"),
    "express": ("expressjs/express", "8e022edc9185f540a3fcecaf5e56b850d919cdac", "lib"),
    "gin": ("gin-gonic/gin", "d3ffc9985281dcf4d3bef604cce4e662b1a327a6", ""),
    "gson": ("google/gson", "f4d371d29c04066dbe7fdb31f642831f9c7f40cd", "gson"),
    "libuv": ("libuv/libuv", "40178b916e5937ed43c557aa051bdb3f86f6ca93", "src"),
    "phoenix": ("phoenixframework/phoenix", "c88da921ef8009e0aca8643d5334585cd35d5573", "lib"),
    "pydantic": ("pydantic/pydantic", "82c15f0ba8a9f8d8d6ba595df73ad20e2ee2eccf", "pydantic"),
    "rack": ("rack/rack", "ca8a404704ed043797c4f9d482c97d722c0dc719", "lib/rack"),
    "serde": ("serde-rs/serde", "fa7da4a93567ed347ad0735c28e439fca688ef26", ""),
    "tokio": ("tokio-rs/tokio", "5db10f538b683fe88d699dfd11be31d193db011c", "tokio/src"),
    "zod": ("colinhacks/zod", "c7805073fef5b6b8857307c3d4b3597a70613bc2", "packages/zod/src"),
}


@dataclass(frozen=True, slots=True)
class Question:
    base: str
    kind: str
    wanted: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Scored:
    question: Question
    ndcg: float


def read(path: Path) -> list[Question]:
    """
    Raises:
        ValueError: a line is none of a question, or of a code base that is not known.
    """
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) != 5 or fields[0] not in PINNED or fields[1] not in _KINDS:
            raise ValueError(f"{path.name}, line {number}: not a question: {line[:80]}")
        wanted = tuple(name for name in f"{fields[2]},{fields[3]}".split(",") if name)
        found.append(Question(fields[0], fields[1], wanted, fields[4]))
    return found


def ndcg(files: Sequence[str], wanted: Iterable[str]) -> float:
    """Of the order of some files, each once, of which those wanted (named by the end of their paths) are relevant."""
    names = list(wanted)
    ranks = (next((rank for rank, path in enumerate(files, 1) if _is(path, name)), _DEEP + 1) for name in names)
    gain = sum(1 / math.log2(rank + 1) for rank in {rank for rank in ranks if rank <= _DEEP})
    return gain / sum(1 / math.log2(rank + 1) for rank in range(1, min(_DEEP, len(names)) + 1))


def _is(path: str, name: str) -> bool:
    return path == name or path.endswith(f"/{name}") or name.endswith(f"/{path}")


async def measure(questions: Sequence[Question], mirrors: Path, folder: Path) -> list[Scored]:
    """
    Raises:
        ValueError: a code base cannot be indexed or searched.
        subprocess.CalledProcessError: a mirror has not the commit.
    """
    checkouts = Checkouts(mirrors, folder / "trees")
    answers = Answers(folder / "data")
    by_base: defaultdict[str, list[Question]] = defaultdict(list)
    for question in questions:
        by_base[question.base].append(question)
    found = []
    try:
        for base, asked in by_base.items():
            repo, commit, below = PINNED[base]
            root = str(checkouts.of(Asked(base, repo, commit, 0, "", ())) / below)
            _refused(await answers.to({"op": "index", "root": root}))
            for question in asked:
                answer = await answers.to({"op": "search", "root": root, "query": question.text, "k": _PLACES})
                _refused(answer)
                found.append(Scored(question, ndcg(answer["files"], question.wanted)))
    finally:
        await answers.close()
    return found


def _refused(answer: dict[str, object]) -> None:
    if "error" in answer:
        raise ValueError(str(answer["detail"]))


def table(found: Sequence[Scored]) -> list[str]:
    lines = []
    for base in dict.fromkeys(s.question.base for s in found):
        lines.append(_line(base, [s.ndcg for s in found if s.question.base == base]))
    lines.append("")
    for kind, name in _KINDS.items():
        if some := [s.ndcg for s in found if s.question.kind == kind]:
            lines.append(_line(name, some))
    values = [s.ndcg for s in found]
    low, high = interval(values)
    mean = sum(values) / len(values)
    verdict = "met" if mean >= TARGET else "MISSED"
    return [*lines, "", f"NDCG@10 {mean:.3f} [{low:.3f}, {high:.3f}]  target >= {TARGET:.2f}  {verdict}"]


def _line(name: str, values: Sequence[float]) -> str:
    return f"{name:14}{sum(values) / len(values):7.3f}{len(values):6}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="How well questions about code bases are answered.")
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--mirrors", type=Path, required=True, help="folder of bare repositories called owner+name")
    given = parser.parse_args(arguments)
    try:
        questions = read(given.queries)
    except (OSError, ValueError) as e:
        print(e, file=sys.stderr)
        return 2
    if not questions:
        print("There are no questions in the file.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="reconvene-bench-") as folder:
        print("\n".join(table(asyncio.run(measure(questions, given.mirrors.resolve(), Path(folder))))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
