"""`make eval`, or `python -m bench.eval`: the evidence share of each arm, then how a model answers with each.

    --questions N     so many of the 120 for the model, a sample of all kinds and code bases (default 12); 0: evidence alone
    --split test      of which part of them (default: all for the evidence, test for the model)
    --model NAME      any `provider:model` of pydantic-ai; default: the small coder of this machine
    --minutes M       no further question is begun after that (default 60)
    --write           put the tables into docs/explanation/evals.md

What was answered is kept in build/eval, by model: the same command goes on where it was ended.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.eval.answers import Kept, answer_all, answers_table
from bench.eval.code_bases import CODE_BASES, Unavailable, unpacked
from bench.eval.evidence import Seen, evidence_table, look_at_all
from bench.eval.local_model import LocalModel, why_not
from bench.eval.questions import Question, digest, questions
from bench.eval.weights import CODER
from bench.eval.weights import Unavailable as NoWeights
from reconvene.agents.models import resolve
from reconvene.errors import ReconveneError

QUESTIONS_SHA256 = "7b0c8253f38aa0b3b4077da9520ee6fed7fad6622c38d73206b0f098a506dd53"
HERE = Path(__file__).parents[2]
PAGE = HERE / "docs" / "explanation" / "evals.md"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.eval", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "eval")
    parser.add_argument("--questions", type=int, default=12, metavar="N")
    parser.add_argument("--split", choices=["dev", "test"])
    parser.add_argument("--model", default="")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--nice", type=int, default=19, help="of the local model")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    try:
        for base in CODE_BASES:
            unpacked(base, args.folder / "code")
    except Unavailable as e:
        sys.exit(str(e))
    every = [q for base in CODE_BASES for q in questions(base.name, args.folder / "code" / base.name)]
    if digest(every) != QUESTIONS_SHA256:
        sys.exit(
            f"These are not the questions that the figures are of (SHA-256 {digest(every)}). Did the generator change?"
        )
    chosen = [q for q in every if args.split in (None, q.split)]
    print(f"{len(chosen)} questions about {len(CODE_BASES)} code bases, SHA-256 {QUESTIONS_SHA256[:12]}", flush=True)
    with tempfile.TemporaryDirectory(prefix="reconvene-eval-") as data:
        seen = asyncio.run(_evidence(chosen, args.folder / "code", Path(data)))
    print(f"\nEvidence within 4,000 tokens\n\n{evidence_table(seen)}\n", flush=True)
    kept = None
    if args.questions:
        some = [q for q in every if q.split == (args.split or "test")]
        kept = _answers(some, args)
        if kept is not None:
            print(f"\nAnswers\n\n{answers_table(kept.all)}")
    if args.write:
        _write(evidence_table(seen), answers_table(kept.all) if kept and kept.all else None, args.model or CODER.about)


async def _evidence(chosen: list[Question], folder: Path, data: Path) -> list[Seen]:
    seen: list[Seen] = []
    for base in CODE_BASES:
        some = [q for q in chosen if q.code_base == base.name]
        (data / base.name).mkdir()
        seen += await look_at_all(some, folder / base.name, data / base.name)
    return seen


def _answers(some: list[Question], args: argparse.Namespace) -> Kept | None:
    from bench.eval.answers import in_turn

    wanted = in_turn(some)[: args.questions]
    name = args.model or CODER.name
    plain = re.sub(r"[^\w.-]", "_", name)
    kept = Kept(args.folder / f"answers-{plain}.jsonl")
    with tempfile.TemporaryDirectory(prefix="reconvene-eval-") as data:
        try:
            if args.model:
                model = resolve(args.model)
                asyncio.run(
                    answer_all(wanted, model, name, kept, args.folder / "code", Path(data), seconds=args.minutes * 60)
                )
                return kept
            if missing := why_not(CODER, download=True):
                print(f"No answers: {missing}")
                return None
            with LocalModel(CODER, nice=args.nice, log=args.folder / "model.log") as local:
                os.environ.update(local.environ)
                model = resolve(local.name)
                asyncio.run(
                    answer_all(wanted, model, name, kept, args.folder / "code", Path(data), seconds=args.minutes * 60)
                )
        except (NoWeights, ReconveneError) as e:
            print(f"No answers: {e}")
            return None
    return kept


def _write(evidence: str, answers: str | None, model: str) -> None:
    """The tables between their marks, with when and of what they are."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True
    ).stdout.strip()
    when = time.strftime("%Y-%m-%d")
    text = PAGE.read_text()
    text = _between(text, "evidence", f"{when}, commit {commit}.\n\n{evidence}")
    if answers is not None:
        text = _between(text, "answers", f"{when}, commit {commit}, {model}.\n\n{answers}")
    PAGE.write_text(text)


def _between(text: str, mark: str, new: str) -> str:
    return re.sub(
        rf"(<!-- eval: {mark} -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}\n{new}\n\n{m[2]}", text, flags=re.S
    )


if __name__ == "__main__":
    main()
