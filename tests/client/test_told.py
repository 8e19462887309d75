"""What the library hands to programs is what the HTTP API says, field by field: it may grow there, and nothing of this may change or go."""

from __future__ import annotations

from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel

from reconvene.client import told
from reconvene.server import api_models as api

PAIRS: dict[type[Any], type[BaseModel]] = {
    told.SessionInfo: api.Session,
    told.Root: api.Root,
    told.Me: api.Me,
    told.Hit: api.Hit,
}
OWN = {told.Hit: {"session_id"}}
"""What the library adds: a hit is told without the session that it stands in."""


def shape(kind: Any) -> Any:
    """A type without what differs by intent: programs get tuples, JSON has lists; a value's class has a twin."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (tuple, list):
        return "many", shape(inner[0])
    if origin is Literal:
        return "one of", frozenset(inner)
    if origin in (Union, UnionType):
        return "either", frozenset(map(shape, inner))
    return PAIRS.get(kind, kind)


def differences(kind: type[Any]) -> list[str]:
    hints, said = get_type_hints(kind), PAIRS[kind].model_fields
    names = [f.name for f in fields(kind) if f.name not in OWN.get(kind, ())]
    return [n for n in names if n not in said or shape(hints[n]) != shape(said[n].annotation)]


@pytest.mark.parametrize("kind", PAIRS, ids=lambda kind: kind.__name__)
def test_a_program_is_told_what_the_server_says(kind: type[Any]) -> None:
    assert differences(kind) == []


def test_control_a_field_that_changes_or_goes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Changed(BaseModel):
        root: int

    monkeypatch.setitem(PAIRS, told.Root, Changed)
    assert differences(told.Root) == ["root", "name"]
