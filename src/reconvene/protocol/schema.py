"""The JSON Schema of the wire, made from the models: every frame both ways, every event with its content."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from reconvene.protocol.events import CONTENTS, Event
from reconvene.protocol.frames import CLIENT_FRAMES, PROTO, SERVER_FRAMES, PlainFrame

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def protocol_schema() -> dict[str, Any]:
    """One schema (2020-12). `$defs` has `ClientFrame`, `ServerFrame`, `PlainFrame` and `Event`, each the choice of its kinds by
    `type`, and every model by its name; events are `Event_<type>`. A valid instance is a frame, either way.
    """
    models: list[type[BaseModel]] = [*CLIENT_FRAMES.values(), *SERVER_FRAMES, *CONTENTS.values(), Event]
    _, made = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    defs: dict[str, Any] = made["$defs"]
    envelope = defs["Event"]
    for type, content in CONTENTS.items():
        fields = {"type": {"const": type}, "content": {"$ref": f"#/$defs/{content.__name__}"}}
        defs[f"Event_{type}"] = {
            **envelope,
            "title": f"Event_{type}",
            "description": (content.__doc__ or "").strip(),
            "properties": envelope["properties"] | fields,
        }
    defs["Event"] = {"description": envelope["description"], "oneOf": _refs(f"Event_{type}" for type in CONTENTS)}
    for model in [*CLIENT_FRAMES.values(), *SERVER_FRAMES]:
        # A server frame's type has a default in Python; on the wire it is always there.
        required = defs[model.__name__].setdefault("required", [])
        if "type" not in required:
            required.insert(0, "type")
    defs["ClientFrame"] = {"oneOf": _refs(model.__name__ for model in CLIENT_FRAMES.values())}
    defs["ServerFrame"] = {"oneOf": _refs(model.__name__ for model in SERVER_FRAMES)}
    defs["PlainFrame"] = _plain()
    return {
        "$schema": _DIALECT,
        "$id": "urn:reconvene:protocol",
        "title": f"Reconvene protocol {PROTO}",
        "description": "Frames of resumable clients. What plain clients send is in $defs/PlainFrame.",
        "oneOf": _refs(["ClientFrame", "ServerFrame"]),
        "$defs": dict(sorted(defs.items())),
    }


def client_frames(place: str) -> dict[str, Any]:
    """What a client may send, for another document that holds its definitions at `place` ("#/components/schemas/"): `ClientFrame` and
    all that it refers to, by name.
    """
    defs = protocol_schema()["$defs"]
    found: dict[str, Any] = {}
    todo = ["ClientFrame"]
    while todo:
        if (name := todo.pop()) not in found:
            text = json.dumps(defs[name])
            todo += re.findall(r'"#/\$defs/([^"]+)"', text)
            found[name] = json.loads(text.replace('"#/$defs/', f'"{place}'))
    return found


def _refs(names: Iterable[str]) -> list[dict[str, str]]:
    return [{"$ref": f"#/$defs/{name}"} for name in names]


def _plain() -> dict[str, Any]:
    """What a plain client sends, which is less than the model made of it."""
    types = PlainFrame.model_json_schema()["properties"]["type"]["enum"]
    return {
        "description": "A frame of a plain client. What is not known is ignored.",
        "type": "object",
        "properties": {
            "type": {"enum": types},
            "content": {"type": "string"},
            "config": {"type": "object", "properties": {"session_id": {"type": ["string", "null"]}}},
        },
        "required": ["type"],
    }
