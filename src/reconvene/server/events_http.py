"""A session's log over HTTP: by pages, and as server-sent events. The same feed as the WebSocket's, the same cursors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import structlog

from reconvene.errors import ReconveneError
from reconvene.log.port import SessionRow
from reconvene.protocol.cursor import START_TAG, Cursor
from reconvene.server.services import Services

PAGE = 1000
_log = structlog.get_logger("reconvene.http")


@dataclass(frozen=True, slots=True)
class Place:
    """Where to go on; `stale` is why the place that was asked for cannot be continued."""

    cursor: Cursor
    stale: str | None = None


async def find_place(services: Services, session: SessionRow, after: str | None) -> Place:
    """Args:
        after: a cursor, a bare seq, or nothing (the beginning).

    Raises:
        ReconveneError: `invalid_field`.
    """
    log = services.sessions.log
    if after is None or after in ("", "0"):
        return Place(Cursor(session.epoch, 0, START_TAG))
    if re.fullmatch(r"\d{1,15}", after):
        seq = min(int(after), session.head)
        return Place(Cursor(session.epoch, seq, await log.tag(session.id, seq) or START_TAG))
    cursor = Cursor.parse(after)
    if cursor.epoch != session.epoch:
        return Place(cursor, "epoch")
    if cursor.seq > session.head:
        return Place(cursor, "rollback")
    if await log.tag(session.id, cursor.seq) != cursor.tag:
        return Place(cursor, "diverged")
    return Place(cursor)


async def page(services: Services, session: SessionRow, after: str | None, limit: int) -> str:
    """JSON text of an `EventPage`."""
    place = await find_place(services, session, after)
    if place.stale is not None:
        snapshot = await services.sessions.snapshot(session.id)
        return _page(session, session.head, snapshot.events, snapshot.cursor, place.stale)
    rows = await services.sessions.log.read(
        session.id, place.cursor.seq, upto=session.head, public=True, max_events=limit, max_bytes=8 * 1024**2
    )
    end = session.cursor
    if rows and (len(rows) == limit or await _more(services, session, rows[-1].seq)):
        end = Cursor(session.epoch, rows[-1].seq, rows[-1].tag)
    return _page(session, session.head, [row.wire() for row in rows], end, None)


async def _more(services: Services, session: SessionRow, after: int) -> bool:
    return bool(await services.sessions.log.read(session.id, after, upto=session.head, public=True, max_events=1))


def _page(session: SessionRow, head: int, events: list[str], end: Cursor, stale: str | None) -> str:
    reason = "null" if stale is None else f'"{stale}"'
    return (
        f'{{"epoch":"{session.epoch}","head":{head},"events":[{",".join(events)}],"next":"{end}","snapshot":{reason}}}'
    )


async def stream(
    services: Services, session: SessionRow, place: Place, welcome: Callable[[], bool] = lambda: True
) -> AsyncIterator[bytes]:
    """Server-sent events for ever: `event` is the event's type, `id` its cursor; `snapshot` first when the place is stale.

    Ends when the server drains, who reads is not `welcome` any more, the session is deleted or the store does not answer; the browser
    then comes back with `Last-Event-ID`, and is told why.
    """
    sessions, feed = services.sessions, services.sessions.feed
    woken = asyncio.Event()
    draining = asyncio.create_task(services.connections.draining.wait())
    draining.add_done_callback(lambda _: woken.set())
    watch = feed.watch(session.id, woken.set)
    try:
        with sessions.connected(session.id):
            yield f"retry: {services.capacity.retry().base_ms}\n\n".encode()
            seq = place.cursor.seq
            if place.stale is not None:
                snapshot = await sessions.snapshot(session.id)
                seq = snapshot.cursor.seq
                events = ",".join(snapshot.events)
                data = f'{{"cursor":"{snapshot.cursor}","reason":"{place.stale}","events":[{events}]}}'
                yield _event(snapshot.cursor, "snapshot", data)
            while welcome() and not services.connections.draining.is_set():
                woken.clear()
                chunk = await feed.read(session.id, seq)
                if chunk.upto > seq:
                    rows = [_event(Cursor(session.epoch, r.seq, r.tag), r.type, r.wire()) for r in chunk.rows]
                    if rows:
                        yield b"".join(rows)
                    seq = chunk.upto
                    continue
                try:
                    async with asyncio.timeout(services.settings.limits.heartbeat):
                        await woken.wait()
                except TimeoutError:
                    yield b": still here\n\n"
    except ReconveneError as error:
        _log.info("a stream ended", session_id=session.id, code=error.code)
    finally:
        watch.close()
        draining.cancel()


def _event(cursor: Cursor, kind: str, data: str) -> bytes:
    return f"id: {cursor}\nevent: {kind}\ndata: {data}\n\n".encode()
