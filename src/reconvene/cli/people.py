"""`reconvene users`, `share` and `audit`: who may come in besides you, who may look at a session, and what was done."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reconvene.cli.at_rest import awake
from reconvene.cli.looking import look, resolve
from reconvene.cli.terminal import emit, safe, say
from reconvene.client.http import session_path
from reconvene.client.local import need


def print_users(data_dir: Path, *, as_json: bool) -> None:
    users = look(data_dir).users()
    if not users and not as_json:
        say("Nobody was added; you are the only user. Add somebody: reconvene users add NAME")
    for user in users:
        if as_json:
            emit(user)
            continue
        counts = f"{user['sessions']} sessions, {user['running']} running, {user['waiting']} waiting"
        how = f"  signs in at {safe(user['account'])}" if user["account"] else ""
        print(
            f"{safe(user['name'])}  {counts}, {user['connections']} connected{how}{'  (disabled)' if user['disabled'] else ''}"
        )


def add(data_dir: Path, name: str, *, as_json: bool) -> None:
    _print_token(need(data_dir).call("POST", "/api/users", {"name": name}), as_json)


def renew(data_dir: Path, name: str, *, as_json: bool) -> None:
    _print_token(need(data_dir).call("POST", f"/api/users/{quote(name, safe='')}/token"), as_json)


def _print_token(user: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(user)
        return
    say(f"The token of {safe(user['name'])}, shown this once. It is typed in at /sign-in, or sent as bearer:")
    print(user["token"])


def disable(data_dir: Path, name: str, disabled: bool, *, as_json: bool) -> None:
    user = need(data_dir).call("PATCH", f"/api/users/{quote(name, safe='')}", {"disabled": disabled})
    if as_json:
        emit(user)
    say(
        f"{safe(user['name'])} {'cannot come in any more; the sessions are kept' if disabled else 'may come in again'}."
    )


def link(data_dir: Path, name: str, *, as_json: bool) -> None:
    """A one-time sign-in link of somebody who was added."""
    made = need(data_dir).call("POST", "/api/sign-in-links", {"user": name})
    emit(made) if as_json else print(made["url"])


def share(data_dir: Path, session: str, days: float | None, *, as_json: bool) -> None:
    found = resolve(look(data_dir), session)
    made = awake(data_dir, found["session_id"]).call(
        "POST", session_path(found["session_id"], "/links"), {"days": days}
    )
    if as_json:
        emit(made)
        return
    until = "as long as the session is there" if days is None else f"for {days:g} days"
    say(f"Whoever has this link sees the session {until}, and changes nothing.")
    say(f"Revoke it: reconvene share {found['session_id']} --revoke {made['id']}")
    print(made["url"])


def unshare(data_dir: Path, session: str, id: str, *, as_json: bool) -> None:
    of = resolve(look(data_dir), session)["session_id"]
    awake(data_dir, of).call("DELETE", session_path(of, f"/links/{quote(id, safe='')}"))
    if as_json:
        emit({"session_id": of, "id": id})
    say("Nobody comes in with this link any more.")


def print_links(data_dir: Path, session: str, *, as_json: bool) -> None:
    source = look(data_dir)
    links = source.links(resolve(source, session)["session_id"])
    if not links and not as_json:
        say("The session has no link. Make one: reconvene share SESSION")
    for one in links:
        if as_json:
            emit(one)
        else:
            left = "stays" if one["left"] is None else f"{one['left'] / 86400:.1f} days left"
            print(f"{one['id']}  made {_when(one['created_at'])}  {left}")


def print_audit(data_dir: Path, limit: int, *, as_json: bool) -> None:
    for entry in look(data_dir).audit(limit):
        if as_json:
            emit(entry)
        else:
            about = "  ".join(f"{k}={safe(str(v))}" for k, v in entry["about"].items() if v is not None)
            print(
                f"{_when(entry['at'])}  {entry['deed']:<16} {safe(entry['by'])}  {safe(entry['peer'])}  {about}".rstrip()
            )


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
