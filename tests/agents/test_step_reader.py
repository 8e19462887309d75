"""Steps cut anywhere are read as if they had come whole, and what is no step is told from one."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic_ai.tools import ToolDefinition

from reconvene.agents import step_reader
from reconvene.agents.step_reader import Argued, Called, NoStep, Said, StepReader
from reconvene.agents.step_schema import step_schema, step_words


def read(text: str, cuts: Sequence[int] = ()) -> tuple[str, list[str], str]:
    """What was said, called and given, over a step that comes cut at these places."""
    reader, pieces = StepReader(), []
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        pieces += reader.feed(text[begin:end])
    reader.end()
    said = "".join(p.text for p in pieces if isinstance(p, Said))
    given = "".join(p.json for p in pieces if isinstance(p, Argued))
    return said, [p.tool for p in pieces if isinstance(p, Called)], given


def siege(runs: int, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(runs):
        odd = "".join(rng.choice('a"\\\n{}[],:é😀\u2028\x7f\t/u') for _ in range(rng.randrange(14)))
        ascii_only = rng.random() < 0.5
        if rng.random() < 0.5:
            text, expected = json.dumps({"answer": odd}, ensure_ascii=ascii_only), (odd, [], "")
        else:
            given = json.dumps({"q": odd, odd: [1, {"x": [odd, None, -1.5e3]}]}, ensure_ascii=ascii_only)
            parts = ['"tool" : "look"', f'"arguments":{given}', '"why": [{"]": "}"}]']
            rng.shuffle(parts)
            text, expected = f"\n {{ {' , '.join(parts)} }} ", ("", ["look"], given)
        cuts = sorted(rng.randrange(len(text) + 1) for _ in range(rng.randrange(9)))
        assert read(text, cuts) == expected, (seed, text, cuts)


def test_a_step_may_be_cut_anywhere() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    siege(3000, seed)
    whole = json.dumps({"answer": 'a "quoted" \\ 😀 line\n'})
    for cut in range(len(whole) + 1):
        assert read(whole, [cut])[0] == 'a "quoted" \\ 😀 line\n'


@pytest.mark.parametrize("defence", ["_HALF_ESCAPE", "_HIGH_SURROGATE"])
def test_control_half_an_escape_is_not_waited_for(defence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_reader, defence, step_reader.re.compile(r"(?!)()"))
    with pytest.raises((AssertionError, NoStep)):
        siege(3000, 7)


@pytest.mark.parametrize(
    "text",
    [
        "I will search for it.",
        "```json\n{}",
        "[]",
        "{}",
        '{"thought": "hm"}',
        '{"answer": "a"} and more',
        '{"answer": 4}',
        '{"answer": "\\q"}',
        '{"tool": null}',
        '{"tool" "search"}',
        '{tool: "search"}',
        '{"tool": "search" "arguments": {}}',
        f'{{"tool": "{"x" * 300}"}}',
        f'{{"{"x" * 300}',
        '{"answer": "and then',
        '{"tool": "search", "arguments": {"query": "a"',
        '{"answer": "a"',
        "",
    ],
)
def test_what_is_no_step(text: str) -> None:
    for cuts in ([], [len(text) // 2], list(range(len(text)))):
        with pytest.raises(NoStep):
            read(text, cuts)


def test_a_call_without_arguments() -> None:
    assert read('{"tool": "overview"}') == ("", ["overview"], "{}")
    assert read('{"arguments": null, "tool": "overview"}') == ("", ["overview"], "null")


def tool(name: str, **schema: Any) -> ToolDefinition:
    return ToolDefinition(name=name, description=f"What {name} does.", parameters_json_schema=schema)


def test_the_schema_is_the_structure_alone() -> None:
    choice = {
        "anyOf": [{"type": "string", "maxLength": 9, "pattern": "a"}, {"type": "null"}],
        "default": None,
        "title": "Q",
    }
    schema = step_schema(
        [
            tool("look", type="object", properties={"query": choice}, required=["query"], additionalProperties=False),
            tool(
                "draw",
                properties={"at": {"$ref": "#/$defs/At"}},
                **{"$defs": {"At": {"type": "integer", "minimum": 1}}},
            ),
            tool("rest"),
        ],
        answer=True,
    )
    look, draw, rest, answer = (branch["properties"] for branch in schema["anyOf"])
    assert look["tool"] == {"type": "string", "enum": ["look"]}
    assert look["arguments"] == {
        "type": "object",
        "properties": {"query": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
        "required": ["query"],
        "additionalProperties": False,
    }
    assert draw["arguments"]["properties"] == {"at": {"$ref": "#/$defs/draw.At"}}
    assert schema["$defs"] == {"draw.At": {"type": "integer"}}
    assert rest["arguments"] == {"type": "object"}
    assert answer == {"answer": {"type": "string"}}
    assert step_schema([], answer=True)["required"] == ["answer"]


def test_the_words_name_every_tool_and_parameter() -> None:
    query = {"type": "string", "description": "Words\n  and names."}
    words = step_words(
        [tool("look", properties={"query": query, "limit": {"type": "integer"}}, required=["query"])], True
    )
    assert "- look(query: string, limit?: integer): What look does.\n  query: Words and names." in words
    assert '{"tool": "look", "arguments": {"query": "..."}}' in words
    assert '{"answer": "..."}' in words
    assert "tool" not in step_words([], True)
