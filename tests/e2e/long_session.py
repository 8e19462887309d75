"""A session of ten thousand events, as runs would have written it."""

from __future__ import annotations

import json

from real_server import Server

from reconvene.log.port import NewEvent
from reconvene.log.sqlite import SqliteLog

TURNS, STEPS = 100, 47
Row = tuple[str, str, str | None, str | None]
"""Type, content, run, item."""


def long_log() -> list[Row]:
    """Ten thousand events: a hundred turns of a prompt, 47 tool calls with their results, and an answer."""
    rows: list[Row] = []
    for turn in range(1, TURNS + 1):
        run = f"r{turn}"

        def put(type: str, item: str | None = None, run: str = run, **content: object) -> None:
            rows.append((type, json.dumps(content), run, item))

        put("prompt", id=f"long-{turn}", text=f"Question {turn}", delivery="queue", by=None)
        put("run", status="running", attempt=1, reason=None, budget=None, prompts=[f"long-{turn}"])
        for step in range(STEPS):
            put("tool_call", id=f"t{turn}-{step}", name="search", args={"query": f"words {step}"})
            put(
                "tool_result", id=f"t{turn}-{step}", summary="1 place in 1 file", ok=True, truncated=False, cache="fresh",
                places=[{"path": "src/hub.py", "start": 1, "end": 4, "symbol": "Hub"}],
            )  # fmt: skip
        for n in range(2):
            put("text", item=f"m{turn}", attempt=1, text=f"Piece {n} of answer {turn}. ")
        put(
            "message",
            item=f"m{turn}",
            text=f"Answer {turn}, with `code` and a place: src/hub.py:2.\n\n" + "Words. " * 60,
        )
        put("completed", outcome="success", text="")
    return rows


async def write(server: Server, session: str, rows: list[Row]) -> None:
    """Into the log of a server that is stopped, as runs would have."""
    log = await SqliteLog.open(server.data / "reconvene.db")
    try:
        stateful = {"prompt", "run", "completed"}
        events = [
            NewEvent(type, content, run_id=run, item_id=item, stateful=type in stateful)
            for type, content, run, item in rows
        ]
        for start in range(0, len(events), 1000):
            await log.append(session, events[start : start + 1000], update={"title": "A long session"})
    finally:
        await log.close()
