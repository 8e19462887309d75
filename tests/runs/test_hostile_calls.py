"""Tool calls as no provider should make them: ids that repeat or are no text, names and arguments that are no text."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

from house import House, check_log, contents
from reconvene.runs import durability
from scripted import turn_of

HUB = {"query": "hub"}
CALLS: dict[str, list[tuple[str, dict[str, Any], str]]] = {
    "one-id-twice": [("search", HUB, "x"), ("read_file", {"path": "src/hub.py"}, "x")],
    "one-id-twice-unknown": [("nope", HUB, "x"), ("nope", {}, "x")],
    "no-ids": [("nope", HUB, ""), ("search", HUB, "")],
    "bad123-id": [("search", HUB, "\ud800"), ("search", {"query": "hu"}, "a\0b"), ("search", HUB, "a" * 5000)],
    "bad123-name": [("sea\0rch", HUB, "x"), ("\ud800", {}, "y")],
    "bad123-arguments": [("search", {"query": "hub \ud800\0"}, "x"), ("search", {"\udfff": {"\0": ["\ud800"]}}, "y")],
}


def model(calls: list[tuple[str, dict[str, Any], str]]) -> FunctionModel:
    async def stream(messages: list[ModelMessage], info: Any) -> AsyncIterator[Any]:
        if turn_of(messages)[1]:
            yield "done"
            return
        for i, (name, args, call_id) in enumerate(calls):
            yield {i: DeltaToolCall(name=name, json_args=json.dumps(args), tool_call_id=call_id)}

    return FunctionModel(stream_function=stream, model_name="hostile")


@pytest.mark.parametrize("name", CALLS)
async def test_calls_that_no_provider_should_make_cost_no_run(tmp_path: Path, name: str) -> None:
    house = await House.open(tmp_path, model(CALLS[name]))
    session = await house.ask("q")
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["outcome"] == "success"
    assert len(contents(rows, "tool_result")) == len(CALLS[name])
    # the next prompt's model is given this one's history
    await house.restart()
    await house.ask("again", session)
    rows = await house.completed(session, runs=2)
    assert contents(rows, "completed")[1]["outcome"] == "success"
    await house.close()


async def test_control_without_ids_of_their_own_the_run_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durability, "_sound_call", lambda call, taken, own_id: call)
    house = await House.open(tmp_path, model(CALLS["one-id-twice"]))
    session = await house.ask("q")
    rows = await house.until(session, lambda rows: any(r.type in ("completed", "error") for r in rows))
    assert contents(rows, "error")
    await house.close()
