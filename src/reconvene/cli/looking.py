"""Whom a command asks that only looks: the server that runs, or the data folder itself while none does.

Looking starts nothing: a server that comes up goes on with the runs that were cut off, and those may cost money.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from reconvene.client.http import session_path
from reconvene.client.local import Server, claimed, find, not_answering
from reconvene.errors import ReconveneError

PAGE = 1000
"""Events a request."""


class Source(Protocol):
    """What there is to see. Everything has the shape of the HTTP API, whoever answers."""

    live: bool
    """Whether a server runs."""

    def sessions(self, *, whole: bool = False) -> list[dict[str, Any]]:
        """All of them, archived ones too, the one used last first. `whole`: with how long each will `stay`."""

    def events(self, id: str) -> Iterator[dict[str, Any]]:
        """Every public event of a session, in order."""

    def export(self, id: str, format: str) -> str: ...

    def patch(self, id: str) -> str: ...

    def search(self, words: str, limit: int) -> dict[str, Any]:
        """Raises: `invalid_field`."""

    def users(self) -> list[dict[str, Any]]: ...

    def audit(self, limit: int) -> list[dict[str, Any]]: ...

    def links(self, id: str) -> list[dict[str, Any]]: ...


class Served:
    """A server that runs."""

    live = True

    def __init__(self, server: Server) -> None:
        self._server = server

    def sessions(self, *, whole: bool = False) -> list[dict[str, Any]]:
        known: list[dict[str, Any]] = self._server.call("GET", "/api/sessions")["sessions"]
        return known

    def events(self, id: str) -> Iterator[dict[str, Any]]:
        after, before = "0", None
        while after != before:
            page = self._server.call("GET", session_path(id, f"/events?{urlencode({'after': after, 'limit': PAGE})}"))
            yield from page["events"]
            after, before = page["next"], after

    def export(self, id: str, format: str) -> str:
        return self._server.text("GET", session_path(id, f"/export?{urlencode({'format': format})}"))

    def patch(self, id: str) -> str:
        return self._server.text("GET", session_path(id, "/patch"))

    def search(self, words: str, limit: int) -> dict[str, Any]:
        asked = urlencode({"q": words, "limit": limit}, quote_via=quote)
        found: dict[str, Any] = self._server.call("GET", f"/api/sessions/search?{asked}")
        return found

    def users(self) -> list[dict[str, Any]]:
        known: list[dict[str, Any]] = self._server.call("GET", "/api/users")["users"]
        return known

    def audit(self, limit: int) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self._server.call("GET", f"/api/audit?{urlencode({'limit': limit})}")["entries"]
        return entries

    def links(self, id: str) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = self._server.call("GET", session_path(id, "/links"))["links"]
        return made


def look(data_dir: Path) -> Source:
    """
    Raises:
        ReconveneError: `starting` when a server has the folder and does not answer; what is wrong with the database.
    """
    if (server := find(data_dir)) is not None:
        return Served(server)
    if claimed(data_dir):
        raise not_answering(data_dir)
    from reconvene.cli.stored import Stored, elsewhere

    if not elsewhere(data_dir) and (stored := Stored.of(data_dir)) is not None:
        return stored
    # Only a server reads a PostgreSQL, and only a server brings an older database up to date.
    from reconvene.cli.at_rest import wake

    return Served(wake(data_dir, "last"))


def known_now(data_dir: Path) -> list[dict[str, Any]]:
    """The sessions, for whoever does not want to wait: none when they cannot be had at once."""
    from reconvene.cli.stored import Stored, elsewhere

    if (server := find(data_dir)) is not None:
        known: list[dict[str, Any]] = server.call("GET", "/api/sessions?limit=50", timeout=2.0)["sessions"]
        return known
    stored = None if claimed(data_dir) or elsewhere(data_dir) else Stored.of(data_dir)
    return [] if stored is None else stored.sessions()


def resolve(source: Source, name: str) -> dict[str, Any]:
    """The session that is meant by an id, the start of one, or `last`.

    Raises:
        ReconveneError: `no_such_session`; `invalid_field` when several begin so.
    """
    known = source.sessions()
    if not known:
        raise ReconveneError("no_such_session", 'There is no session yet. Start one: reconvene ask "…"')
    if name == "last":
        return known[0]
    found = [s for s in known if s["session_id"] == name] or [
        s for s in known if len(name) >= 3 and s["session_id"].startswith(name)
    ]
    if not found:
        from reconvene.cli.terminal import safe

        raise ReconveneError(
            "no_such_session",
            f"There is no session {safe(name)}. `reconvene sessions list --all` shows those there are.",
        )
    if len(found) > 1:
        raise ReconveneError("invalid_field", f"{len(found)} sessions begin with {name}; write more of the id.")
    return found[0]
