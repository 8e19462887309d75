"""What waits for a person, as the requests that ACP has for it: permission for changes and commands, elicitation for questions.

Pure: from a pending item to the request's parameters, and from the client's answer to what the session is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconvene.adapters.acp.translation import Translator
from reconvene.adapters.forms import filled, form_of
from reconvene.sessions.state import Pending

Params = dict[str, Any]
KEY = "_reconvene/asks"
"""In `_meta` of a request: what it asks about, the same on every connection."""
ACCEPT_ALL = "accept_all"

_FILE_OPTIONS: list[Params] = [
    {"optionId": "accept", "name": "Accept", "kind": "allow_once"},
    {"optionId": ACCEPT_ALL, "name": "Accept all edits of this session", "kind": "allow_always"},
    {"optionId": "reject", "name": "Reject", "kind": "reject_once"},
]
_COMMAND_OPTIONS: list[Params] = [
    {"optionId": "once", "name": "Run once", "kind": "allow_once"},
    {"optionId": "session", "name": "Run, and do not ask again in this session", "kind": "allow_always"},
    {"optionId": "no", "name": "Do not run", "kind": "reject_once"},
    {"optionId": "never", "name": "Never run this", "kind": "reject_always"},
]
_YES_NO: list[Params] = [
    {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to the client. `options` are the answers by their option ids."""

    method: str
    params: Params
    answers: Mapping[str, Any]


def of_files(session_id: str, diff_id: str, files: Sequence[Mapping[str, Any]], translator: Translator) -> list[Ask]:
    """A request for permission for each file of a diff."""
    asks = []
    for n, file in enumerate(files):
        options = [o for o in _FILE_OPTIONS if o["optionId"] != ACCEPT_ALL] if file.get("risk") else _FILE_OPTIONS
        params = {"toolCall": translator.file_call(diff_id, n, file), "options": options}
        answers = {o["optionId"]: o["kind"] != "reject_once" for o in options}
        asks.append(_permission(session_id, f"{diff_id}#{n}", params, answers))
    return asks


def of_question(session_id: str, pending: Pending, *, forms: bool) -> Ask | None:
    """The request for a question; None when this client has no way to be asked it.

    Args:
        forms: the client shows forms (`elicitation.form`).
    """
    command = command_of(pending)
    if command is not None:
        call = {"toolCallId": command, "content": [_text(pending.text)]}
        choices = {o["optionId"]: o["optionId"] for o in _COMMAND_OPTIONS}
        return _permission(session_id, pending.id, {"toolCall": call, "options": _COMMAND_OPTIONS}, choices)
    if forms and (schema := form_of(pending)) is not None:
        params = {"sessionId": session_id, "mode": "form", "message": pending.text, "requestedSchema": schema}
        return Ask("elicitation/create", {**params, "_meta": {KEY: pending.id}}, {})
    call = {"toolCallId": pending.id, "title": pending.text, "kind": "other", "content": [_text(pending.text)]}
    if pending.kind == "confirmation":
        return _permission(session_id, pending.id, {"toolCall": call, "options": _YES_NO}, {"yes": True, "no": False})
    choices = {str(n): choice for n, choice in enumerate((pending.schema or {}).get("enum") or ())}
    if not choices:
        return None
    options = [{"optionId": n, "name": str(choice), "kind": "allow_once"} for n, choice in choices.items()]
    return _permission(session_id, pending.id, {"toolCall": call, "options": options}, choices)


def command_of(pending: Pending) -> str | None:
    """The tool call that asks for permission to run a command, if this is such a question."""
    run_id, _, rest = pending.id.partition(".leave:")
    return rest if rest and run_id == pending.run_id else None


def answer(ask: Ask, result: Mapping[str, Any]) -> tuple[bool, Any]:
    """Whether the client's result answers, and what. What is closed without an answer leaves the question open."""
    if ask.method == "elicitation/create":
        return filled(ask.params["requestedSchema"], result)
    outcome = result.get("outcome") or {}
    if outcome.get("outcome") != "selected" or outcome.get("optionId") not in ask.answers:
        return False, None
    return True, ask.answers[outcome["optionId"]]


def _permission(session_id: str, key: str, params: Params, answers: Mapping[str, Any]) -> Ask:
    whole = {"sessionId": session_id, **params, "_meta": {KEY: key}}
    return Ask("session/request_permission", whole, answers)


def _text(text: str) -> Params:
    return {"type": "content", "content": {"type": "text", "text": text}}
