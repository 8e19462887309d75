"""What one step of a constrained model may be: the JSON schema a local server is asked to enforce, and the words that explain it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_ai.tools import ToolDefinition

_STRUCTURE = ("type", "enum", "const", "required", "additionalProperties")
"""What every server's grammar knows. Lengths, ranges and patterns make grammars that some refuse: the tool itself checks those."""
_HINT = 400
"""Characters of a parameter's description that are told."""


def step_schema(tools: Sequence[ToolDefinition], answer: bool) -> dict[str, Any]:
    """`{"tool": …, "arguments": …}` for each tool, and `{"answer": "…"}` where an answer is allowed.

    Args:
        tools: at least one, unless there may be an answer.
    """
    definitions: dict[str, Any] = {}
    steps = [
        _object({"tool": {"type": "string", "enum": [tool.name]}, "arguments": _arguments(tool, definitions)})
        for tool in tools
    ]
    if answer:
        steps.append(_object({"answer": {"type": "string"}}))
    schema: dict[str, Any] = steps[0] if len(steps) == 1 else {"anyOf": steps}
    return {**schema, "$defs": definitions} if definitions else schema


def step_words(tools: Sequence[ToolDefinition], answer: bool) -> str:
    """How a model is told of its tools, as a part of its instructions."""
    lines = ["Each of your replies is one JSON object. To use a tool:", _example(tools)] if tools else []
    if answer:
        lines += [
            "To answer the person, when the results show the answer or no tool helps any more:"
            if tools
            else "Reply with one JSON object:",
            '{"answer": "..."}',
        ]
    if tools:
        lines += ["An answer is for the person: no call belongs in it. The tools:", ""]
    for tool in tools:
        properties: Mapping[str, Any] = tool.parameters_json_schema.get("properties", {})
        required = tool.parameters_json_schema.get("required", [])
        shown = ", ".join(f"{name}{'' if name in required else '?'}: {_type(p)}" for name, p in properties.items())
        lines.append(f"- {tool.name}({shown}): {(tool.description or '').strip()}")
        lines += [
            f"  {name}: {' '.join(p['description'].split())[:_HINT]}"
            for name, p in properties.items()
            if isinstance(p, dict) and p.get("description")
        ]
    return "\n".join(lines)


def _example(tools: Sequence[ToolDefinition]) -> str:
    """A call of the first tool. Small models copy what they see, so nothing stands in it that must not be copied."""
    required = tools[0].parameters_json_schema.get("required", [])
    return json.dumps({"tool": tools[0].name, "arguments": dict.fromkeys(required, "...")}, ensure_ascii=False)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _arguments(tool: ToolDefinition, definitions: dict[str, Any]) -> dict[str, Any]:
    """The tool's parameters; what they refer to moves to the step's own definitions, under a name of its own."""
    schema = tool.parameters_json_schema
    for name, definition in schema.get("$defs", {}).items():
        definitions[f"{tool.name}.{name}"] = _plain(definition, tool.name)
    return {"type": "object", **_plain(schema, tool.name)}


def _plain(schema: Any, prefix: str) -> Any:
    """The structure of a schema alone."""
    if not isinstance(schema, dict):
        return schema
    if isinstance(reference := schema.get("$ref"), str):
        return {"$ref": f"#/$defs/{prefix}.{reference.rpartition('/')[2]}"}
    plain = {key: schema[key] for key in _STRUCTURE if key in schema}
    if isinstance(plain.get("additionalProperties"), dict):
        plain["additionalProperties"] = _plain(plain["additionalProperties"], prefix)
    if isinstance(properties := schema.get("properties"), dict):
        plain["properties"] = {name: _plain(p, prefix) for name, p in properties.items()}
    if "items" in schema:
        plain["items"] = _plain(schema["items"], prefix)
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(some := schema.get(key), list):
            plain["anyOf" if key == "oneOf" else key] = [_plain(s, prefix) for s in some]
    return plain


def _type(schema: Any) -> str:
    """A parameter's type in a word or two.

    >>> _type({"anyOf": [{"type": "string"}, {"type": "null"}]}), _type({"type": "array", "items": {"enum": ["a", "b"]}})
    ('string', 'list of "a" or "b"')
    """
    if not isinstance(schema, dict):
        return "any"
    if choices := schema.get("enum"):
        return " or ".join(json.dumps(c, ensure_ascii=False) for c in choices)
    if some := schema.get("anyOf") or schema.get("oneOf"):
        kinds = dict.fromkeys(_type(s) for s in some if not (isinstance(s, dict) and s.get("type") == "null"))
        return " or ".join(kinds)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = schema.get("type", "object" if "$ref" in schema else "any")
    return kind if isinstance(kind, str) else " or ".join(map(str, kind))
