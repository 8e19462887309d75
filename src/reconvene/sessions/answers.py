"""Whether an answer fits its question."""

from __future__ import annotations

from typing import Any, Literal

from reconvene.errors import ReconveneError

_YES = {"y", "yes", "true", "ok"}
_NO = {"n", "no", "false"}
_TYPES: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "array": list,
}


def checked(kind: Literal["question", "confirmation", "diff"], schema: dict[str, Any] | None, value: Any) -> Any:
    """The answer as it is stored: a confirmation becomes True or False, a choice must be one of those offered.

    >>> checked("confirmation", None, "Yes")
    True

    Raises:
        ReconveneError: `invalid_field`.
    """
    if kind == "confirmation":
        if isinstance(value, str) and (word := value.strip().lower()) in _YES | _NO:
            return word in _YES
        if isinstance(value, bool):
            return value
        raise ReconveneError("invalid_field", "Answer y or n.", path="content")
    if schema is None:
        if isinstance(value, bool):
            raise ReconveneError("invalid_field", "The answer must be text.", path="content")
        if isinstance(value, str) and not value.strip():
            raise ReconveneError("invalid_field", "The answer is empty.", path="content")
        return value
    if (choices := schema.get("enum")) is not None and value not in choices:
        if isinstance(value, str):
            folded = [c for c in choices if isinstance(c, str) and c.lower() == value.strip().lower()]
            if len(folded) == 1:
                return folded[0]
        raise ReconveneError(
            "invalid_field", f"Answer one of: {', '.join(map(str, choices))}.", path="content", choices=choices
        )
    if (name := schema.get("type")) in _TYPES:
        fits = isinstance(value, _TYPES[name]) and not (isinstance(value, bool) and name in ("integer", "number"))
        if not fits:
            raise ReconveneError("invalid_field", f"The answer must be of type {name}.", path="content")
    if isinstance(value, dict):
        for missing in [n for n in schema.get("required", ()) if n not in value]:
            raise ReconveneError("invalid_field", f"The answer lacks {missing}.", path=f"content.{missing}")
        for name, sub in schema.get("properties", {}).items():
            if name in value:
                checked("question", sub, value[name])
    return value
