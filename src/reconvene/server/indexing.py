"""The indexes of a server that runs: opened for what is served, kept while sessions use them, and told of on the pages."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict
from typing import Any

from reconvene.errors import ReconveneError
from reconvene.index import Indexes
from reconvene.index.registry import Wish
from reconvene.index.state import IndexState
from reconvene.server.connections import Connections
from reconvene.server.services import Services
from reconvene.workspace import Workspace


class Indexing:
    """What the HTTP API and the life cycle need of the indexes."""

    def __init__(self, services: Services, indexes: Indexes) -> None:
        self.indexes = indexes
        self._services = services
        self._opening: set[asyncio.Task[None]] = set()
        connections = services.connections
        indexes.listeners.append(lambda state: tell(connections, state))
        connections.on_open.append(indexes.touch)
        services.on_root.append(self.open)

    def begin(self) -> None:
        """Open the indexes of all that is served, behind: the first prompt finds them at work."""
        for workspace in self._services.sessions.roots.all():
            task = asyncio.create_task(self.open(str(workspace.root)), name=f"open index {workspace.name}")
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def open(self, root: str) -> None:
        workspace = self._services.sessions.roots.by_root(root)
        if workspace is not None:
            with contextlib.suppress(ReconveneError):  # the next prompt tries again, and says what is wrong
                await self.indexes.get(workspace)

    def served(self, root: str | None) -> Workspace:
        """The served code base of this name or path; the only one for None.

        Raises:
            ReconveneError: `root_required`, `root_not_served`.
        """
        roots = self._services.sessions.roots
        served = roots.all()
        if root is None and len(served) != 1:
            names = ", ".join(w.name for w in served) or "none"
            raise ReconveneError("root_required", f"Say which code base is meant ({names}).")
        workspace = served[0] if root is None else roots.find(root)
        if workspace is None:
            raise ReconveneError("root_not_served", "This code base is not being served. Serve it, then ask again.")
        return workspace

    async def wish(self, root: str | None, wish: Wish) -> IndexState:
        """Do what a person asks of a served code base's index.

        Raises:
            ReconveneError: those of `served` and of `Indexes.wish`.
        """
        workspace = self.served(root)
        return await self.indexes.wish(workspace, wish)


def shown(state: IndexState) -> dict[str, Any]:
    return {**asdict(state), "sentence": state.sentence}


def tell(connections: Connections, state: IndexState) -> None:
    """A `notice` to every page that is on a session of this code base."""
    content = {"code": "index", "message": state.sentence, "details": shown(state)}
    connections.notify(state.root, {"type": "notice", "content": content})
