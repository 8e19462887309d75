"""Delivery to one connection: pull from the log at its cursor, write while the client reads, remember nothing else.

History and live are the same code. A wake-up only says "look again"; what is sent is always what the log has after the
cursor. Memory does not grow with how far a client is behind: it is one seq, its tag, and at most one chunk on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from reconvene.log.feed import Chunk, Feed, Watch
from reconvene.protocol.cursor import Cursor
from reconvene.server.wire import Wire, text_frame

CHUNKS_AT_ONCE = 8
"""Chunks that one connection gets before the others have their turn."""


def batch_frame(chunk: Chunk, epoch: str, after_tag: str, *, synced: bool) -> bytes:
    """The batch of a chunk as a whole WebSocket frame; made once for every connection at the same place."""
    name = "batch synced" if synced else "batch"
    frame = chunk.frames.get(name)
    if frame is None:
        after = Cursor(epoch, chunk.after, after_tag)
        upto = Cursor(epoch, chunk.upto, chunk.upto_tag) if chunk.upto > chunk.after else after
        events = ",".join([row.wire() for row in chunk.rows])
        mark = ',"synced":true' if synced else ""
        text = f'{{"type":"batch","content":{{"after":"{after}","upto":"{upto}","events":[{events}]{mark}}}}}'
        frame = chunk.frames[name] = text_frame(text.encode())
    return frame


class Delivery:
    """Moves one cursor along one session's log.

    Args:
        wake: asks for a later `pump`, at most once per turn of the loop.
        deliver: sends a chunk; True when the cursor may move past it.
        wire: what says whether the client has not yet read what it was sent.
        failed: gets what the store raises.
    """

    __slots__ = (
        "_deliver",
        "_failed",
        "_feed",
        "_task",
        "_wake",
        "_watch",
        "_wire",
        "closed",
        "seq",
        "session_id",
        "tag",
    )

    def __init__(
        self,
        feed: Feed,
        session_id: str,
        cursor: Cursor,
        *,
        wake: Callable[[], None],
        deliver: Callable[[Chunk], bool],
        wire: Wire,
        failed: Callable[[Exception], None],
    ) -> None:
        self.session_id = session_id
        self.seq = cursor.seq
        self.tag = cursor.tag
        self.closed = False
        self._feed = feed
        self._wake = wake
        self._deliver = deliver
        self._wire = wire
        self._failed = failed
        self._task: asyncio.Task[None] | None = None
        self._watch: Watch = feed.watch(session_id, wake)

    @property
    def head(self) -> int:
        """The last seq that is known of the session."""
        return max(self.seq, self._watch.head or 0)

    def pump(self) -> None:
        """Send what can be sent without waiting. What must be read from the store is read in the background."""
        if self.closed or self._task is not None:
            return
        try:
            for _ in range(CHUNKS_AT_ONCE):
                if self._wire.blocked:
                    return  # the wire wakes us when the client has read
                chunk = self._feed.at_hand(self.session_id, self.seq)
                if chunk is None:
                    self._task = asyncio.create_task(self._fetch())
                    return
                if not self._give(chunk):
                    return
        except Exception as error:
            self._failed(error)
            return
        self._wake()

    def look(self) -> Chunk | None:
        """What lies after the cursor, if that is known in memory."""
        if self.closed or self._task is not None:
            return None
        return self._feed.at_hand(self.session_id, self.seq)

    def advance(self, chunk: Chunk) -> None:
        self.seq, self.tag = chunk.upto, chunk.upto_tag

    def close(self) -> None:
        self.closed = True
        self._watch.close()
        if self._task is not None:
            self._task.cancel()

    def _give(self, chunk: Chunk) -> bool:
        """Send a chunk; whether there may be more after it."""
        if self.closed or not self._deliver(chunk):
            return False
        self.advance(chunk)
        return not chunk.at_head

    async def _fetch(self) -> None:
        try:
            chunk = await self._feed.read(self.session_id, self.seq)
            self._give(chunk)
            self._task = None
            self._wake()
        except Exception as error:
            self._failed(error)


def close_text(reason: str) -> str:
    """A close frame's reason: at most 123 bytes of UTF-8 (RFC 6455 §5.5)."""
    return reason.encode()[:120].decode("utf-8", "ignore")
