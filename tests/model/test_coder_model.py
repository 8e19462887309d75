"""A model of 1.5 billion parameters that writes constrained steps: its tool calls are real, and none of them is malformed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from asked import answered, ask, completed, of, server_of, streamed, until, without_gaps
from bench.eval.local_model import LocalModel

pytestmark = pytest.mark.timeout(3600)
PATIENCE = 1500.0
"""Seconds; on a quiet machine it takes two minutes to read the prompt, and little more."""


def test_it_looks_answers_and_goes_on_after_a_kill(coder: LocalModel, tmp_path: Path) -> None:
    server = server_of(coder, tmp_path, model_requests=12)
    name, path = next(
        (m[1], path)
        for path in sorted(p.relative_to(server.root).as_posix() for p in server.root.rglob("*.py"))
        if (m := re.search(r"^(?:class|def) (\w{5,})", (server.root / path).read_text(), re.M))
    )
    server.start()
    try:
        session = ask(server, f"In which file is `{name}` defined? Use the tool symbol once, then answer.")
        before = until(server, session, lambda e: of(e, "tool_result") or of(e, "completed"), PATIENCE)
        calls = [e["item_id"] for e in of(before, "tool_call")]
        assert calls and not of(before, "completed"), [str(e)[:300] for e in before[-5:]]
        server.kill()
        server.start()
        events = until(server, session, completed(), PATIENCE)
    finally:
        server.close()
    assert without_gaps(events)
    assert events[: len(before)] == before
    [done] = of(events, "completed")
    assert done["content"]["outcome"] == "success", done
    assert not of(events, "error"), "no step of it was malformed"
    made = [e["item_id"] for e in of(events, "tool_call")]
    assert len(made) == len(set(made)) and made[: len(calls)] == calls, "no call is made twice"
    [answer] = answered(events)
    assert answer == streamed(events, of(events, "text")[-1]["content"]["attempt"]).strip()
    usage = of(events, "usage")[-1]["content"]
    assert usage["requests"] >= 2
    assert usage["cache_read_tokens"] > 500, "a second step does not read the first one's prompt again"
    print(f"\n{name} in {path}? {answer!r}; {usage}")
