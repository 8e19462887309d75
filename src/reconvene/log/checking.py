"""What any store refuses to take, before it reaches a commit together with others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconvene.errors import ReconveneError
from reconvene.log.port import SESSION_FIELDS, NewEvent

_TYPES: dict[str, tuple[type, ...]] = {
    "title": (str,), "status": (str,), "run_id": (str, type(None)), "pinned": (bool, int), "archived": (bool, int),
    "last_active": (float, int), "active_at": (float, int), "meta": (str,),
}  # fmt: skip
assert _TYPES.keys() == SESSION_FIELDS


def checked(events: Sequence[NewEvent]) -> tuple[NewEvent, ...]:
    """The events, if they can be stored and their keys differ: one that cannot be written must not reach a commit with others.

    Raises:
        ReconveneError: `invalid_field`.
    """
    keys: set[str] = set()
    for e in events:
        if not (
            e.type + e.content + (e.run_id or "") + (e.item_id or "") + (e.parent_id or "") + (e.key or "")
        ).isascii():
            _check_text(e)
        if e.key is not None:
            if e.key in keys:
                raise ReconveneError("invalid_field", f"Two events of one append have the key {e.key}.", path="key")
            keys.add(e.key)
    return tuple(events)


def _check_text(e: NewEvent) -> None:
    for name in ("type", "content", "run_id", "item_id", "parent_id", "key"):
        text = getattr(e, name)
        try:
            (text or "").encode()
        except UnicodeEncodeError as error:
            raise ReconveneError(
                "invalid_field", f"{name} of a {e.type!a} event has a lone surrogate, which is not text.", path=name
            ) from error


def checked_update(update: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The update, if its fields exist and have their types.

    Raises:
        ReconveneError: `invalid_field`.
    """
    for name, value in (update or {}).items():
        if not isinstance(value, _TYPES.get(name, ())):
            raise ReconveneError("invalid_field", f"A session's {name} cannot be set to {value!a}.", path=name)
    return dict(update or {})
