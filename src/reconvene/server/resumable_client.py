"""A resumable client's connection: attach by cursor, acknowledge commands, deliver batches that tile the log."""

from __future__ import annotations

from contextlib import AbstractContextManager

from reconvene.errors import ReconveneError
from reconvene.log.feed import Chunk
from reconvene.protocol.cursor import Cursor
from reconvene.protocol.frames import (
    ClientFrame,
    Config,
    Default,
    Hb,
    HbContent,
    Hello,
    Ping,
    Retry,
    SessionContent,
    SessionFrame,
)
from reconvene.protocol.parsing import parse_resumable
from reconvene.server.commands import carry_out
from reconvene.server.connection import Connection
from reconvene.server.delivery import Delivery, batch_frame
from reconvene.server.wire import text_frame
from reconvene.sessions.attach import Attachment
from reconvene.sessions.rows import Receipt, Who

SNAPSHOT_BYTES = 4 * 1024**2
"""Of a session's log. A larger one is sent from its beginning in batches, after an empty snapshot: what is made and buffered for one
connection must not grow with the session."""
ATTEMPTS = 3
"""Times that attaching begins again because the session was deleted in the middle of it."""


class ResumableClient:
    __slots__ = ("_connected", "_connection", "_delivery", "_epoch", "_reads_only", "_spread_ms", "_sync_at", "_who")

    def __init__(self, connection: Connection, who: Who, attachment: Attachment) -> None:
        self._connection = connection
        self._who = who
        self._epoch = attachment.session.epoch
        self._sync_at: int | None = attachment.session.head
        """Until the client has this seq, it has not what there was when it attached."""
        self._spread_ms = 0
        """Over how long it was told to come back."""
        self._reads_only = False
        """Somebody with a link, who sees the session and changes nothing."""
        self._delivery: Delivery | None = None
        self._connected: AbstractContextManager[None] = connection.house.sessions.connected(attachment.session.id)
        self._connected.__enter__()

    @classmethod
    async def attach(cls, connection: Connection, frame: ClientFrame) -> None:
        """The first frame: find the session, say so, deliver what is missed, carry out the prompt if there is one."""
        assert isinstance(frame, Hello | Default)
        if isinstance(frame, Default) and frame.id is not None:
            async with connection.house.bringing(connection.principal.owner, frame.id):
                await cls._attach(connection, frame)
        else:
            await cls._attach(connection, frame)

    @classmethod
    async def _attach(cls, connection: Connection, frame: Hello | Default) -> None:
        info = frame.client
        principal = connection.principal
        name = (info.name if info else "client") if principal.runs_the_server else principal.name
        owner = principal.viewed(frame.config.session_id if frame.config else None)
        if principal.kind == "view" and owner is None:
            raise ReconveneError("forbidden", "This link shows one session; ask for that one.")
        if owner is not None and isinstance(frame, Default):
            raise read_only()
        who = Who(owner or principal.owner, name, info.id if info else None)
        client, attachment = await cls._attached(connection, who, frame)
        client._reads_only = owner is not None
        connection.client = client
        if who.client_id is not None:
            connection.house.supersede(connection, who.client_id)
        client._send_session(attachment)
        try:
            await client._begin(attachment)
        except Exception as error:
            connection.undeliverable(error)
            return
        if isinstance(frame, Default):
            # It is bound to the session that was found for it, which may be another than the one it names.
            config = frame.config and frame.config.model_copy(update={"session_id": None})
            await client._carry_out(frame.model_copy(update={"config": config}), first=True)

    @classmethod
    async def _attached(
        cls, connection: Connection, who: Who, frame: Hello | Default
    ) -> tuple[ResumableClient, Attachment]:
        house, config = connection.house, frame.config or Config()
        for attempt in range(ATTEMPTS):
            deletions = house.deletions
            attachment = await house.sessions.attach(
                who,
                session_id=config.session_id,
                cursor=config.cursor,
                root=config.root_directory,
                prompt_id=frame.id if isinstance(frame, Default) else None,
                recovery=config.recovery,
            )
            session_id = attachment.session.id
            client = cls(connection, who, attachment)
            house.bind(connection, session_id, attachment.session.root)
            # From here on it is connected and never swept; it may have been swept in the moment before.
            try:
                if attempt == ATTEMPTS - 1 or await house.still_there(session_id, deletions):
                    return client, attachment
            except BaseException:
                client.close()
                raise
            client.close()
        raise AssertionError("unreachable")

    def _send_session(self, attachment: Attachment) -> None:
        house, session = self._connection.house, attachment.session
        retry = house.capacity.retry()
        self._spread_ms = retry.spread_ms
        content = SessionContent(
            session_id=session.id,
            mode=attachment.mode,
            reason=attachment.reason,
            head=session.head,
            state=session.status,
            run_id=session.run_id,
            root=session.root,
            hb_ms=round(house.limits.heartbeat * 1000),
            retry=retry,
            server=house.server,
        )
        self._connection.send(text_frame(SessionFrame(content=content).model_dump_json().encode()))

    async def _begin(self, attachment: Attachment) -> None:
        connection, session = self._connection, attachment.session
        start = attachment.after
        if attachment.mode != "resume":
            events: list[str] = []
            if attachment.mode == "snapshot" and session.bytes <= SNAPSHOT_BYTES:
                snapshot = await connection.house.sessions.snapshot(session.id)
                start, events = snapshot.cursor, snapshot.events
            mark = ""
            if self._sync_at is not None and start.seq >= self._sync_at:
                mark, self._sync_at = ',"synced":true', None
            text = f'{{"type":"snapshot","content":{{"cursor":"{start}","events":[{",".join(events)}]{mark}}}}}'
            connection.send(text_frame(text.encode()))
        self._follow(start)

    def _follow(self, start: Cursor) -> None:
        connection = self._connection
        self._delivery = Delivery(
            connection.house.sessions.feed,
            connection.session_id or "",
            start,
            wake=connection.wake,
            deliver=self._deliver,
            wire=connection.wire,
            failed=connection.undeliverable,
        )
        connection.wake()

    # -- out

    def _deliver(self, chunk: Chunk) -> bool:
        synced = self._sync_at is not None and chunk.upto >= self._sync_at
        if not chunk.rows and not synced:
            return False  # only private rows, if any: the range goes with the next batch that says something
        return self._send_batch(chunk, synced=synced)

    def _send_batch(self, chunk: Chunk, *, synced: bool) -> bool:
        assert self._delivery is not None
        if not self._connection.send(batch_frame(chunk, self._epoch, self._delivery.tag, synced=synced)):
            return False
        if synced:
            self._sync_at = None
        return True

    def pump(self) -> None:
        if self._delivery is not None:
            self._delivery.pump()

    def beat(self) -> None:
        delivery = self._delivery
        if delivery is None or self._connection.wire.blocked:
            return
        chunk = delivery.look()
        if chunk is not None and chunk.upto > delivery.seq and self._send_batch(chunk, synced=False):
            delivery.advance(chunk)  # private rows alone: the cursor moves while it is quiet, so that a resume need not
            return
        content = HbContent(head=delivery.head, retry=self._news_of_retry())
        self._connection.send(text_frame(Hb(content=content).model_dump_json(exclude_none=True).encode()))

    def _news_of_retry(self) -> Retry | None:
        """How to come back, if that is another thing by now: who came among the first would else return at once with all the others."""
        retry = self._connection.house.capacity.retry()
        if abs(retry.spread_ms - self._spread_ms) <= max(self._spread_ms / 4, retry.base_ms):
            return None
        self._spread_ms = retry.spread_ms
        return retry

    def farewell(self, retry_ms: int) -> None:
        content = {"reason": "restart", "retry_ms": retry_ms}
        self._connection.send_json({"type": "goodbye", "content": content})

    def close(self) -> None:
        if self._delivery is not None:
            self._delivery.close()
        self._connected.__exit__(None, None, None)

    # -- in

    async def take(self, text: str) -> None:
        limits = self._connection.house.limits
        frame = parse_resumable(text, first=False, limits_json_depth=limits.json_depth, limits_prompt=limits.prompt)
        if isinstance(frame, Ping):
            self._connection.send_json({"type": "pong", "content": {"t": frame.content.t}})
        elif self._reads_only:
            self._connection.failed(read_only(), frame.id)
        else:
            await self._carry_out(frame)

    async def _carry_out(self, frame: ClientFrame, *, first: bool = False) -> None:
        connection = self._connection
        assert connection.session_id is not None
        try:
            receipt = await carry_out(connection.house.sessions, self._who, connection.session_id, frame)
        except Exception as error:
            connection.failed(error, frame.id)
            return
        self._acknowledge(frame.id, receipt)
        if first and receipt.session_id != connection.session_id:
            # Two connections brought the same first prompt at the same time; the other one's session has it.
            connection.end(4200, "This prompt is in another session. Attach without a cursor.")

    def _acknowledge(self, frame_id: str | None, receipt: Receipt) -> None:
        content = {"status": receipt.status, "seq": receipt.seq, "run_id": receipt.run_id}
        self._connection.send_json({"type": "ack", "reply_to": frame_id, "content": content})


def read_only() -> ReconveneError:
    return ReconveneError("read_only", "This link shows the session; it changes nothing. Its owner can.")
