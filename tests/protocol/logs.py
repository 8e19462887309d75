"""Logs for the tests of this room: rows as a run writes them, and rows in any order at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import strategies as st

from reconvene.protocol.events import CONTENTS, wire


@dataclass(frozen=True)
class FakeRow:
    """Has what `events.EventRow` asks for."""

    type: str
    seq: int
    content: str
    run_id: str | None = None
    item_id: str | None = None
    parent_id: str | None = None
    at: float = 0.0
    public: bool = True

    def event(self) -> dict[str, Any]:
        text = wire(self.type, self.seq, self.run_id, self.item_id, self.parent_id, self.at, self.content)
        return json.loads(text)  # type: ignore[no-any-return]


class LogWriter:
    """Rows with seq 1, 2, 3 …; contents go through their models, so that only what can be written is."""

    def __init__(self) -> None:
        self.rows: list[FakeRow] = []

    def add(
        self, type: str, run: str | None = "r1", item: str | None = None, *, parent: str | None = None, **content: Any
    ) -> FakeRow:
        seq = len(self.rows) + 1
        text = CONTENTS[type](**content).json_text()
        row = FakeRow(type, seq, text, run, item, parent, 1_700_000_000 + seq / 8)
        self.rows.append(row)
        return row

    def private(self, content: str = '{"messages":[]}') -> None:
        seq = len(self.rows) + 1
        self.rows.append(FakeRow("model", seq, content, "r1", public=False))


RUNS = st.sampled_from(["r1", "r2"])
ITEMS = st.sampled_from(["i1", "i2", "i3"])
ATTEMPTS = st.integers(0, 3)
TEXTS = st.text(max_size=4)
IDS = st.sampled_from(["a", "b", "c"])


@st.composite
def any_rows(draw: st.DrawFn, max_size: int = 40) -> list[FakeRow]:
    """Rows of every type in any order: also orders that no run writes, for a fold must not depend on good manners."""
    log = LogWriter()
    for _ in range(draw(st.integers(0, max_size))):
        kind = draw(st.sampled_from(_KINDS))
        run, item = draw(RUNS), draw(ITEMS)
        match kind:
            case "text" | "reasoning":
                log.add(kind, run, item, attempt=draw(ATTEMPTS), text=draw(TEXTS))
            case "message":
                log.add(kind, run, item, text=draw(TEXTS), interrupted=draw(st.booleans()))
            case "item_aborted":
                log.add(kind, run, item, attempt=draw(ATTEMPTS))
            case "run":
                log.add(
                    kind, run, status=draw(st.sampled_from(["queued", "running", "waiting"])), attempt=draw(ATTEMPTS)
                )
            case "plan":
                log.add(kind, run, steps=[{"title": draw(TEXTS)}])
            case "usage":
                log.add(kind, run, input_tokens=draw(st.integers(0, 9)))
            case "prompt":
                log.add(kind, run, id=draw(IDS), text=draw(TEXTS))
            case "tool_call":
                log.add(kind, run, item, id=draw(IDS), name="search", args={"query": draw(TEXTS)})
            case "tool_result":
                log.add(kind, run, item, id=draw(IDS), summary=draw(TEXTS))
            case "question" | "confirmation":
                log.add(kind, run, item, id=draw(IDS), text=draw(TEXTS))
            case "answered":
                log.add(kind, run, id=draw(IDS), answer=draw(TEXTS))
            case "diff":
                log.add(kind, run, item, id=draw(IDS), files=[])
            case "decided":
                log.add(kind, run, id=draw(IDS), verdict="accept")
            case "applied":
                log.add(kind, run, diff_id=draw(IDS), files=[])
            case "action":
                name = draw(st.sampled_from(["rename", "edit_prompt", "remove_prompt", "pin"]))
                log.add(kind, None, name=name, args={"id": draw(IDS), "text": draw(TEXTS), "title": draw(TEXTS)})
            case "repo_map":
                log.add(kind, run, files=1, symbols=2, tokens=3, fingerprint="f", built_ms=4, reused=True)
            case "error":
                log.add(kind, run, code="internal", message=draw(TEXTS))
            case "completed":
                log.add(kind, run, outcome="success", text=draw(TEXTS))
            case "model":
                log.private()
    return log.rows


_DELTAS = ["text", "text", "text", "reasoning", "message", "item_aborted"]
_KINDS = sorted(CONTENTS) + _DELTAS * 3 + ["model"]


def written_log(rng: Random, runs: int = 2, most_steps: int = 4) -> list[FakeRow]:
    """A log as runs write it: steps with streamed texts (a sub-agent's among them), tools, crashes, questions, diffs."""
    log = LogWriter()
    for n in range(1, runs + 1):
        _written_run(rng, log, f"r{n}", rng.randint(1, most_steps))
    return log.rows


def _written_run(rng: Random, log: LogWriter, run: str, steps: int) -> None:
    attempt = 1
    log.add("prompt", run, id=f"p-{run}", text=f"What does {rng.choice(_WORDS)} do?", by="page")
    log.add("run", run, status="queued", prompts=[f"p-{run}"], position=0)
    log.add("run", run, status="running", attempt=attempt)
    log.add(
        "repo_map", run, files=120, symbols=3400, tokens=1000, fingerprint="f0", built_ms=41, reused=rng.random() < 0.5
    )
    for step in range(steps):
        item, sub = f"{run}.i{step}", f"{run}.s{step}"
        nested = rng.random() < 0.4
        for _ in range(rng.randint(1, 6)):
            log.add("text", run, item, attempt=attempt, text=rng.choice(_WORDS) + " ")
            if nested and rng.random() < 0.6:
                log.add("reasoning", run, sub, parent=item, attempt=attempt, text=rng.choice(_WORDS) + "… ")
            if rng.random() < 0.2:
                log.private()
        if rng.random() < 0.3:  # a crash in the middle of the stream
            attempt += 1
            log.add("run", run, status="recovering", attempt=attempt, reason="restart")
            if rng.random() < 0.5:  # else the new attempt's number alone strikes the old one
                log.add("item_aborted", run, item, attempt=attempt - 1)
            log.add("item_aborted", run, sub, parent=item, attempt=attempt - 1)
            log.add("run", run, status="running", attempt=attempt)
            log.add("text", run, item, attempt=attempt, text="Anew: ")
        if nested:
            log.add("message", run, sub, parent=item, text="A sub-agent thought so.", kind="reasoning")
        log.add("message", run, item, text=f"Step {step} of {run} is finished.")
        call = f"call_{step}"
        log.add("tool_call", run, item, id=call, name="search", args={"query": rng.choice(_WORDS)})
        log.add(
            "tool_result", run, item, id=call, summary="7 snippets", cache=rng.choice(["cached", "fresh", None]), ms=12
        )
        log.add("usage", run, input_tokens=100 * (step + 1), output_tokens=20, requests=step + 1)
        if rng.random() < 0.4:
            log.add("plan", run, title="Plan", steps=[{"title": w, "status": "pending"} for w in rng.sample(_WORDS, 2)])
        if rng.random() < 0.3:
            _ask(rng, log, run, step)
        if rng.random() < 0.2:
            _propose(rng, log, run, step)
    if rng.random() < 0.2:
        log.add("error", run, code="provider_unavailable", message="The provider does not answer.", retryable=True)
        log.add("completed", run, outcome="failed", reason="provider_unavailable")
    elif rng.random() < 0.8:
        log.add("text", run, f"{run}.end", attempt=attempt, text="The answer is ")
        log.add("message", run, f"{run}.end", text="The answer is in src/sessions/sweeper.py:41.")
        log.add("completed", run, outcome="success", text="The answer is in src/sessions/sweeper.py:41.")
    else:
        log.add("text", run, f"{run}.end", attempt=attempt, text="The answer ")
        log.add("reasoning", run, f"{run}.think", attempt=attempt, text="Perhaps ")
        log.add("text", run, f"{run}.end", attempt=attempt, text="is ")


def _ask(rng: Random, log: LogWriter, run: str, step: int) -> None:
    question = f"{run}.q{step}"
    log.add(rng.choice(["question", "confirmation"]), run, question, id=question, text="Which module do you mean?")
    log.add("run", run, status="waiting", attempt=1, reason="question")
    if rng.random() < 0.7:
        log.add("answered", run, question, id=question, answer="the sweeper", by="page")
        log.add("run", run, status="running", attempt=1)


def _propose(rng: Random, log: LogWriter, run: str, step: int) -> None:
    diff = f"{run}.d{step}"
    hunk = {"id": "h1", "unified": "@@ -1 +1 @@\n-a = 1\n+a = 2\n"}
    files = [{"path": "src/a.py", "op": "edit", "base_hash": "0a", "new_hash": "0b", "hunks": [hunk]}]
    log.add("diff", run, diff, id=diff, files=files)
    if rng.random() < 0.6:
        log.add("decided", run, diff, id=diff, verdict="accept", by="page")
        written = {"path": "src/a.py", "base_hash": "0a", "new_hash": "0b"}
        clash = {"path": "src/b.py", "on_disk": None, "note": "Somebody deleted it."}
        log.add("applied", run, diff, diff_id=diff, files=[written], conflicts=[clash] if step % 2 else [])
        if rng.random() < 0.5:
            back = {**written, "base_hash": "0b", "new_hash": "0a"}
            log.add("applied", run, diff_id=diff, files=[back], conflicts=[clash] if step % 3 == 1 else [], undo=True)
            log.add("plan", None, steps=[{"title": "edited", "status": "pending"}])


_WORDS = ["the sweeper", "a cursor", "the log", "“naïve”", "retention", "\N{GRINNING FACE}", "un\nline", "fold"]
