"""Events that are changed on their way to the page, for what a server seldom says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from playwright.async_api import BrowserContext, WebSocketRoute

Change = Callable[[dict[str, Any]], None]


async def changed(context: BrowserContext, change: Change) -> None:
    """Every event that the server sends is changed on its way to the page."""

    def route(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            frame = json.loads(message)
            for event in frame["content"].get("events", ()) if isinstance(frame.get("content"), dict) else ():
                change(event)
            socket.send(json.dumps(frame))

        server.on_message(pass_on)

    await context.route_web_socket(re.compile("/ws$"), route)
