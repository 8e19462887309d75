"""`reconvene sessions …`, over the HTTP API of the running server."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from reconvene.cli import terminal
from reconvene.cli.transcript import Transcript
from reconvene.client.http import session_path
from reconvene.client.local import Server, need
from reconvene.errors import ReconveneError
from reconvene.protocol.view import reduce

PAGE = 1000
"""Events a request."""
_AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def resolve(server: Server, name: str) -> dict[str, Any]:
    """The session that is meant by an id, the start of one, or `last`.

    Raises:
        ReconveneError: `no_such_session`; `invalid_field` when several begin so.
    """
    known = _all(server, archived=True)
    if name == "last":
        if not known:
            raise ReconveneError("no_such_session", "There is no session yet.")
        return known[0]
    found = [s for s in known if s["session_id"] == name] or [
        s for s in known if len(name) >= 3 and s["session_id"].startswith(name)
    ]
    if not found:
        raise ReconveneError(
            "no_such_session", f"There is no session {name}. `reconvene sessions list --all` shows those there are."
        )
    if len(found) > 1:
        raise ReconveneError("invalid_field", f"{len(found)} sessions begin with {name}; write more of the id.")
    return found[0]


def print_list(data_dir: Path, *, archived: bool, as_json: bool) -> None:
    known = _all(need(data_dir), archived=archived)
    if as_json:
        for session in known:
            terminal.emit(session)
        return
    if not known:
        terminal.say('No sessions yet. Start one: reconvene ask "…"')
    for session in known:
        marks = " (archived)" if session["archived"] else " (pinned)" if session["pinned"] else ""
        waiting = f" · {session['pending']} to answer" if session.get("pending") else ""
        title = " ".join((session["title"] or "untitled").split())[:60]
        age = _age(time.time() - session["active_at"])
        print(
            f"{session['session_id']}  {session['status']:<10} {age:>7}  {terminal.safe(title)}{marks}{waiting}  {session['root']}"
        )


def print_session(data_dir: Path, name: str, *, as_json: bool) -> None:
    server = need(data_dir)
    session = resolve(server, name)
    if as_json:
        for event in events(server, session["session_id"]):
            terminal.emit(event)
        return
    for piece in Transcript().news(reduce(events(server, session["session_id"]))):
        terminal.out(piece.text if piece.kind == "answer" else f"{piece.text}\n")


def events(server: Server, session_id: str) -> Iterator[dict[str, Any]]:
    """Every public event of a session, in order."""
    after, before = "0", None
    while after != before:
        page = server.call("GET", session_path(session_id, f"/events?{urlencode({'after': after, 'limit': PAGE})}"))
        yield from page["events"]
        after, before = page["next"], after


def export(data_dir: Path, name: str, format: str, output: Path | None) -> None:
    """Write a session as JSONL (its events as they are stored), Markdown or HTML.

    Raises:
        ReconveneError: `permission_denied` when the file cannot be written.
    """
    server = need(data_dir)
    session = resolve(server, name)
    id = session["session_id"]
    text = server.text("GET", session_path(id, f"/export?{urlencode({'format': format})}"))
    if output is None:
        terminal.out(text)
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as e:
        raise ReconveneError("permission_denied", f"{output} cannot be written: {e.strerror}.") from e
    terminal.say(f"Wrote {output}.")


def change(data_dir: Path, name: str, fields: dict[str, Any]) -> None:
    server = need(data_dir)
    session = resolve(server, name)
    server.call("PATCH", session_path(session["session_id"]), fields)


def fork(data_dir: Path, name: str, upto: int | None, *, as_json: bool) -> None:
    server = need(data_dir)
    session = resolve(server, name)
    made = server.call("POST", session_path(session["session_id"], "/fork"), {} if upto is None else {"upto": upto})
    if as_json:
        terminal.emit(made)
    else:
        print(made["session_id"])


def remove(data_dir: Path, name: str, *, sure: bool) -> None:
    server = need(data_dir)
    session = resolve(server, name)
    if not sure:
        if not terminal.interactive():
            raise ReconveneError("invalid_field", "Deleting is for good; say --yes.")
        print(
            f"Delete {session['session_id']} ({terminal.safe(session['title'] or 'untitled')}) for good? [y/N] ",
            end="",
            file=sys.stderr,
        )
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            terminal.say("Nothing was deleted.")
            return
    server.call("DELETE", session_path(session["session_id"]))
    terminal.say(f"Deleted {session['session_id']}.")


def _all(server: Server, *, archived: bool) -> list[dict[str, Any]]:
    """Newest activity first."""
    known: list[dict[str, Any]] = server.call("GET", "/api/sessions")["sessions"]
    return known if archived else [s for s in known if not s["archived"]]


def _age(seconds: float) -> str:
    for size, unit in _AGES:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return "now"
