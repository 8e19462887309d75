"""A question of our agent as a form, as ACP and MCP have it: an object of plain fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconvene.sessions.state import Pending

_PLAIN = ("string", "number", "integer", "boolean")


def form_of(pending: Pending) -> dict[str, Any] | None:
    """The schema of its form, None when it has none. A question for one value gets one field, `answer`."""
    schema = pending.schema or {"type": "string"}
    if pending.kind == "confirmation":
        schema = {"type": "boolean"}
    if schema.get("type") == "object":
        fields = schema.get("properties", {}).values()
        plain = all(isinstance(field, dict) and field.get("type") in _PLAIN for field in fields)
        kept: dict[str, Any] = {k: schema[k] for k in ("type", "properties", "required") if k in schema}
        return kept if plain and kept.get("properties") else None
    if schema.get("type") not in _PLAIN:
        return None
    one = {k: schema[k] for k in ("type", "enum") if k in schema}
    return {"type": "object", "properties": {"answer": {"title": "Answer", **one}}, "required": ["answer"]}


def filled(form: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[bool, Any]:
    """Whether the result of a form answers the question, and what. Declined or closed, the question stays open for others."""
    content = result.get("content") or {}
    if result.get("action") != "accept":
        return False, None
    if set(form["properties"]) == {"answer"}:
        return "answer" in content, content.get("answer")
    return True, content
