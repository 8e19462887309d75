"""A session's log as a stream of chunks, past and live alike: what every adapter translates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from reconvene.log.feed import Chunk
from reconvene.server.services import Services


async def chunks(
    services: Services, session_id: str, after: int, *, beat: float | None = None
) -> AsyncIterator[Chunk | None]:
    """What comes after a seq, for ever; None after `beat` seconds in which nothing came.

    Ends when the server drains. While it lasts the session is connected: it is neither unloaded nor swept.

    Raises:
        ReconveneError: `no_such_session` when it was deleted, and what the store raises.
    """
    sessions, feed = services.sessions, services.sessions.feed
    woken = asyncio.Event()
    stopping = services.connections.draining
    draining = asyncio.create_task(stopping.wait())
    draining.add_done_callback(lambda _: woken.set())
    watch = feed.watch(session_id, woken.set)
    try:
        with sessions.connected(session_id):
            while not stopping.is_set():
                woken.clear()
                chunk = await feed.read(session_id, after)
                if chunk.upto > after:
                    after = chunk.upto
                    yield chunk
                    continue
                try:
                    async with asyncio.timeout(beat):
                        await woken.wait()
                except TimeoutError:
                    yield None
    finally:
        watch.close()
        draining.cancel()
