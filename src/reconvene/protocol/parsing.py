"""From the text of a client's message to a frame, or to a refusal that says what to mend.

Resumable clients are read strictly: what is not known is refused. Plain clients are read as the sample needs it: what
is not known, or not well formed in `config`, is ignored.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, cast

from pydantic import JsonValue, ValidationError

from reconvene.errors import ReconveneError
from reconvene.protocol.cursor import Cursor
from reconvene.protocol.field_errors import field_error, find_nul, kind_of
from reconvene.protocol.frames import (
    CLIENT_FRAMES,
    PROTO,
    Answer,
    ClientFrame,
    Config,
    Decision,
    Default,
    Hello,
    PlainFrame,
)
from reconvene.protocol.strict_json import FrameRefused, decode, load_json, shown

__all__ = [
    "FrameRefused",
    "body_hash",
    "is_resumable",
    "load_json",
    "parse_first",
    "parse_plain",
    "parse_resumable",
    "plain_key",
]

PLAIN_TYPES = ("default", "question", "confirmation")


def parse_first(
    text: str | bytes, *, limits_json_depth: int = 32, limits_prompt: int = 200_000
) -> ClientFrame | PlainFrame:
    """The first frame of a connection; its kind is the connection's kind.

    Raises:
        FrameRefused: as `parse_resumable` and `parse_plain`.
    """
    text, frame = _object(text, limits_json_depth)
    if is_resumable(frame):
        return _resumable(text, frame, True, limits_prompt)
    return _plain(frame, True, limits_prompt)


def parse_resumable(
    text: str | bytes, *, first: bool, limits_json_depth: int = 32, limits_prompt: int = 200_000
) -> ClientFrame:
    """A frame of a resumable client. `first`: the connection has had none yet (`hello` and `default` may open one).

    Args:
        limits_json_depth: containers in each other.
        limits_prompt: UTF-8 bytes of what a person wrote (a prompt, an answer, feedback).

    Raises:
        FrameRefused: `invalid_json`, `invalid_message`, `unknown_type`, `invalid_field` (with `path` in its details),
            `empty_prompt`, `too_large` or `upgrade_required`.
    """
    return _resumable(*_object(text, limits_json_depth), first, limits_prompt)


def parse_plain(
    text: str | bytes, *, first: bool = False, limits_json_depth: int = 32, limits_prompt: int = 200_000
) -> PlainFrame:
    """A frame of a plain client. When it is `first`, an empty prompt passes as `content: ""`: it asks to be attached.

    Raises:
        FrameRefused: `invalid_json`, `invalid_message`, `unknown_type`, `invalid_field`, `empty_prompt` or `too_large`.
    """
    return _plain(_object(text, limits_json_depth)[1], first, limits_prompt)


def is_resumable(frame: dict[str, Any]) -> bool:
    """Whether this first frame comes from a resumable client, whatever its version."""
    return "proto" in frame or frame.get("type") == "hello"


def body_hash(frame: ClientFrame) -> str:
    """What tells a repeated command from another one with its id: everything but where the client stood at the time."""
    body = frame.model_dump(mode="json", exclude={"proto": True, "client": True, "config": {"session_id", "cursor"}})
    if not any(value is not None for value in (body.get("config") or {}).values()):
        body.pop("config", None)
    return _hash(body)


def plain_key(frame: PlainFrame) -> str:
    """Equal for first frames that ask the same: content and config, whatever the order of keys and the session."""
    return _hash([frame.content, frame.config])


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _object(text: str | bytes, depth: int) -> tuple[str, dict[str, Any]]:
    text = decode(text)
    frame = load_json(text, depth)
    if not isinstance(frame, dict):
        raise FrameRefused("invalid_message", f"A message is a JSON object with a type; this is {kind_of(frame)}.")
    return text, frame


def _type(frame: dict[str, Any], known: tuple[str, ...], frame_id: str | None) -> str:
    if "type" not in frame:
        raise FrameRefused("invalid_message", f"The message has no type; it is one of {', '.join(known)}.", frame_id)
    kind = frame["type"]
    if not isinstance(kind, str):
        raise FrameRefused(
            "invalid_field", f"The field type must be a string, not {kind_of(kind)}.", frame_id, path="type"
        )
    if kind not in known:
        raise FrameRefused(
            "unknown_type",
            f"There is no frame of type {shown(kind)}; there are {', '.join(known)}.",
            frame_id,
            known=list(known),
        )
    return kind


def _too_large(text: str, limit: int) -> bool:
    return len(text) > limit or (len(text) * 4 > limit and len(text.encode()) > limit)


def _check_size(text: str, path: str, limit: int, frame_id: str | None) -> None:
    if _too_large(text, limit):
        size = len(text.encode())
        raise FrameRefused(
            "too_large",
            f"The field {path} has {size:,} bytes; the limit (prompt) is {limit:,}. Shorten it.",
            frame_id,
            path=path,
            size=size,
            limit=limit,
        )


# --- resumable clients


def _resumable(text: str, frame: dict[str, Any], first: bool, limit: int) -> ClientFrame:
    frame_id = _frame_id(frame)
    # Before all else: of another version we know neither its types nor its fields.
    proto = frame.get("proto")
    if (first or proto is not None) and (type(proto) is not int or proto != PROTO):
        said = f"proto {json.dumps(proto)[:32]}" if "proto" in frame else "no proto"
        raise FrameRefused(
            "upgrade_required",
            f"This server speaks proto {PROTO}; the frame says {said}. Update the client.",
            frame_id,
            proto=PROTO,
        )
    kind = _type(frame, tuple(CLIENT_FRAMES), frame_id)
    if first != (kind == "hello") and kind != "default":
        opening = "opens a connection with hello or default" if first else "says hello only once, in its first frame"
        raise FrameRefused("invalid_field", f"A client {opening}; this is {kind}.", frame_id, path="type")
    if "\\u0000" in text and (path := find_nul(frame, "")) is not None:
        raise FrameRefused("invalid_field", f"There is a NUL character in {path}; leave it out.", frame_id, path=path)
    try:
        made = cast(ClientFrame, CLIENT_FRAMES[kind].model_validate(frame))
    except ValidationError as e:
        raise field_error(e, frame, kind, frame_id) from None
    if isinstance(made, Hello | Default) and made.config is not None and made.config.cursor is not None:
        try:
            Cursor.parse(made.config.cursor)
        except ReconveneError as e:
            raise FrameRefused(e.code, e.message, frame_id, **e.details) from None
    match made:
        case Default(content=prompt):
            if not prompt.strip():
                raise FrameRefused(
                    "empty_prompt",
                    "The prompt is empty; write at least one character that is not white space.",
                    frame_id,
                )
            _check_size(prompt, "content", limit, frame_id)
        case Answer(content=str() as answer):
            _check_size(answer, "content", limit, frame_id)
        case Decision(content=decision) if decision.feedback is not None:
            _check_size(decision.feedback, "content.feedback", limit, frame_id)
    return made


def _frame_id(frame: dict[str, Any]) -> str | None:
    """The frame's id, if it is one: an error may only be addressed to what the client can recognise."""
    value = frame.get("id")
    if (
        isinstance(value, str)
        and 0 < len(value) <= 128
        and value.isascii()
        and all(c.isalnum() or c in "._:-" for c in value)
    ):
        return value
    return None


# --- plain clients


def _plain(frame: dict[str, Any], first: bool, limit: int) -> PlainFrame:
    kind = _type(frame, PLAIN_TYPES, None)
    content = frame.get("content")
    if kind == "default" and first and (not isinstance(content, str) or not content.strip()):
        content = ""
    elif kind == "default" and (content is None or (isinstance(content, str) and not content.strip())):
        raise FrameRefused("empty_prompt", "The prompt is empty; write at least one character that is not white space.")
    if not isinstance(content, str):
        raise FrameRefused(
            "invalid_field", f"The field content must be a string, not {kind_of(content)}.", path="content"
        )
    if "\0" in content:
        raise FrameRefused("invalid_field", "There is a NUL character in content; leave it out.", path="content")
    _check_size(content, "content", limit, None)
    config = frame.get("config")
    config = {key: value for key, value in config.items() if key != "session_id"} if isinstance(config, dict) else {}
    known = {
        key: value
        for key in ("model", "review", "max_iterations", "recovery")
        if (value := _known(key, config.get(key))) is not None
    }
    session_id = frame["config"].get("session_id") if isinstance(frame.get("config"), dict) else None
    return PlainFrame(
        type=cast(Any, kind),
        content=content,
        session_id=cast("str | None", _known("session_id", session_id)),
        root_directory=_plain_root(config.get("root_directory")),
        config=config,
        turn={key: value for key, value in known.items() if key != "recovery"},
        recovery=cast(Any, known.get("recovery")),
    )


def _known(key: str, value: JsonValue) -> JsonValue:
    """The value of a known config key if it is well formed, else None: the same rule as for resumable clients."""
    if value is None:
        return None
    try:
        return cast(JsonValue, getattr(Config.model_validate({key: value}), key))
    except ValidationError:
        return None


def _plain_root(value: JsonValue) -> str | None:
    """Not ignored like the others when it cannot be a path: the prompt would run on another code base than meant."""
    if not isinstance(value, str) or not value:
        return None
    if "\0" in value or len(value) > 4096:
        raise FrameRefused(
            "invalid_field",
            "config.root_directory is not a path: it holds a NUL or is over 4,096 characters.",
            path="config.root_directory",
        )
    return value
