"""Read-only links to one session: whoever has one sees the session live, and can change nothing.

A link is a secret of its own, kept as SHA-256, that ends when it is revoked, when its time is over, or with the session. What it opens
is the list below and nothing else: a route that is added later is closed to it until somebody puts it there.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from reconvene.errors import ReconveneError
from reconvene.server.people import hash_of
from reconvene.server.small_store import SmallStore

MOST_OF_A_SESSION = 50
DAY = 86400.0
_VIEW = "view:"
_SESSION = re.compile(r"/api/sessions/(?P<id>s_[A-Za-z0-9_-]{22})(?:/(?:events|blobs/[0-9a-f]+|patch))?")
_PAGE = re.compile(r"/|/s/[^/]*|/assets/[^/]+|/[a-z-]+\.(?:svg|png|ico|webmanifest)")
_NEEDED = frozenset({"/api/me", "/api/sessions", "/api/protocol.json"})


@dataclass(frozen=True, slots=True)
class View:
    """One link. `secret` is its SHA-256; `id` names it to people. `made`: seconds since the epoch, for showing; `until`: seconds of the
    server's uptime, None for as long as the session is there. `owner` is that of the session."""

    id: str
    secret: str
    session: str
    owner: str
    made: float
    until: float | None = None


class Views:
    """All links of the server, in memory, as the gate asks with every request."""

    def __init__(self, store: SmallStore, known: dict[str, View], uptime: Callable[[], float]) -> None:
        self._store, self._known, self._uptime = store, known, uptime
        self._forgetting: set[asyncio.Future[None]] = set()

    @classmethod
    async def open(cls, store: SmallStore, uptime: Callable[[], float]) -> Views:
        views = cls(store, await _read(store), uptime)
        for view in [v for v in views._known.values() if not views._lives(v)]:
            await views._forget(view)
        return views

    async def look_again(self) -> None:
        """Take in what other servers on the same store wrote."""
        self._known = await _read(self._store)

    def _lives(self, view: View) -> bool:
        return view.until is None or view.until > self._uptime()

    def by_secret(self, secret: bytes) -> View | None:
        view = self._known.get(hash_of(secret))
        return view if view is not None and self._lives(view) else None

    def holds(self, secret: str) -> bool:
        """Whether a link, by its hash, still opens."""
        view = self._known.get(secret)
        return view is not None and self._lives(view)

    def of(self, session: str) -> list[View]:
        """Of one session, the oldest first."""
        mine = (v for v in self._known.values() if v.session == session and self._lives(v))
        return sorted(mine, key=lambda v: v.made)

    def left(self, view: View) -> float | None:
        """Seconds of the server's uptime until it ends."""
        return None if view.until is None else max(0.0, view.until - self._uptime())

    async def make(self, session: str, owner: str, days: float | None) -> tuple[View, str]:
        """A new link to a session, and its secret, which is not kept.

        Raises:
            ReconveneError: `invalid_field` when it has too many.
        """
        if len(self.of(session)) >= MOST_OF_A_SESSION:
            raise ReconveneError(
                "invalid_field",
                f"The session has {MOST_OF_A_SESSION} links. Revoke one first.",
                limit=MOST_OF_A_SESSION,
            )
        secret = secrets.token_urlsafe(32)
        until = None if days is None else self._uptime() + days * DAY
        view = View(secrets.token_hex(4), hash_of(secret.encode()), session, owner, time.time(), until)
        await self._store.put(_VIEW + view.secret, json.dumps(asdict(view)))
        self._known[view.secret] = view
        return view, secret

    async def revoke(self, session: str, id: str) -> View:
        """
        Raises:
            ReconveneError: `not_found`.
        """
        for view in self.of(session):
            if view.id == id:
                await self._forget(view)
                return view
        raise ReconveneError("not_found", "The session has no link with this id.")

    def session_gone(self, session: str, _reason: str = "") -> None:
        """Forget the links of a session that was deleted: at once for whoever comes, in the store as soon as it is written."""
        for view in [v for v in self._known.values() if v.session == session]:
            del self._known[view.secret]
            task = asyncio.ensure_future(self._store.put(_VIEW + view.secret, None))
            self._forgetting.add(task)
            task.add_done_callback(self._forgetting.discard)

    async def settled(self) -> None:
        """Until everything that was forgotten is so in the store."""
        await asyncio.gather(*self._forgetting, return_exceptions=True)

    async def _forget(self, view: View) -> None:
        await self._store.put(_VIEW + view.secret, None)
        self._known.pop(view.secret, None)


def open_to_viewers(method: str, path: str, sessions: frozenset[str]) -> bool:
    """Whether somebody who has links to these sessions, and is nobody else here, may ask for this."""
    if path == "/api/sign-out":
        return method == "POST"
    if method not in ("GET", "HEAD"):
        return False
    if path in _NEEDED or _PAGE.fullmatch(path):
        return True
    found = _SESSION.fullmatch(path)
    return found is not None and found["id"] in sessions


async def _read(store: SmallStore) -> dict[str, View]:
    found = (_view(text) for text in (await store.scan(_VIEW)).values())
    return {view.secret: view for view in found if view is not None}


def _view(text: str) -> View | None:
    """None for what a repaired database may hold instead."""
    try:
        kept = json.loads(text)
        until = kept["until"]
        return View(
            str(kept["id"]), str(kept["secret"]), str(kept["session"]), str(kept["owner"]),
            float(kept["made"]), None if until is None else float(until),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
