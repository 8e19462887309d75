"""The model that needs no provider: it searches, reads and answers with what the code says, and says that it is not a language model.

It keeps nothing: what to do next follows from the message history alone, so a run that a crash interrupted goes on where it was, and the
same history always gives the same response, call ids included.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from reconvene.agents import compose, evidence, extract
from reconvene.agents.evidence import Place, Turn
from reconvene.agents.question import Question, last_name, understand

NAME = "offline"
DELAY_MS = 6.0
"""Between two words, so that an answer is seen to come."""
_READS = 3
_TOOLS = frozenset({"search", "read_file", "ask_user", "create_plan"})


@dataclass(frozen=True)
class Say:
    text: str


@dataclass(frozen=True)
class Do:
    """Tool calls to be made together: (name, arguments)."""

    calls: tuple[tuple[str, dict[str, Any]], ...]


def offline_model(delay_ms: float | None = None) -> FunctionModel:
    """
    Args:
        delay_ms: milliseconds between two words; None: `RECONVENE_OFFLINE_DELAY_MS`, else `DELAY_MS`.
    """
    pause = (_delay() if delay_ms is None else max(0.0, delay_ms)) / 1000

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        move = next_move(messages, {t.name for t in info.function_tools}, info.instructions or "")
        if isinstance(move, Do):
            step = sum(isinstance(m, ModelResponse) for m in messages)
            for i, (name, args) in enumerate(move.calls):
                yield {i: DeltaToolCall(name=name, json_args=json.dumps(args), tool_call_id=f"off_{step}_{i}")}
            return
        for piece in re.findall(r"\s*\S+\s*", move.text):
            yield piece
            if pause:
                await asyncio.sleep(pause)

    return FunctionModel(stream_function=stream, model_name=NAME)


def next_move(messages: Sequence[ModelMessage], tools: Collection[str] = _TOOLS, instructions: str = "") -> Say | Do:
    """What to do after this history. `instructions`: of the request; an overview quotes the map in them."""
    turns = evidence.turns(messages)
    turn, earlier = turns[-1], turns[:-1]
    question = understand(" ".join([turn.question, *turn.told]), [t.question for t in earlier])
    if question.kind == "greeting":
        return Say(f"{compose.ABILITIES}\n\n{compose.HOW_TO_SET}")
    if question.kind == "vague":
        return _ask_back(turn, tools)
    if question.kind == "overview":
        return _overview(turn, tools, instructions) or _answer(question, turn, [])
    if question.paths and not question.words:
        return _show(question, turn, tools)
    known = _known(question, earlier)
    return _look(question, turn, known, tools) or _plan(question, turn, known, tools) or _answer(question, turn, known)


def _look(question: Question, turn: Turn, known: Sequence[Place], tools: Collection[str]) -> Do | None:
    """The next searches or files; None when there is enough to answer."""
    if "search" not in tools:
        return None
    searches = turn.called("search")
    if not searches and not known:
        calls = [("search", {"query": q}) for q in question.queries()]
        calls += [_reading(*path) for path in question.paths[:_READS] if "read_file" in tools]
        return Do(tuple(calls))
    best = _best(question, turn, known)
    if not best:
        tried = {q for q, _ in turn.searches} | {
            str(args.get("query")) for name, args in turn.calls if name == "search"
        }
        new = [q for q in question.broader() if q not in tried]
        return Do(tuple(("search", {"query": q}) for q in new)) if new and searches <= len(question.queries()) else None
    if question.kind == "uses":
        wanted = f'"{_subject(question, turn, known)}"'
        if all(args.get("query") != wanted for name, args in turn.calls if name == "search"):
            return Do((("search", {"query": wanted, "limit": 20}),))
        return None
    if "read_file" in tools and turn.called("read_file") <= len(question.paths):
        return Do(tuple(_reading(p.path, p.start, max(p.end, p.start + 59)) for p in best[:_READS]))
    if question.kind in ("how", "what", "plan") and not any(q.startswith("def:") for q, _ in turn.searches):
        whole = extract.whole(best[0], turn.reads)
        if name := extract.to_follow(question, whole, best):
            return Do((("search", {"query": f"def:{name}", "limit": 3}),))
    return None


def _plan(question: Question, turn: Turn, known: Sequence[Place], tools: Collection[str]) -> Do | None:
    if question.kind != "plan" or "create_plan" not in tools or turn.called("create_plan"):
        return None
    best = _best(question, turn, known)
    steps = [
        f"Read {compose.named(p)} at {p.path}:{extract.definition_line(p)}" for p in best[:2] if not extract.is_test(p)
    ]
    steps += [f"Change {compose.named(p)} ({p.path})" for p in best[:3] if not extract.is_test(p)]
    tests = [p for p in best if extract.is_test(p)]
    steps += [f"Adapt the tests in {tests[0].path}" if tests else "Write a test that fails without the change"]
    steps += ["Run all tests and read the difference once more"]
    title = re.sub(r"\s+", " ", turn.question).strip().rstrip("?.!")
    return Do((("create_plan", {"title": title[:120] or "Plan", "steps": steps}),))


def _answer(question: Question, turn: Turn, known: Sequence[Place]) -> Say:
    best = _best(question, turn, known)
    if not best:
        return _nothing(question, turn)
    if question.kind == "uses":
        name = _subject(question, turn, known)
        places = [p for q, found in turn.searches for p in found]
        text = compose.listing(name, extract.uses(name, places), best, turn.reads)
    else:
        text = compose.answer(question, best, turn.reads, _followed(turn))
    if question.kind == "plan":
        text = f"The plan above is made of what the search found; it has not been thought through. {text}"
    return Say(f"{text}\n{compose.HOW_TO_SET}")


def _nothing(question: Question, turn: Turn) -> Say:
    tried = list(dict.fromkeys(q for q, _ in turn.searches))
    lines = []
    if turn.failures:
        lines.append(
            f"I could not look: {turn.failures[-1]}"
            if not tried
            else f"One thing could not be done: {turn.failures[-1]}"
        )
    if tried or not turn.failures:
        lines.append(
            f"Nothing in this code base matches. I searched for {', '.join(f'`{q}`' for q in tried) or 'nothing'}."
        )
    lines.append("Try the words as the code would spell them, a part of a name, or the name of a file.")
    return Say("\n\n".join([*lines, compose.HOW_TO_SET]))


def _ask_back(turn: Turn, tools: Collection[str]) -> Say | Do:
    if "ask_user" in tools and not turn.called("ask_user"):
        asked = "What in the code base is it about? Name a feature, a function, a file or an error message."
        return Do((("ask_user", {"question": asked}),))
    return Say(
        f"I need a name to look for: a feature, a function, a file or an error message.\n\n{compose.ABILITIES}\n\n{compose.HOW_TO_SET}"
    )


def _overview(turn: Turn, tools: Collection[str], instructions: str) -> Say | Do | None:
    if not turn.calls and "read_file" in tools:
        calls = [
            ("read_file", {"path": "README.md", "end": 60}),
            ("search", {"query": "main entry point start application", "limit": 5}),
        ]
        return Do(tuple(c for c in calls if c[0] in tools))
    text = compose.overview(turn, instructions)
    return Say(f"{text}\n{compose.HOW_TO_SET}") if text else None


def _show(question: Question, turn: Turn, tools: Collection[str]) -> Say | Do:
    if "read_file" in tools and not turn.called("read_file"):
        return Do(tuple(_reading(*path) for path in question.paths[:_READS]))
    if not turn.reads:
        return _nothing(question, turn)
    return Say("\n".join([*(compose.shown(place) for place in turn.reads), compose.HOW_TO_SET]))


def _reading(path: str, start: int | None = None, end: int | None = None) -> tuple[str, dict[str, Any]]:
    if start is None:
        return "read_file", {"path": path}
    return "read_file", {"path": path, "start": start if end else max(1, start - 10), "end": end or start + 30}


def _known(question: Question, earlier: Sequence[Turn]) -> list[Place]:
    """Places found in earlier turns that have every word of the question: no need to search again."""
    if not question.words or question.kind == "uses":
        return []
    found = [p for turn in reversed(earlier) for p in turn.places if extract.covers(question, p) > 0.99 and p.symbol]
    return extract.distinct(found)


def _best(question: Question, turn: Turn, known: Sequence[Place]) -> list[Place]:
    return extract.rank(question, turn) or list(known)


def _followed(turn: Turn) -> Place | None:
    """The definition that was looked up, once it was."""
    return next((found[0] for query, found in turn.searches if query.startswith("def:") and found), None)


def _subject(question: Question, turn: Turn, known: Sequence[Place]) -> str:
    """The name whose uses are asked for: one in the question, else that of the best place."""
    if question.names:
        return last_name(question.names[0])
    best = _best(question, turn, known)
    return last_name(best[0].symbol) if best and best[0].symbol else question.subject[0]


def _delay() -> float:
    try:
        return max(0.0, float(os.environ.get("RECONVENE_OFFLINE_DELAY_MS", DELAY_MS)))
    except ValueError:
        return DELAY_MS
