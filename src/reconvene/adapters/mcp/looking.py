"""The tools that look at code, for agents of others: the very same that our own agents have, with the same small results and pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Annotated, Any

from pydantic import Field

from reconvene.agents.durable import AgentDeps, ToolOutcome
from reconvene.agents.mapping import repo_map as agents_map
from reconvene.agents.mapping import symbol as agents_symbol
from reconvene.agents.reading import read_file as agents_read
from reconvene.agents.searching import search as agents_search
from reconvene.errors import ReconveneError
from reconvene.search.context import SearchContext
from reconvene.server.indexing import Indexing
from reconvene.server.services import Services

Root = Annotated[
    str | None, Field(description="Name or path of the code base; needed only when the server has several.")
]
Cursor = Annotated[str | None, Field(description="For the next page: what the page before said.")]


STARTING = 30.0
"""Seconds that a call waits for a server that has just started: it serves before it has imported what looks at code."""

BUILDING = 8.0
"""Seconds that a call waits for an index that is being built; after that it answers from what there is, and says so."""


async def indexing_of(services: Services) -> Indexing:
    """Raises: `starting`."""
    deadline = time.monotonic() + STARTING
    while services.indexing is None:
        if time.monotonic() > deadline or services.connections.draining.is_set():
            raise ReconveneError("starting", "The server is still starting. Ask again in a moment.")
        await asyncio.sleep(0.05)
    return services.indexing


class Looking:
    """`search`, `read_file`, `repo_map` and `symbol`. Each returns text that ends with how to get more."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def search(
        self,
        query: Annotated[
            str,
            Field(
                description='Words and identifiers. `"text in quotes"` must stand on a line; `def:Name`, `uses:Name`, `re:pattern`; '
                "`path:src/`, `-path:test`, `lang:py` filter."
            ),
        ],
        root: Root = None,
        limit: Annotated[int, Field(ge=1, le=20, description="Places wanted.")] = 8,
        cursor: Cursor = None,
    ) -> str:
        """Find places in the code base, best first, with the lines around them."""
        return await self._run(root, agents_search, query=query, limit=limit, cursor=cursor)

    async def read_file(
        self,
        path: Annotated[str, Field(description="From the code base's root, as search prints it.")],
        root: Root = None,
        start: Annotated[int, Field(ge=1, description="First line, from 1.")] = 1,
        end: Annotated[int | None, Field(ge=1, description="Last line, inclusive.")] = None,
    ) -> str:
        """Read lines of a file, numbered. Long files come in pages; the last line says how to go on."""
        return await self._run(root, agents_read, path=path, start=start, end=end)

    async def repo_map(
        self,
        root: Root = None,
        query: Annotated[str | None, Field(description="What the places should matter for, in words.")] = None,
        focus: Annotated[list[str] | None, Field(max_length=20, description="Files or folders to begin with.")] = None,
        budget: Annotated[int, Field(ge=64, le=4000, description="Its size in tokens.")] = 1024,
        cursor: Cursor = None,
    ) -> str:
        """Show which files and definitions matter, best first, with line numbers and without the code."""
        return await self._run(root, agents_map, query=query, focus=focus, budget=budget, cursor=cursor)

    async def symbol(
        self,
        name: Annotated[
            str, Field(min_length=1, max_length=200, description="As the code spells it: `Session`, `Session.close`.")
        ],
        root: Root = None,
    ) -> str:
        """Show where a name is defined and where it is used."""
        return await self._run(root, agents_symbol, name=name)

    async def _run(self, root: str | None, tool: Callable[..., Awaitable[ToolOutcome]], **arguments: Any) -> str:
        indexing = await indexing_of(self._services)
        workspace = indexing.served(root)
        index = await indexing.indexes.get(workspace)
        await index.refresh_within(BUILDING)
        deps = AgentDeps(
            durable=None,  # type: ignore[arg-type]  # there is no run: these tools ask nobody and write nothing
            workspace=workspace,
            index=index,
            context=SearchContext.fold(()),
            limits=self._services.settings.limits,
        )
        outcome = await tool(SimpleNamespace(deps=deps), **arguments)
        return str(outcome.value)
