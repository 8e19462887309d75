"""An echo over WebSocket, for conformance cases: `python echo_server.py ours PORT` with the server's own protocols and limits of frames,
`bare` with uvicorn's, as they come, `careless` with ours where no UTF-8 is checked."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvicorn

from reconvene.config import Limits, Settings, default_data_dir
from reconvene.server import ws_protocol
from reconvene.server.web import WebServer, web_config

LARGEST = 32 * 1024**2
"""The cases send messages of up to 16 MiB; what a limit refuses is shown elsewhere."""


async def echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send(
            {"type": "websocket.send", **{k: v for k, v in message.items() if k in ("text", "bytes") and v is not None}}
        )


def _unchecked(self: Any) -> None:
    data, self.frames = b"".join(self.frames), []
    kind, value = ("text", data.decode("utf-8", "replace")) if self.curr_msg_data_type == "text" else ("bytes", data)
    self.queue.put_nowait({"type": "websocket.receive", kind: value})


async def serve(kind: str, port: int) -> None:
    if kind != "bare":
        # Some cases are thousands of fragments, which is what the budget of frames is there to end.
        ws_protocol.FRAME_BURST = 10_000_000
        if kind == "careless":
            ws_protocol.SocketProtocol.send_receive_event_to_app = _unchecked  # type: ignore[method-assign]
        config = web_config(echo, Settings(data_dir=default_data_dir(), limits=Limits(frame=LARGEST)))
        config.host, config.port = "127.0.0.1", port
        server: uvicorn.Server = WebServer(config)
    else:
        bare = {"ws": "websockets-sansio", "ws_max_size": LARGEST, "ws_per_message_deflate": False}
        server = uvicorn.Server(
            uvicorn.Config(echo, host="127.0.0.1", port=port, http="h11", lifespan="off", log_config=None, **bare)  # type: ignore[arg-type]
        )
    await server.serve()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
