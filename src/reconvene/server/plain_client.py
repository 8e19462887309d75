"""A plain client's connection: it knows no cursors and sends its prompt again whenever it connects (PROTOCOL §1)."""

from __future__ import annotations

from contextlib import AbstractContextManager

from reconvene.errors import ReconveneError
from reconvene.log.feed import Chunk
from reconvene.protocol.cursor import Cursor
from reconvene.protocol.frames import PlainFrame, SessionContent
from reconvene.protocol.parsing import parse_plain, plain_key
from reconvene.protocol.plain import AnswerTo, Ask, DecideOn, NewPrompt, PlainJson, PlainProjection, interpret
from reconvene.server.connection import Connection
from reconvene.server.delivery import Delivery
from reconvene.server.resumable_client import read_only
from reconvene.sessions.attach import PlainAttachment
from reconvene.sessions.rows import Who

ATTEMPTS = 3


class PlainClient:
    __slots__ = ("_connected", "_connection", "_delivery", "_projection", "_who")

    def __init__(self, connection: Connection, who: Who, session_id: str) -> None:
        self._connection = connection
        self._who = who
        self._projection = PlainProjection()
        self._delivery: Delivery | None = None
        self._connected: AbstractContextManager[None] = connection.house.sessions.connected(session_id, plain=True)
        self._connected.__enter__()

    @classmethod
    async def attach(cls, connection: Connection, frame: PlainFrame) -> None:
        principal = connection.principal
        if principal.kind == "view":
            raise read_only()
        who = Who(principal.owner) if principal.runs_the_server else Who(principal.owner, principal.name)
        # An answer cannot open a connection: it only attaches, and belongs to whatever is then being asked.
        opening = frame if frame.type == "default" else frame.model_copy(update={"type": "default", "content": ""})
        client, attachment = await cls._attached(connection, who, opening)
        connection.client = client
        client._send_session(attachment)
        if attachment.error is not None:
            raise ReconveneError(attachment.error, "The prompt is empty. Write what you want to know or have done.")
        try:
            await client._begin(attachment)
        except Exception as error:
            connection.undeliverable(error)
            return
        if attachment.submit:
            await client._submit(opening)
        if opening is not frame:
            await client._answer(frame)

    @classmethod
    async def _attached(
        cls, connection: Connection, who: Who, frame: PlainFrame
    ) -> tuple[PlainClient, PlainAttachment]:
        house = connection.house
        for attempt in range(ATTEMPTS):
            deletions = house.deletions
            attachment = await house.sessions.attach_plain(who, frame)
            session_id = attachment.session.id
            client = cls(connection, who, session_id)
            house.bind(connection, session_id, attachment.session.root)
            try:
                if attempt == ATTEMPTS - 1 or await house.still_there(session_id, deletions):
                    return client, attachment
            except BaseException:
                client.close()
                raise
            client.close()
        raise AssertionError("unreachable")

    def _send_session(self, attachment: PlainAttachment) -> None:
        house, session = self._connection.house, attachment.session
        content = SessionContent(
            session_id=session.id,
            mode="plain",
            reason=attachment.reason,
            head=session.head,
            state=session.status,
            run_id=session.run_id,
            root=session.root,
            hb_ms=round(house.limits.heartbeat * 1000),
            retry=house.capacity.retry(),
            server=house.server,
        )
        self._connection.send_json({"type": "session", "content": content.model_dump()})

    async def _begin(self, attachment: PlainAttachment) -> None:
        connection, session = self._connection, attachment.session
        sessions = connection.house.sessions
        # What still waits from before the replay is asked too, though its own turn is not replayed.
        for waiting in sorted((await sessions.state(session.id)).pending.values(), key=lambda p: p.seq):
            if waiting.seq <= attachment.replay_from:
                for row in await sessions.log.read(session.id, waiting.seq - 1, upto=waiting.seq):
                    self._projection.feed(row)
        self._delivery = Delivery(
            sessions.feed,
            session.id,
            Cursor(session.epoch, attachment.replay_from),
            wake=connection.wake,
            deliver=self._deliver,
            wire=connection.wire,
            failed=connection.undeliverable,
        )
        connection.wake()

    # -- out

    def _send(self, frames: list[PlainJson]) -> bool:
        return all(self._connection.send_json(frame) for frame in frames)

    def _deliver(self, chunk: Chunk) -> bool:
        for row in chunk.rows:
            if not self._send(self._projection.feed(row)):
                return False
        if chunk.at_head:
            self._send(self._projection.show())
        return True

    def pump(self) -> None:
        if self._delivery is not None:
            self._delivery.pump()

    def beat(self) -> None:
        """A plain client knows no heartbeat; the WebSocket's own pings tell a dead one."""

    def farewell(self, retry_ms: int) -> None:
        """It knows no goodbye either."""

    def close(self) -> None:
        if self._delivery is not None:
            self._delivery.close()
        self._connected.__exit__(None, None, None)

    # -- in

    async def take(self, text: str) -> None:
        limits = self._connection.house.limits
        frame = parse_plain(text, limits_json_depth=limits.json_depth, limits_prompt=limits.prompt)
        if self._delivery is None:  # the first frame had no prompt and found no session to show
            await self._begin_late()
        if frame.type == "default":
            await self._submit(frame)
        else:
            await self._answer(frame)

    async def _begin_late(self) -> None:
        house, session_id = self._connection.house, self._connection.session_id
        assert session_id is not None
        session = await house.sessions.get(self._who.owner, session_id)
        await self._begin(PlainAttachment(session, None, 0))

    async def _submit(self, frame: PlainFrame) -> None:
        sessions, session_id = self._connection.house.sessions, self._connection.session_id
        assert session_id is not None
        await sessions.submit(
            self._who, session_id, id=None, text=frame.content, turn=frame.turn, plain_key=plain_key(frame)
        )

    async def _answer(self, frame: PlainFrame) -> None:
        sessions, session_id = self._connection.house.sessions, self._connection.session_id
        assert session_id is not None
        match interpret(frame, self._projection):
            case NewPrompt(text):
                await sessions.submit(self._who, session_id, id=None, text=text, turn=frame.turn)
            case AnswerTo(question_id, value):
                await sessions.answer(self._who, session_id, id=None, reply_to=question_id, value=value)
            case DecideOn(diff_id, verdict, feedback):
                await sessions.decide(
                    self._who, session_id, id=None, reply_to=diff_id, verdict=verdict, feedback=feedback
                )
            case Ask(frames):
                self._send(frames)
