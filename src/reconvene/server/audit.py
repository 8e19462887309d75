"""What was done to a server, by whom, when and from where: sign-ins, people, links, settings, deletions. Written, never changed.

It lies in the store beside the sessions, so that all servers on one store write one account of it. No secret is in it, and nothing of
what was said in a session.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reconvene.server.small_store import SmallStore

KEPT = 10_000
"""Entries; older ones go when a server starts."""
_ENTRY = "audit:"

Deed = Literal[
    "signed_in", "signed_out", "user_added", "user_token", "user_disabled", "user_enabled", "link_made", "link_revoked",
    "link_opened", "model_changed", "root_added", "index_changed", "session_deleted", "server_stopped",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """`at`: seconds since the epoch. `by`: the name of a person, or `owner`. `peer`: the address it came from. `about`: done to what."""

    at: float
    deed: str
    by: str
    peer: str
    about: dict[str, Any]


class Audit:
    def __init__(self, store: SmallStore) -> None:
        self._store = store

    @classmethod
    async def open(cls, store: SmallStore) -> Audit:
        names = sorted(await store.scan(_ENTRY))
        for name in names[: max(0, len(names) - KEPT)]:
            await store.put(name, None)
        return cls(store)

    async def note(self, deed: Deed, by: str, peer: str, about: Mapping[str, Any] | None = None) -> None:
        """One entry, on disk when this returns."""
        at = time.time_ns()
        text = json.dumps({"at": at / 1e9, "deed": deed, "by": by, "peer": peer, "about": dict(about or {})})
        await self._store.put(f"{_ENTRY}{at:020d}:{secrets.token_hex(4)}", text)

    async def newest(self, limit: int) -> list[Entry]:
        found = sorted((await self._store.scan(_ENTRY)).items(), reverse=True)[:limit]
        return [Entry(**json.loads(text)) for _, text in found]
