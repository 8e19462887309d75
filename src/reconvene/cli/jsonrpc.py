"""What the bridges of editors and agents know of JSON-RPC: a line that is a message, and the refusal of one that is none."""

from __future__ import annotations

import json
from typing import Any

Message = dict[str, Any]


def read(line: bytes) -> Message:
    """The message on a line, as far as a bridge reads it; the server checks the rest.

    Raises:
        Refused: it is none; with the answer.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise Refused(error(None, -32700, "This line is not JSON.")) from None
    if not isinstance(message, dict):
        raise Refused(error(None, -32600, "A message is one JSON object."))
    params = message.get("params")
    if not (
        isinstance(message.get("id"), str | int | None)
        and isinstance(message.get("method"), str | None)
        and isinstance(params, dict | None)
        and isinstance((params or {}).get("_meta"), dict | None)
    ):
        sentence = "A message has a text or a number as id, a text as method, and an object as params and _meta."
        raise Refused(error(None, -32600, sentence))
    return message


class Refused(Exception):
    """`answer` goes back in place of what the message would have done."""

    def __init__(self, answer: Message) -> None:
        super().__init__(answer["error"]["message"])
        self.answer = answer


def written(message: Message) -> bytes:
    """As a line. A half of a surrogate pair, which JSON may hold and UTF-8 may not, becomes a question mark."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def error(id: Any, code: int, text: str, data: Any = None) -> Message:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": text, **({"data": data} if data else {})}}
