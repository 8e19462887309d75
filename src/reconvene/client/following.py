"""The resumable client over a real connection: it reconnects until told to stop, loses nothing, sees nothing twice.

    link = Link(client={"id": new_id(), "name": "example"}, follower=Follower(session_id))
    async with Following(where, link, on=fold) as client:
        receipt = await client.submit({"type": "default", "content": "How are sessions swept?"})

`on` gets every happening in order, as it comes; what is slow in it slows the reading of the socket, nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from reconvene.client.link import After, Broken, Frame, Happening, HeldBack, Link, Opened, Receipt, Settled, TurnedAway
from reconvene.errors import ReconveneError

OPEN_TIME = 10.0
ABSENT = 0.3
"""Seconds until it is looked again whether there is a server: `where` knows that there is none, so nobody is burdened."""
MAX_FRAME = 64 * 1024**2
"""Bytes. A snapshot is one frame, and a long session's is large."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is now, and the credential to show it."""

    url: str
    token: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone (or none could be made); the next try is in `delay` seconds."""

    reason: str
    delay: float


class Following:
    """One session followed over as many connections as it takes.

    Args:
        where: asked before every connection, as a server may come back on another port; None: there is none now.
        link: what is known of the session; holds the cursor and the outbox.
        on: gets each happening, and `Lost` between connections.
        margin: seconds of silence beyond the heartbeat after which the connection is dead.
        room: waited for before each frame is read, by who cannot take more just now; a connection that is cut meanwhile is resumed.
        patience: seconds without any connection after which it gives up with `starting`; without end, as a person would want it.
    """

    def __init__(
        self,
        where: Callable[[], Awaitable[Address | None]],
        link: Link,
        on: Callable[[Happening | Lost], None] = lambda _: None,
        *,
        margin: float = 10.0,
        room: Callable[[], Awaitable[object]] | None = None,
        patience: float = math.inf,
    ) -> None:
        self.link = link
        self._where = where
        self._on = on
        self._margin = margin
        self._room = room
        self._patience = patience
        self._socket: ClientConnection | None = None
        self._receipts: dict[str, asyncio.Future[Receipt]] = {}
        self._synced = asyncio.Event()
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._resend: set[asyncio.Task[None]] = set()
        self._sending = asyncio.Lock()
        self._sent: set[str] = set()
        """What this connection was sent of the outbox."""
        self.connections = 0
        """Connections that were opened so far."""

    async def __aenter__(self) -> Following:
        self._task = asyncio.create_task(self._run(), name="client")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        tasks = [t for t in (self._task, *self._resend) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._stopped.cancel()
        for receipt in self._receipts.values():
            receipt.cancel()

    async def submit(self, frame: Frame) -> Receipt:
        """Send a command and wait until the server says that it is stored, over however many connections.

        Raises:
            ReconveneError: the server refused it, or the client had to stop.
        """
        frame = self.link.put(frame)
        future = self._receipts.setdefault(frame["id"], asyncio.get_running_loop().create_future())
        if self._stopped.done():
            self._stopped.result()
        await self._send(frame["id"])
        return await future

    async def synced(self) -> None:
        """Wait until the connection has caught up. Raises what stopped the client."""
        await self.until(self._synced.wait())

    async def stopped(self) -> None:
        """Wait until the client stops by itself, only ever for an error that trying again cannot mend; raises it."""
        await asyncio.shield(self._stopped)

    async def drop(self) -> None:
        """Break the connection, as a lost network does; the client resumes."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def until(self, waiting: Awaitable[Any]) -> None:
        """Wait for something, or for what stops the client; raises that."""
        task = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait({task, self._stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self._stopped.result()
        finally:
            task.cancel()

    async def _run(self) -> None:
        alone = time.monotonic()
        try:
            while True:
                before = self.connections
                after, reason = await self._once()
                self._synced.clear()
                if after.error is not None:
                    raise after.error
                if self.connections > before:
                    alone = time.monotonic()
                elif time.monotonic() - alone > self._patience:
                    raise ReconveneError("starting", f"No server answered for {self._patience:g} s ({reason}).")
                self._on(Lost(reason, after.delay))
                await asyncio.sleep(after.delay)
        except Exception as e:
            for future in self._receipts.values():
                if not future.done():
                    future.set_exception(e)
                    future.exception()  # it may be that nobody waits any more
            if not self._stopped.done():
                self._stopped.set_exception(e)
                self._stopped.exception()
            if not isinstance(e, ReconveneError):
                raise

    async def _once(self) -> tuple[After, str]:
        """One connection, from the handshake to its end."""
        address = await self._where()
        if address is None:
            return After(ABSENT), "no server is running"
        started = time.monotonic()
        try:
            socket = await connect(
                address.url,
                additional_headers={"Authorization": f"Bearer {address.token}"},
                compression=None,
                proxy=None,
                ping_interval=None,  # the protocol has its own heartbeat
                open_timeout=OPEN_TIME,
                close_timeout=2,
                max_size=MAX_FRAME,
            )
        except InvalidStatus as e:
            wait = e.response.headers.get("Retry-After", "")
            return self.link.refused(e.response.status_code, float(wait) if wait.isdigit() else None), str(e)
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, EOFError) as e:
            return self.link.refused(None), str(e) or type(e).__name__
        self.connections += 1
        try:
            code, reason = await self._talk(socket)
        finally:
            self._socket = None
            with contextlib.suppress(Exception):
                await socket.close()
        if code == 1009 and (failed := self.link.too_big()) is not None:
            self._happened(failed)
        return self.link.closed(code, reason, lived=time.monotonic() - started), reason or f"closed with {code}"

    async def _talk(self, socket: ClientConnection) -> tuple[int | None, str]:
        try:
            async with self._sending:
                self._sent = set(self.link.outbox)
                for frame in self.link.opening():
                    await socket.send(_text(frame))
                self._socket = socket
            # Wall clock on purpose: after a sleep of the machine the connection is known to be old.
            while True:
                if self._room is not None:
                    await self._room()
                heard = time.time()
                text = await self._hear(socket, heard)
                if text is None:
                    await socket.close(4000, "no heartbeat")
                    return 4000, "the server was silent"
                for happening in self.link.receive(text):
                    if isinstance(happening, Broken):
                        await socket.close(happening.code, happening.reason[:100])
                        return happening.code, happening.reason
                    if isinstance(happening, TurnedAway):
                        raise happening.error
                    self._happened(happening)
        except ConnectionClosed as e:
            close = e.rcvd or e.sent
            return (close.code, close.reason) if close else (None, "the connection broke")

    async def _hear(self, socket: ClientConnection, heard: float) -> str | bytes | None:
        """The next frame; None when there was none for a heartbeat and the margin."""
        longest = self.link.heartbeat + self._margin
        receiving = asyncio.ensure_future(socket.recv())
        try:
            while time.time() - heard < longest:
                done, _ = await asyncio.wait({receiving}, timeout=min(1.0, longest))
                if done:
                    return receiving.result()
            return None
        finally:
            receiving.cancel()

    def _happened(self, happening: Happening) -> None:
        match happening:
            case Opened():
                self._synced.clear()
            case HeldBack(id, after):
                task = asyncio.create_task(self._send(id, after))
                self._resend.add(task)
                task.add_done_callback(self._resend.discard)
        self._on(happening)
        if self.link.follower.synced:
            self._synced.set()
        if isinstance(happening, Settled):
            self._sent.discard(happening.id)  # what was refused may be submitted again, with its id
        if isinstance(happening, Settled) and (future := self._receipts.pop(happening.id, None)) and not future.done():
            if happening.error is not None:
                future.set_exception(happening.error)
            elif happening.receipt is not None:
                future.set_result(happening.receipt)

    async def _send(self, id: str, after: float = 0.0) -> None:
        """Send a frame of the outbox if it was not sent yet; without a connection, the next opening sends it."""
        if after:
            await asyncio.sleep(after)
            self._sent.discard(id)
        async with self._sending:
            frame = self.link.outbox.get(id)
            if self._socket is not None and frame is not None and id not in self._sent:
                self._sent.add(id)
                with contextlib.suppress(ConnectionClosed):
                    await self._socket.send(_text(frame))


def _text(frame: Frame) -> str:
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
