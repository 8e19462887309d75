"""The schema says what the models say: what one takes the other takes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_conversations import FOLDER

from reconvene.protocol.events import CONTENTS
from reconvene.protocol.frames import CLIENT_FRAMES, SERVER_FRAMES
from reconvene.protocol.schema import protocol_schema

SCHEMA = protocol_schema()
TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int, "number": (int, float),
}  # fmt: skip
UNDERSTOOD = {
    "$ref", "$schema", "$id", "$defs", "title", "description", "default", "const", "enum", "type", "anyOf", "oneOf", "properties",
    "required", "additionalProperties", "items", "pattern", "minLength", "maxLength", "minimum", "maximum",
}  # fmt: skip


def valid(value: Any, schema: dict[str, Any] | bool) -> bool:
    """JSON Schema, as far as ours goes."""
    if isinstance(schema, bool):
        return schema
    assert schema.keys() <= UNDERSTOOD, schema.keys() - UNDERSTOOD
    if "$ref" in schema and not valid(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "anyOf" in schema and not any(valid(value, s) for s in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(valid(value, s) for s in schema["oneOf"]) != 1:
        return False
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        fits = [
            isinstance(value, TYPES[n]) and not (isinstance(value, bool) and n in ("integer", "number")) for n in names
        ]
        if not any(fits):
            return False
    if isinstance(value, str):
        shape = re.compile(schema.get("pattern", "").replace("$", r"\Z"))
        return bool(shape.search(value)) and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    if isinstance(value, list):
        return all(valid(v, schema.get("items", True)) for v in value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        return value.keys() >= set(schema.get("required", ())) and all(
            valid(v, known.get(k, others)) for k, v in value.items()
        )
    return True


def test_recorded_frames_are_valid() -> None:
    for path in sorted(FOLDER.glob("*.jsonl"))[::3]:
        for line in path.read_text("utf-8").splitlines():
            if frame := json.loads(line).get("receive"):
                assert valid(frame, SCHEMA), frame
                assert not valid(frame | {"colour": "red"}, SCHEMA)


def test_every_model_is_there() -> None:
    defs = SCHEMA["$defs"]
    assert {f"Event_{type}" for type in CONTENTS} <= defs.keys()
    assert {m.__name__ for m in [*CLIENT_FRAMES.values(), *SERVER_FRAMES, *CONTENTS.values()]} <= defs.keys()
    assert len(defs["ClientFrame"]["oneOf"]) == len(CLIENT_FRAMES)
    assert len(defs["ServerFrame"]["oneOf"]) == len(SERVER_FRAMES)
    text = json.dumps(SCHEMA)
    assert set(re.findall(r"#/\$defs/(\w+)", text)) <= defs.keys()


def test_what_a_plain_client_sends() -> None:
    plain = SCHEMA["$defs"]["PlainFrame"]
    assert valid({"type": "default", "content": "Why?", "config": {"session_id": None, "x": 1}, "y": 2}, plain)
    assert not valid({"type": "answer", "content": "Why?"}, plain)


SIMPLE = (
    st.none()
    | st.booleans()
    | st.integers(-5, 200)
    | st.sampled_from([0.5, "", "m1", "a b", "queue", "steer", "auto", "accept", "h1"])
)
NESTED = st.dictionaries(
    st.sampled_from(
        ["session_id", "model", "review", "max_iterations", "recovery", "id", "name", "verdict", "hunks", "t", "run_id"]
    ),
    SIMPLE | st.lists(SIMPLE, max_size=2),
    max_size=3,
)
VALUES = SIMPLE | NESTED | st.lists(SIMPLE, max_size=2) | st.just("s_" + "a" * 22)


@st.composite
def frames(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(sorted(CLIENT_FRAMES)))
    fields = [*CLIENT_FRAMES[kind].model_fields, "colour"]
    return draw(st.dictionaries(st.sampled_from(fields), VALUES)) | {"type": kind}


def agree(frame: dict[str, Any]) -> bool:
    try:
        CLIENT_FRAMES[frame["type"]].model_validate(frame)
    except ValueError:
        return not valid(frame, SCHEMA["$defs"]["ClientFrame"])
    return valid(frame, SCHEMA["$defs"]["ClientFrame"])


@settings(max_examples=500, deadline=None)
@given(frames())
def test_the_schema_takes_what_the_models_take(frame: dict[str, Any]) -> None:
    assert agree(frame)


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "cancel"},
        {"type": "default", "content": "x", "proto": 1, "client": {"id": "c1"}, "config": {"max_iterations": 100}},
        {"type": "answer", "reply_to": "q1", "content": {"a": [None]}},
        {"type": "decision", "reply_to": "d1", "content": {"verdict": "accept", "hunks": ["h1"]}},
        {"type": "ping", "content": {"t": 0.5}},
    ],
)
def test_good_frames_are_good_by_both(frame: dict[str, Any]) -> None:
    assert valid(frame, SCHEMA)
    assert agree(frame)


def test_a_schema_that_forgot_a_rule_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEMA["$defs"]["Cancel"], "additionalProperties", True)
    assert not agree({"type": "cancel", "colour": "red"})
