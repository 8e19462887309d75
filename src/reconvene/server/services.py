"""What the parts of the server share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from reconvene.agents.providers import Providers
from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.server.asgi import Application
from reconvene.server.capacity import Capacity
from reconvene.server.connections import Connections
from reconvene.server.credentials import Credentials
from reconvene.server.gate import Addresses
from reconvene.server.metrics import Metrics
from reconvene.server.oidc import Oidc
from reconvene.sessions.service import Sessions

if TYPE_CHECKING:
    from reconvene.server.indexing import Indexing


class Runs(Protocol):
    """The part of the supervisor that the server needs."""

    @property
    def active(self) -> int: ...

    async def kick_root(self, root: str) -> None: ...


@dataclass(slots=True)
class Services:
    """One running server. `stop(restart)` asks it to drain and end; it returns at once."""

    sessions: Sessions
    runs: Runs
    credentials: Credentials
    settings: Settings
    addresses: Addresses
    capacity: Capacity
    metrics: Metrics
    connections: Connections
    stop: Callable[[bool], None]
    boot: str
    version: str
    providers: Providers
    unwell: ReconveneError | None = None
    """Why the store cannot be used, once that is so."""
    oidc: Oidc | None = None
    """The provider of accounts, if one is set."""
    indexing: Indexing | None = None
    """None until it is imported."""
    endpoints: Mapping[str, Application] = field(default_factory=dict)
    """Other protocols on the same sessions, by path: ASGI applications behind the gate."""
    on_root: list[Callable[[str], Awaitable[None]]] = field(default_factory=list)
    """Awaited with the real path of a code base that was added while the server runs."""
    on_close: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """Awaited when the server ends, while the store is still open."""
