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
from pydantic_ai.profiles import ModelProfile

from reconvene.agents import compose, evidence, extract, passage
from reconvene.agents.evidence import Place, Turn
from reconvene.agents.question import Question, last_name, understand

NAME = "offline"
DELAY_MS = 6.0
"""Between two words, so that an answer is seen to come."""
PROFILE = ModelProfile(supports_inline_system_prompts=True)
"""pydantic-ai's own notes (that a file has text like its markup) come as system prompts; else they would look like a person's."""
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
        names = {t.name for t in info.function_tools}
        # In a thread, as a provider thinks elsewhere: weighing what was read takes tens of milliseconds.
        move = await asyncio.to_thread(next_move, messages, names, info.instructions or "")
        if isinstance(move, Do):
            step = sum(isinstance(m, ModelResponse) for m in messages)
            for i, (name, args) in enumerate(move.calls):
                yield {i: DeltaToolCall(name=name, json_args=json.dumps(args), tool_call_id=f"off_{step}_{i}")}
            return
        for piece in re.findall(r"\s*\S+\s*", move.text):
            yield piece
            if pause:
                await asyncio.sleep(pause)

    return FunctionModel(stream_function=stream, model_name=NAME, profile=PROFILE)


def next_move(messages: Sequence[ModelMessage], tools: Collection[str] = _TOOLS, instructions: str = "") -> Say | Do:
    """What to do after this history. `instructions`: of the request; an overview quotes the map in them."""
    move = _next_move(messages, tools, instructions)
    if isinstance(move, Say) and compose.CHANGING.match(evidence.turns(messages)[-1].asked):
        return Say(f"{compose.READS_ONLY}\n\n{move.text}")
    return move


def _next_move(messages: Sequence[ModelMessage], tools: Collection[str], instructions: str) -> Say | Do:
    turns = evidence.turns(messages)
    turn, earlier = turns[-1], turns[:-1]
    question = understand(turn.asked, [t.asked for t in earlier])
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
        tried = _queries(turn)
        new = [q for q in question.broader() if q not in tried]
        return Do(tuple(("search", {"query": q}) for q in new)) if new and searches <= len(question.queries()) else None
    if question.kind == "uses":
        wanted = f'"{_subject(question, turn, known)}"'
        if wanted not in _queries(turn):
            return Do((("search", {"query": wanted, "limit": 20}),))
        return None
    if "read_file" in tools and turn.called("read_file") <= min(
        len(question.paths), _READS
    ):  # those that it names come first
        return Do(tuple(_reading(p.path, p.start, max(p.end, p.start + 59)) for p in best[:_READS]))
    name = _to_follow(question, turn, best)
    if name and not _followed(question, turn, best) and f"def:{name}" not in _queries(turn):
        return Do((("search", {"query": f"def:{name}", "limit": 3}),))
    return None


def _plan(question: Question, turn: Turn, known: Sequence[Place], tools: Collection[str]) -> Do | None:
    if question.kind != "plan" or "create_plan" not in tools or turn.called("create_plan"):
        return None
    best = _best(question, turn, known)
    sources = [p for p in best if not extract.is_test(p)][:3]
    tests = [p.path for p in best if extract.is_test(p)]
    steps = [f"Read {compose.named(p)}" for p in sources]
    test = "Write a test that fails without the change"
    steps.append(f"{test}, beside {tests[0]}" if tests else test)
    steps += [f"Change {compose.named(p)}" for p in sources[:1]]
    steps.append("Run all tests, and read the difference once more")
    return Do((("create_plan", {"title": _title(turn.asked), "steps": steps}),))


def _title(text: str) -> str:
    """What a plan is for: the prompt without its asking for a plan."""
    text = re.sub(r"\s+", " ", text).strip().rstrip("?.! ")
    text = re.sub(r"(?i)^.{0,30}?\bplan\b\s*(?:to|for|of|how to)?\s*", "", text) or text or "Plan"
    return (text[0].upper() + text[1:])[:120]


def _answer(question: Question, turn: Turn, known: Sequence[Place]) -> Say:
    best = _best(question, turn, known)
    if not best:
        return _nothing(question, turn)
    if question.kind == "uses":
        name = _subject(question, turn, known)
        places = [p for q, found in turn.searches for p in found]
        text = compose.listing(name, places, best, turn.reads)
    else:
        text = compose.answer(question, best, turn.reads, _followed(question, turn, best))
    if question.kind == "plan":
        text = f"{compose.plan(turn)}{text}"
    return Say(f"{text}\n{compose.HOW_TO_SET}")


def _nothing(question: Question, turn: Turn) -> Say:
    tried = _queries(turn) if turn.searches else []
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


def _to_follow(question: Question, turn: Turn, best: Sequence[Place]) -> str | None:
    """What the best place calls that is worth a look."""
    if question.kind not in ("how", "what") or not best:
        return None
    return extract.to_follow(question, passage.whole(best[0], turn.reads))


def _followed(question: Question, turn: Turn, best: Sequence[Place]) -> Place | None:
    """Its definition, if it was found, in the language of the place that calls it."""
    if not (name := _to_follow(question, turn, best)):
        return None
    found = [p for query, hits in turn.searches if query == f"def:{name}" for p in hits] + list(best)
    return next(
        (p for p in found if extract.defines(p, (name,)) and extract.language(p) == extract.language(best[0])), None
    )


def _subject(question: Question, turn: Turn, known: Sequence[Place]) -> str:
    """The name whose uses are asked for: one in the question, else that of the best place."""
    if question.names:
        return last_name(question.names[0])
    best = _best(question, turn, known)
    return last_name(best[0].symbol) if best and best[0].symbol else question.subject[0]


def _queries(turn: Turn) -> list[str]:
    """What was searched for in this turn, also in vain."""
    return list(dict.fromkeys(str(c.args.get("query")) for c in turn.calls if c.tool == "search"))


def _delay() -> float:
    try:
        return max(0.0, float(os.environ.get("RECONVENE_OFFLINE_DELAY_MS", DELAY_MS)))
    except ValueError:
        return DELAY_MS
