"""One conversation with everything in it, as the log has it: what the adapters' golden files are made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"
HUNK = "@@ -2,2 +2,3 @@ class Hub:\n     def sweep(self, now):\n-        return []\n+        gone = []\n+        return gone\n"


def conversation() -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []

    def add(
        type: str, item: str | None = None, /, parent: str | None = None, run: str | None = "r1", **content: Any
    ) -> None:
        events.append(
            {
                "type": type,
                "seq": len(events) + 1,
                "run_id": run,
                "item_id": item,
                "parent_id": parent,
                "at": 1000.0 + len(events),
                "content": content,
            }
        )

    add("prompt", "r1.p1", id="p1", text="Make sweep tell what is gone\nplease", delivery="queue")
    add("run", status="queued", prompts=["p1"], position=0)
    add("run", status="running", attempt=1)
    add("repo_map", files=3, symbols=9, tokens=80, fingerprint="f", built_ms=3, reused=False)
    add("reasoning", "r1.1.0", attempt=1, text="Look ")
    add("reasoning", "r1.1.0", attempt=1, text="first.")
    add("message", "r1.1.0", text="Look first.", kind="reasoning")
    add("text", "r1.1.1", attempt=1, text="I loo")
    add("item_aborted", "r1.1.1", attempt=1)
    add("text", "r1.1.1", attempt=2, text="I look")
    add("message", "r1.1.1", text="I look at the hub.")
    add("tool_call", "t1", id="t1", name="search", args={"query": "sweep"})
    places = [{"path": "src/hub.py", "start": 2, "end": 4, "symbol": "Hub.sweep"}]
    add(
        "tool_result",
        "t1",
        id="t1",
        summary="1 place in 1 file",
        ok=True,
        truncated=False,
        cache="fresh",
        places=places,
    )
    add("tool_call", "t2", id="t2", name="read_file", args={"path": "src/hub.py", "start": 2})
    add("tool_result", "t2", id="t2", summary="There is no such line.", ok=False, truncated=False, cache=None)
    add("plan", title="Tell", steps=[{"title": "Read", "status": "done"}, {"title": "Write", "status": "active"}])
    add("tool_call", "t3", id="t3", name="ask_user", args={"question": "As a list?", "options": ["yes", "no"]})
    add("question", id="r1.ask:1", text="As a list?", schema={"type": "string", "enum": ["yes", "no"]})
    add("answered", id="r1.ask:1", answer="yes", by="page")
    add("tool_result", "t3", id="t3", summary="answered: yes", ok=True, truncated=False, cache=None)
    add("tool_call", "t4", id="t4", name="update_code", args={"task": "Return what is gone."})
    add("message", "r1.c.1", parent="t4", text="The coder's words.")
    files = [
        {
            "path": "src/hub.py",
            "op": "edit",
            "base_hash": "a",
            "new_hash": "b",
            "hunks": [{"id": "h1", "unified": HUNK}],
        },
        {
            "path": ".github/ci.yml",
            "op": "create",
            "base_hash": None,
            "new_hash": "c",
            "risk": "It runs on your CI.",
            "hunks": [{"id": "h2", "unified": "@@ -0,0 +1 @@\n+on: push\n\\ No newline at end of file\n"}],
        },
    ]
    add("diff", "d1", parent="t4", id="r1.d1", files=files, risky=True)
    add("decided", id="r1.d1", verdict="accept", hunks=["h1"], by="page")
    add("applied", "d1", diff_id="r1.d1", files=[{"path": "src/hub.py", "base_hash": "a", "new_hash": "b"}])
    add("tool_result", "t4", id="t4", summary="1 of 2 files written", ok=True, truncated=False, cache=None)
    add("tool_call", "t5", id="t5", name="run_command", args={"command": ["pytest", "-q"]})
    add("output", "t5.0", parent="t5", id="t5", offset=0, text="....\n")
    add("output", "t5.5", parent="t5", id="t5", offset=5, text="4 passed\n")
    add("tool_result", "t5", id="t5", summary="pytest -q: exit 0 after 0.3 s", ok=True, truncated=False, cache=None)
    add("usage", input_tokens=900, output_tokens=60, context_used=700, context_limit=128000, cost=0.012)
    add("message", "r1.2.0", text="It tells now: `src/hub.py:2`.")
    add("completed", outcome="success", text="It tells now: `src/hub.py:2`.")
    add("action", run=None, name="rename", args={"title": "Telling"}, by="page")
    add("action", run=None, name="edit_mode", args={"mode": "accept"}, by="page")
    add("prompt", "r2.p1", run="r2", id="p2", text="Again", delivery="queue")
    add("run", run="r2", status="queued", prompts=["p2"], position=0)
    add("run", run="r2", status="running", attempt=1)
    add("error", run="r2", code="provider_auth", message="The key is refused.", retryable=True, details={})
    add("completed", run="r2", outcome="failed", text="", reason="provider_auth")
    return events


def golden(name: str, made: list[Any], *, renew: bool = False) -> list[Any]:
    """What the golden file says; `renew` writes it (by hand, when the translation is meant to change)."""
    path = GOLDEN / f"{name}.jsonl"
    if renew:
        path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in made))
    return [json.loads(line) for line in path.read_text().splitlines()]
