"""Other people's protocols on the same sessions: ACP for editors, MCP for agents, AG-UI for front ends.

What goes out is a pure function of the log, what comes in goes through `sessions.Sessions`, as with every client. Their libraries
take up to a second to import, so that is done when the first client comes, in a thread, and never at the server's start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from reconvene.server.asgi import Application, Receive, Scope, Send
from reconvene.server.services import Services


class OnFirstUse:
    """An application that is imported and made when its first client comes."""

    def __init__(self, make: Callable[[], Application]) -> None:
        self._make = make
        self._made: asyncio.Task[Application] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._made is None or (self._made.done() and (self._made.cancelled() or self._made.exception())):
            self._made = asyncio.create_task(asyncio.to_thread(self._make), name="adapter")
        application = await asyncio.shield(self._made)
        await application(scope, receive, send)


def endpoints(services: Services) -> Mapping[str, Application]:
    """What the server serves beside its own protocol, by path."""

    def acp() -> Application:
        from reconvene.adapters.acp.endpoint import AcpEndpoint

        return AcpEndpoint(services)

    def mcp() -> Application:
        from reconvene.adapters.mcp.endpoint import McpEndpoint

        return McpEndpoint(services)

    def agui() -> Application:
        from reconvene.adapters.agui.endpoint import AguiEndpoint

        return AguiEndpoint(services)

    return {"/acp": OnFirstUse(acp), "/mcp": OnFirstUse(mcp), "/agui": OnFirstUse(agui)}
