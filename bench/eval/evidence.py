"""The first figure, without a model: is what a question needs within the first 4,000 tokens that an arm's tools show?"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from bench.eval.arms import ARMS, TOKENS, evidence, look
from bench.eval.questions import Question
from reconvene.agents.durable import AgentDeps
from reconvene.config import Limits
from reconvene.index import RootIndex
from reconvene.search.context import SearchContext
from reconvene.workspace import Workspace

RESAMPLES = 4000


@dataclass(frozen=True, slots=True)
class Seen:
    """`share`: of the question's places that were shown."""

    question: Question
    arm: str
    share: float


class Asked:
    """A code base that questions are asked about, with its index."""

    def __init__(self, root: Path, data: Path) -> None:
        self.limits = Limits()
        self.workspace = Workspace.open(root, data_dir=data, limits=self.limits)
        self._data = data

    async def __aenter__(self) -> Asked:
        self.index = await RootIndex.open(self.workspace, self._data, self.limits)
        await self.index.refresh()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.index.close()

    def deps(self) -> AgentDeps:
        """Of a new session: it knows nothing yet, and nobody can be asked or written for."""
        nobody: object = None
        return AgentDeps(
            durable=nobody,  # type: ignore[arg-type]
            workspace=self.workspace,
            index=self.index,
            context=SearchContext.fold([]),
            limits=self.limits,
        )


async def look_at_all(questions: Sequence[Question], root: Path, data: Path, tokens: int = TOKENS) -> list[Seen]:
    """Each question about one code base, with each arm."""
    seen: list[Seen] = []
    async with Asked(root, data) as asked:
        for question in questions:
            for arm in ARMS:
                texts = await look(arm, question, asked.deps(), tokens)
                seen.append(Seen(question, arm, evidence(question, texts)))
    return seen


def interval(values: Sequence[float], seed: int = 1) -> tuple[float, float]:
    """The middle 95 % of means of resamples."""
    rng = random.Random(seed)
    means = sorted(mean(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[int(RESAMPLES * 0.025)], means[int(RESAMPLES * 0.975)]


def share(values: Sequence[float]) -> str:
    """In per cent with its interval.

    >>> share([1.0, 1.0])
    '100 % (100–100)'
    """
    if not values:
        return "–"
    low, high = interval(values)
    return f"{100 * mean(values):.0f} % ({100 * low:.0f}–{100 * high:.0f})"


def evidence_table(seen: Sequence[Seen]) -> str:
    """Markdown: a row for each kind and code base, a column for each arm; a question counts when all of its places were shown."""
    groups: list[tuple[str, Callable[[Question], bool]]] = [("**all**", lambda q: True)]
    for split in ("dev", "test"):
        groups.append((f"split: {split}", lambda q, split=split: q.split == split))  # type: ignore[misc]
    for kind in dict.fromkeys(s.question.kind for s in seen):
        groups.append((kind, lambda q, kind=kind: q.kind == kind))  # type: ignore[misc]
    for base in dict.fromkeys(s.question.code_base for s in seen):
        groups.append((base, lambda q, base=base: q.code_base == base))  # type: ignore[misc]
    rows = [f"| | n | {' | '.join(ARMS)} |", f"|---|---:|{'---:|' * len(ARMS)}"]
    for name, chosen in groups:
        some = [s for s in seen if chosen(s.question)]
        cells = [share([float(s.share == 1) for s in some if s.arm == arm]) for arm in ARMS]
        rows.append(f"| {name} | {len(some) // len(ARMS)} | {' | '.join(cells)} |")
    return "\n".join(rows)
