"""The second figure: does a model answer better with more to look with? The same model, questions and instructions; other tools."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from pydantic_ai import Agent, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import UsageLimits

from bench.eval.arms import ARMS, tools_of
from bench.eval.evidence import Asked, interval, share
from bench.eval.questions import Question
from reconvene.agents.bounds import Bounds
from reconvene.agents.briefing import RETRIES, known
from reconvene.agents.durable import AgentDeps, ToolOutcome
from reconvene.agents.models import classify
from reconvene.agents.streaming import Streaming
from reconvene.agents.toolsets import as_tools
from reconvene.errors import ReconveneError
from reconvene.search.context import Entry

ROLE = """\
You answer questions about one code base. Look before you answer: use the tools, then answer as soon as a result shows it.
Answer in one or two short sentences. Name places as `path:line`, as the tools printed them, and functions by their names."""
REQUESTS = 8
ANSWER_TOKENS = 300
PATIENCE = 900.0
"""Seconds; a question that takes longer counts as not answered."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One question with one arm. `right`: 0 to 1. `error`: the code, when there was no answer."""

    question: str
    arm: str
    model: str
    right: float
    answer: str
    steps: int
    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    seconds: float
    error: str | None = None


class Plainly(AbstractCapability[AgentDeps]):
    """Gives a model an outcome's value, as a run does, and lets the session remember what it searched for."""

    async def wrap_tool_execute(
        self, ctx: RunContext[AgentDeps], *, call: ToolCallPart, tool_def: Any, args: Any, handler: Any
    ) -> Any:
        outcome = await handler(args)
        if not isinstance(outcome, ToolOutcome):
            return outcome
        for kind, content in outcome.private:
            if kind == "searched":
                ctx.deps.context.add(Entry.from_json(content))
        return outcome.value


def agent_of(arm: str, model: Model) -> Agent[AgentDeps, str]:
    """With the tools of one arm; that of all is told what the session knows, too."""
    return Agent(
        Streaming(model),
        deps_type=AgentDeps,
        instructions=[ROLE, *([known] if arm == "all" else [])],
        tools=as_tools(*tools_of(arm)),
        capabilities=[Plainly(), Bounds()],
        model_settings=ModelSettings(temperature=0.0, max_tokens=ANSWER_TOKENS, timeout=PATIENCE),
        retries=RETRIES,
    )


def right(question: Question, answer: str) -> float:
    """Of where something is: 1 for the right line of the right file, ½ for the file alone, by the first place that is named.

    Of who calls a function: the share of callers that are named, nothing if more than as many others are.
    """
    if question.names:
        named = set(re.findall(r"[A-Za-z_]\w*", answer))
        hit = len(named & set(question.names))
        others = set(re.findall(r"`([A-Za-z_][\w.]*)(?:\(\))?`", answer)) - {*question.about, *question.names}
        others = {o for o in others if o.rpartition(".")[2] not in question.names}
        return 0.0 if len(others) > max(3, len(question.names)) else hit / len(question.names)
    (path, line) = question.places[0]
    first = re.search(r"([\w@.-]+(?:/[\w@.-]+)*\.\w+)(?::(\d+)(?:-(\d+))?)?", answer)
    if first is None or not (path == first[1] or path.endswith(f"/{first[1].removeprefix('./')}")):
        return 0.0
    lines = [int(n) for n in re.findall(r"\d+", answer[first.start(2) if first[2] else first.end() :])[:2]]
    begin, end = (lines[0], lines[-1]) if first[3] else (lines[0], lines[0]) if lines else (0, 0)
    return 1.0 if begin <= line <= end or abs(begin - line) <= 1 else 0.5


async def ask(question: Question, arm: str, model: Model, name: str, deps: AgentDeps) -> Answered:
    """One question in a session of its own."""
    began = time.monotonic()
    answer, error = "", None
    messages: list[Any] = []
    try:
        async with asyncio.timeout(PATIENCE):
            agent = agent_of(arm, model)
            async with agent.iter(question.text, deps=deps, usage_limits=UsageLimits(request_limit=REQUESTS)) as run:
                try:
                    async for _node in run:
                        pass
                finally:
                    messages = list(run.all_messages())
            answer = run.result.output if run.result is not None else ""
    except TimeoutError:
        error = "timeout"
    except (AgentRunError, ReconveneError) as e:
        error = classify(e).code
    responses = [m for m in messages if isinstance(m, ModelResponse)]
    return Answered(
        question.id,
        arm,
        name,
        right(question, answer) if answer else 0.0,
        answer[:2000],
        len(responses),
        sum(len(r.tool_calls) for r in responses),
        sum(r.usage.input_tokens for r in responses),
        sum(r.usage.cache_read_tokens for r in responses),
        sum(r.usage.output_tokens for r in responses),
        round(time.monotonic() - began, 1),
        error,
    )


class Kept:
    """What was answered, a JSON line each, so that a run that was ended goes on where it was."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.all: list[Answered] = []
        if path.exists():
            self.all = [Answered(**json.loads(line)) for line in path.read_text().splitlines() if line.endswith("}")]

    def has(self, question: Question, arm: str) -> bool:
        return any((a.question, a.arm) == (question.id, arm) for a in self.all)

    def add(self, answered: Answered) -> None:
        self.all.append(answered)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(answered), ensure_ascii=False) + "\n")


def in_turn(questions: Sequence[Question]) -> list[Question]:
    """One of every code base and kind in turn, so that any beginning of it is a sample of all."""
    groups: dict[tuple[str, str], list[Question]] = {}
    for question in questions:
        groups.setdefault((question.kind, question.code_base), []).append(question)
    kinds = list(dict.fromkeys(kind for kind, _ in groups))
    bases = list(dict.fromkeys(base for _, base in groups))
    rounds = max((len(g) for g in groups.values()), default=0)
    order = [(kinds[(n + shift) % len(kinds)], base) for shift in range(len(kinds)) for n, base in enumerate(bases)]
    return [groups[at][n] for n in range(rounds) for at in order if at in groups and n < len(groups[at])]


@asynccontextmanager
async def _asked(folder: Path, data: Path) -> AsyncIterator[dict[str, Asked]]:
    opened: dict[str, Asked] = {}
    try:
        yield opened
    finally:
        for asked in opened.values():
            await asked.__aexit__()


async def answer_all(
    questions: Sequence[Question], model: Model, name: str, kept: Kept, folder: Path, data: Path, *, seconds: float
) -> None:
    """Each question with every arm, until the time is over. Results come as they are, in `kept`."""
    began = time.monotonic()
    async with _asked(folder, data) as opened:
        for question in in_turn(questions):
            for arm in ARMS:
                if kept.has(question, arm):
                    continue
                if time.monotonic() - began > seconds:
                    return
                if question.code_base not in opened:
                    data_of = data / question.code_base
                    data_of.mkdir(parents=True, exist_ok=True)
                    opened[question.code_base] = await Asked(folder / question.code_base, data_of).__aenter__()
                answered = await ask(question, arm, model, name, opened[question.code_base].deps())
                kept.add(answered)
                print(
                    f"  {question.id} {arm}: {answered.right:g}, {answered.steps} steps, {answered.seconds:.0f} s"
                    f"{f', {answered.error}' if answered.error else ''}",
                    flush=True,
                )


def answers_table(answers: Sequence[Answered]) -> str:
    """Markdown: a row for each arm, of the questions that every arm was asked."""
    every = {arm: {a.question for a in answers if a.arm == arm} for arm in ARMS}
    common = set.intersection(*every.values())
    rows = [
        "| arm | n | accuracy | answered | input tokens | of them cached | output tokens | steps | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for arm in ARMS:
        some = [a for a in answers if a.arm == arm and a.question in common]
        if not some:
            continue
        cells = [
            share([a.right for a in some]),
            f"{sum(a.error is None for a in some)}",
            *(_figure([getattr(a, of) for a in some]) for of in _MEASURES),
        ]
        rows.append(f"| {arm} | {len(some)} | {' | '.join(cells)} |")
    return "\n".join(rows)


_MEASURES = ("input_tokens", "cached_tokens", "output_tokens", "steps", "seconds")


def _figure(values: Sequence[float]) -> str:
    low, high = interval(values)
    return (
        f"{mean(values):,.0f} ({low:,.0f}–{high:,.0f})"
        if mean(values) >= 20
        else f"{mean(values):.1f} ({low:.1f}–{high:.1f})"
    )
