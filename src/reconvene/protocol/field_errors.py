"""What is wrong with a frame's fields, as sentences and paths (`config.review`, `content.hunks[1]`)."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from reconvene.protocol.strict_json import FrameRefused, shown


def kind_of(value: object) -> str:
    """What sort of JSON value it is, for a sentence."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def find_nul(value: object, path: str) -> str | None:
    """The path of the first string or key with a NUL in it, from `path` on."""
    if isinstance(value, str):
        return path if "\0" in value else None
    if isinstance(value, dict):
        for key, inner in value.items():
            if "\0" in key:
                return _join(path, shown(key))
            if (found := find_nul(inner, _join(path, key))) is not None:
                return found
    if isinstance(value, list):
        for n, inner in enumerate(value):
            if (found := find_nul(inner, _join(path, n))) is not None:
                return found
    return None


def _join(path: str, step: str | int) -> str:
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{step[:64]}" if path else step[:64]


_EXPECTED = {
    "string_type": "a string",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "none_required": "null or left out",
}


def field_error(e: ValidationError, frame: dict[str, Any], kind: str, frame_id: str | None) -> FrameRefused:
    """The first thing that is wrong, as a sentence. Members of a union (an answer: string, boolean, object) are one."""
    errors = e.errors(include_url=False, include_input=False)
    located = [(_walk(error["loc"], frame), error) for error in errors]
    (path, value), error = located[0]
    problem, context = error["type"], error.get("ctx", {})
    if problem == "extra_forbidden":
        name = shown(path)[1:-1]
        return FrameRefused(
            "invalid_field", f"The field {name} is not part of a {kind} frame; leave it out.", frame_id, path=path
        )
    if problem == "missing":
        return FrameRefused("invalid_field", f"The field {path} is missing in this {kind} frame.", frame_id, path=path)
    if problem in _EXPECTED:
        names = dict.fromkeys(_EXPECTED[o["type"]] for (p, _), o in located if p == path and o["type"] in _EXPECTED)
        says = f"must be {' or '.join(names)}, not {kind_of(value)}"
    elif problem == "literal_error":
        says = f"must be {context['expected']}"
    elif problem == "string_pattern_mismatch":
        says = f"has the wrong shape; it must match {context['pattern']}"
    else:
        says = f"cannot be used: {error['msg'][:1].lower()}{error['msg'][1:]}"
    return FrameRefused("invalid_field", f"The field {path} {says}.", frame_id, path=path)


def _walk(loc: tuple[str | int, ...], frame: dict[str, Any]) -> tuple[str, object]:
    """pydantic's location as a path into what was sent: the names of union members in it are no part of that."""
    path: str = ""
    value: Any = frame
    for n, step in enumerate(loc):
        index: Any = step
        if (isinstance(value, dict) and step in value) or (isinstance(value, list) and isinstance(step, int)):
            value = value[index]
        elif isinstance(value, dict) and n == len(loc) - 1:  # what is missing
            value = None
        else:
            continue
        path = _join(path, step)
    return path, value
